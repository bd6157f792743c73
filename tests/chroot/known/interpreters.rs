//! A second interpreter: the Python of Debian 12, from its own packages, on Debian 13.

use crate::chroot::{Chroot, Suite, project};
use crate::package::{MODULES, Package};

const SUITE: Suite = Suite::Trixie;

/// Which bytecode a module has, by cache tags.
fn tags(chroot: &Chroot, module: &str) -> Vec<String> {
    let pycs = chroot.pycs(&[MODULES]);
    let prefix = format!("{MODULES}/__pycache__/{module}.");
    pycs.iter().filter_map(|pyc| Some(pyc.strip_prefix(&prefix)?.strip_suffix(".pyc")?.to_owned())).collect()
}

/// Installs the second interpreter, when there is already a package with a module.
fn with_a_second_interpreter(chroot: &Chroot) {
    chroot.dpkg_install(&[&Package::public("plain", "1", &[("plain.py", "x = 1\n")])]).succeeds();
    let mut debs = Vec::new();
    for entry in std::fs::read_dir(project().join("target/chroot/trixie/second")).unwrap() {
        let file = entry.unwrap().path();
        debs.push(chroot.bring(file.strip_prefix(project()).unwrap().to_str().unwrap()));
    }
    // Debian lists a new interpreter as supported in the upload that brings it.
    chroot
        .sh("sed -i 's/^supported-versions = .*/supported-versions = python3.11, python3.13/' \
               /usr/share/python3/debian_defaults")
        .succeeds();
    let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
    chroot.run(&[&["dpkg", "--install"], &debs[..]].concat()).succeeds();
    chroot.run(&["python3.11", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))"]).succeeds();
}

mod r20 {
    use super::*;

    #[test]
    fn today_a_new_interpreter_gets_no_bytecode_of_what_is_there() {
        let chroot = Chroot::original(SUITE);
        with_a_second_interpreter(&chroot);
        assert_eq!(tags(&chroot, "plain"), ["cpython-313"]);
    }

    #[test]
    fn a_new_interpreter_gets_bytecode_and_a_removed_one_loses_it() {
        let chroot = Chroot::transactional(SUITE);
        with_a_second_interpreter(&chroot);
        assert_eq!(tags(&chroot, "plain"), ["cpython-311", "cpython-313"]);
        chroot.dpkg_install(&[&Package::public("later", "1", &[("later.py", "x = 1\n")])]).succeeds();
        assert_eq!(tags(&chroot, "later"), ["cpython-311", "cpython-313"]);
        chroot.run(&["dpkg", "--purge", "python3.11-minimal"]).succeeds();
        assert_eq!(tags(&chroot, "plain"), ["cpython-313"]);
        assert_eq!(tags(&chroot, "later"), ["cpython-313"]);
        // Its library has other users, and goes with its own package.
        assert!(!chroot.pycs(&["/usr/lib/python3.11"]).is_empty(), "{}", chroot.in_words());
        chroot.run(&["dpkg", "--remove", "libpython3.11-minimal"]).succeeds().does_not_say("not empty");
        assert!(!chroot.exists("/usr/lib/python3.11"), "{}", chroot.in_words());
    }
}
