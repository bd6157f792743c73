//! Packages of all kinds, made by the tests, beside the original.

use crate::chroot::{Chroot, Kind, Suite};
use crate::package::{MODULES, Package};

const PRIVATE: &str = "/usr/share/private";

/// Installs packages with the original and with pyc-txn; demands the same bytecode and gives its number.
fn the_same_with_both(suite: Suite, packages: &[&Package]) -> u64 {
    let [original, ours] = [Kind::Original, Kind::Transactional].map(|kind| {
        let chroot = Chroot::new(suite, kind);
        chroot.dpkg_install(packages).succeeds();
        chroot
    });
    let before = Chroot::original(suite).pycs(&["/usr"]).len();
    let count = original.is_judge_of(&ours, "/usr");
    for package in packages {
        ours.run(&["dpkg", "--purge", &package.name]).succeeds().does_not_say("not empty");
    }
    assert!(ours.pycs(&[MODULES, PRIVATE]).is_empty(), "{}", ours.in_words());
    assert!(!ours.exists(PRIVATE), "{}", ours.in_words());
    count - before as u64
}

fn private(arguments: &str) -> Package {
    let mut package = Package::new("private", "1");
    for name in ["main.py", "part/__init__.py", "part/one.py", "tests/test_one.py", "old_style.py"] {
        package = package.file(format!("{PRIVATE}/{name}"), format!("name = '{name}'\n"));
    }
    package.snippets(&format!("{PRIVATE} {arguments}"))
}

#[test]
fn private_modules_are_compiled_with_version_ranges_and_excludes() {
    for suite in Suite::ALL {
        let version = suite.python();
        for (arguments, count) in [
            (String::new(), 5),
            (format!("-V {version}"), 5),
            ("-V 3.2-".to_owned(), 5),
            ("-V 3.2-4.0".to_owned(), 5),
            ("-X 'tests/.*'".to_owned(), 4),
            (format!("-V {version}- -X '.*_style.py' -X '/usr/share/private/part/.*'"), 2),
        ] {
            assert_eq!(the_same_with_both(suite, &[&private(&arguments)]), count, "{suite:?} {arguments}");
        }
    }
}

#[test]
fn public_and_private_modules_of_one_package_are_compiled() {
    let package = private("").file(format!("{MODULES}/front.py"), "x = 1\n").snippets("");
    assert_eq!(the_same_with_both(Suite::Bookworm, &[&package]), 6);
}

#[test]
fn modules_of_a_multi_arch_package_are_compiled() {
    for suite in Suite::ALL {
        let package = Package::new("multi", "1")
            .field("Architecture", &architecture())
            .field("Multi-Arch", "same")
            .file(format!("{MODULES}/multi.py"), "x = 1\n")
            .snippets("");
        assert_eq!(the_same_with_both(suite, &[&package]), 1);
    }
}

/// What dpkg calls this machine.
fn architecture() -> String {
    let output = std::process::Command::new("dpkg").arg("--print-architecture").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_package_whose_files_are_links_is_compiled() {
    let package = Package::public("linked", "1", &[("linked.py", "x = 1\n")])
        .link(&format!("{MODULES}/alias.py"), "linked.py")
        .file("/usr/share/private/behind.py", "x = 2\n")
        .link(&format!("{MODULES}/elsewhere.py"), "/usr/share/private/behind.py");
    the_same_with_both(Suite::Bookworm, &[&package]);
}

#[test]
fn a_postinst_runs_the_package_s_own_program_at_once() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let package =
            Package::public("eager", "1", &[("eager.py", "def main():\n    print('eager was run')\n")])
                .executable("/usr/bin/eager", "#!/usr/bin/python3\nimport eager\neager.main()\n")
                .script("postinst", "eager");
        chroot.dpkg_install(&[&package]).succeeds().says("eager was run");
        chroot.imports(MODULES, &["eager"]);
        chroot.is_complete(&[MODULES]);
        chroot.run(&["dpkg", "--purge", "eager"]).succeeds().does_not_say("not empty");
        assert!(chroot.pycs(&[MODULES]).is_empty(), "{}", chroot.in_words());
    }
}

/// Two versions: one module stays, one changes, one goes, one comes, one moves to another directory.
fn two_versions() -> [Package; 2] {
    [
        &[
            ("same.py", "x = 1\n"),
            ("change.py", "x = 1\n"),
            ("go/gone.py", "x = 1\n"),
            ("here/m.py", "x = 3\n"),
        ][..],
        &[
            ("same.py", "x = 1\n"),
            ("change.py", "y = 'new'\n"),
            ("come.py", "x = 1\n"),
            ("there/m.py", "x = 3\n"),
        ],
    ]
    .iter()
    .zip(["1", "2"])
    .map(|(modules, version)| Package::public("versions", version, modules))
    .collect::<Vec<_>>()
    .try_into()
    .unwrap_or_else(|_| unreachable!())
}

#[test]
fn a_package_is_upgraded_downgraded_removed_and_purged() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        let before = chroot.listing("/usr");
        let [old, new] = two_versions();
        for package in [&old, &new, &old, &new, &new] {
            chroot.dpkg_install(&[package]).succeeds().does_not_say("not empty");
            chroot.is_complete(&[MODULES]);
        }
        chroot.run(&["dpkg", "--remove", "versions"]).succeeds().does_not_say("not empty");
        assert_eq!(chroot.listing("/usr"), before);
        chroot.dpkg_install(&[&old]).succeeds();
        chroot.run(&["dpkg", "--purge", "versions"]).succeeds().does_not_say("not empty");
        assert_eq!(chroot.listing("/usr"), before);
    }
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_version_with_its_bytecode() {
    let chroot = Chroot::transactional(Suite::Bookworm);
    let [old, new] = two_versions();
    chroot.dpkg_install(&[&old]).succeeds();
    let failing = new.script("preinst", "echo this preinst fails; exit 1");
    chroot.dpkg_install(&[&failing]).fails().says("this preinst fails");
    chroot.sh("dpkg-query -W -f '${db:Status-Abbrev} ${Version}' versions").says("ii  1");
    chroot.is_complete(&[MODULES]);
    chroot.run(&["pyc-txn", "log"]).succeeds().says("4 reused");
    chroot.sh("ls /var/lib/pyc-txn/retired").succeeds().says_nothing();
}

#[test]
fn a_module_that_moves_from_one_package_to_another_keeps_its_bytecode() {
    let chroot = Chroot::transactional(Suite::Bookworm);
    let moved = [("moved.py", "x = 1\n")];
    chroot.dpkg_install(&[&Package::public("from", "1", &[("stays.py", "x = 1\n"), moved[0]])]).succeeds();
    let to = Package::public("to", "1", &moved).field("Replaces", "from (<< 2)");
    chroot.dpkg_install(&[&to, &Package::public("from", "2", &[("stays.py", "x = 1\n")])]).succeeds();
    chroot.is_complete(&[MODULES]);
}
