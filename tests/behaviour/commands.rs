//! The commands, as a person or a script types them.

use std::fs;

use crate::aid::{executions, names, nothing, snapshot, staged};
use crate::support::{Outcome, PYTHON, World, python};

fn json(outcome: &Outcome) -> serde_json::Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{}", outcome.context()))
}

#[test]
fn record_compiles_nothing_and_a_commit_takes_it() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "= =\n");
    world.run_on_tree(&["record"]).exits(0).says("recorded 2 for transaction 1");
    assert_eq!(world.tree_files(), ["a.py", "b.py"]);
    world.run_on_tree(&["record"]).exits(0).says("recorded 2 for transaction 1");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM intents"), 2);
    world
        .run(&["commit", &nothing(&world)])
        .exits(1)
        .says("compiled 1, failed 1")
        .says("b.py:1: SyntaxError");
    assert!(world.pyc("a.py").exists());
}

#[test]
fn record_says_when_there_is_nothing_to_record() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    world.run_on_tree(&["record"]).exits(0).says("nothing to record");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), 1);
}

#[test]
fn what_is_staged_is_published_by_a_commit_that_starts_no_interpreter() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    world.run_on_tree(&["record"]).exits(0);
    world.run(&["stage"]).exits(0).says("transaction 1 is staged").says("compiled 2");
    assert_eq!(world.tree_files(), ["a.py", "b.py"]);
    assert_eq!(staged(&world).len(), 2);
    world
        .run(&["status"])
        .exits(0)
        .says("transaction 1 is staged: 2 compiled; 'pyc-txn commit' publishes them");
    // Neither recovery nor a record touches it.
    world.run(&["recover"]).exits(0).says("transaction 1 is staged");
    let commit = world.command(&["commit", &nothing(&world)]);
    match executions(&world, &commit) {
        Some(programs) => assert_eq!(programs, 1, "an interpreter was started"),
        None => drop(world.outcome(commit).exits(0)),
    }
    assert!(world.pyc("a.py").exists() && world.pyc("b.py").exists());
    assert!(names(&world.state().join("staging")).is_empty());
}

#[test]
fn what_is_recorded_after_staging_is_committed_with_it() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["record"]).exits(0);
    world.run(&["stage"]).exits(0);
    let source = world.write("b.py", "x = 2\n");
    world.run(&["record", source.to_str().unwrap()]).exits(0).says("recorded 1 for transaction 2");
    world.run(&["commit", &nothing(&world)]).exits(0).says("compiled 2");
    assert!(world.pyc("a.py").exists() && world.pyc("b.py").exists());
}

#[test]
fn stage_says_when_nothing_is_pending() {
    let world = World::new();
    world.run(&["stage"]).exits(0).says("nothing is pending");
    world.run(&["recover"]).exits(0).says("nothing is left over, nothing is pending");
}

#[test]
fn rollback_forgets_what_was_recorded_and_what_was_staged() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["record"]).exits(0);
    world.run(&["stage"]).exits(0);
    let source = world.write("b.py", "x = 2\n");
    world.run(&["record", source.to_str().unwrap()]).exits(0);
    world
        .run(&["rollback"])
        .exits(0)
        .says("transaction 1 is dropped with 1 intents")
        .says("transaction 2 is dropped with 1 intents");
    assert!(names(&world.state().join("staging")).is_empty());
    world.run(&["rollback"]).exits(0).says("no transaction is open");
    world.run(&["commit", &nothing(&world)]).exits(0).says("nothing to do");
    assert_eq!(world.tree_files(), ["a.py", "b.py"]);
    world.run(&["log"]).exits(0).says("dropped by pyc-txn rollback");
}

#[test]
fn status_tells_what_is_open_what_failed_and_who_compiles() {
    let world = World::new();
    world.run(&["status"]).exits(0).says("no transaction is open").says("0 targets are published");
    assert!(!world.state().exists(), "status made a state directory");
    world.write("good.py", "x = 1\n");
    let bad = world.write("bad.py", "= =\n");
    world.commit().exits(1);
    let more = world.write("more.py", "x = 1\n");
    world.run(&["record", more.to_str().unwrap()]).exits(0);
    let tag = python::cache_tag();
    world
        .run(&["status"])
        .exits(0)
        .says("transaction 2 is recording: 1 pending; 'pyc-txn commit' compiles them")
        .says("1 targets are published")
        .says("1 could not be compiled:")
        .says(&format!("  {}:1: SyntaxError", bad.display()))
        .says(&format!("({tag})"));
}

#[test]
fn status_in_json_has_every_field() {
    let world = World::new();
    let empty = json(&world.run(&["status", "--json"]).exits(0));
    assert_eq!(empty["busy"], false);
    assert_eq!(empty["published"], 0);
    world.write("good.py", "x = 1\n");
    let bad = world.write("bad.py", "= =\n");
    world.commit().exits(1);
    let more = world.write("more.py", "x = 1\n");
    world.run(&["record", more.to_str().unwrap()]).exits(0);
    let status = json(&world.run(&["status", "--json"]).exits(0));
    assert_eq!(status["journal"], world.state().join("journal.sqlite3").to_str().unwrap());
    assert_eq!(status["busy"], false);
    assert_eq!(status["published"], 1);
    assert_eq!(status["leftovers"], serde_json::json!([]));
    assert_eq!(status["warnings"], serde_json::json!([]));
    let open = &status["open"][0];
    assert_eq!(
        (&open["id"], &open["state"], &open["held"], &open["counts"]["pending"]),
        (&2.into(), &"recording".into(), &false.into(), &1.into())
    );
    let failure = &status["failures"][0];
    assert_eq!(failure["path"], bad.to_str().unwrap());
    assert_eq!(failure["outcome"], "refused");
    assert_eq!(failure["transaction"], 1);
    assert!(failure["message"].as_str().unwrap().starts_with("1: SyntaxError: "), "{failure}");
    let interpreter = &status["interpreters"][0];
    assert_eq!(interpreter["path"], fs::canonicalize(PYTHON).unwrap().to_str().unwrap());
    assert_eq!(interpreter["cache_tag"], python::cache_tag());
    assert_eq!(interpreter["present"], true);
    let magic = python::run(PYTHON, "import importlib.util as u; print(u.MAGIC_NUMBER.hex(), end='')");
    assert_eq!(interpreter["magic"], magic);
}

#[test]
fn log_lists_transactions_and_shows_one_in_full() {
    let world = World::new();
    world.run(&["log"]).exits(0);
    let good = world.write("good.py", "x = 1\n");
    let bad = world.write("bad.py", "= =\n");
    world.commit().exits(1);
    world.run_on_tree(&["clean"]).exits(0);
    let log = world.run(&["log"]).exits(0);
    let lines: Vec<&str> = log.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", log.context());
    assert!(lines[0].trim_start().starts_with("2 ") && lines[0].contains("clean"), "{}", log.context());
    assert!(lines[1].contains("committed") && lines[1].contains("1 compiled, 1 failed"), "{}", log.context());
    let one = world
        .run(&["log", "1"])
        .exits(0)
        .says(&format!("{}:1: SyntaxError", bad.display()))
        .says(python::cache_tag());
    let line = one.stdout.lines().find(|line| line.contains("compiled  ")).unwrap();
    assert!(line.ends_with(good.to_str().unwrap()), "{}", one.context());
    let all = json(&world.run(&["log", "--json"]).exits(0));
    assert_eq!(all.as_array().unwrap().len(), 2);
    let full = json(&world.run(&["log", "1", "--json"]).exits(0));
    assert_eq!((&full["id"], &full["state"]), (&1.into(), &"committed".into()));
    assert_eq!((&full["counts"]["compiled"], &full["counts"]["failed"]), (&1.into(), &1.into()));
    let intents = full["intents"].as_array().unwrap();
    assert_eq!(intents.len(), 2);
    assert_eq!(intents[1]["path"], good.to_str().unwrap());
    assert_eq!(intents[1]["outcome"], "compiled");
    assert!(full["bytes"].as_u64().unwrap() > 16);
    world.run(&["log", "99"]).exits(3).says("there is no transaction 99");
}

#[test]
fn a_dry_run_changes_nothing_at_all() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let whole = || snapshot(world.tree().parent().unwrap());
    let before = whole();
    let outcome = world
        .run_on_tree(&["commit", "--dry-run"])
        .exits(0)
        .says(&format!("compile {}", source.display()))
        .says("would compile or remove 1");
    assert!(whole() == before, "{}", outcome.context());
    world.commit().exits(0);
    let later = world.write("b.py", "x = 2\n");
    fs::remove_file(source).unwrap();
    let before = whole();
    let outcome = world
        .run_on_tree(&["commit", "--dry-run"])
        .exits(0)
        .says(&format!("compile {}", later.display()))
        .says(&format!("remove {}", world.pyc("a.py").display()))
        .says("would compile or remove 2");
    assert!(whole() == before, "{}", outcome.context());
}

#[test]
fn quiet_says_only_what_went_wrong() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    let outcome = world.run_on_tree(&["commit", "-q"]).exits(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    world.write("bad.py", "= =\n");
    let outcome = world.run_on_tree(&["commit", "-q"]).exits(1);
    assert_eq!(outcome.stdout, "");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
}

#[test]
fn verbose_says_how_it_came_about() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    let outcome = world.run_on_tree(&["commit", "-v"]).exits(0).says("compiled 1 ");
    for phase in ["compile", "sync staged files", "compare and decide", "publish", "settle"] {
        let took =
            outcome.stderr.lines().find_map(|line| line.strip_prefix(phase)?.strip_suffix("s")).unwrap_or("");
        let number = took.trim_end_matches('m').trim();
        assert!(number.parse::<f64>().is_ok_and(|number| number > 0.0), "{phase}\n{}", outcome.context());
    }
}

#[test]
fn results_go_to_stdout_and_failures_to_stderr() {
    let world = World::new();
    world.write("bad.py", "= =\n");
    let outcome = world.commit().exits(1);
    assert!(outcome.stdout.starts_with("pyc-txn: failed 1 in "), "{}", outcome.context());
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.context());
    assert!(outcome.stderr.contains("SyntaxError") && !outcome.stdout.contains("SyntaxError"));
}

#[test]
fn a_wrong_command_line_has_its_own_status() {
    let world = World::new();
    for arguments in [
        &["no-such-command"][..],
        &[],
        &["commit", "-O", "3", "/no/such/path"],
        &["commit", "--invalidation", "sometimes", "/no/such/path"],
        &["commit", "-q", "-v", "/no/such/path"],
        &["commit", "-j", "0", "/no/such/path"],
        &["commit", "--timeout", "soon", "/no/such/path"],
        &["status", "extra"],
        &["log", "one"],
        &["rollback", "--json"],
    ] {
        let outcome = world.run(arguments).exits(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{}", outcome.context());
    }
    assert!(!world.state().exists());
}

#[test]
fn a_path_that_is_not_there_is_named_and_the_others_are_compiled() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let text = world.write("notes.txt", "");
    world
        .run_on_tree(&["commit", "/no/such/path", text.to_str().unwrap()])
        .exits(1)
        .says("cannot open '/no/such/path': No such file or directory")
        .says("notes.txt' is no Python source and no directory")
        .says("compiled 1 ");
    world.run(&["record", "/no/such/path"]).exits(1).says("'/no/such/path'");
    world.run(&["clean", "/no/such/path"]).exits(1).says("'/no/such/path'");
}

#[test]
fn relative_paths_are_taken_from_the_current_directory() {
    let world = World::new();
    world.write("package/a.py", "x = 1\n");
    for path in ["package", "./package/../package/a.py", "."] {
        let mut command = world.command(&["commit", path]);
        command.current_dir(world.tree());
        world.outcome(command).exits(0);
    }
    assert_eq!(world.query::<i64>("SELECT count(*) FROM ledger"), 1);
}

#[test]
fn a_source_named_twice_is_compiled_once() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let source = source.to_str().unwrap();
    let outcome = world.run_on_tree(&["commit", source, source]).exits(0).says("compiled 1 ");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM intents"), 1, "{}", outcome.context());
}

#[test]
fn a_dry_run_lists_a_large_tree_in_one_order_what_is_below_first() {
    let world = World::new();
    for number in 0..400 {
        world.write(format!("{}/{number}/deep/a.py", number % 7), "x = 1\n");
        world.write(format!("{}/{number}/b.py", number % 7), "x = 1\n");
    }
    let first = world.run_on_tree(&["commit", "-n"]).exits(0);
    let at = |what: &str| {
        let found = first.stdout.find(&format!("/{what}\n"));
        found.unwrap_or_else(|| panic!("{what} is not listed\n{}", first.context()))
    };
    for number in 0..400 {
        let directory = format!("{}/{number}", number % 7);
        assert!(at(&format!("{directory}/deep/a.py")) < at(&format!("{directory}/b.py")), "{directory}");
    }
    for _ in 0..5 {
        assert_eq!(world.run_on_tree(&["commit", "-n"]).stdout, first.stdout);
    }
}
