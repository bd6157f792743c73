//! The state directory on another filesystem than the tree: staging stands in the tree, under a dot name.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rounds::{Rounds, Run, memory};
use crate::stopped::every_stop_of_a_commit_is_recovered;
use crate::support::{PYTHON, World};
use crate::trace::{self, Step};

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
fn the_note_about_a_staging_directory_stays_until_the_removal_of_that_is_durable() {
    let Some((world, _other)) = divided_world() else {
        return;
    };
    let mut rounds = Rounds::in_world(world);
    rounds.next();
    let commit = rounds.commit();
    goes_durably(&commit, true);
    let named = |name: &str| commit.steps.iter().find(|step| step.name == name).unwrap();
    let removed = commit.steps.iter().position(is_removal_of_place).unwrap();
    let sync = &commit.steps[removed + 1..].iter().find(|step| step.name == "sync").unwrap();
    // Rolled back by the run that failed.
    rounds.next();
    goes_durably(&rounds.run(&["commit"], Some("ENOSPC@journal: staged")), true);
    rounds.commit();
    // Rolled back, then finished, by a recovery.
    for (stop, is_there) in
        [(named("journal: committing"), true), (named("journal: committed"), true), (sync, false)]
    {
        rounds.next();
        rounds.stop_before(&["commit"], stop);
        goes_durably(&rounds.run(&["recover"], None), is_there);
        rounds.commit();
    }
}

fn is_removal_of_place(step: &Step) -> bool {
    step.name == "remove directory" && step.path.contains("/tree/.pyc-txn-")
}

/// Demands that a run removes the staging directory in the tree, if it is there, syncs that, and then removes the note.
#[track_caller]
fn goes_durably(run: &Run, is_there: bool) {
    let (steps, context) = (&run.steps, run.outcome.context());
    let removed = steps.iter().rposition(is_removal_of_place);
    assert_eq!(removed.is_some(), is_there, "{steps:#?}\n{context}");
    let is_sync = |step: &Step| step.name == "sync" && step.path.contains("/tree");
    let sync = steps.iter().rposition(is_sync);
    let note = steps.iter().rposition(|step| step.name == "remove file" && step.path.ends_with("/place-1"));
    assert!(removed <= sync && sync.is_some() && sync < note, "{steps:#?}\n{context}");
    // The sync at the end of publishing is another one.
    let settled =
        steps.iter().rposition(|step| ["journal: committed", "journal: rolled back"].contains(&&*step.name));
    assert!(settled < sync, "{steps:#?}\n{context}");
}

#[test]
fn adopted_bytecode_is_durable_before_it_is_called_staged() {
    let Some((world, _other)) = divided_world() else {
        return;
    };
    // Its bytecode is on a third filesystem, where nothing is staged.
    let source = world.write("pkg/a.py", "VERSION = 1\n");
    std::fs::create_dir(world.tree().join("pkg/__pycache__")).unwrap();
    let Some(_third) = Filesystem::mounted_at(&world.tree().join("pkg/__pycache__")) else {
        return;
    };
    let compiled = Command::new(PYTHON).args(["-m", "py_compile"]).arg(&source).status().unwrap();
    assert!(compiled.success());
    let trace = world.beside("trace");
    let mut command = world.command(&["commit"]);
    command.arg(world.tree()).env("PYC_TXN_TRACE", &trace);
    let outcome = world.outcome(command).exits(0).says("adopted 1");
    let steps = trace::read(&trace);
    let sync = steps.iter().position(|step| step.name == "sync" && step.path.ends_with("/pkg/__pycache__"));
    let staged = steps.iter().position(|step| step.name == "journal: staged");
    assert!(sync.is_some() && sync < staged, "{steps:#?}\n{}", outcome.context());
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
    /// The same, on a directory that belongs to somebody else.
    MountedAt(PathBuf),
    Found(tempfile::TempDir),
}

impl Filesystem {
    /// A tmpfs on the directory `path`, if there is the right to mount one.
    fn mounted_at(path: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "pyc-txn-test"]).arg(path).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: no right to mount a filesystem");
        }
        mounted.then(|| Self::MountedAt(path.to_owned()))
    }

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
            Self::MountedAt(path) => path,
        }
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        if !matches!(self, Self::Found(_)) {
            let _ = Command::new("umount").arg(self.directory()).status();
        }
    }
}
