//! Whom the shared bytecode cache trusts, and what it does where it cannot be read or written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::aid::{
    NOBODY, as_user, has_program, is_root, mode, mount, names, set_mode, snapshot, with_mounts,
};
use crate::cache::{Shared, system};
use crate::support::World;

const SOURCES: [(&str, &str); 2] = [("a.py", "x = 1\n"), ("b.py", "x = 2\n")];

fn chown(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), None).unwrap();
}

/// Demands that a commit is done without the cache, says why, once, and changes nothing in `untouched`; and that
/// `pyc-txn cache` says so, too.
#[track_caller]
fn is_refused(shared: &Shared, untouched: &Path, why: &str) {
    let before = snapshot(untouched);
    let outcome = shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 2 ").says(why);
    let says = format!("pyc-txn: the cache '{}' is not used: ", shared.path.display());
    assert_eq!(outcome.stderr.matches(&says).count(), 1, "{}", outcome.context());
    shared.ask(&[]).exits(1).says(&says).says(why);
    assert!(shared.json("problem").as_str().unwrap().contains(why));
    shared.ask(&["--clear"]).exits(3).says("is not cleared").says(why);
    assert!(snapshot(untouched) == before, "something changed\n{}", outcome.context());
}

/// A cache with the entries of [`SOURCES`].
fn filled() -> Shared {
    let shared = Shared::new();
    shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 2 ").does_not_say("cache");
    shared
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let shared = filled();
    for bits in [0o770, 0o777, 0o1777, 0o702, 0o720] {
        set_mode(&shared.path, bits);
        let why = format!(
            "'{0}' can be written by others than its owner (mode {bits:o}); chmod go-w '{0}'",
            shared.path.display()
        );
        is_refused(&shared, &shared.path, &why);
    }
    for bits in [0o700, 0o755, 0o750] {
        set_mode(&shared.path, bits);
        shared.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ").does_not_say("cache");
    }
}

#[test]
fn a_directory_above_that_others_may_write_is_refused() {
    let shared = filled();
    let above = shared.path.parent().unwrap().to_owned();
    for bits in [0o775, 0o777] {
        set_mode(&above, bits);
        is_refused(&shared, &above, &format!("'{}' can be written by others", above.display()));
    }
    // There others cannot take it away, nor put another one in its place.
    set_mode(&above, 0o1777);
    shared.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ").does_not_say("cache");
    // Nor is one made below.
    set_mode(&above, 0o777);
    let below = Shared::at(&above.join("new/cache"));
    let outcome = below.commit(&system(&SOURCES), &[]).exits(0).says("is not used");
    assert_eq!(names(&above), ["cache"], "{}", outcome.context());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !is_root("directories of another user") {
        return;
    }
    let shared = filled();
    chown(&shared.path, NOBODY);
    let why = format!("'{}' belongs to user {NOBODY}", shared.path.display());
    is_refused(&shared, &shared.path, &why);
    chown(&shared.path, 0);
    let above = shared.path.parent().unwrap();
    chown(above, NOBODY);
    is_refused(&shared, above, &format!("'{}' belongs to user {NOBODY}", above.display()));
}

#[test]
fn symlinks_are_followed_as_far_as_they_are_to_be_trusted() {
    let shared = filled();
    let above = shared.path.parent().unwrap();
    let (link, chain) = (above.join("link"), above.join("chain"));
    symlink("cache", &link).unwrap();
    symlink(above.join("./link"), &chain).unwrap();
    for path in [&link, &chain] {
        let linked = Shared::at(path);
        linked.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ").does_not_say("cache");
    }
    // What it leads to counts, not its own permissions; and what is on the way.
    set_mode(&shared.path, 0o777);
    is_refused(&Shared::at(&chain), above, "can be written by others");
    set_mode(&shared.path, 0o700);
    let open = above.join("open");
    fs::create_dir(&open).unwrap();
    symlink(&link, open.join("back")).unwrap();
    symlink(open.join("back"), above.join("through")).unwrap();
    set_mode(&open, 0o777);
    is_refused(&Shared::at(&above.join("through")), above, "open' can be written by others");
    is_refused(&Shared::at(&open.join("../cache")), above, "open' can be written by others");
    symlink("circle", above.join("circle")).unwrap();
    is_refused(&Shared::at(&above.join("circle")), above, "Too many levels of symbolic links");
    fs::write(above.join("file"), "").unwrap();
    is_refused(&Shared::at(&above.join("file")), above, "Not a directory");
    if is_root("symlinks of another user") {
        chown(&link, NOBODY);
        let why = format!("'{}' belongs to user {NOBODY}", link.display());
        is_refused(&Shared::at(&link), above, &why);
    }
}

#[test]
fn an_entry_of_another_user_or_that_others_may_write_is_not_believed() {
    let shared = filled();
    let entries = shared.entries();
    set_mode(&entries[0], 0o666);
    shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 1, reused 1 ");
    assert_eq!(mode(&entries[0]), 0o600);
    shared.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ");
    if is_root("entries of another user") {
        chown(&entries[0], NOBODY);
        shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 1, reused 1 ");
        shared.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ");
    }
    let elsewhere = shared.path.parent().unwrap().join("elsewhere");
    fs::rename(&entries[0], &elsewhere).unwrap();
    symlink(&elsewhere, &entries[0]).unwrap();
    shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 1, reused 1 ");
    assert!(entries[0].symlink_metadata().unwrap().is_file());
}

#[test]
fn users_have_their_own_and_what_is_root_s_they_cannot_use() {
    if !is_root("other users' caches") || !has_program("setpriv", "other users' caches") {
        return;
    }
    let shared = filled();
    let user = system(&SOURCES);
    let commit = |place: &Path| {
        let mut command = user.command(&["commit", "-f"]);
        command.arg(user.tree()).env("PYC_TXN_CACHE", place);
        user.outcome(as_user(&user, &command)).exits(0).says("compiled 2 ")
    };
    commit(&shared.path).says("is not used: cannot open").says("Permission denied");
    let own = user.tree().with_file_name("own");
    commit(&own).does_not_say("cache");
    assert_eq!(Shared::at(&own).entries().len(), 2);
    // Root does not take what a user compiled.
    let outcome = Shared::at(&own).commit(&system(&SOURCES), &[]).exits(0).says("compiled 2 ");
    outcome.says(&format!("belongs to user {NOBODY}"));
}

#[test]
fn a_cache_that_is_read_only_is_read() {
    if !is_root("read-only filesystems") {
        return;
    }
    let shared = filled();
    with_mounts(|| {
        let path = shared.path.to_str().unwrap();
        mount(&["--bind", path, path]);
        mount(&["-o", "remount,bind,ro", path]);
        let outcome = shared.commit(&system(&SOURCES), &[]).exits(0).says("reused 2 ");
        let outcome = outcome.does_not_say("the cache");
        assert_eq!(shared.json("hits"), 0, "{}", outcome.context());
        let more = [SOURCES[0], ("c.py", "x = 3\n"), ("d.py", "x = 4\n")];
        let outcome = shared.commit(&system(&more), &[]).exits(0).says("compiled 2, reused 1 ");
        let says = format!("pyc-txn: the cache '{path}' is not written to: cannot ");
        assert_eq!(outcome.stderr.matches(&says).count(), 1, "{}", outcome.context());
        outcome.says("Read-only file system");
    });
}

#[test]
fn a_cache_that_is_full_takes_nothing_more_and_holds_nothing_up() {
    if !is_root("full filesystems") {
        return;
    }
    let home = World::new();
    with_mounts(|| {
        let place = home.tree();
        mount(&["-t", "tmpfs", "-o", "mode=700,size=64k", "none", place.to_str().unwrap()]);
        let names: Vec<String> = (0..40).map(|number| format!("m{number}.py")).collect();
        let text = format!("x = '{}'\n", "-".repeat(5000));
        let sources: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
        let shared = Shared::at(&place);
        let world = system(&sources);
        let outcome = shared.commit(&world, &[]).exits(0).says("compiled 40 ");
        let says = format!("pyc-txn: the cache '{}' is not written to: cannot ", place.display());
        assert_eq!(outcome.stderr.matches(&says).count(), 1, "{}", outcome.context());
        let outcome = outcome.says("No space left on device");
        assert!(names.iter().all(|name| world.pyc(name).exists()), "{}", outcome.context());
        let entries = shared.entries();
        assert!((1..12).contains(&entries.len()), "{entries:?}\n{}", outcome.context());
        let whole = |entry: &std::path::PathBuf| !entry.to_str().unwrap().contains("/new-");
        assert!(entries.iter().all(whole), "{entries:?}\n{}", outcome.context());
        let reused = format!("reused {} ", entries.len());
        shared.commit(&system(&sources), &[]).exits(0).says(&reused);
        // The first that has no room is the last that is tried, though there is room for the next, a small one.
        shared.ask(&["--clear"]).exits(0);
        let huge = format!("x = '{}'\n", "-".repeat(100_000));
        let sources = [("a.py", huge.as_str()), ("b.py", "x = 1\n")];
        let outcome = shared.commit(&system(&sources), &["-j", "1"]).exits(0).says("No space left on device");
        assert_eq!(shared.json("entries"), 0, "{}", outcome.context());
    });
}

#[test]
fn a_place_where_none_can_be_made_is_said_and_nothing_else() {
    let shared = Shared::new();
    let file = shared.path.parent().unwrap();
    fs::write(file, "").unwrap();
    let outcome = shared.commit(&system(&SOURCES), &[]).exits(0).says("compiled 2 ");
    outcome.says("is not used: cannot examine").says("Not a directory");
}
