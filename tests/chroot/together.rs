//! pyc-txn together with its surroundings: installed before python3, upgraded with it, without syncs.

use crate::chroot::{Chroot, Kind, Suite, project};
use crate::package::{MODULES, Package, the_deb};

fn plain() -> Package {
    Package::public("plain", "1", &[("plain.py", "x = 1\n"), ("plain/__init__.py", "x = 2\n")])
}

/// Puts the package into a chroot; its path there.
fn the_package(chroot: &Chroot) -> String {
    let deb = the_deb();
    chroot.bring(deb.strip_prefix(project()).unwrap().to_str().unwrap())
}

#[test]
fn python_is_installed_after_pyc_txn() {
    for suite in Suite::ALL {
        let chroot = Chroot::new(suite, Kind::Bare);
        let deb = the_package(&chroot);
        chroot.apt_install(&[&deb]).succeeds();
        chroot.apt_install(&["python3", "python3-yaml"]).succeeds();
        chroot.dpkg_install(&[&plain()]).succeeds();
        chroot.is_complete(&[MODULES]);
        assert!(!chroot.pycs(&[MODULES]).is_empty());
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.run(&["py3compile", "-p", "plain"]).succeeds();
    }
}

#[test]
fn python_and_pyc_txn_are_unpacked_again_in_one_run() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        chroot.dpkg_install(&[&plain()]).succeeds();
        let interpreter = format!("python{}", suite.python());
        let deb = the_package(&chroot);
        let packages = [
            "python3",
            "python3-minimal",
            &interpreter,
            &format!("{interpreter}-minimal"),
            &format!("lib{interpreter}-minimal"),
            &format!("lib{interpreter}-stdlib"),
            &deb,
        ];
        let install = ["apt-get", "-y", "--reinstall", "install"];
        chroot.run(&[&install, &packages[..]].concat()).succeeds().does_not_say("not empty");
        chroot.is_complete(&[MODULES]);
        let links = chroot.sh("readlink /usr/bin/py3compile /usr/bin/py3clean").succeeds();
        assert_eq!(links.output, "pyc-txn\npyc-txn\n", "{}", links.context());
    }
}

/// How often filesystems are synced as a whole while apt installs a package.
fn syncs(options: &[&str]) -> usize {
    let chroot = Chroot::transactional(Suite::Bookworm);
    let deb = plain().build(&chroot);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace").display().to_string();
    let strace = ["/usr/bin/strace", "-f", "-qq", "-o", &file, "-e", "trace=syncfs"];
    let words = [&["apt-get", "-y"], options, &["install", &deb]].concat();
    let command = chroot.command_under(&strace, &words);
    chroot.start_command(command, &words.join(" ")).end().succeeds();
    chroot.is_complete(&[MODULES]);
    std::fs::read_to_string(file).unwrap().lines().filter(|line| line.contains("syncfs(")).count()
}

#[test]
fn nothing_is_synced_with_unsafe_io() {
    assert!(syncs(&[]) > 0);
    assert_eq!(syncs(&["-o", "Dpkg::Options::=--force-unsafe-io"]), 0);
}

#[test]
fn bytecode_made_before_pyc_txn_came_stays_and_is_its_own() {
    let chroot = Chroot::original(Suite::Bookworm);
    chroot.dpkg_install(&[&plain()]).succeeds();
    let pyc = format!("{MODULES}/__pycache__/plain.{}.pyc", chroot.suite.tag());
    let before = chroot.read(&pyc);
    let deb = the_package(&chroot);
    chroot.apt_install(&[&deb]).succeeds();
    assert_eq!(chroot.read(&pyc), before);
    chroot.run(&["dpkg", "--remove", "plain"]).succeeds().does_not_say("not empty");
    assert!(chroot.pycs(&[MODULES]).is_empty(), "{}", chroot.in_words());
}

#[test]
fn removing_pyc_txn_gives_the_original_back() {
    let chroot = Chroot::transactional(Suite::Bookworm);
    chroot.dpkg_install(&[&plain()]).succeeds();
    chroot.run(&["apt-get", "-y", "purge", "pyc-txn"]).succeeds();
    chroot.is_complete(&[MODULES]);
    assert!(!chroot.exists("/usr/bin/py3compile.distrib") && !chroot.exists("/var/lib/pyc-txn"));
    chroot.run(&["dpkg", "--remove", "plain"]).succeeds().does_not_say("not empty");
    assert!(chroot.pycs(&[MODULES]).is_empty(), "{}", chroot.in_words());
}
