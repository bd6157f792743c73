//! A Python that does not start any more, because bytecode of its standard library was torn when the power went.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::chroot::{Chroot, Suite};
use crate::package::{MODULES, Package};

const UNITS: &str = "/usr/lib/systemd/system";

fn library(suite: Suite) -> String {
    format!("/usr/lib/python{}", suite.python())
}

/// The bytecode of the standard library, and the inodes.
fn bytecode(chroot: &Chroot) -> BTreeMap<String, u64> {
    let pycs = chroot.pycs(&[&library(chroot.suite)]).into_iter();
    pycs.map(|pyc| (pyc.clone(), fs::metadata(chroot.path(&pyc)).unwrap().ino())).collect()
}

/// The second half of the file is lost.
fn tear(chroot: &Chroot, pyc: &str) {
    let bytes = chroot.read(pyc);
    fs::write(chroot.path(pyc), &bytes[..bytes.len() / 2]).unwrap();
}

/// Runs the command of the boot unit.
fn boot(chroot: &Chroot) -> String {
    let unit = String::from_utf8(chroot.read(&format!("{UNITS}/pyc-txn-recover.service"))).unwrap();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let outcome = chroot.sh(command).succeeds();
    outcome.output.clone()
}

#[track_caller]
fn is_alive(chroot: &Chroot) {
    chroot.run(&["python3", "-c", "import json, re"]).succeeds();
    chroot.run(&["pyc-txn", "verify"]).succeeds();
    chroot.dpkg_install(&[&Package::public("plain", "1", &[("plain.py", "x = 1\n")])]).succeeds();
    chroot.imports(MODULES, &["plain"]);
}

#[test]
fn a_dead_python_is_healed_by_the_command_of_the_boot_unit() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let pyc = format!("{}/encodings/__pycache__/__init__.{}.pyc", library(suite), suite.tag());
        tear(&chroot, &pyc);
        chroot.run(&["python3", "-c", "pass"]).fails();
        let said = boot(&chroot);
        assert!(said.contains(" 1 damaged, 1 mended") && said.lines().count() == 1, "{said}");
        is_alive(&chroot);
    }
}

#[test]
fn a_dead_python_does_not_keep_dpkg_from_compiling_and_is_healed_by_it() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        tear(&chroot, &format!("{}/encodings/__pycache__/__init__.{}.pyc", library(suite), suite.tag()));
        chroot.dpkg_install(&[&Package::public("other", "1", &[("other.py", "x = 1\n")])]).succeeds();
        chroot.imports(MODULES, &["other"]);
        is_alive(&chroot);
    }
}

#[test]
fn an_interpreter_whose_bytecode_was_torn_while_it_was_installed_again_is_healed() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let before = bytecode(&chroot);
        let version = suite.python();
        // The trigger is still pending when the power goes: nobody has synced what the postinst wrote.
        chroot
            .sh(&format!(
                "cd /var/cache/apt/archives
                 dpkg --no-triggers --install libpython{version}-minimal_*.deb python{version}-minimal_*.deb"
            ))
            .succeeds();
        let written: Vec<String> = bytecode(&chroot)
            .into_iter()
            .filter(|(pyc, inode)| before.get(pyc) != Some(inode))
            .map(|(pyc, _)| pyc)
            .collect();
        assert!(written.len() > 50, "{written:?}");
        written.iter().for_each(|pyc| tear(&chroot, pyc));
        chroot.run(&["python3", "-c", "pass"]).fails();
        let said = boot(&chroot);
        let number = written.len();
        assert!(said.contains(&format!(" {number} damaged, {number} mended")), "{said}");
        chroot.run(&["python3", "-c", "pass"]).succeeds();
        chroot.run(&["dpkg", "--configure", "--pending"]).succeeds();
        assert!(bytecode(&chroot).keys().eq(before.keys()), "{}", chroot.in_words());
        is_alive(&chroot);
    }
}

#[test]
fn a_library_that_is_installed_again_gets_back_the_bytecode_that_its_scripts_removed() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let before = bytecode(&chroot);
        let version = suite.python();
        // Its postinst compiles nothing: that is the interpreter's, which is not installed again here.
        let deb = format!("/var/cache/apt/archives/libpython{version}-stdlib_*.deb");
        chroot.sh(&format!("dpkg --install {deb}")).succeeds().says("compiled ");
        assert!(bytecode(&chroot).keys().eq(before.keys()), "{}", chroot.in_words());
        is_alive(&chroot);
    }
}

#[test]
fn the_standard_library_is_adopted_when_the_package_is_installed() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let count = bytecode(&chroot).len();
        let published = chroot.sh("pyc-txn status --json").succeeds().output.clone();
        let (_, published) = published.split_once("\"published\": ").unwrap();
        let published: usize = published.split(',').next().unwrap().parse().unwrap();
        assert!(published >= count, "{published} of {count}");
        // All of it belongs to packages, which do not compile all of it.
        assert!(!chroot.sh("pyc-txn log").output.contains("failed"), "{}", chroot.in_words());
    }
}

#[test]
fn the_boot_unit_and_the_weekly_timer_are_enabled() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        for link in
            ["sysinit.target.wants/pyc-txn-recover.service", "timers.target.wants/pyc-txn-verify.timer"]
        {
            let link = chroot.path(&format!("/etc/systemd/system/{link}"));
            let to = fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
            assert!(to.starts_with("/usr/lib/systemd") || to.starts_with("/lib/systemd"), "{}", to.display());
        }
    }
}
