//! pyc-txn and Python's package in every order.

use super::edition::Edition;
use super::in_each_suite;
use crate::chroot::{Chroot, Kind};

/// What apt has downloaded of Python's package.
const PYTHON: &str = "/var/cache/apt/archives/python3-minimal_*.deb";

#[test]
fn python_may_come_after_us() {
    in_each_suite(|suite| {
        let chroot = Chroot::new(suite, Kind::Bare);
        let deb = Edition::new("1").build(&chroot);
        chroot.apt_install(&[&deb]).succeeds();
        assert!(!chroot.has_python());
        chroot.is_taken_over();
        chroot.apt_install(&["python3"]).succeeds();
        assert!(chroot.has_python());
        chroot.is_taken_over();
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.is_given_back();
    });
}

#[test]
fn python_and_we_may_come_in_one_run() {
    in_each_suite(|suite| {
        let chroot = Chroot::new(suite, Kind::Bare);
        let deb = Edition::new("1").build(&chroot);
        chroot.apt_install(&["python3", &deb]).succeeds();
        assert!(chroot.has_python());
        chroot.is_taken_over();
        chroot.run(&["apt-get", "purge", "-y", "python3-minimal", "pyc-txn"]).succeeds();
        assert!(!chroot.has_python());
        chroot.is_given_back();
    });
}

#[test]
fn python_may_go_while_we_stay() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let deb = Edition::new("1").build(&chroot);
        chroot.run(&["dpkg", "--install", &deb]).succeeds();
        chroot.run(&["apt-get", "purge", "-y", "python3-minimal"]).succeeds();
        assert!(!chroot.has_python());
        chroot.is_taken_over();
        chroot.apt_install(&["python3"]).succeeds();
        assert!(chroot.has_python());
        chroot.is_taken_over();
        chroot.run(&["apt-get", "purge", "-y", "python3-minimal"]).succeeds();
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.is_given_back();
    });
}

#[test]
fn python_may_be_upgraded_in_the_same_run() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let [one, two] = ["1", "2"].map(|version| Edition::new(version).build(&chroot));
        chroot.sh(&format!("dpkg --install {PYTHON} {one}")).succeeds();
        chroot.is_taken_over();
        chroot.sh(&format!("dpkg --install {two} {PYTHON}")).succeeds();
        chroot.is_taken_over();
        chroot.sh("apt-get install -y --reinstall python3-minimal pyc-txn-").succeeds();
        chroot.is_given_back();
        chroot.sh("apt-get purge -y pyc-txn").succeeds();
        chroot.is_given_back();
    });
}

#[test]
fn python_may_be_upgraded_while_we_are_unpacked_only() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let [one, two] = ["1", "2"].map(|version| Edition::new(version).build(&chroot));
        let python = format!("dpkg --install {PYTHON}");
        chroot.run(&["dpkg", "--unpack", &one]).succeeds();
        chroot.sh(&python).succeeds();
        chroot.is_given_back();
        chroot.run(&["dpkg", "--configure", "pyc-txn"]).succeeds();
        chroot.is_taken_over();
        chroot.run(&["dpkg", "--unpack", &two]).succeeds();
        chroot.sh(&python).succeeds();
        chroot.is_taken_over();
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.is_given_back();
        chroot.sh("dpkg --verify python3-minimal").succeeds().does_not_say("py3");
    });
}

#[test]
fn what_an_administrator_has_diverted_stays_so() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        chroot
            .sh("dpkg-divert --local --rename --divert /usr/bin/py3compile.mine --add /usr/bin/py3compile")
            .succeeds();
        let deb = Edition::new("1").build(&chroot);
        chroot.run(&["dpkg", "--install", &deb]).succeeds().says("stays as it is");
        assert!(!chroot.exists("/usr/bin/py3compile"));
        assert!(chroot.is_link("/usr/bin/py3clean"));
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.sh("dpkg-divert --rename --remove /usr/bin/py3compile").succeeds();
        chroot.is_given_back();
    });
}
