//! An error instead of a stop: each step fails once, and from there on for good.

use crate::demands::Said;
use crate::rounds::{Rounds, Run};
use crate::stopped::{FEWEST, turning_points};
use crate::trace::Step;

/// Steps whose failure is an answer, and no end: a filesystem that refuses the trial is another one, and what a
/// staging directory in the tree is for.
const ANSWERS: [&str; 1] = ["try filesystem"];

#[test]
fn a_full_disk_at_any_step_leaves_all_old_or_a_decided_transaction() {
    every_failure_of_a_commit_is_told("ENOSPC", "No space left on device");
}

#[test]
fn a_broken_disk_at_any_step_leaves_all_old_or_a_decided_transaction() {
    every_failure_of_a_commit_is_told("EIO", "Input/output error");
}

#[test]
fn a_disk_that_turns_read_only_at_any_step_leaves_all_old_or_a_decided_transaction() {
    every_failure_of_a_commit_is_told("EROFS", "Read-only file system");
}

#[test]
fn a_full_table_of_files_at_any_step_leaves_all_old_or_a_decided_transaction() {
    every_failure_of_a_commit_is_told("EMFILE", "Too many open files");
}

fn every_failure_of_a_commit_is_told(errno: &str, words: &str) {
    let mut rounds = Rounds::new();
    for lasting in ["", "+"] {
        for step in 1.. {
            rounds.next();
            let run = rounds.run(&["commit"], Some(&format!("{errno}@{step}{lasting}")));
            let Some(failed) = run.steps.get(step - 1).cloned() else {
                assert!(step > FEWEST, "only {step} steps\n{}", run.outcome.context());
                rounds.is_complete(&run.outcome);
                break;
            };
            if run.outcome.status == Some(1) {
                let is_answer = errno == "EROFS" && ANSWERS.contains(&failed.name.as_str());
                assert!(is_answer, "{failed:?} is nothing\n{}", run.outcome.context());
                rounds.is_complete(&run.outcome);
            } else {
                is_told(&mut rounds, &run, words, lasting.is_empty());
                rounds.keeps_its_intents(run.outcome.context());
            }
            rounds.commit();
        }
    }
}

/// Demands of a commit that an error stopped: exit status 3, the cause, the state that the journal has too, and a
/// tree that accords with it.
#[track_caller]
fn is_told(rounds: &mut Rounds, run: &Run, words: &str, only_once: bool) {
    let context = run.outcome.context();
    let stderr = &run.outcome.stderr;
    assert_eq!(run.outcome.status, Some(3), "exit status\n{context}");
    assert!(stderr.starts_with("pyc-txn: cannot ") && stderr.contains(words), "the cause\n{context}");
    let said = rounds.is_sound(context);
    let Some((txn, told)) = transaction_told(stderr) else {
        let begun = rounds.begun();
        assert_eq!(begun, 0, "does not tell of a transaction that has begun\n{context}");
        return;
    };
    assert!(stderr.contains("\nhint: "), "a hint\n{context}");
    let state: String = rounds.world.query(&format!("SELECT state FROM transactions WHERE id = {txn}"));
    let expected = match state.as_str() {
        "rolled-back" => "rolled back: nothing has changed",
        "committing" => "committing: it is decided",
        "committed" => "committed: everything is in place",
        "recording" | "staged" => "not decided: nothing has changed",
        other => panic!("the state is {other}\n{context}"),
    };
    assert!(told.starts_with(expected), "the journal says {state}\n{context}");
    assert!(
        !only_once || !["recording", "staged"].contains(&state.as_str()),
        "a rollback that nothing disturbs does not happen\n{context}"
    );
    if only_once && said == Said::Undecided {
        rounds.is_recovered(context);
    }
}

/// The transaction that a message names, and what it says of it.
fn transaction_told(stderr: &str) -> Option<(i64, &str)> {
    let line = stderr.lines().find_map(|line| line.strip_prefix("transaction "))?;
    let (txn, told) = line.split_once(" is ")?;
    Some((txn.parse().ok()?, told))
}

#[test]
fn a_recovery_that_fails_at_any_step_is_completed_by_the_next() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    for stop in turning_points(&steps) {
        for step in 1.. {
            rounds.next();
            let stopped = rounds.stop_before(&["commit"], stop);
            let recovery = rounds.run(&["recover"], Some(&format!("ENOSPC@{step}+")));
            let context = format!("{}{}", stopped.context(), recovery.outcome.context());
            if recovery.steps.len() < step {
                recovery.outcome.exits(0);
                rounds.is_recovered(&context);
                rounds.commit();
                break;
            }
            recovery.outcome.exits(3).says("No space left on device");
            rounds.is_sound(&context);
            rounds.keeps_its_intents(&context);
            rounds.commit();
        }
    }
}

#[test]
fn a_clean_that_fails_at_any_step_is_completed_by_the_next() {
    let mut rounds = Rounds::new();
    for lasting in ["", "+"] {
        for step in 1.. {
            rounds.next_is_clean();
            let run = rounds.run(&["clean"], Some(&format!("EIO@{step}{lasting}")));
            if run.steps.len() < step {
                assert!(step > 10, "only {step} steps\n{}", run.outcome.context());
                run.outcome.exits(0);
                rounds.is_recovered("after a clean that did not fail");
                rounds.next();
                rounds.commit();
                break;
            }
            is_told(&mut rounds, &run, "Input/output error", lasting.is_empty());
            let again = rounds.run(&["clean"], None).outcome.exits(0);
            let context = format!("{}{}", run.outcome.context(), again.context());
            rounds.is_all_new(&context);
            rounds.nothing_is_left(&context);
            rounds.next();
            rounds.commit();
        }
    }
}

#[test]
fn a_rename_that_finds_another_filesystem_behind_the_trial_is_a_copy() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let renames: Vec<Step> = steps.into_iter().filter(|step| step.name == "rename").collect();
    assert!(renames.len() > 5, "{renames:?}");
    for rename in renames {
        rounds.next();
        let run = rounds.run(&["commit"], Some(&format!("EXDEV@{}", rename.number)));
        rounds.is_complete(&run.outcome);
        let copies = run.steps[rename.number..].iter().filter(|step| step.name == "create file").count();
        assert_eq!(copies, 1, "{}", run.outcome.context());
        let again = rounds.commit();
        let is_written = again.steps.iter().any(|step| step.name == "create file");
        assert!(!is_written, "the copy is not what the ledger knows\n{}", again.outcome.context());
    }
}

#[test]
fn a_copy_to_another_filesystem_stopped_at_any_step_is_recovered() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let find_rename = |steps: &[Step]| steps.iter().find(|step| step.name == "rename").cloned();
    let rename = find_rename(&steps).unwrap();
    let recovering = {
        rounds.next();
        rounds.stop_before(&["commit"], &rename);
        let recovery = rounds.run(&["recover"], None);
        rounds.commit();
        find_rename(&recovery.steps).unwrap()
    };
    for step in rename.number + 1..rename.number + 8 {
        for is_stable in [true, false] {
            rounds.next();
            let fault = format!("EXDEV@{},abort@{step}", rename.number);
            let stopped = rounds.run(&["commit"], Some(&fault)).outcome;
            assert!(stopped.signal.is_some(), "{}", stopped.context());
            rounds.every_pyc_loads(stopped.context());
            // The filesystem is another one for the recovery too; or is none any more.
            let fault = format!("EXDEV@{}", recovering.number);
            let recovery = rounds.run(&["recover"], Some(&fault).filter(|_| is_stable).map(String::as_str));
            let context = format!("{}{}", stopped.context(), recovery.outcome.context());
            recovery.outcome.exits(0);
            rounds.is_recovered(&context);
            rounds.commit();
        }
    }
}
