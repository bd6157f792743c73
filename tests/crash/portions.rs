//! A transaction of more intents than are in memory at a time: stopped between its portions.

use std::fs;

use crate::rounds::memory;
use crate::support::{Outcome, World};
use crate::trace::{self, Step};

/// Sources in each of the directories: the first two are a portion, the third is another.
const EACH: usize = 513;
const ALL: usize = 3 * EACH;

struct Tree(World);

impl Tree {
    fn new() -> Self {
        let world = World::new_in(&memory());
        for directory in ["a", "b", "c"] {
            for number in 0..EACH {
                world.write(format!("{directory}/module_{number}.py"), format!("VERSION = {number}\n"));
            }
        }
        Self(world)
    }

    /// A commit with this fault, and its steps.
    fn commit(&self, fault: Option<String>) -> (Outcome, Vec<Step>) {
        let mut command = self.0.command(&["commit", "-q", "-j", "1"]);
        let trace = self.0.beside("trace");
        let _ = fs::remove_file(&trace);
        command.arg(self.0.tree()).env("PYC_TXN_TRACE", &trace);
        command.envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        (self.0.outcome(command), trace::read(&trace))
    }

    fn bytecode(&self) -> usize {
        self.0.tree_files().iter().filter(|name| name.ends_with(".pyc")).count()
    }

    fn count(&self, query: &str) -> i64 {
        self.0.query(query)
    }

    /// Goes back to the tree without bytecode and without a state.
    fn start_over(&self) {
        fs::remove_dir_all(self.0.state()).unwrap();
        for directory in ["a", "b", "c"] {
            let _ = fs::remove_dir_all(self.0.tree().join(directory).join("__pycache__"));
        }
    }

    /// Demands that a run which was interrupted is recovered: all old, every intent pending, and nothing left over.
    #[track_caller]
    fn is_all_old_and_pending(&self, context: &str) {
        self.0.run(&["recover"]).exits(0);
        assert_eq!(self.bytecode(), 0, "{context}");
        let pending = "SELECT count(*) FROM intents JOIN transactions t ON t.id = txn
                       WHERE state = 'recording' AND outcome IS NULL";
        assert_eq!(self.count(pending), ALL.cast_signed() as i64, "{context}");
        assert_eq!(self.count("SELECT count(*) FROM facts"), 0, "{context}");
        assert!(!self.0.files().iter().any(|name| name.starts_with("state/staging/")), "{context}");
    }

    /// Demands that the next commit completes everything.
    #[track_caller]
    fn is_completed(&self) {
        let (outcome, _) = self.commit(None);
        let outcome = outcome.exits(0);
        assert_eq!(self.bytecode(), ALL, "{}", outcome.context());
        for table in ["ledger", "facts"] {
            assert_eq!(self.count(&format!("SELECT count(*) FROM {table}")), ALL.cast_signed() as i64);
        }
    }
}

/// The number of the first step of this name.
fn at(steps: &[Step], name: &str) -> usize {
    steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}")).number
}

#[test]
fn a_commit_of_several_portions_stopped_between_them_loses_no_intent_and_changes_nothing() {
    let tree = Tree::new();
    let (outcome, steps) = tree.commit(None);
    outcome.exits(0);
    let written = steps.iter().filter(|step| step.name == "journal: outcomes").count();
    assert_eq!(written, 1, "two portions");
    for (fault, step) in [
        ("abort", "journal: outcomes"),
        ("abort", "sync filesystem"),
        ("abort", "journal: staged"),
        ("abort", "journal: committing"),
        ("ENOSPC", "journal: outcomes"),
        ("ENOSPC", "journal: staged"),
    ] {
        tree.start_over();
        let (stopped, _) = tree.commit(Some(format!("{fault}@{step}")));
        assert_eq!(stopped.signal.is_some(), fault == "abort", "{}", stopped.context());
        // The first step behind the last one that is staged.
        if (fault, step) == ("abort", "sync filesystem") {
            let known = "SELECT count(*) FROM intents JOIN transactions t ON t.id = txn
                         WHERE state = 'recording' AND outcome = 'compiled'";
            // All of the first portion, but for the two batches, of 64 at most, that were under way at its end.
            let known = tree.count(known);
            let all = 2 * EACH.cast_signed() as i64;
            assert!(known >= all - 2 * 64, "{known} of the first portion's {all} outcomes");
        }
        tree.is_all_old_and_pending(&format!("{fault}@{step}"));
        tree.is_completed();
    }
}

#[test]
fn what_is_recorded_again_while_it_is_staged_is_compiled_once_more() {
    let tree = Tree::new();
    tree.commit(Some("abort@sync filesystem".to_owned()));
    // Before anybody recovers: these have outcomes and facts.
    tree.0.run_on_tree(&["record"]).exits(0);
    assert_eq!(tree.count("SELECT count(*) FROM facts"), 0, "facts of intents that are not there");
    tree.is_all_old_and_pending("recorded again");
    tree.is_completed();
}

#[test]
fn a_commit_of_several_portions_stopped_while_it_publishes_is_finished_by_the_next_run() {
    let tree = Tree::new();
    // The files of this one are published one by one, those of the others together.
    let one_by_one = tree.0.tree().join("b/__pycache__");
    fs::create_dir(&one_by_one).unwrap();
    let (outcome, steps) = tree.commit(None);
    outcome.exits(0);
    let renames: Vec<usize> =
        steps.iter().filter(|step| step.name == "rename").map(|step| step.number).collect();
    assert_eq!(renames.len(), EACH + 2);
    for step in [renames[0], renames[1], renames[EACH], renames[EACH + 1], at(&steps, "journal: committed")] {
        tree.start_over();
        fs::create_dir(&one_by_one).unwrap();
        let (stopped, _) = tree.commit(Some(format!("abort@{step}")));
        assert!(stopped.signal.is_some(), "{}", stopped.context());
        tree.0.run(&["recover"]).exits(0);
        assert_eq!(tree.bytecode(), ALL, "abort@{step}");
        tree.is_completed();
    }
}

/// A plan that is recorded in parts.
#[test]
fn a_run_stopped_between_two_parts_of_its_plan_leaves_intents_that_the_next_one_takes_on() {
    let world = World::new_in(&memory());
    let (directories, each) = (96, 60);
    for directory in 0..directories {
        for number in 0..each {
            world.write(format!("p{directory}/m{number}.py"), format!("VERSION = {number}\n"));
        }
    }
    let all = directories * each;
    let trace = world.beside("trace");
    let commit = |fault: Option<String>| {
        let mut command = world.command(&["commit"]);
        command.arg(world.tree()).env("PYC_TXN_TRACE", &trace);
        command.envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        world.outcome(command)
    };
    let outcome = commit(None).exits(0).says(&format!("compiled {all} "));
    let steps = trace::read(&trace);
    let parts: Vec<usize> =
        steps.iter().filter(|step| step.name == "journal: record").map(|step| step.number).collect();
    assert!(parts.len() > 1, "{}", outcome.context());
    world.run(&["clean", world.tree().to_str().unwrap()]).exits(0);
    fs::remove_dir_all(world.state()).unwrap();
    fs::remove_file(&trace).unwrap();
    commit(Some(format!("abort@{}", parts[1])));
    let pending: i64 = world.query("SELECT count(*) FROM intents WHERE outcome IS NULL");
    assert!(pending > 0 && pending < all.into(), "{pending} of {all} are pending");
    let outcome = world.commit().exits(0).says(&format!("compiled {all} "));
    let bytecode = world.tree_files().iter().filter(|name| name.ends_with(".pyc")).count();
    assert_eq!(bytecode as i64, all.into(), "{}", outcome.context());
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions WHERE state = 'committed'"), 1);
}
