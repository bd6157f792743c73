//! Several at once: commits, records, status, and the lock.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::aid::{Running, finish, start};
use crate::fake::Fake;
use crate::support::{Outcome, World};

/// A commit that is busy until the fake releases its worker: it holds the lock all the while.
fn busy_commit(world: &World, fake: &Fake) -> Running {
    let slow = world.beside("slow");
    fs::create_dir(&slow).unwrap();
    fs::write(slow.join("slow.py"), "# worker: held()\nx = 'done'\n").unwrap();
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(slow);
    let commit = start(command);
    fake.worker();
    commit
}

fn commit(world: &World) -> Command {
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    command
}

/// Runs the program beside another; if the two wait for each other the test ends all the same.
#[track_caller]
fn run(world: &World, arguments: &[&str]) -> Outcome {
    finish(world, start(world.command(arguments)))
}

#[test]
fn two_commits_at_once_compile_everything_once() {
    let world = World::new();
    for number in 0..30 {
        world.write(format!("{number}.py"), "x = 1\n");
    }
    let both = [start(commit(&world)), start(commit(&world))];
    for one in both {
        finish(&world, one).exits(0);
    }
    let compiled: i64 = world.query("SELECT count(*) FROM intents WHERE outcome = 'compiled'");
    assert_eq!(compiled, 30);
    world.commit().exits(0).says("nothing to do (30 up to date)");
}

#[test]
fn many_commits_of_many_trees_at_once_all_end_well() {
    let world = World::new();
    let mut all = Vec::new();
    for number in 0..8 {
        let source = world.write(format!("{number}/a.py"), "x = 1\n");
        let mut command = world.command(&["commit"]);
        command.arg(source.parent().unwrap());
        all.push(start(command));
    }
    for one in all {
        finish(&world, one).exits(0);
    }
    assert!((0..8).all(|number| world.pyc(format!("{number}/a.py")).exists()));
    assert_eq!(world.query::<i64>("SELECT count(*) FROM ledger"), 8);
}

#[test]
fn records_do_not_wait_for_a_commit_and_all_of_them_land() {
    let world = World::new();
    let fake = Fake::new(&world);
    let commit = busy_commit(&world, &fake);
    let mut records = Vec::new();
    for number in 0..20 {
        let source = world.write(format!("{number}.py"), "x = 1\n");
        let mut command = world.command(&["record"]);
        command.arg(source);
        records.push(start(command));
    }
    for record in records {
        finish(&world, record).exits(0).says("recorded 1 ").does_not_say("waiting");
    }
    // The commit is still at it: what was recorded beside it is not its own.
    fake.release();
    finish(&world, commit).exits(0).says("compiled 1 ");
    let pending = "SELECT count(*) FROM intents WHERE outcome IS NULL";
    assert_eq!(world.query::<i64>(pending), 20);
    let slow = world.beside("slow");
    world.run(&["commit", slow.to_str().unwrap()]).exits(0).says("compiled 20 ");
    assert!((0..20).all(|number| world.pyc(format!("{number}.py")).exists()));
}

#[test]
fn what_is_recorded_again_while_it_is_compiled_is_compiled_again() {
    let world = World::new();
    let fake = Fake::new(&world);
    let commit = busy_commit(&world, &fake);
    let source = world.beside("slow").join("slow.py");
    fs::write(&source, "x = 'newer'\n").unwrap();
    run(&world, &["record", source.to_str().unwrap(), "--python", fake.path()]).exits(0).says("recorded 1");
    fake.release();
    finish(&world, commit);
    let outcome = run(&world, &["commit", source.to_str().unwrap(), "--python", fake.path()]).exits(0);
    let pyc = world.pyc(&source);
    assert_eq!(crate::oracle::value(&pyc, "x"), "'newer'", "{}", outcome.context());
    assert_eq!(world.query::<i64>("SELECT count(*) FROM intents WHERE outcome IS NULL"), 0);
}

#[test]
fn status_and_log_can_be_read_beside_a_commit() {
    let world = World::new();
    let fake = Fake::new(&world);
    let commit = busy_commit(&world, &fake);
    let status = run(&world, &["status"])
        .exits(0)
        .says("another pyc-txn is at work just now")
        .says("transaction 1 is recording");
    assert_eq!(status.stderr, "", "{}", status.context());
    let json: serde_json::Value =
        serde_json::from_str(&run(&world, &["status", "--json"]).exits(0).stdout).unwrap();
    assert_eq!(json["busy"], true);
    run(&world, &["log"]).exits(0).says("recording");
    let tree = world.tree();
    run(&world, &["commit", "--dry-run", tree.to_str().unwrap()]).exits(0);
    fake.release();
    finish(&world, commit).exits(0);
    run(&world, &["status"]).exits(0).does_not_say("at work").says("no transaction is open");
}

#[test]
fn a_commit_that_has_to_wait_says_so_and_goes_on_then() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let fake = Fake::new(&world);
    let first = busy_commit(&world, &fake);
    let mut second = start(commit(&world));
    let mut stderr = BufReader::new(second.stderr());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "pyc-txn: waiting for another pyc-txn to finish\n");
    assert!(!world.pyc("a.py").exists());
    fake.release();
    finish(&world, first).exits(0);
    finish(&world, second).exits(0).says("compiled 1 ");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(world.pyc("a.py").exists());
}

#[test]
fn a_lock_that_is_not_let_go_ends_with_its_own_status() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    run(&world, &["recover"]).exits(0);
    let lock = File::open(world.state().join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let tree = world.tree();
    let commit = ["commit", "--wait", "0", tree.to_str().unwrap()];
    for arguments in [&commit[..], &["stage", "--wait", "0"], &["recover", "--wait", "0"]] {
        run(&world, arguments).exits(4).says("another pyc-txn holds the lock and did not let go within 0 s");
    }
    run(&world, &["record", world.tree().to_str().unwrap()]).exits(0).says("recorded 1");
    run(&world, &["status"]).exits(0).says("another pyc-txn is at work just now");
    assert_eq!(world.tree_files(), ["a.py"]);
    drop(lock);
    world.commit().exits(0).says("compiled 1 ");
}

#[test]
fn a_second_commit_waits_no_longer_than_it_is_told() {
    let world = World::new();
    let fake = Fake::new(&world);
    let first = busy_commit(&world, &fake);
    let tree = world.tree();
    run(&world, &["commit", "--wait", "1", tree.to_str().unwrap()])
        .exits(4)
        .says("waiting")
        .says("within 1 s");
    fake.release();
    finish(&world, first).exits(0);
}
