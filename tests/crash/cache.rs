//! With a shared bytecode cache: a run that is stopped in it is recovered as any other, and none fails for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::rounds::{Rounds, memory};
use crate::stopped::every_stop_of_a_commit_is_recovered;
use crate::support::World;

/// Rounds that share a cache beside their tree. Its directories are there, so that each round has the same steps.
fn rounds() -> Rounds {
    let world = World::new_in(&memory());
    let cache = world.beside("cache");
    for shard in 0..=u8::MAX {
        fs::create_dir_all(cache.join(format!("{shard:02x}"))).unwrap();
    }
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    let mut rounds = Rounds::before_the_first(world);
    rounds.cache = Some(cache);
    rounds.after_the_first()
}

/// The files of entries, those that are being written told apart.
fn entries(cache: &Path) -> (usize, usize) {
    let files = |directory: &Path| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files(cache).filter(|path| path.is_dir()).flat_map(|shard| files(&shard)).collect();
    let is_new = |path: &&std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("new-");
    let new = files.iter().filter(is_new).count();
    (files.len() - new, new)
}

#[test]
fn a_commit_stopped_at_any_step_leaves_a_cache_that_the_next_can_use() {
    let mut rounds = rounds();
    let cache = rounds.cache.clone().unwrap();
    let steps = rounds.rehearse(&["commit"]);
    let in_cache = steps.iter().filter(|step| Path::new(&step.path).starts_with(&cache)).count();
    assert!(in_cache > 8, "{steps:#?}");
    // Every round ends with a commit that uses what the stopped run has put in, and every pyc is looked at.
    every_stop_of_a_commit_is_recovered(&mut rounds);
    let (whole, unfinished) = entries(&cache);
    assert!(whole > 20 && unfinished > 2, "{whole} entries, {unfinished} unfinished");
    let cleared = rounds.run(&["cache", "--clear"], None).outcome.exits(0);
    cleared.says(&format!("{whole} entries removed"));
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "the tally is all that is left");
}

#[test]
fn an_error_of_the_cache_at_any_step_fails_nothing() {
    let mut rounds = rounds();
    let cache = rounds.cache.clone().unwrap();
    for (errno, words) in [
        ("ENOSPC", "No space left on device"),
        ("EIO", "Input/output error"),
        ("EROFS", "Read-only file system"),
        ("EMFILE", "Too many open files"),
    ] {
        let mut failures = 0;
        for step in 1.. {
            rounds.next();
            let rehearsed = rounds.run(&["commit"], Some(&format!("{errno}@{step}")));
            let Some(failed) = rehearsed.steps.get(step - 1) else { break };
            if !Path::new(&failed.path).starts_with(&cache) {
                rounds.commit();
                continue;
            }
            failures += 1;
            rounds.is_complete(&rehearsed.outcome);
            // One that is only read does not count.
            let is_said = errno != "EROFS" || !failed.path.ends_with("/tally");
            let says = rehearsed.outcome.stderr.matches("is not written to: cannot ").count();
            assert_eq!(says, usize::from(is_said), "{failed:?}\n{}", rehearsed.outcome.context());
            assert!(!is_said || rehearsed.outcome.stderr.contains(words), "{}", rehearsed.outcome.context());
        }
        assert!(failures > 8, "{errno} at {failures} steps only");
    }
}
