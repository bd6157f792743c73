//! Sources that are not what py3compile expects, and workers that die of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::{SUITE, TREE, compiled, eight, modules_of};
use crate::chroot::{Chroot, Outcome};
use crate::package::{MODULES, Package};

const BROKEN: &str = "print 'a program of Python 2'\n";

mod r3 {
    use super::*;

    fn one_of_eight_is_broken(chroot: &Chroot) -> Outcome<'_> {
        eight(chroot);
        chroot.write(&format!("{TREE}/m4.py"), BROKEN);
        chroot.run(&["py3compile", TREE])
    }

    #[test]
    fn today_the_worker_stops_at_a_syntax_error() {
        let chroot = Chroot::original(SUITE);
        one_of_eight_is_broken(&chroot).exits(1).says("SyntaxError");
        // Which ones depends on the directory's order.
        assert!(compiled(&chroot).len() < 7);
    }

    #[test]
    fn everything_but_the_syntax_error_is_compiled() {
        let chroot = Chroot::transactional(SUITE);
        one_of_eight_is_broken(&chroot).exits(1).says("m4.py");
        assert_eq!(compiled(&chroot), ["m1", "m2", "m3", "m5", "m6", "m7", "m8"]);
    }
}

mod r4 {
    use super::*;

    fn package_with_a_python_2_file() -> Package {
        Package::public(
            "mixed",
            "1",
            &[("mixed_a.py", "x = 1\n"), ("mixed_b.py", BROKEN), ("mixed_c.py", "x = 3\n")],
        )
    }

    #[test]
    fn today_a_python_2_file_leaves_its_package_half_configured() {
        let chroot = Chroot::original(SUITE);
        chroot.dpkg_install(&[&package_with_a_python_2_file()]).fails().says("SyntaxError");
        chroot.sh("dpkg-query -W -f '${db:Status-Abbrev}' mixed").says("iF");
    }

    #[test]
    fn a_python_2_file_does_not_keep_its_package_from_being_configured() {
        let chroot = Chroot::transactional(SUITE);
        chroot.dpkg_install(&[&package_with_a_python_2_file()]).succeeds();
        chroot.sh("dpkg-query -W -f '${db:Status-Abbrev}' mixed").says("ii");
        assert_eq!(modules_of(&chroot, MODULES), ["mixed_a", "mixed_c"]);
        chroot.run(&["pyc-txn", "status"]).says("mixed_b.py");
    }
}

mod r7 {
    use super::*;

    /// Compiles a tree with an ordinary source and one of this name.
    fn with_a_source_named<'a>(chroot: &'a Chroot, name: &[u8]) -> Outcome<'a> {
        chroot.write(&format!("{TREE}/plain.py"), "x = 1\n");
        fs::write(chroot.path(TREE).join(OsStr::from_bytes(name)), "x = 2\n").unwrap();
        chroot.run(&["py3compile", TREE])
    }

    #[test]
    fn today_a_name_that_is_not_utf_8_is_an_error() {
        let chroot = Chroot::original(SUITE);
        with_a_source_named(&chroot, b"n\xff.py").exits(1).says("UnicodeEncodeError");
    }

    #[test]
    fn today_a_name_with_a_newline_is_an_error() {
        let chroot = Chroot::original(SUITE);
        with_a_source_named(&chroot, b"a\nb.py").exits(1).says("No such file");
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_compiled() {
        let chroot = Chroot::transactional(SUITE);
        with_a_source_named(&chroot, b"n\xff.py").succeeds();
        assert_eq!(compiled(&chroot), [r"n\xff", "plain"]);
    }

    #[test]
    fn a_name_with_a_newline_is_compiled() {
        let chroot = Chroot::transactional(SUITE);
        with_a_source_named(&chroot, b"a\nb.py").succeeds();
        assert_eq!(compiled(&chroot), [r"a\nb", "plain"]);
    }

    #[test]
    fn a_package_s_name_that_is_not_utf_8_is_compiled_and_cleaned() {
        let chroot = Chroot::transactional(SUITE);
        let path = [MODULES.as_bytes(), b"/n\xff.py"].concat();
        let package = Package::new("odd", "1").file(OsStr::from_bytes(&path), "x = 1\n").snippets("");
        chroot.dpkg_install(&[&package]).succeeds();
        assert_eq!(modules_of(&chroot, MODULES), [r"n\xff"]);
        chroot.run(&["dpkg", "--remove", "odd"]).succeeds();
        assert_eq!(modules_of(&chroot, MODULES), [""; 0]);
    }
}

mod r8 {
    use super::*;

    #[test]
    fn today_a_dangling_source_is_an_error() {
        let chroot = Chroot::original(SUITE);
        eight(&chroot);
        symlink("nowhere", chroot.path(TREE).join("dangling.py")).unwrap();
        chroot.run(&["py3compile", TREE]).exits(1).says("No such file");
    }

    #[test]
    fn a_dangling_source_is_left_out() {
        let chroot = Chroot::transactional(SUITE);
        eight(&chroot);
        symlink("nowhere", chroot.path(TREE).join("dangling.py")).unwrap();
        chroot.run(&["py3compile", TREE]).succeeds();
        assert_eq!(compiled(&chroot).len(), 8);
    }

    /// Makes a module's bytecode a symlink, and compiles.
    fn with_bytecode_that_is_a_symlink(chroot: &Chroot) -> Outcome<'_> {
        eight(chroot);
        fs::create_dir(chroot.path(TREE).join("__pycache__")).unwrap();
        let pyc = chroot.path(TREE).join(format!("__pycache__/m1.{}.pyc", SUITE.tag()));
        symlink("/srv/elsewhere", pyc).unwrap();
        chroot.run(&["py3compile", TREE])
    }

    #[test]
    fn today_bytecode_that_is_a_symlink_is_an_error() {
        let chroot = Chroot::original(SUITE);
        with_bytecode_that_is_a_symlink(&chroot).exits(1).says("is a symlink");
    }

    #[test]
    fn bytecode_that_is_a_symlink_is_replaced_and_not_followed() {
        let chroot = Chroot::transactional(SUITE);
        with_bytecode_that_is_a_symlink(&chroot).succeeds();
        assert_eq!(compiled(&chroot).len(), 8);
        assert!(!chroot.exists("/srv/elsewhere"));
        chroot.imports(TREE, &["m1", "m8"]);
    }
}

mod r9 {
    use super::*;

    /// Compiles sources of which one needs more stack than there is: the worker dies of SIGSEGV.
    fn with_a_source_that_kills_the_worker(chroot: &Chroot) -> Outcome<'_> {
        eight(chroot);
        let sum = vec!["1"; 700].join("+");
        chroot.write(
            &format!("{TREE}/m3.py"),
            format!("x = {}{}\ny = {sum}\n", "[".repeat(150), "]".repeat(150)),
        );
        chroot.sh(&format!("ulimit -s 120; exec py3compile {TREE}"))
    }

    #[test]
    fn today_the_rest_is_not_compiled_when_a_worker_dies() {
        let chroot = Chroot::original(SUITE);
        with_a_source_that_kills_the_worker(&chroot).does_not_say("m3.py");
        assert!(compiled(&chroot).len() < 7);
    }

    #[test]
    fn only_the_source_that_kills_its_worker_is_not_compiled() {
        let chroot = Chroot::transactional(SUITE);
        with_a_source_that_kills_the_worker(&chroot).exits(1).says("m3.py");
        assert_eq!(compiled(&chroot), ["m1", "m2", "m4", "m5", "m6", "m7", "m8"]);
    }
}

mod r22 {
    use super::*;
    use crate::chroot::Suite;

    /// A source of other people, which the compiler warns of.
    fn package() -> Package {
        Package::public("warned", "1", &[("warned.py", "x = 1 is 1\n")])
    }

    #[test]
    fn today_warnings_of_other_people_s_code_are_printed() {
        for suite in Suite::ALL {
            Chroot::original(suite).dpkg_install(&[&package()]).succeeds().says("SyntaxWarning");
        }
    }

    #[test]
    fn warnings_are_kept_for_who_asks() {
        for suite in Suite::ALL {
            let chroot = Chroot::transactional(suite);
            chroot.dpkg_install(&[&package()]).succeeds().does_not_say("SyntaxWarning");
            chroot.imports(MODULES, &["warned"]);
            chroot.run(&["pyc-txn", "status", "--json"]).says("Did you mean");
        }
    }
}
