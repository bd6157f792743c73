//! `log`: why a transaction was and how it came out; what is forgotten of it, and what is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::aid::set_mtime;
use crate::installation::Installation;
use crate::support::{Outcome, World};

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{}", outcome.context()))
}

/// The pairs of command and package of a transaction.
fn causes(transaction: &Value) -> Vec<(&str, Option<&str>)> {
    let causes = transaction["causes"].as_array().unwrap().iter();
    causes.map(|cause| (cause["command"].as_str().unwrap(), cause["package"].as_str())).collect()
}

/// A configuration file with this rule.
fn rule(world: &World, days: u32, transactions: u32) -> PathBuf {
    let path = world.beside("pyc-txn.conf");
    fs::write(&path, format!("[history]\ndays = {days}\ntransactions = {transactions}\n")).unwrap();
    path
}

#[track_caller]
fn commit_with(world: &World, rule: &Path) -> Outcome {
    world.run_on_tree(&["commit", "--config", rule.to_str().unwrap()])
}

/// Makes everything that has ended a thing of 1970.
fn make_old(world: &World) {
    world
        .journal()
        .execute("UPDATE transactions SET began = 1, ended = 1 WHERE ended IS NOT NULL", [])
        .unwrap();
}

fn transactions(world: &World) -> String {
    world.query("SELECT coalesce(group_concat(id), '') FROM (SELECT id FROM transactions ORDER BY id)")
}

/// A world with three transactions, the first of which published `a.py`, with a warning.
fn three(world: &World) {
    world.write("a.py", "x = 1\nif x is 1: pass\n");
    world.commit().exits(0);
    for content in ["x = 1\n", "x = 22\n"] {
        world.write("b.py", content);
        world.commit().exits(0);
    }
}

#[test]
fn the_causes_are_who_asked_and_who_committed() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.install("other", &["b.py"]);
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    system.call_in_script("py3compile", &["-p", "other"]).exits(0);
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 2 ");
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 1 ");
    let outcome = system.call("pyc-txn", &["log", "--json"]).exits(0);
    let log = json(&outcome);
    let first = [
        ("hook triggered", None),
        ("py3compile -p other", Some("other")),
        ("py3compile -p pkg", Some("pkg")),
    ];
    assert_eq!(causes(&log[2]), first, "{}", outcome.context());
    assert_eq!(causes(&log[1]), [("py3clean -p pkg", Some("pkg"))], "{}", outcome.context());
    assert_eq!(causes(&log[0]), [("commit", None)], "{}", outcome.context());
    system.call("pyc-txn", &["log"]).exits(0).says("hook triggered, py3compile -p other, py3compile -p pkg");
    system.call("pyc-txn", &["log", "1"]).exits(0).says("because of 'py3compile -p pkg', for pkg");
    system.call("pyc-txn", &["log", "2"]).exits(0).says("because of 'py3clean -p pkg', for pkg");
}

/// The names of all fields in it.
fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(fields).collect(),
        Value::Object(pairs) => pairs
            .iter()
            .flat_map(|(name, value)| [BTreeSet::from([name.clone()]), fields(value)])
            .flatten()
            .collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_manual_has_every_field_of_the_json() {
    let world = World::new();
    world.write("a.py", "x = 1\nif x is 1: pass\n");
    let bad = world.write("bad.py", "= =\n");
    world.commit().exits(1);
    world.run_on_tree(&["record", "-f"]).exits(0);
    let manual = include_str!("../../man/pyc-txn.8").split_once(".SH JSON").unwrap().1;
    let manual = manual.split_once(".SH FILES").unwrap().0;
    let source = world.tree().join("a.py");
    let owner = ["owner", source.to_str().unwrap(), bad.to_str().unwrap()];
    for arguments in [&["log"][..], &["log", "1"], &["status"], &owner] {
        let mut command = world.command(arguments);
        command.arg("--json");
        let outcome = world.outcome(command);
        for field in fields(&json(&outcome)) {
            let is_there = manual.contains(&format!("\n{field}|"))
                || manual.contains(&format!("\n\\ \\ {field}|"))
                || manual.contains(&format!("\\fB{field}\\fR"));
            assert!(is_there, "the manual lacks {field} of {arguments:?}");
        }
    }
}

#[test]
fn a_long_or_strange_command_line_is_one_short_line() {
    let world = World::new();
    world.write("a\nb/c.py", "x = 1\n");
    let mut command = world.command(&["commit"]);
    command.arg(world.tree().join("a\nb")).args(vec!["/no/such/path"; 1000]);
    world.outcome(command).exits(1).says("compiled 1 ");
    let log = world.run(&["log"]).exits(0).says("a\\nb");
    assert!(log.stdout.lines().count() == 1 && log.stdout.len() < 400, "{}", log.context());
}

#[test]
fn a_transaction_has_its_bytes_and_its_time() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "y = 2\n");
    let began = std::time::Instant::now();
    world.commit().exits(0);
    let elapsed = began.elapsed().as_millis();
    let outcome = world.run(&["log", "--json"]).exits(0);
    let log = json(&outcome);
    let sizes: u64 = ["a.py", "b.py"].iter().map(|name| fs::metadata(world.pyc(name)).unwrap().len()).sum();
    assert_eq!(log[0]["bytes"], sizes, "{}", outcome.context());
    let took = log[0]["took"].as_u64().unwrap();
    assert!(took > 0 && u128::from(took) <= elapsed, "{took} of {elapsed} ms");
    world.run(&["log"]).exits(0).says(&format!("; {sizes} B in 0."));
}

#[test]
fn what_staging_took_is_a_part_of_it() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["record"]).exits(0);
    let began = std::time::Instant::now();
    world.run(&["stage"]).exits(0);
    let staged: i64 = world.query("SELECT took FROM transactions");
    world.commit().exits(0);
    let both: i64 = world.query("SELECT took FROM transactions");
    let is_in_time = u128::try_from(both).is_ok_and(|both| both <= began.elapsed().as_millis());
    assert!(staged > 0 && both >= staged && is_in_time, "{staged} {both}");
    let outcome = world.run(&["log", "1", "--json"]).exits(0);
    let log = json(&outcome);
    let commands: Vec<&str> =
        causes(&log).iter().map(|(command, _)| command.split(' ').next().unwrap()).collect();
    assert_eq!(commands, ["commit", "record", "stage"], "{}", outcome.context());
}

#[test]
fn an_intent_has_its_owner_outcome_message_and_warnings() {
    let system = Installation::new();
    system.install("pkg", &["bad.py", "warned.py"]);
    system.write(&format!("{}/bad.py", crate::installation::PUBLIC), "= =\n");
    system.write(&format!("{}/warned.py", crate::installation::PUBLIC), "x = 1\nif x is 1: pass\n");
    system.run(&["commit", "-p", "pkg"]).exits(1);
    let outcome = system.run(&["log", "1", "--json"]).exits(0);
    let log = json(&outcome);
    let [bad, warned] = log["intents"].as_array().unwrap().as_slice() else {
        panic!("{}", outcome.context())
    };
    assert_eq!((&bad["owner"], &bad["outcome"]), (&"pkg".into(), &"refused".into()));
    assert!(bad["message"].as_str().unwrap().starts_with("1: SyntaxError"), "{}", outcome.context());
    assert_eq!((&warned["outcome"], &warned["level"]), (&"compiled".into(), &0.into()));
    assert!(warned["warnings"].as_str().unwrap().starts_with("2\t"), "{}", outcome.context());
    assert_eq!(log["trimmed"], 0);
}

#[test]
fn old_transactions_are_forgotten_with_the_next_commit_and_the_ledger_is_not() {
    let world = World::new();
    three(&world);
    let rule = rule(&world, 1, 2);
    world.write("c.py", "x = 3\n");
    commit_with(&world, &rule).exits(0);
    assert_eq!(transactions(&world), "1,2,3,4", "young ones are forgotten");
    make_old(&world);
    commit_with(&world, &rule).exits(0).says("nothing to do (3 up to date)");
    world.write("d.py", "x = 4\n");
    commit_with(&world, &rule).exits(0).says("compiled 1 ");
    assert_eq!(transactions(&world), "4,5");
    for table in ["intents", "causes", "tallies"] {
        assert_eq!(world.query::<i64>(&format!("SELECT count(*) FROM {table} WHERE txn < 4")), 0, "{table}");
    }
    world.run(&["log", "1"]).exits(3).says("there is no transaction 1");
    world.run(&["status"]).exits(0).says("4 targets are published").says("1 warnings in 1 sources");
    world.commit().exits(0).says("nothing to do (4 up to date)");
    let owner = world.run(&["owner", world.pyc("a.py").to_str().unwrap()]).exits(0);
    owner.says("in transaction 1 (not in the history any more)");
}

#[test]
fn the_rule_can_keep_everything_and_by_default_keeps_the_latest() {
    for (days, is_kept) in [(Some(0), true), (None, true), (Some(90), false)] {
        let world = World::new();
        three(&world);
        make_old(&world);
        world.write("c.py", "x = 3\n");
        match days {
            Some(days) => commit_with(&world, &rule(&world, days, 0)),
            None => world.commit(),
        }
        .exits(0);
        assert_eq!(transactions(&world), if is_kept { "1,2,3,4" } else { "4" }, "{days:?}");
    }
}

#[test]
fn by_default_the_latest_hundred_and_a_quarter_of_a_year_are_kept() {
    let world = World::new();
    world.commit().exits(0);
    let journal = world.journal();
    let now: i64 = journal.query_row("SELECT unixepoch()", [], |row| row.get(0)).unwrap();
    for number in 0..150 {
        let ended = if number < 20 { now - 89 * 86_400 } else { now - 91 * 86_400 };
        let begin = "INSERT INTO transactions (kind, state, began) VALUES ('commit', 'recording', ?1)";
        journal.execute(begin, [ended]).unwrap();
        let end = "UPDATE transactions SET state = 'rolled-back', ended = ?1 WHERE state = 'recording'";
        journal.execute(end, [ended]).unwrap();
    }
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    // The twenty young ones, the latest ninety-nine, and this one.
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), 20 + 99 + 1);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions WHERE id <= 20"), 20);
}

#[test]
fn a_large_transaction_is_forgotten_in_parts() {
    let world = World::new();
    world.commit().exits(0);
    world
        .journal()
        .execute_batch(
            "INSERT INTO directories (path) VALUES (x'2f');
             INSERT INTO transactions (kind, state, began) VALUES ('commit', 'recording', 1);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO intents (id, txn, directory, target, outcome)
             SELECT 1000 + n, 1, 1, CAST(n AS BLOB), 'removed' FROM n;
             UPDATE numbers SET next_intent = 10000;
             UPDATE transactions SET state = 'staged'; UPDATE transactions SET state = 'committing';
             UPDATE transactions SET state = 'committed', ended = 1;
             INSERT INTO tallies VALUES (1, 'removed', 5000, 0);",
        )
        .unwrap();
    let rule = rule(&world, 1, 0);
    for left in [3000, 1000, 0] {
        world.write("a.py", format!("x = {left}\n"));
        commit_with(&world, &rule).exits(0).says("compiled 1 ");
        assert_eq!(world.query::<i64>("SELECT count(*) FROM intents WHERE txn = 1"), left);
        if left > 0 {
            world.run(&["log"]).exits(0).says("5000 removed");
            let outcome = world.run(&["log", "1", "--json"]).exits(0);
            assert_eq!(json(&outcome)["trimmed"], 5000 - left, "{}", outcome.context());
        }
    }
    world.run(&["log", "1"]).exits(3);
}

#[test]
fn with_a_rule_the_journal_does_not_grow_for_ever() {
    let world = World::new();
    for number in 0..300 {
        world.write(format!("a{number}.py"), "x = 1\n");
    }
    let rule = rule(&world, 1, 1);
    let mut sizes = Vec::new();
    for _ in 0..8 {
        world
            .run_on_tree(&["commit", "-f", "--config", rule.to_str().unwrap()])
            .exits(0)
            .says("compiled 300 ");
        make_old(&world);
        sizes.push(fs::metadata(world.state().join("journal.sqlite3")).unwrap().len());
    }
    assert!(sizes[7] <= sizes[3] + sizes[0] / 20, "{sizes:?}");
}

#[test]
fn reused_and_adopted_bytecode_keeps_its_warnings() {
    let world = World::new();
    three(&world);
    let source = world.tree().join("a.py");
    set_mtime(&source, 1_000_000_000, 0);
    world.commit().exits(0).says("reused 1 ");
    let has_one = || world.run(&["status"]).exits(0).says("1 warnings in 1 sources");
    has_one();
    let bytes = fs::read(world.pyc("a.py")).unwrap();
    fs::remove_file(world.pyc("a.py")).unwrap();
    fs::write(world.pyc("a.py"), bytes).unwrap();
    world.commit().exits(0).says("adopted 1 ");
    has_one();
    fs::write(&source, "x = 'else'\n").unwrap();
    world.commit().exits(0).says("compiled 1 ");
    world.run(&["status"]).exits(0).does_not_say("warnings");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM warnings"), 0);
}

#[test]
fn bytecode_that_is_retired_and_taken_back_keeps_its_warnings() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.write(&format!("{}/a.py", crate::installation::PUBLIC), "x = 1\nif x is 1: pass\n");
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    system.call("pyc-txn", &["status"]).exits(0).does_not_say("warnings");
    system.call("pyc-txn", &["commit"]).exits(0).says("reused 1 ");
    system.call("pyc-txn", &["status"]).exits(0).says("1 warnings in 1 sources");
    let kept = || system.world.query::<i64>("SELECT count(*) FROM warnings");
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    assert_eq!(kept(), 0);
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert_eq!(kept(), 1);
    fs::remove_file(system.at(&format!("{}/a.py", crate::installation::PUBLIC))).unwrap();
    system.call("pyc-txn", &["commit"]).exits(0);
    assert_eq!(kept(), 0, "of what is retired and not taken back");
}
