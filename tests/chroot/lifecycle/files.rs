//! What is on disk before and after.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use walkdir::WalkDir;

use super::edition::Edition;
use super::in_each_suite;
use crate::chroot::Chroot;
use crate::package::Package;

/// Where things change that have nothing to do with what is installed.
const ELSEWHERE: [&str; 12] = [
    "/dev",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/triggers/Lock",
    "/var/log",
];

/// Every file, with what tells an old one from a new one.
pub(super) fn snapshot(chroot: &Chroot) -> BTreeMap<String, String> {
    let root = chroot.path("/");
    let inside = |path: &std::path::Path| {
        format!("/{}", path.strip_prefix(&root).unwrap().as_os_str().as_bytes().escape_ascii())
    };
    let walk = WalkDir::new(&root).into_iter();
    let entries = walk.filter_entry(|entry| !ELSEWHERE.contains(&inside(entry.path()).as_str())).flatten();
    let files = entries.map(|entry| {
        let (path, stat) = (inside(entry.path()), entry.metadata().unwrap());
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        let owner = format!("{:o} {}:{} {}", stat.mode(), stat.uid(), stat.gid(), link.display());
        let content = match () {
            () if stat.is_dir() => String::new(),
            // dpkg writes its lists anew each time.
            () if path.starts_with("/var/lib/dpkg") => stat.size().to_string(),
            () => format!("{} {}.{:09}", stat.size(), stat.mtime(), stat.mtime_nsec()),
        };
        (path, format!("{owner} {content}"))
    });
    files.filter(|(path, _)| !path.starts_with("/var/lib/dpkg/status") && !path.ends_with("-old")).collect()
}

/// Demands that nothing has changed.
#[track_caller]
pub(super) fn is_as_before(before: &BTreeMap<String, String>, chroot: &Chroot) {
    let after = snapshot(chroot);
    let gone =
        before.iter().filter(|(path, file)| after.get(*path) != Some(file)).map(|file| ("before", file));
    let come =
        after.iter().filter(|(path, file)| before.get(*path) != Some(file)).map(|file| ("after", file));
    let changes: Vec<_> = gone.chain(come).collect();
    assert!(changes.is_empty(), "{changes:#?}\n{}", chroot.in_words());
}

#[test]
fn purging_leaves_the_files_as_they_were() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let before = snapshot(&chroot);
        let deb = Edition::new("1").build(&chroot);
        chroot.run(&["dpkg", "--install", &deb]).succeeds();
        chroot.is_taken_over();
        chroot.run(&["dpkg", "--remove", "pyc-txn"]).succeeds().does_not_say("not empty");
        // A run that was killed may have staged on another filesystem, and said where.
        chroot.sh("mkdir -p -m 700 /srv/.pyc-txn-7-1; touch /srv/.pyc-txn-7-1/1").succeeds();
        chroot.write("/var/lib/pyc-txn/staging/7/place-1", "/srv\0.pyc-txn-7-1");
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds().does_not_say("not empty");
        chroot.is_given_back();
        is_as_before(&before, &chroot);
    });
}

#[test]
fn purging_believes_no_note_that_names_something_else() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let deb = Edition::new("1").build(&chroot);
        chroot.run(&["dpkg", "--install", &deb]).succeeds();
        chroot.sh("mkdir -p /srv/kept /srv/.pyc-txn-7-2; ln -s kept /srv/.pyc-txn-7-1; chown 1 /srv/.pyc-txn-7-2")
            .succeeds();
        chroot.run(&["dpkg", "--remove", "pyc-txn"]).succeeds();
        for (name, note) in
            [("place-1", "/srv\0.pyc-txn-7-1"), ("place-2", "/srv\0.pyc-txn-7-2"), ("place-3", "/srv\0kept")]
        {
            chroot.write(&format!("/var/lib/pyc-txn/staging/7/{name}"), note);
        }
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        chroot.sh("cd /srv; test -d kept; test -d .pyc-txn-7-2; test -L .pyc-txn-7-1").succeeds();
    });
}

#[test]
fn a_removed_package_stays_out_of_the_way_until_it_is_purged() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let before = snapshot(&chroot);
        let deb = Edition::new("1").build(&chroot);
        chroot.run(&["dpkg", "--install", &deb]).succeeds();
        chroot.run(&["dpkg", "--remove", "pyc-txn"]).succeeds();
        chroot.is_given_back();
        let other = Package::new("other", "1").build(&chroot);
        for script in [
            format!("apt-get install -y {other}"),
            "dpkg --configure -a".to_owned(),
            "dpkg --purge other".to_owned(),
        ] {
            chroot.sh(&script).succeeds().does_not_say("pyc-txn");
        }
        chroot.run(&["dpkg", "--install", &deb]).succeeds();
        chroot.is_taken_over();
        chroot.run(&["dpkg", "--remove", "pyc-txn"]).succeeds();
        chroot.run(&["dpkg", "--purge", "pyc-txn"]).succeeds();
        is_as_before(&before, &chroot);
    });
}
