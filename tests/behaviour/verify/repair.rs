//! A repair is a transaction; what it says; and who else may be at work.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Report, is_repaired, published, verify};
use crate::aid::{Damage, finish, start};
use crate::oracle;
use crate::support::{PYTHON, World};

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
}

#[test]
fn everything_wrong_is_mended_in_one_transaction() {
    let world = published();
    for name in ["c.py", "d.py", "deep/e.py"] {
        world.write(name, "x = 3\n");
    }
    world.commit().exits(0);
    truncate(&world.pyc("a.py"));
    fs::remove_file(world.pyc("b.py")).unwrap();
    fs::remove_file(world.tree().join("c.py")).unwrap();
    truncate(&world.pyc("deep/e.py"));
    let before: i64 = world.query("SELECT count(*) FROM transactions");
    is_repaired(&world, 4);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), before + 1);
    assert_eq!(world.query::<String>("SELECT state FROM transactions ORDER BY id DESC"), "committed");
    world.commit().exits(0).says("nothing to do (4 up to date)");
}

#[test]
fn the_table_has_a_line_for_each_finding_and_a_summary() {
    let world = published();
    truncate(&world.pyc("a.py"));
    let line = format!("broken {}: malformed bytecode at offset ", world.pyc("a.py").display());
    let outcome = world.run_on_tree(&["verify"]).exits(1).says(&line);
    assert_eq!(outcome.stdout.lines().count(), 2, "{}", outcome.context());
    assert!(outcome.stdout.lines().last().unwrap().starts_with("pyc-txn: valid 1, broken 1 in "));
    world.run_on_tree(&["verify", "--repair"]).exits(0).says("; repaired\n").says(" (repaired 1) in ");
    let quiet = world.run_on_tree(&["verify", "--quiet"]).exits(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn what_stays_wrong_is_said_even_if_little_else_is() {
    let world = published();
    truncate(&world.pyc("a.py"));
    let quiet = world.run_on_tree(&["verify", "--quiet"]).exits(1);
    assert!(quiet.stdout.is_empty() && quiet.stderr.starts_with("broken "), "{}", quiet.context());
    let quiet = world.run_on_tree(&["verify", "--quiet", "--repair"]).exits(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_source_that_does_not_compile_is_not_mended_and_the_others_are() {
    let world = published();
    let source = world.write("a.py", "x = (\n");
    truncate(&world.pyc("b.py"));
    let outcome = verify(&world, &["--repair"]).exits(1);
    let report = Report::of(&outcome);
    assert_eq!((report.number("repaired"), report.number("wrong")), (1, 1), "{}", outcome.context());
    assert!(outcome.stderr.contains(&format!("{}:1: ", source.display())), "{}", outcome.context());
}

#[test]
fn a_repair_of_what_is_right_writes_nothing() {
    let world = published();
    let before = crate::aid::snapshot(world.tree().parent().unwrap());
    verify(&world, &["--repair"]).exits(0);
    assert_eq!(crate::aid::snapshot(world.tree().parent().unwrap()), before);
}

#[test]
fn what_is_pending_is_committed_with_a_repair() {
    let world = published();
    world.write("c.py", "x = 3\n");
    world.run_on_tree(&["record"]).exits(0);
    is_repaired(&world, 1);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions WHERE ended IS NULL"), 0);
    oracle::imports_from_bytecode(&world, PYTHON.as_ref(), &[], "c", &world.pyc("c.py"));
}

#[test]
fn a_damaged_journal_is_no_reason_not_to_look_and_is_replaced_by_a_repair() {
    let damages: [Damage; 2] =
        [|_| b"no database at all, and long enough to be read as one".to_vec(), |_| vec![7; 8192]];
    for damage in damages {
        let world = published();
        let journal = world.state().join("journal.sqlite3");
        fs::write(&journal, damage(&[])).unwrap();
        let report = Report::of(&verify(&world, &[]).exits(1).says("going on without the ledger"));
        assert_eq!(report.count("foreign"), 2);
        truncate(&world.pyc("a.py"));
        is_repaired(&world, 1);
    }
}

/// Whoever writes while we look is never an error: neither a Python that replaces its bytecode, nor a commit.
#[test]
fn bytecode_that_is_replaced_all_the_while_is_never_wrong() {
    let world = published();
    let stop = AtomicBool::new(false);
    let (pyc, temporary) = (world.pyc("a.py"), world.pyc("a.py").with_extension("pyc.140236"));
    let whole = fs::read(&pyc).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                fs::write(&temporary, &whole).unwrap();
                fs::rename(&temporary, &pyc).unwrap();
            }
        });
        for _ in 0..20 {
            let commit = {
                let mut command = world.command(&["commit", "--force"]);
                command.arg(world.tree().join("b.py"));
                start(command)
            };
            let outcome = verify(&world, &[]);
            let report = Report::of(&outcome);
            let bad: u64 = ["missing", "stale", "invalid", "broken", "altered", "orphan"]
                .iter()
                .map(|class| report.count(class))
                .sum();
            assert_eq!(bad, 0, "{}", outcome.context());
            finish(&world, commit).exits(0);
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_repair_that_is_switched_off_says_so_and_mends_nothing() {
    let world = published();
    truncate(&world.pyc("a.py"));
    let mut command = world.command(&["verify", "--repair"]);
    command.arg(world.tree()).env("PYC_TXN_SUSPEND", "1");
    world.outcome(command).exits(1).says("switched off").does_not_say("; repaired");
}

#[test]
fn two_repairs_at_once_both_end_well() {
    let world: World = published();
    truncate(&world.pyc("a.py"));
    let repair = || {
        let mut command = world.command(&["verify", "--repair"]);
        command.arg(world.tree());
        start(command)
    };
    for one in [repair(), repair()] {
        finish(&world, one).exits(0);
    }
    verify(&world, &[]).exits(0);
}
