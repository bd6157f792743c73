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
                let is_answer = errno != "ENOSPC" && ANSWERS.contains(&failed.name.as_str());
                if is_answer {
                    rounds.is_complete(&run.outcome);
                } else {
                    let is_place = errno != "ENOSPC" && rounds.is_in_tree(&failed);
                    assert!(is_place, "{failed:?} is nothing\n{}", run.outcome.context());
                    rounds.is_complete_but_for(words, &run.outcome);
                }
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
fn a_filesystem_that_cannot_be_synced_stops_its_transaction_once_and_then_costs_only_itself() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let settles = steps.iter().find(|step| step.name == "journal: committed").unwrap();
    rounds.next();
    let stopped = rounds.stop_before(&["commit"], settles);
    let recovery = rounds.run(&["recover"], Some("EIO@sync"));
    let context = format!("{}{}", stopped.context(), recovery.outcome.context());
    recovery.outcome.exits(0).says("cannot sync");
    let unfinished = rounds.count("SELECT count(*) FROM transactions WHERE ended IS NULL");
    assert_eq!(unfinished, 0, "{context}");
    rounds.every_pyc_loads(&context);
    rounds.commit();
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
            if run.outcome.status == Some(3) {
                is_told(&mut rounds, &run, "Input/output error", lasting.is_empty());
            } else {
                let failed = &run.steps[step - 1];
                assert!(rounds.is_in_tree(failed), "{failed:?}\n{}", run.outcome.context());
                rounds.remains_told("Input/output error", &run.outcome);
            }
            let again = rounds.run(&["clean"], None).outcome.exits(0);
            let context = format!("{}{}", run.outcome.context(), again.context());
            rounds.is_all_new(&context);
            rounds.nothing_is_left(&context);
            rounds.next();
            rounds.commit();
        }
    }
}

/// Whether a `__pycache__` that was staged as a whole is renamed.
fn is_of_a_whole(rename: &Step) -> bool {
    rename.path.ends_with("/__pycache__")
}

/// The renames among these steps.
fn renames(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| step.name == "rename")
}

/// The faults that keep one file from being renamed to another filesystem; where `rename` is that of a whole, its first
/// one is. `run` says which steps a run with some faults has.
fn barred(rename: &Step, mut run: impl FnMut(&str) -> Vec<Step>) -> String {
    let barred = format!("EXDEV@{}", rename.number);
    if !is_of_a_whole(rename) {
        return barred;
    }
    let steps = run(&barred);
    let next = renames(&steps).find(|step| step.number > rename.number).unwrap();
    assert!(!is_of_a_whole(next), "{next:?}");
    format!("{barred},EXDEV@{}", next.number)
}

#[test]
fn a_rename_that_finds_another_filesystem_behind_the_trial_is_a_copy() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let renames: Vec<Step> = renames(&steps).cloned().collect();
    let wholes = renames.iter().filter(|rename| is_of_a_whole(rename)).count();
    assert!(wholes > 1 && renames.len() > wholes + 3, "{renames:?}");
    for rename in renames {
        let barred = barred(&rename, |fault| {
            rounds.next();
            let run = rounds.run(&["commit"], Some(fault));
            rounds.is_complete(&run.outcome);
            rounds.commit();
            run.steps
        });
        rounds.next();
        let run = rounds.run(&["commit"], Some(&barred));
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
    a_copy_stopped_at_any_step_is_recovered(|rename| !is_of_a_whole(rename));
}

#[test]
fn a_copy_out_of_what_was_staged_as_a_whole_stopped_at_any_step_is_recovered() {
    a_copy_stopped_at_any_step_is_recovered(is_of_a_whole);
}

/// Of the first rename that is `wanted`.
fn a_copy_stopped_at_any_step_is_recovered(wanted: impl Fn(&Step) -> bool) {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let find_rename = |steps: &[Step]| renames(steps).find(|step| wanted(step)).cloned().unwrap();
    let rename = find_rename(&steps);
    let staged_elsewhere = barred(&rename, |fault| {
        rounds.next();
        let run = rounds.run(&["commit"], Some(fault));
        rounds.commit();
        run.steps
    });
    let recovery = |rounds: &mut Rounds, fault: Option<&str>| {
        rounds.next();
        rounds.stop_before(&["commit"], &rename);
        let recovery = rounds.run(&["recover"], fault);
        rounds.commit();
        recovery.steps
    };
    let recovering = find_rename(&recovery(&mut rounds, None));
    let still_elsewhere = barred(&recovering, |fault| recovery(&mut rounds, Some(fault)));
    for step in rename.number + 1..rename.number + 10 {
        for is_stable in [true, false] {
            rounds.next();
            let fault = format!("abort@{step},{staged_elsewhere}");
            let stopped = rounds.run(&["commit"], Some(&fault)).outcome;
            assert!(stopped.signal.is_some(), "{}", stopped.context());
            rounds.every_pyc_loads(stopped.context());
            // The filesystem is another one for the recovery too; or is none any more.
            let fault = Some(still_elsewhere.as_str()).filter(|_| is_stable);
            let recovery = rounds.run(&["recover"], fault);
            let context = format!("{}{}", stopped.context(), recovery.outcome.context());
            recovery.outcome.exits(0);
            rounds.is_recovered(&context);
            rounds.commit();
        }
    }
}
