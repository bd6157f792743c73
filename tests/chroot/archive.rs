//! Real packages from the archive, in twin chroots: one with the original py3compile, the other with pyc-txn.

use std::collections::BTreeMap;

use crate::chroot::{Chroot, Kind, Suite, project};

/// The packages of `tests/chroot/packages` that a suite has.
fn listed(chroot: &Chroot) -> Vec<String> {
    let names = chroot.run(&["apt-cache", "pkgnames"]).succeeds().output;
    let known: std::collections::BTreeSet<&str> = names.lines().collect();
    let file = std::fs::read_to_string(project().join("tests/chroot/packages")).unwrap();
    let wanted = file.lines().filter(|line| !line.starts_with('#'));
    wanted.filter(|name| known.contains(name)).map(str::to_owned).collect()
}

fn words(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Installs many packages with the original and with pyc-txn, and compares; removes them, and compares what is left.
fn many_packages_come_and_go(suite: Suite) {
    let (original, ours) = (Chroot::original(suite), Chroot::transactional(suite));
    let before = ours.listing("/usr");
    let names = listed(&ours);
    assert!(names.len() >= 60, "{suite:?} has {} of the packages", names.len());
    for chroot in [&original, &ours] {
        chroot.apt_install(&words(&names)).succeeds();
    }
    let count = original.is_judge_of(&ours, "/usr");
    assert!(count > 3000, "{count} pycs");

    let (some, rest) = names.split_at(names.len() / 3);
    for chroot in [&original, &ours] {
        for (command, names) in [("remove", some), ("autoremove", &[]), ("purge", rest), ("autopurge", &[])] {
            let outcome = chroot.run(&[&["apt-get", "-y", command], &words(names)[..]].concat()).succeeds();
            if chroot.kind == Kind::Transactional {
                outcome.does_not_say("not empty");
            }
        }
    }
    // What packages leave behind of their own accord is in the other chroot too.
    let left_by_original = original.listing("/usr");
    let left = ours.listing("/usr");
    let is_stray = |path: &&String| !before.contains(*path) && !left_by_original.contains(*path);
    let strays: Vec<&String> = left.iter().filter(is_stray).collect();
    assert!(strays.is_empty(), "left over: {strays:#?}\n{}", ours.in_words());
}

#[test]
fn sixty_packages_of_debian_12_have_the_original_s_bytecode_and_go_without_a_trace() {
    many_packages_come_and_go(Suite::Bookworm);
}

#[test]
fn sixty_packages_of_debian_13_have_the_original_s_bytecode_and_go_without_a_trace() {
    many_packages_come_and_go(Suite::Trixie);
}

/// Packages that the archive has in two versions, the older one first.
fn pairs(chroot: &Chroot) -> Vec<(String, String)> {
    let names = listed(chroot);
    let table = chroot.run(&[&["apt-cache", "madison"], &words(&names)[..]].concat()).succeeds().output;
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        versions.entry(fields[0]).or_default().push(fields[1]);
    }
    let pair = |(name, all): (&str, Vec<&str>)| {
        let (new, old) = (all.first()?, all.last()?);
        (new != old).then(|| (format!("{name}={old}"), format!("{name}={new}")))
    };
    versions.into_iter().filter_map(pair).take(5).collect()
}

#[test]
fn real_packages_are_upgraded_and_downgraded() {
    let suite = Suite::Bookworm;
    let (original, ours) = (Chroot::original(suite), Chroot::transactional(suite));
    let (old, new): (Vec<String>, Vec<String>) = pairs(&ours).into_iter().unzip();
    assert!(!old.is_empty(), "the archive has two versions of none of the packages");
    for step in [&old, &new, &old, &new] {
        for chroot in [&original, &ours] {
            chroot.apt_install(&words(step)).succeeds().does_not_say("not empty");
        }
        ours.has_only_whole_bytecode("/usr/lib/python3");
    }
    original.is_judge_of(&ours, "/usr");
}
