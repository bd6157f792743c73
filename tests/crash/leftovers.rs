//! Stopped runs, and what somebody or a power cut did before the recovery.

use std::fs;
use std::process::Command;

use crate::rounds::{Rounds, memory};
use crate::support::{PYTHON, World};

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
