//! The history is trimmed in the write that ends a transaction: with it or not at all. And causes go where their
//! intents go.

use std::fs;

use crate::demands::Said;
use crate::rounds::Rounds;

#[test]
fn a_commit_stopped_at_any_step_has_ended_and_trimmed_or_neither() {
    let mut rounds = Rounds::new();
    let rule = rounds.world.beside("pyc-txn.conf");
    fs::write(&rule, "[history]\ndays = 1\ntransactions = 0\n").unwrap();
    let commit = ["commit", "--config", rule.to_str().unwrap()];
    let old = |rounds: &Rounds| rounds.count("SELECT count(*) FROM transactions WHERE ended = 1");
    let mut trimmed = 0;
    for step in 1.. {
        rounds.next();
        let make_old = "UPDATE transactions SET began = 1, ended = 1 WHERE ended IS NOT NULL";
        rounds.world.journal().execute(make_old, []).unwrap();
        let before = old(&rounds);
        let stopped = rounds.run(&commit, Some(&format!("abort@{step}"))).outcome;
        let context = stopped.context();
        rounds.is_sound(context);
        let is_committed = rounds.said() == Said::Committed;
        assert_eq!(old(&rounds), if is_committed { 0 } else { before }, "{context}");
        trimmed += i32::from(is_committed);
        if stopped.signal.is_none() {
            assert!(trimmed > 1, "it was never stopped after the end\n{context}");
            break;
        }
        let recovered = rounds.run(&["recover", "--config", rule.to_str().unwrap()], None).outcome.exits(0);
        let context = format!("{context}{}", recovered.context());
        let ended = rounds.is_recovered(&context);
        assert!(ended != Said::Committed || old(&rounds) == 0, "{context}");
        rounds.commit();
    }
}

#[test]
fn the_causes_of_a_transaction_that_is_rolled_back_are_those_of_the_next() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let decision = steps.iter().find(|step| step.name.contains("journal: committing")).unwrap();
    rounds.next();
    rounds.run(&["record"], None).outcome.exits(0);
    let causes = "SELECT count(*) FROM causes JOIN transactions t ON t.id = txn
                  WHERE state = 'recording' AND command LIKE 'record %'";
    assert_eq!(rounds.count(causes), 1);
    let stopped = rounds.run(&["commit"], Some(&format!("abort@{}", decision.number))).outcome;
    let recovered = rounds.run(&["recover"], None).outcome.exits(0);
    let context = format!("{}{}", stopped.context(), recovered.context());
    assert_eq!(rounds.count(causes), 1, "{context}");
    // Nor is anything of what became of them left.
    let reused = "SELECT count(*) FROM intents WHERE reused AND outcome IS NULL";
    assert_eq!(rounds.count(reused), 0, "{context}");
    rounds.commit();
}
