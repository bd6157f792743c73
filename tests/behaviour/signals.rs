//! Signals end a run in order.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::aid::{ends, finish, start};
use crate::fake::Fake;
use crate::support::{Outcome, World};

/// A run gets `signal` while a worker of it is at work that never ends.
fn signalled(world: &World, fake: &Fake, signal: Signal) -> Outcome {
    world.write("busy.py", "# worker: ready(); signal.pause()\n");
    world.write("other.py", "x = 1\n");
    let mut command = world.command(&["commit", "-j", "2", "--python", fake.path()]);
    command.arg(world.tree());
    let driver = start(command);
    let worker = fake.worker();
    kill_process(driver.pid(), signal).unwrap();
    let outcome = finish(world, driver);
    assert!(ends(worker), "the worker goes on\n{}", outcome.context());
    outcome
}

#[test]
fn a_signal_rolls_the_transaction_back_and_what_it_was_to_do_is_pending() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let world = World::new();
        let fake = Fake::new(&world);
        let outcome = signalled(&world, &fake, signal)
            .exits(3)
            .says("interrupted")
            .says("transaction 1 is rolled back: nothing has changed, and what it was to do is pending");
        assert_eq!(world.tree_files(), ["busy.py", "other.py"], "{signal:?}\n{}", outcome.context());
        assert!(!world.state().join("staging/1").exists(), "{}", outcome.context());
        let pending = "SELECT count(*) FROM intents JOIN transactions t ON t.id = txn
                       WHERE state = 'recording' AND outcome IS NULL";
        assert_eq!(world.query::<i64>(pending), 2, "{}", outcome.context());
        let state: String = world.query("SELECT state FROM transactions WHERE id = 1");
        assert_eq!(state, "rolled-back");
        // Pending means that it need not be named again.
        fs::write(world.tree().join("busy.py"), "x = 'free'\n").unwrap();
        let other = world.tree().join("other.py");
        world.run(&["commit", "--python", fake.path(), other.to_str().unwrap()]).exits(0).says("compiled 2 ");
    }
}

#[test]
fn two_signals_are_no_worse_than_one() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("busy.py", "# worker: ready(); signal.pause()\n");
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let driver = start(command);
    fake.worker();
    kill_process(driver.pid(), Signal::INT).unwrap();
    kill_process(driver.pid(), Signal::TERM).unwrap();
    finish(&world, driver).exits(3).says("is rolled back");
    assert_eq!(world.tree_files(), ["busy.py"]);
}

#[test]
fn a_signal_while_waiting_for_an_interpreters_answer_ends_the_run() {
    let world = World::new();
    let fake = Fake::new(&world);
    let source = fs::read_to_string(fake.path()).unwrap();
    fs::write(fake.path(), source.replace("if is_worker:", "ready(); signal.pause()\nif 1:")).unwrap();
    world.write("a.py", "x = 1\n");
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let driver = start(command);
    let asked = fake.worker();
    kill_process(driver.pid(), Signal::TERM).unwrap();
    let outcome = finish(&world, driver).exits(3).says("interrupted");
    assert!(ends(asked), "{}", outcome.context());
    assert_eq!(world.tree_files(), ["a.py"]);
}
