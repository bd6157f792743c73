//! What root happens to have in the environment.

use super::{SUITE, TREE, compiled, eight, inode};
use crate::chroot::{Chroot, Kind, Outcome};
use crate::package::{MODULES, Package};

/// Whether compiling twice with this command writes the same bytecode twice.
fn writes_twice(chroot: &Chroot, command: &str, pyc: &str) -> bool {
    eight(chroot);
    let [first, second] = [(); 2].map(|()| {
        chroot.sh(&format!("{command} {TREE}")).succeeds();
        inode(chroot, pyc)
    });
    first != second
}

mod r12 {
    use super::*;

    #[test]
    fn today_optimized_bytecode_is_written_every_time() {
        let pyc = format!("m1.{}.opt-1.pyc", SUITE.tag());
        assert!(writes_twice(&Chroot::original(SUITE), "py3compile -O", &pyc));
    }

    #[test]
    fn optimized_bytecode_is_written_once_and_there_are_both_levels() {
        let chroot = Chroot::transactional(SUITE);
        let pyc = |level: &str| format!("m1.{}.opt-{level}.pyc", SUITE.tag());
        assert!(!writes_twice(&chroot, "py3compile -O", &pyc("1")));
        assert!(!writes_twice(&chroot, "pyc-txn commit -O 2", &pyc("2")));
    }
}

mod r13 {
    use super::*;

    #[test]
    fn today_a_source_date_epoch_has_bytecode_written_every_time() {
        let pyc = format!("m1.{}.pyc", SUITE.tag());
        assert!(writes_twice(&Chroot::original(SUITE), "SOURCE_DATE_EPOCH=1600000000 py3compile", &pyc));
    }

    #[test]
    fn a_source_date_epoch_changes_nothing() {
        let pyc = format!("m1.{}.pyc", SUITE.tag());
        let chroot = Chroot::transactional(SUITE);
        assert!(!writes_twice(&chroot, "SOURCE_DATE_EPOCH=1600000000 py3compile", &pyc));
        chroot.imports(TREE, &["m1"]);
    }
}

mod r14 {
    use super::*;

    fn with_a_prefix(chroot: &Chroot) -> Outcome<'_> {
        eight(chroot);
        chroot.sh(&format!("PYTHONPYCACHEPREFIX=/srv/prefix py3compile {TREE}"))
    }

    #[test]
    fn today_a_prefix_draws_the_bytecode_away() {
        let chroot = Chroot::original(SUITE);
        with_a_prefix(&chroot).succeeds();
        assert_eq!(compiled(&chroot), [""; 0]);
        assert!(chroot.exists("/srv/prefix"));
    }

    #[test]
    fn a_prefix_changes_nothing() {
        let chroot = Chroot::transactional(SUITE);
        with_a_prefix(&chroot).succeeds();
        assert_eq!(compiled(&chroot).len(), 8);
        assert!(!chroot.exists("/srv/prefix"));
    }
}

mod r15 {
    use super::*;

    fn mode_with_a_narrow_umask(chroot: &Chroot) -> String {
        eight(chroot);
        chroot.sh(&format!("umask 077; py3compile {TREE}")).succeeds();
        let files = format!("__pycache__ __pycache__/m1.{}.pyc", SUITE.tag());
        chroot.sh(&format!("cd {TREE}; stat -c %a {files}")).succeeds().output
    }

    #[test]
    fn today_a_narrow_umask_hides_the_bytecode() {
        assert!(mode_with_a_narrow_umask(&Chroot::original(SUITE)).starts_with("700\n"));
    }

    #[test]
    fn a_narrow_umask_changes_nothing() {
        assert_eq!(mode_with_a_narrow_umask(&Chroot::transactional(SUITE)), "755\n644\n");
    }
}

mod r21 {
    use super::*;

    /// A package with a diversion of a name that is not ASCII, upgraded with a locale that is not UTF-8.
    fn upgrade_with_latin_1(kind: Kind) -> Chroot {
        let chroot = Chroot::new(SUITE, kind);
        chroot.apt_install(&["locales"]).succeeds();
        chroot.run(&["localedef", "-i", "de_DE", "-f", "ISO-8859-15", "de_DE.ISO-8859-15"]).succeeds();
        chroot.sh("dpkg-divert --local --no-rename --divert /srv/grün.distrib --add /srv/grün").succeeds();
        chroot
    }

    fn install(chroot: &Chroot) -> Outcome<'_> {
        let deb = Package::public("plain", "1", &[("plain.py", "x = 1\n")]).build(chroot);
        chroot.sh(&format!("LC_ALL=de_DE.ISO-8859-15 dpkg --install {deb}"))
    }

    #[test]
    fn a_locale_that_is_not_utf_8_changes_nothing() {
        let chroot = upgrade_with_latin_1(Kind::Transactional);
        install(&chroot).succeeds();
        chroot.imports(MODULES, &["plain"]);
        chroot.sh("LC_ALL=de_DE.ISO-8859-15 dpkg --remove plain").succeeds();
        assert!(chroot.pycs(&[MODULES]).is_empty());
    }

    /// Removes a package while python3 does not work.
    fn remove_without_python(chroot: &Chroot) -> Outcome<'_> {
        chroot.dpkg_install(&[&Package::public("plain", "1", &[("plain.py", "x = 1\n")])]).succeeds();
        chroot.sh("ln -sf nowhere /usr/bin/python3");
        chroot.run(&["dpkg", "--remove", "plain"])
    }

    #[test]
    fn today_a_package_cannot_be_removed_without_a_working_python() {
        remove_without_python(&Chroot::original(SUITE)).fails();
    }

    #[test]
    fn a_package_is_removed_without_a_working_python() {
        let chroot = Chroot::transactional(SUITE);
        remove_without_python(&chroot).succeeds();
        assert!(chroot.pycs(&[MODULES]).is_empty());
    }
}

mod r23 {
    use super::*;

    /// Compiles in a directory that somebody has put a module into.
    fn in_a_directory_of_somebody(chroot: &Chroot) -> Outcome<'_> {
        eight(chroot);
        chroot.write("/srv/trap/imp.py", "open('/srv/sprung', 'w')\n");
        chroot.sh(&format!("cd /srv/trap; py3compile {TREE}"))
    }

    #[test]
    fn today_a_module_of_the_current_directory_is_run_as_root() {
        let chroot = Chroot::original(SUITE);
        in_a_directory_of_somebody(&chroot);
        assert!(chroot.exists("/srv/sprung"));
    }

    #[test]
    fn no_module_of_the_current_directory_is_run() {
        let chroot = Chroot::transactional(SUITE);
        in_a_directory_of_somebody(&chroot).succeeds();
        assert!(!chroot.exists("/srv/sprung"));
        assert_eq!(compiled(&chroot).len(), 8);
    }
}
