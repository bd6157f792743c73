//! Stopped runs, and what somebody or a power cut did before the recovery.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rounds::{Rounds, memory};
use crate::support::{Outcome, PYTHON, World};
use crate::trace;
use crate::witness::Witness;

#[test]
fn a_cache_that_was_placed_as_a_whole_and_is_gone_since_is_not_made_again() {
    let rounds = Rounds::before_the_first(World::new_in(&memory()));
    rounds.world.write("pkg/a.py", "VERSION = 1\n");
    let run = rounds.run(&["commit"], None);
    let is_whole = |path: &str| path.ends_with("/pkg/__pycache__");
    let placed = run.steps.iter().position(|step| step.name == "rename" && is_whole(&step.path));
    let next = run.steps[placed.unwrap() + 1].clone();
    let cache = rounds.world.tree().join("pkg/__pycache__");
    fs::remove_dir_all(&cache).unwrap();
    fs::remove_dir_all(rounds.world.state()).unwrap();
    rounds.stop_before(&["commit"], &next);
    fs::remove_dir_all(&cache).unwrap();
    let recovered = rounds.run(&["recover"], None).outcome.exits(0);
    assert!(!cache.exists(), "{}", recovered.context());
    rounds.run(&["commit"], None).outcome.exits(0).says("compiled 1");
    assert!(rounds.world.pyc("pkg/a.py").exists());
}

/// A boot after a clean shutdown: this machine's own bytecode is none of these tests' business.
fn booted(world: &World) -> Outcome {
    world.run(&["hook", "shutdown"]).exits(0);
    world.run(&["hook", "boot"])
}

/// More than are in memory at a time, so that outcomes come into the journal before the end.
#[test]
fn adopted_bytecode_is_looked_at_again_after_a_power_cut_that_took_the_staging_directory_back() {
    const EACH: usize = 513;
    let world = World::new_in(&memory());
    for directory in ["a", "b", "c"] {
        for number in 0..EACH {
            world.write(format!("{directory}/module_{number}.py"), format!("VERSION = {number}\n"));
        }
    }
    let compiled = Command::new(PYTHON).args(["-m", "compileall", "-q"]).arg(world.tree()).status();
    assert!(compiled.unwrap().success());
    let mut command = world.command(&["commit"]);
    command.arg(world.tree()).env("PYC_TXN_FAULT", "abort@journal: staged");
    let stopped = world.outcome(command);
    let known = "SELECT count(*) FROM intents WHERE outcome = 'adopted'";
    assert!(stopped.signal.is_some() && world.query::<i64>(known) >= EACH as i64, "{}", stopped.context());
    // btrfs keeps what the journal has synced, and neither the directory that was made before nor the bytes of others.
    fs::remove_dir_all(world.state().join("staging")).unwrap();
    let torn = world.pyc("a/module_0.py");
    fs::write(&torn, "").unwrap();
    let recovered = world.run(&["recover"]).exits(0).says(&format!("{} pending", 3 * EACH));
    assert_eq!(world.query::<i64>(known), 0, "{}", recovered.context());
    let outcome = world.commit().exits(0).says("compiled 1,").says(&format!("adopted {}", 3 * EACH - 1));
    assert!(fs::metadata(&torn).unwrap().len() > 16, "{}", outcome.context());
}

/// A directory of a tree whose contents are elsewhere, and bound to it.
struct Bound {
    behind: PathBuf,
    at: PathBuf,
}

impl Bound {
    /// `None`, which it says, if there is no right to mount anything.
    fn new(world: &World) -> Option<Self> {
        let bound = Self { behind: world.beside("behind"), at: world.tree().join("bound") };
        fs::create_dir(&bound.behind).unwrap();
        if !bound.mount() {
            eprintln!("SKIPPED: no right to mount a filesystem");
            return None;
        }
        Some(bound)
    }

    fn mount(&self) -> bool {
        fs::create_dir_all(&self.at).unwrap();
        let mounted = Command::new("mount").arg("--bind").args([&self.behind, &self.at]).output();
        mounted.is_ok_and(|output| output.status.success())
    }

    fn unmount(&self) {
        assert!(Command::new("umount").arg(&self.at).status().unwrap().success());
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output();
    }
}

/// A world with six sources on a filesystem of their own, whose files are published one by one, and another source.
fn six_elsewhere() -> Option<(World, Bound)> {
    let world = World::new_in(&memory());
    let bound = Bound::new(&world)?;
    world.write("plain/a.py", "VERSION = 1\n");
    (0..6).for_each(|number| drop(world.write(format!("bound/pkg/m{number}.py"), "VERSION = 1\n")));
    fs::create_dir(world.tree().join("bound/pkg/__pycache__")).unwrap();
    Some((world, bound))
}

/// Commits the tree, and stops behind the second of the six.
fn stop_in_the_middle(world: &World) -> Outcome {
    let trace = world.beside("trace");
    let commit = |fault: Option<String>| {
        let mut command = world.command(&["commit", "-j", "1"]);
        command.arg(world.tree()).env("PYC_TXN_TRACE", &trace);
        command.envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        world.outcome(command)
    };
    commit(None).exits(0).says("compiled 7 ");
    let is_placed = |path: &str| path.contains("/bound/pkg/__pycache__/");
    let steps = trace::read(&trace);
    let third =
        steps.iter().filter(|step| step.name == "rename" && is_placed(&step.path)).nth(2).unwrap().number;
    fs::remove_dir_all(world.state()).unwrap();
    fs::remove_dir_all(world.tree().join("plain/__pycache__")).unwrap();
    (0..6).for_each(|number| fs::remove_file(world.pyc(format!("bound/pkg/m{number}.py"))).unwrap());
    let stopped = commit(Some(format!("abort@{third}")));
    assert_eq!(placed(world), 2, "{}", stopped.context());
    stopped
}

/// How many of the six are in place.
fn placed(world: &World) -> usize {
    (0..6).filter(|number| world.pyc(format!("bound/pkg/m{number}.py")).exists()).count()
}

fn is_left_in(directory: &Path) -> bool {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.into_iter().any(|name| name.to_string_lossy().starts_with(".pyc-txn-"))
}

#[test]
fn what_is_decided_for_a_filesystem_that_is_not_mounted_is_pending_until_it_is() {
    // Some take their mount points with them.
    for has_mount_point in [true, false] {
        let Some((world, bound)) = six_elsewhere() else {
            return;
        };
        let stopped = stop_in_the_middle(&world);
        bound.unmount();
        if !has_mount_point {
            fs::remove_dir(&bound.at).unwrap();
        }
        let waits = format!("6 pending until a filesystem is mounted on '{}'", bound.at.display());
        let recovered = world.run(&["recover"]).exits(0).says("is finished now").says(&waits);
        let context = format!("{}{}", stopped.context(), recovered.context());
        assert!(world.pyc("plain/a.py").exists(), "{context}");
        assert_eq!(has_mount_point, bound.at.exists(), "{context}");
        assert!(!world.pyc("bound/pkg/m0.py").parent().unwrap().exists(), "{context}");
        // Nobody has to wait for it, and nothing is done again and again.
        let other = world.write("plain/b.py", "VERSION = 1\n");
        world.run(&["commit", other.to_str().unwrap()]).exits(0).says("compiled 1 ").says(&waits);
        let transactions = "SELECT count(*) FROM transactions";
        let before: i64 = world.query(transactions);
        let boot = booted(&world).exits(0);
        assert_eq!(boot.stdout.clone() + &boot.stderr, "", "{}", boot.context());
        world.commit().exits(0).says("nothing to do");
        assert_eq!(world.query::<i64>(transactions), before, "{}", boot.context());
        let status = world.run(&["status"]).exits(0).says("6 pending wait for the filesystem of ");
        status.says("/.pyc-txn-1-").says("could not be removed; the next run tries again");
        assert!(is_left_in(&bound.behind.join("pkg")));
        // It is back.
        assert!(bound.mount());
        let boot = booted(&world).exits(0);
        let context = format!("{context}{}", boot.context());
        assert_eq!(placed(&world), 6, "{context}");
        assert!(!is_left_in(&bound.at.join("pkg")), "{context}");
        assert_eq!(fs::read_dir(world.state().join("staging")).unwrap().count(), 0, "{context}");
        world.commit().exits(0).says("nothing to do (8 up to date)").does_not_say("pending");
    }
}

#[test]
fn what_is_decided_for_a_directory_that_was_deleted_is_given_up() {
    let Some((world, bound)) = six_elsewhere() else {
        return;
    };
    stop_in_the_middle(&world);
    fs::remove_dir_all(bound.at.join("pkg")).unwrap();
    let recovered = world.run(&["recover"]).exits(0).does_not_say("pending until");
    assert!(!is_left_in(&bound.at), "{}", recovered.context());
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions WHERE ended IS NULL"), 0);
}

#[test]
fn a_commit_stopped_at_any_step_is_completed_though_a_filesystem_is_away_when_it_is_recovered() {
    let Some((world, bound)) = six_elsewhere() else {
        return;
    };
    let mut witness = Witness::new();
    for step in 1.. {
        let mut command = world.command(&["commit", "-j", "1"]);
        command.arg(world.tree()).env("PYC_TXN_FAULT", format!("abort@{step}"));
        let stopped = world.outcome(command);
        bound.unmount();
        let recovered = world.run(&["recover"]).exits(0);
        let is_recorded = world.query::<i64>("SELECT count(*) FROM intents") > 0;
        world.run(&["commit", world.tree().join("plain").to_str().unwrap()]).exits(0);
        assert!(bound.mount());
        // A record is not lost, whenever it was written: nobody need ask again.
        let boot = booted(&world).exits(0);
        let context = format!("{}{}{}", stopped.context(), recovered.context(), boot.context());
        assert!(!is_recorded || placed(&world) == 6, "{context}");
        witness.look(&world.tree(), &context);
        let completed = world.commit().exits(0);
        let context = format!("{context}{}", completed.context());
        assert_eq!(witness.look(&world.tree(), &context).len(), 7, "{context}");
        assert!(!is_left_in(&bound.at.join("pkg")), "{context}");
        assert_eq!(fs::read_dir(world.state().join("staging")).unwrap().count(), 0, "{context}");
        let unfinished = world.query::<i64>("SELECT count(*) FROM transactions WHERE ended IS NULL");
        assert_eq!(unfinished, 0, "{context}");
        if stopped.signal.is_none() {
            assert!(step > 30, "only {step} steps\n{context}");
            return;
        }
        fs::remove_dir_all(world.state()).unwrap();
        fs::remove_dir_all(world.tree().join("plain/__pycache__")).unwrap();
        (0..6).for_each(|number| fs::remove_file(world.pyc(format!("bound/pkg/m{number}.py"))).unwrap());
    }
}
