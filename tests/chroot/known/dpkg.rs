//! What dpkg can do to a package's files: leave them out, divert them, upgrade them, put them below another root.

use std::fs;

use super::{SUITE, modules_of};
use crate::chroot::{Chroot, Outcome};
use crate::package::{MODULES, Package};

const SOURCES: &[(&str, &str)] =
    &[("part_a.py", "x = 1\n"), ("part_b.py", "x = 2\n"), ("part_c.py", "x = 3\n")];

mod r5 {
    use super::*;

    fn without_one_of_its_files(chroot: &Chroot) -> Outcome<'_> {
        let deb = Package::public("parts", "1", SOURCES).build(chroot);
        chroot.run(&["dpkg", "--path-exclude=*/part_b.py", "--install", &deb])
    }

    #[test]
    fn today_a_package_without_one_of_its_files_is_half_configured() {
        let chroot = Chroot::original(SUITE);
        without_one_of_its_files(&chroot).fails();
        chroot.sh("dpkg-query -W -f '${db:Status-Abbrev}' parts").says("iF");
    }

    #[test]
    fn a_package_without_one_of_its_files_is_configured() {
        let chroot = Chroot::transactional(SUITE);
        without_one_of_its_files(&chroot).succeeds();
        assert_eq!(modules_of(&chroot, MODULES), ["part_a", "part_c"]);
    }
}

mod r6 {
    use super::*;

    fn with_a_diverted_file(chroot: &Chroot) -> Outcome<'_> {
        let divert = ["dpkg-divert", "--local", "--rename", "--divert", "/srv/diverted.py", "--add"];
        chroot.run(&[&divert[..], &[&format!("{MODULES}/part_a.py")]].concat()).succeeds();
        chroot.dpkg_install(&[&Package::public("parts", "1", SOURCES)])
    }

    #[test]
    fn today_a_diverted_file_is_not_found() {
        let chroot = Chroot::original(SUITE);
        with_a_diverted_file(&chroot).fails().says("part_a.py");
    }

    #[test]
    fn what_is_not_diverted_is_compiled() {
        let chroot = Chroot::transactional(SUITE);
        with_a_diverted_file(&chroot).succeeds();
        assert_eq!(modules_of(&chroot, MODULES), ["part_b", "part_c"]);
        assert!(!chroot.exists("/srv/__pycache__"));
    }
}

mod r10 {
    use super::*;

    /// Two versions, of which only one source differs.
    fn versions() -> [Package; 2] {
        let new = [SOURCES[0], SOURCES[1], ("part_c.py", "x = 4\n")];
        [Package::public("parts", "1", SOURCES), Package::public("parts", "2", &new)]
    }

    #[test]
    fn today_an_upgrade_has_no_bytecode_until_it_is_configured() {
        let chroot = Chroot::original(SUITE);
        let [old, new] = versions();
        chroot.dpkg_install(&[&old]).succeeds();
        chroot.run(&["dpkg", "--unpack", &new.build(&chroot)]).succeeds();
        assert_eq!(modules_of(&chroot, MODULES), [""; 0]);
    }

    #[test]
    fn an_upgrade_that_is_not_configured_has_the_bytecode_of_what_did_not_change() {
        let chroot = Chroot::transactional(SUITE);
        let [old, new] = versions();
        chroot.dpkg_install(&[&old]).succeeds();
        chroot.run(&["dpkg", "--unpack", &new.build(&chroot)]).succeeds();
        chroot.imports(MODULES, &["part_a", "part_b"]);
        chroot.run(&["dpkg", "--configure", "parts"]).succeeds();
        chroot.imports(MODULES, &["part_a", "part_b", "part_c"]);
        chroot.run(&["pyc-txn", "log"]).succeeds().says("reused");
    }
}

mod r11 {
    use super::*;

    const ROOT: &str = "/srv/root";

    /// Installs a package below another root, whose maintainer scripts run in this one.
    fn below_another_root(chroot: &Chroot) -> Outcome<'_> {
        chroot
            .sh(&format!(
                "mkdir -p {ROOT}/var/lib/dpkg/info {ROOT}/var/lib/dpkg/updates {ROOT}/usr/bin
            touch {ROOT}/var/lib/dpkg/status
            cp /usr/bin/python3* {ROOT}/usr/bin"
            ))
            .succeeds();
        let deb = Package::public("parts", "1", SOURCES).build(chroot);
        chroot.run(&["dpkg", &format!("--root={ROOT}"), "--force-script-chrootless", "--install", &deb])
    }

    #[test]
    fn today_nothing_is_compiled_below_another_root() {
        let chroot = Chroot::original(SUITE);
        below_another_root(&chroot).fails().says("No such file");
        assert!(chroot.pycs(&[ROOT]).is_empty());
    }

    #[test]
    fn another_root_gets_its_bytecode() {
        let chroot = Chroot::transactional(SUITE);
        below_another_root(&chroot).succeeds();
        let modules = format!("{ROOT}{MODULES}");
        assert_eq!(modules_of(&chroot, &modules), ["part_a", "part_b", "part_c"]);
        let pyc = chroot.read(&format!("{modules}/__pycache__/part_a.{}.pyc", SUITE.tag()));
        let contains = |needle: &[u8]| pyc.windows(needle.len()).any(|window| window == needle);
        assert!(contains(format!("{MODULES}/part_a.py").as_bytes()) && !contains(ROOT.as_bytes()));
    }
}

mod r17 {
    use super::*;

    #[test]
    fn forty_packages_are_one_transaction() {
        let chroot = Chroot::transactional(SUITE);
        let count = || {
            let output = chroot.run(&["pyc-txn", "log", "--json"]).succeeds().output;
            let log: serde_json::Value = serde_json::from_str(&output).unwrap();
            log.as_array().unwrap().len()
        };
        let before = count();
        let packages: Vec<Package> = (0..40)
            .map(|n| Package::public(&format!("small{n}"), "1", &[(&format!("small{n}.py"), "x = 1\n")]))
            .collect();
        chroot.dpkg_install(&packages.iter().collect::<Vec<_>>()).succeeds();
        assert_eq!(modules_of(&chroot, MODULES).len(), 40);
        assert_eq!(count(), before + 1, "{}", chroot.in_words());
    }
}

mod r19 {
    use super::*;

    /// Two versions that `stat` cannot tell apart: a source of the same size and the same clamped time.
    fn versions() -> [Package; 2] {
        ["x = 1\n", "x = 2\n"]
            .map(|source| Package::public("clamped", &source[4..5], &[("clamped.py", source)]))
    }

    #[test]
    fn today_a_source_of_the_same_size_and_second_keeps_its_stale_bytecode() {
        let chroot = Chroot::original(SUITE);
        let [old, new] = versions();
        chroot.dpkg_install(&[&old]).succeeds();
        let source = format!("{MODULES}/clamped.py");
        // The new source comes without a maintainer script, as with `rsync -t` or a container's layer.
        chroot
            .sh(&format!(
                "dpkg-deb --extract {} /srv/new; cp -p /srv/new{source} {source}",
                new.build(&chroot)
            ))
            .succeeds();
        chroot.run(&["py3compile", "-p", "clamped"]).succeeds();
        chroot.run(&["python3", "-B", "-c", "import clamped; print(clamped.x)"]).says("1");
    }

    #[test]
    fn an_upgrade_to_a_source_of_the_same_size_and_second_is_seen() {
        let chroot = Chroot::transactional(SUITE);
        for package in versions() {
            chroot.dpkg_install(&[&package]).succeeds();
        }
        chroot.imports(MODULES, &["clamped"]);
        chroot.run(&["python3", "-B", "-c", "import clamped; print(clamped.x)"]).says("2");
    }
}

#[test]
fn what_a_package_of_a_test_contains_has_the_clamped_time() {
    use std::os::unix::fs::MetadataExt;
    let chroot = Chroot::original(SUITE);
    chroot.dpkg_install(&[&Package::public("parts", "1", SOURCES)]).succeeds();
    let source = fs::metadata(chroot.path(&format!("{MODULES}/part_a.py"))).unwrap();
    assert_eq!((source.mtime(), source.mtime_nsec()), (1_600_000_000, 0));
}
