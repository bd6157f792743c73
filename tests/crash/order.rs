//! The order of the steps: what is durable before what.

use crate::durable::omissions;
use crate::rounds::{Rounds, Run};
use crate::trace::Step;

#[test]
fn the_steps_of_a_commit_come_in_the_order_that_makes_it_safe() {
    let mut rounds = Rounds::new();
    rounds.next();
    let run = rounds.commit();
    let order = Order { run: &run, tree: rounds.world.tree().display().to_string() };
    let staged = order.only("journal: staged");
    let committing = order.only("journal: committing");
    let committed = order.only("journal: committed");
    // Staging: announced, written, durable, and then it is said to be staged.
    order.comes(order.only("journal: record"), order.first(|step| step.name == "create directory"));
    assert_eq!(omissions(&run.steps), [], "{}", order.context());
    let written = order.last(|step| step.name == "write file");
    order.comes(written, order.first(|step| step.name == "sync" && step.number > written));
    order.comes(order.last(|step| step.name == "sync" && step.number < committing), staged);
    order.comes(staged, committing);
    // Nothing in the tree changes before the decision.
    let first_change = order.first(|step| order.changes_the_tree(step));
    let last_change = order.last(|step| order.changes_the_tree(step));
    order.comes(committing, first_change);
    // The renames are durable before they are said to be.
    order.comes(last_change, order.first(|step| step.name == "sync" && step.number > committing));
    order.comes(order.last(|step| step.name == "sync"), committed);
    // The staging directory goes when its end is durable.
    order.comes(
        committed,
        order.first(|step| step.name == "remove directory" && step.path.contains("/staging/")),
    );
}

#[test]
fn the_steps_of_a_recovery_come_in_the_same_order() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let rename = steps.iter().find(|step| step.name == "rename").unwrap();
    rounds.next();
    rounds.stop_before(&["commit"], rename);
    let run = rounds.run(&["recover"], None);
    let order = Order { run: &run, tree: rounds.world.tree().display().to_string() };
    let committed = order.only("journal: committed");
    let first_sync = order.first(|step| step.name == "sync");
    order.comes(order.last(|step| order.changes_the_tree(step)), first_sync);
    order.comes(order.last(|step| step.name == "sync"), committed);
    order.comes(committed, order.only("remove directory /staging/"));
    rounds.commit();
}

#[test]
fn what_is_not_decided_is_abandoned_in_the_journal_before_its_staged_files_go() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let committing = steps.iter().find(|step| step.name == "journal: committing").unwrap();
    rounds.next();
    rounds.stop_before(&["commit"], committing);
    let run = rounds.run(&["recover"], None);
    let order = Order { run: &run, tree: rounds.world.tree().display().to_string() };
    let abandoned = order.only("journal: rolled back");
    order.comes(abandoned, order.first(|step| step.name.starts_with("remove")));
    assert!(!run.steps.iter().any(|step| order.changes_the_tree(step)), "{}", order.context());
    rounds.commit();
}

/// A run's steps by their numbers.
struct Order<'a> {
    run: &'a Run,
    tree: String,
}

impl Order<'_> {
    fn changes_the_tree(&self, step: &Step) -> bool {
        step.path.starts_with(&self.tree)
            && !["sync", "sync filesystem", "try filesystem"].contains(&step.name.as_str())
    }

    fn step(&self, number: usize) -> &Step {
        &self.run.steps[number - 1]
    }

    /// The one step that is called `name`; behind a space there may be a part of its path.
    #[track_caller]
    fn only(&self, name: &str) -> usize {
        let is_meant = |step: &&Step| match name.split_once(" /") {
            Some((name, path)) => step.name == name && step.path.contains(path),
            None => step.name == name,
        };
        let found: Vec<&Step> = self.run.steps.iter().filter(is_meant).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}\n{}", self.context());
        found[0].number
    }

    #[track_caller]
    fn first(&self, is_meant: impl Fn(&Step) -> bool) -> usize {
        let found = self.run.steps.iter().find(|step| is_meant(step));
        found.unwrap_or_else(|| panic!("no such step\n{}", self.context())).number
    }

    #[track_caller]
    fn last(&self, is_meant: impl Fn(&Step) -> bool) -> usize {
        let found = self.run.steps.iter().rfind(|step| is_meant(step));
        found.unwrap_or_else(|| panic!("no such step\n{}", self.context())).number
    }

    #[track_caller]
    fn comes(&self, before: usize, after: usize) {
        let (one, other) = (self.step(before), self.step(after));
        assert!(before < after, "{one:?} has to come before {other:?}\n{}", self.context());
    }

    fn context(&self) -> String {
        format!("{:#?}\n{}", self.run.steps, self.run.outcome.context())
    }
}
