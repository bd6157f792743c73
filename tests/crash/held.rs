//! What `pyc-txn stage` has compiled waits for a commit, whatever is stopped meanwhile.

use crate::demands::Said;
use crate::rounds::{Rounds, Run};
use crate::stopped::FEWEST;

#[test]
fn a_stage_stopped_at_any_step_loses_no_intent_and_changes_nothing() {
    let mut rounds = Rounds::new();
    for step in 1.. {
        rounds.next();
        rounds.run(&["record"], None).outcome.exits(0);
        let stopped = rounds.run(&["stage"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        rounds.is_all_old(context);
        rounds.keeps_its_intents(context);
        if stopped.outcome.signal.is_none() {
            assert!(step > 10, "only {step} steps\n{context}");
            stopped.outcome.exits(1);
            rounds.commit();
            return;
        }
        let recovery = rounds.run(&["recover"], None).outcome.exits(0);
        let context = format!("{context}{}", recovery.context());
        rounds.is_all_old(&context);
        rounds.is_recovered(&context);
        rounds.keeps_its_intents(&context);
        rounds.commit();
    }
}

#[test]
fn what_is_staged_survives_a_commit_stopped_at_any_step_and_is_published_without_compiling_again() {
    let mut rounds = Rounds::new();
    let mut kept = 0;
    for step in 1.. {
        rounds.next();
        rounds.run(&["record"], None).outcome.exits(0);
        let staged = rounds.run(&["stage"], None);
        assert!(compiled(&staged) > 0, "{}", staged.outcome.context());
        rounds.is_all_old(staged.outcome.context());
        let stopped = rounds.run(&["commit"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        if stopped.outcome.signal.is_none() {
            assert!(step > FEWEST, "only {step} steps\n{context}");
            assert_eq!(compiled(&stopped), 0, "compiles again\n{context}");
            rounds.is_complete(&stopped.outcome);
            break;
        }
        rounds.is_sound(context);
        let recovery = rounds.run(&["recover"], None);
        let context = format!("{context}{}", recovery.outcome.context());
        recovery.outcome.exits(0);
        if rounds.is_recovered(&context) == Said::Undecided {
            let held = rounds.count("SELECT count(*) FROM transactions WHERE state = 'staged' AND held");
            assert_eq!(held, 1, "it is held no more\n{context}");
            kept += 1;
        }
        let last = rounds.commit();
        assert_eq!(compiled(&stopped) + compiled(&last), 0, "compiles again\n{context}");
    }
    assert!(kept > 2, "the decision came after {kept} steps");
}

#[test]
fn what_is_staged_survives_a_recovery_stopped_at_any_step() {
    let mut rounds = Rounds::new();
    rounds.next();
    rounds.run(&["record"], None).outcome.exits(0);
    rounds.run(&["stage"], None).outcome.exits(1);
    for step in 1.. {
        let stopped = rounds.run(&["recover"], Some(&format!("abort@{step}")));
        rounds.is_recovered(stopped.outcome.context());
        if stopped.outcome.signal.is_none() {
            stopped.outcome.exits(0);
            break;
        }
    }
    let last = rounds.commit();
    assert_eq!(compiled(&last), 0, "compiles again\n{}", last.outcome.context());
}

#[test]
fn a_source_that_changed_after_it_was_staged_is_compiled_again_wherever_a_commit_is_stopped() {
    let mut rounds = Rounds::new();
    for step in 1.. {
        rounds.next();
        rounds.run(&["record"], None).outcome.exits(0);
        rounds.run(&["stage"], None).outcome.exits(1);
        rounds.change_again();
        let stopped = rounds.run(&["commit"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        if stopped.outcome.signal.is_none() {
            assert!(step > FEWEST, "only {step} steps\n{context}");
            assert_eq!(compiled(&stopped), 1, "{context}");
            let at = |name: &str| stopped.steps.iter().position(|step| step.name == name);
            assert!(at("write file") < at("sync") && at("sync") < at("journal: committing"), "{context}");
            rounds.is_complete(&stopped.outcome);
            return;
        }
        rounds.is_sound(context);
        let recovery = rounds.run(&["recover"], None).outcome.exits(0);
        rounds.is_recovered(&format!("{context}{}", recovery.context()));
        rounds.commit();
    }
}

/// How many sources a run compiled.
fn compiled(run: &Run) -> usize {
    run.steps.iter().filter(|step| step.name == "create file").count()
}
