//! How large the shared bytecode cache may grow, who has to go, and what it says of itself.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::aid::{finish, names, set_mtime, stamp, start};
use crate::cache::{Shared, TIME, commit, configured, system};
use crate::oracle;
use crate::support::World;

/// Sources whose code takes about 200 kB each.
fn large(names: [&'static str; 4]) -> Vec<(&'static str, String)> {
    names.iter().map(|name| (*name, format!("x = '{}'\n", "-".repeat(200_000)))).collect()
}

#[test]
fn what_was_used_last_stays_when_the_cache_is_too_large() {
    let shared = Shared::new();
    let commit_with_limit = |sources: &[(&str, String)]| {
        let world = system(&sources.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
        let limit = configured(&world, "cache = { megabytes = 1 }\n");
        shared.commit(&world, &["--config", limit.to_str().unwrap()]).exits(0)
    };
    let (old, new) = (large(["a.py", "b.py", "c.py", "d.py"]), large(["e.py", "f.py", "g.py", "h.py"]));
    let only_a = &old[..1];
    commit_with_limit(&old).says("compiled 4 ");
    for entry in shared.entries() {
        set_mtime(&entry, TIME, 0);
    }
    commit_with_limit(only_a).says("reused 1 ");
    assert_eq!(shared.entries().len(), 4);
    commit_with_limit(&new[..3]).says("compiled 3 ");
    let bytes = shared.json("bytes").as_u64().unwrap();
    assert!((600_000..=1_000_000).contains(&bytes), "{bytes}");
    commit_with_limit(only_a).says("reused 1 ");
    commit_with_limit(&new[..3]).says("reused 3 ");
    commit_with_limit(&old[1..]).says("compiled 3 ");
}

#[test]
fn the_limit_holds_after_every_run() {
    let shared = Shared::new();
    for names in [["a.py", "b.py", "c.py", "d.py"], ["e.py", "f.py", "g.py", "h.py"]] {
        let sources = large(names);
        let world = system(&sources.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
        let limit = configured(&world, "cache = { megabytes = 1 }\n");
        shared.commit(&world, &["--config", limit.to_str().unwrap()]).exits(0).says("compiled 4 ");
        let bytes = shared.json("bytes").as_u64().unwrap();
        assert!((600_000..=1_000_000).contains(&bytes), "{bytes}");
    }
    // What alone is too large does not drive out the others.
    let before = shared.entries();
    let text = format!("x = '{}'\n", "-".repeat(1_100_000));
    let world = system(&[("huge.py", &text)]);
    let limit = configured(&world, "cache = { megabytes = 1 }\n");
    shared.commit(&world, &["--config", limit.to_str().unwrap()]).exits(0).says("compiled 1 ");
    assert_eq!(shared.entries(), before);
}

#[test]
fn what_one_evicts_while_others_write_and_read_harms_nobody() {
    let shared = Shared::new();
    let sources = [large(["a.py", "b.py", "c.py", "d.py"]), large(["e.py", "f.py", "g.py", "h.py"])].concat();
    let sources: Vec<(&str, &str)> = sources.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let systems: Vec<World> = (0..6).map(|_| system(&sources)).collect();
    for _ in 0..3 {
        let running: Vec<_> = systems
            .iter()
            .map(|world| {
                let limit = configured(world, "cache = { megabytes = 1 }\n");
                fs::remove_dir_all(world.tree().join("__pycache__")).ok();
                let options = ["--config", limit.to_str().unwrap()];
                start(shared.given_to(commit(world, &options)))
            })
            .collect();
        for (world, running) in systems.iter().zip(running) {
            let outcome = finish(world, running).exits(0).does_not_say("the cache");
            for (name, _) in &sources {
                assert_eq!(oracle::filename(&world.pyc(name)), format!("/{name}"), "{}", outcome.context());
            }
        }
    }
}

#[test]
fn a_hit_is_noted_in_an_entry_that_was_not_used_for_long() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n")];
    shared.commit(&system(&sources), &[]).exits(0);
    let entry = &shared.entries()[0];
    set_mtime(entry, TIME, 0);
    shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ");
    let touched = stamp(entry);
    assert!(touched.2 > i64::try_from(TIME).unwrap(), "{touched:?}");
    shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ");
    assert_eq!(stamp(entry), touched);
}

#[test]
fn what_a_killed_writer_left_goes_and_what_another_is_writing_stays() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n")];
    shared.commit(&system(&sources), &[]).exits(0);
    let shard = shared.entries()[0].parent().unwrap().to_owned();
    let (old, young, other) =
        (shard.join("new-0123456789abcdef-0"), shard.join("new-0123456789abcdef-1"), shard.join("README"));
    for path in [&old, &young, &other] {
        fs::write(path, "half").unwrap();
        set_mtime(path, TIME, 0);
    }
    let minutes_ago = SystemTime::now() - Duration::from_secs(600);
    fs::File::open(&young).unwrap().set_modified(minutes_ago).unwrap();
    // Once a day everything is looked at; whoever finds no tally does it, too.
    fs::remove_file(shared.path.join("tally")).unwrap();
    shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ");
    assert_eq!((old.exists(), young.exists(), other.exists()), (false, true, true));
    shared.ask(&["--clear"]).exits(0).says("1 entries removed");
    assert_eq!((young.exists(), other.exists()), (false, true));
}

#[test]
fn its_size_and_use_are_shown_and_it_can_be_cleared() {
    let shared = Shared::new();
    for says in ["entries  0", "hits     0", "misses   0", "size     0 B of 1.00 GB"] {
        shared.ask(&[]).exits(0).says(says);
    }
    assert!(!shared.path.exists(), "showing it makes no directory");
    let sources = [("a.py", "x = 1\n"), ("b.py", "x = 2\n")];
    shared.commit(&system(&sources), &["-v"]).exits(0).says("cache: 0 hits, 2 misses");
    shared.commit(&system(&sources[..1]), &["-v"]).exits(0).says("cache: 1 hits, 0 misses");
    let path = shared.path.to_str().unwrap();
    for says in [path, "entries  2", "hits     1", "misses   2", "size     8.19 kB of 1.00 GB"] {
        shared.ask(&[]).exits(0).says(says);
    }
    let json: Value = serde_json::from_str(&shared.ask(&["--json"]).stdout).unwrap();
    let expected = serde_json::json!({
        "path": path, "entries": 2, "bytes": 8192, "limit": 1_000_000_000, "hits": 1, "misses": 2,
        "problem": null
    });
    assert_eq!(json, expected);
    shared.ask(&["--clear"]).exits(0).says("2 entries removed");
    assert_eq!(names(&shared.path), ["tally"]);
    shared.ask(&[]).exits(0).says("entries  0").says("hits     0").says("misses   0");
    shared.commit(&system(&sources), &[]).exits(0).says("compiled 2 ");
}

#[test]
fn a_tally_that_cannot_be_read_is_begun_anew() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n")];
    shared.commit(&system(&sources), &[]).exits(0);
    for damage in ["", "{\"hits\": -1}", "\0\0\0\0"] {
        fs::write(shared.path.join("tally"), damage).unwrap();
        shared.ask(&[]).exits(0).says("hits     0").says("entries  1");
        shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ").does_not_say("tally");
        shared.ask(&[]).exits(0).says("hits     1").says("misses   0");
    }
}
