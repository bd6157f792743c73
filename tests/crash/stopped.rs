//! The process is stopped at step 1, 2, 3 … until the run survives.

use std::os::unix::fs::PermissionsExt;

use crate::demands::Said;
use crate::rounds::{Rounds, memory};
use crate::support::World;
use crate::trace::Step;

/// A commit of fewer steps than this means that the numbering, not the run, is short.
pub const FEWEST: usize = 25;

#[test]
fn a_commit_stopped_at_any_step_is_recovered_to_all_old_or_all_new_and_completed_by_the_next() {
    every_stop_of_a_commit_is_recovered(&mut Rounds::new());
}

#[test]
fn a_commit_whose_files_are_created_at_their_places_is_recovered_as_well() {
    let world = World::new_in(&memory());
    // The directories give what is created in them their group.
    let is_given = std::os::unix::fs::chown(world.tree(), None, Some(4711)).is_ok();
    if !is_given {
        eprintln!("SKIPPED: directories of another group (needs root)");
        return;
    }
    std::fs::set_permissions(world.tree(), std::fs::Permissions::from_mode(0o2755)).unwrap();
    let mut rounds = Rounds::in_world(world);
    let steps = rounds.rehearse(&["commit"]);
    assert!(steps.iter().filter(|step| step.name == "name file").count() > 5, "{steps:#?}");
    every_stop_of_a_commit_is_recovered(&mut rounds);
}

/// Stops a commit at each of its steps.
pub fn every_stop_of_a_commit_is_recovered(rounds: &mut Rounds) {
    let mut outcomes = Vec::new();
    for step in 1.. {
        rounds.next();
        let stopped = rounds.run(&["commit"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        if stopped.outcome.signal.is_none() {
            assert!(step > FEWEST, "only {step} steps\n{context}");
            rounds.is_complete(&stopped.outcome);
            break;
        }
        rounds.is_sound(context);
        let recovery = rounds.run(&["recover"], None).outcome.exits(0);
        let context = format!("{context}{}", recovery.context());
        outcomes.push(rounds.is_recovered(&context));
        rounds.keeps_its_intents(&context);
        rounds.commit();
    }
    // Old up to the decision, new from there on; there is such a step, and something on both sides of it.
    assert!(outcomes.is_sorted(), "{outcomes:?}");
    assert!(outcomes.contains(&Said::Undecided) && outcomes.contains(&Said::Committed));
}

#[test]
fn a_first_commit_stopped_at_any_step_is_completed_by_the_next() {
    for step in 1.. {
        let mut rounds = Rounds::before_the_first(World::new_in(&memory()));
        rounds.next();
        let stopped = rounds.run(&["commit"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        if stopped.outcome.signal.is_none() {
            assert!(step > FEWEST, "only {step} steps\n{context}");
            rounds.is_complete(&stopped.outcome);
            return;
        }
        rounds.is_sound(context);
        // Now and then without a recovery of its own: the commit's has to do.
        if step % 2 == 0 {
            let recovery = rounds.run(&["recover"], None).outcome.exits(0);
            rounds.is_recovered(&format!("{context}{}", recovery.context()));
        }
        rounds.commit();
    }
}

#[test]
fn a_recovery_stopped_at_any_step_is_completed_by_the_next() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let mut longest = 0;
    for stop in turning_points(&steps) {
        for step in 1.. {
            rounds.next();
            let first = rounds.stop_before(&["commit"], stop);
            let second = rounds.run(&["recover"], Some(&format!("abort@{step}")));
            let context = format!("{}{}", first.context(), second.outcome.context());
            longest = longest.max(step);
            if second.outcome.signal.is_none() {
                second.outcome.exits(0);
                rounds.is_recovered(&context);
                rounds.keeps_its_intents(&context);
                rounds.commit();
                break;
            }
            rounds.is_sound(&context);
            let third = rounds.run(&["recover"], None).outcome.exits(0);
            let context = format!("{context}{}", third.context());
            rounds.is_recovered(&context);
            rounds.keeps_its_intents(&context);
            rounds.commit();
        }
    }
    assert!(longest > 10, "no recovery has more than {longest} steps");
}

/// Steps of a commit before which what is there is of another kind than before: one of each.
pub fn turning_points(steps: &[Step]) -> Vec<&Step> {
    let all = |name: &str| steps.iter().filter(|step| step.name == name).collect::<Vec<_>>();
    let (writes, renames, syncs) = (all("write file"), all("rename"), all("sync"));
    let removals = all("remove file");
    let mut points = vec![
        writes[0],
        writes[writes.len() - 1],
        syncs[0],
        all("journal: staged")[0],
        all("journal: committing")[0],
        renames[0],
        renames[renames.len() / 2],
        removals[removals.len() - 1],
        syncs[syncs.len() - 1],
        all("journal: committed")[0],
    ];
    points.extend(steps.last());
    points
}

#[test]
fn a_clean_stopped_at_any_step_is_recovered_to_everything_or_nothing() {
    let mut rounds = Rounds::new();
    let mut outcomes = Vec::new();
    for step in 1.. {
        rounds.next_is_clean();
        let stopped = rounds.run(&["clean"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        if stopped.outcome.signal.is_none() {
            assert!(step > 10, "only {step} steps\n{context}");
            stopped.outcome.exits(0);
            break;
        }
        rounds.is_sound(context);
        let recovery = rounds.run(&["recover"], None).outcome.exits(0);
        let context = format!("{context}{}", recovery.context());
        outcomes.push(rounds.is_recovered(&context));
        let again = rounds.run(&["clean"], None).outcome.exits(0);
        rounds.is_all_new(&format!("{context}{}", again.context()));
        rounds.next();
        rounds.commit();
    }
    rounds.is_recovered("after a clean that was not stopped");
    assert!(outcomes.is_sorted(), "{outcomes:?}");
    assert!(outcomes.contains(&Said::Undecided) && outcomes.contains(&Said::Committed));
}

#[test]
fn a_record_stopped_at_any_step_records_everything_or_nothing() {
    let mut rounds = Rounds::new();
    for step in 1.. {
        rounds.next();
        let stopped = rounds.run(&["record"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        rounds.is_sound(context);
        rounds.keeps_its_intents(context);
        if stopped.outcome.signal.is_none() {
            stopped.outcome.exits(0);
            rounds.commit();
            return;
        }
        rounds.commit();
    }
}

#[test]
fn a_rollback_stopped_at_any_step_drops_a_transaction_whole_or_not_at_all() {
    let mut rounds = Rounds::new();
    for step in 1.. {
        rounds.next();
        // Two are open: one that is staged and held, and one that is recording the same anew.
        rounds.run(&["record"], None).outcome.exits(0);
        rounds.run(&["stage"], None).outcome.exits(1);
        rounds.run(&["record"], None).outcome.exits(0);
        let stopped = rounds.run(&["rollback"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        rounds.is_all_old(context);
        for (txn, intents) in rounds.unfinished() {
            assert_eq!(intents, rounds.intents(), "intents of transaction {txn}\n{context}");
        }
        if stopped.outcome.signal.is_none() {
            assert!(step > 5, "only {step} steps\n{context}");
            stopped.outcome.exits(0);
            assert_eq!(rounds.unfinished(), []);
            rounds.is_recovered("after a rollback that was not stopped");
            return;
        }
        let recovery = rounds.run(&["recover"], None).outcome.exits(0);
        let context = format!("{context}{}", recovery.context());
        rounds.is_all_old(&context);
        rounds.nothing_is_left(&context);
        let again = rounds.run(&["rollback"], None).outcome.exits(0);
        let context = format!("{context}{}", again.context());
        assert_eq!(rounds.unfinished(), [], "{context}");
        rounds.is_all_old(&context);
        rounds.nothing_is_left(&context);
        rounds.commit();
    }
}
