//! The state directory on another filesystem than the tree: staging stands in the tree, under a dot name.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rounds::{Rounds, memory};
use crate::stopped::every_stop_of_a_commit_is_recovered;
use crate::support::World;

#[test]
fn a_commit_with_its_staging_in_the_tree_stopped_at_any_step_leaves_nothing_there() {
    let Some((world, _other)) = divided_world() else {
        return;
    };
    let mut rounds = Rounds::in_world(world);
    let steps = rounds.rehearse(&["commit"]);
    let is_in_tree = |path: &str| path.contains("/tree/.pyc-txn-");
    let written = steps.iter().filter(|step| step.name == "write file");
    assert!(
        written.clone().count() > 5
            && written.clone().all(|step| is_in_tree(&step.path) || step.path.ends_with("/place-1")),
        "{steps:#?}"
    );
    // No crash leaves a directory that nobody finds: a note in the state directory is durable first.
    let at = |name: &str| steps.iter().position(|step| step.name == name);
    let noted = steps.iter().position(|step| step.name == "write file" && step.path.ends_with("/place-1"));
    let made = steps.iter().position(|step| step.name == "create directory" && is_in_tree(&step.path));
    assert!(
        noted.is_some() && noted < at("sync") && at("sync") < made && made < at("journal: staged"),
        "{steps:#?}"
    );
    let removed = steps.iter().position(|step| step.name == "remove directory" && is_in_tree(&step.path));
    let unnoted =
        steps.iter().rposition(|step| step.name == "remove file" && step.path.ends_with("/place-1"));
    assert!(at("journal: committed") < removed && removed < unnoted, "{steps:#?}");
    every_stop_of_a_commit_is_recovered(&mut rounds);
}

#[test]
fn a_staging_directory_in_the_tree_goes_even_when_the_journal_is_lost() {
    let Some((world, _other)) = divided_world() else {
        return;
    };
    let mut rounds = Rounds::in_world(world);
    let steps = rounds.rehearse(&["commit"]);
    let committing = steps.iter().find(|step| step.name == "journal: committing").unwrap();
    rounds.next();
    let stopped = rounds.stop_before(&["commit"], committing);
    std::fs::write(rounds.world.state().join("journal.sqlite3"), "no journal at all").unwrap();
    let commit = rounds.run(&["commit"], None).outcome.exits(1).says("is damaged");
    rounds.nothing_is_left(&format!("{}{}", stopped.context(), commit.context()));
}

/// A world with its state directory on another filesystem, and that one; says so where there is none to be had.
fn divided_world() -> Option<(World, Filesystem)> {
    let world = World::new_in(&memory());
    let Some(other) = Filesystem::other_than(&world.beside("")) else {
        eprintln!("SKIPPED: no second filesystem, and no right to mount one");
        return None;
    };
    // The state directory is where the administrator wants it: a symlink there is followed.
    std::os::unix::fs::symlink(other.directory(), world.state()).unwrap();
    Some((world, other))
}

/// A directory on another filesystem.
enum Filesystem {
    /// A tmpfs of our own.
    Mounted(tempfile::TempDir),
    Found(tempfile::TempDir),
}

impl Filesystem {
    fn other_than(place: &Path) -> Option<Self> {
        let mount = tempfile::Builder::new().prefix("pyc-txn-mount-").tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "pyc-txn-test"]).arg(mount.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self::Mounted(mount));
        }
        let here = std::fs::metadata(place).unwrap().dev();
        let is_other = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.dev() != here);
        let mut places = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()].into_iter();
        let directory = tempfile::Builder::new().tempdir_in(places.find(is_other)?).ok()?;
        Some(Self::Found(directory))
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Mounted(directory) | Self::Found(directory) => directory.path(),
        }
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        if let Self::Mounted(directory) = self {
            let _ = Command::new("umount").arg(directory.path()).status();
        }
    }
}
