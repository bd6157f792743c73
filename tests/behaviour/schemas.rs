//! Journals of earlier schemas: brought up, with everything that is in them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::Value;

use crate::support::{Outcome, World};

/// The schemas before this one, as they were released.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_retired.sql"),
    include_str!("../../migrations/0003_history.sql"),
];

/// What an earlier pyc-txn would have written: everything in the journal `now`, by the columns of schema 3.
const IN_SCHEMA_3: &str = "
    INSERT INTO interpreters
    SELECT id, path, cache_tag, magic, major, minor, as_nobody, inode, size, mtime, ctime FROM now.interpreters;
    INSERT INTO directories SELECT id, path FROM now.directories;
    INSERT INTO transactions SELECT * FROM now.transactions;
    UPDATE numbers SET next_intent = (SELECT next_intent FROM now.numbers);
    INSERT INTO intents
    SELECT id, txn, directory, target, source, interpreter, level, mode, force, owner,
           facts.device, facts.inode, coalesce(facts.size, intents.size), coalesce(facts.mtime, intents.mtime),
           facts.ctime, outcome, message, warnings,
           CASE WHEN outcome IN ('compiled', 'adopted') THEN coalesce(source_hash, zeroblob(32)) END,
           CASE WHEN outcome IN ('compiled', 'adopted') THEN coalesce(code_hash, zeroblob(32)) END,
           CASE WHEN outcome IN ('compiled', 'adopted') THEN coalesce(pyc_inode, 0) END,
           CASE WHEN outcome IN ('compiled', 'adopted') THEN coalesce(pyc_size, 0) END,
           pyc_mtime, staged_in, retire, reused
    FROM now.intents LEFT JOIN now.facts USING (id);
    INSERT INTO ledger
    SELECT directory, target, owner, txn, interpreter, mode, inode, size, mtime, ctime,
           source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime
    FROM now.ledger JOIN now.facts ON id = facts;
    INSERT INTO failures SELECT * FROM now.failures;
    INSERT INTO retired
    SELECT id, directory, target, owner, interpreter, mode, source_hash, code_hash FROM now.retired;";

/// That, of the tables that came with schema 3.
const HISTORY: &str = "
    INSERT INTO causes SELECT * FROM now.causes;
    INSERT INTO tallies SELECT * FROM now.tallies;
    INSERT INTO warnings SELECT * FROM now.warnings;";

/// Makes the journal one of an earlier schema.
fn take_back(world: &World, schema: i32) {
    let (path, old) = (world.state().join("journal.sqlite3"), world.beside("old.sqlite3"));
    let journal = Connection::open(&old).unwrap();
    journal.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    journal.execute("ATTACH ?1 AS now", [path.to_str().unwrap()]).unwrap();
    for migration in MIGRATIONS {
        journal.execute_batch(migration).unwrap();
    }
    journal.execute_batch(IN_SCHEMA_3).unwrap();
    match schema {
        3 => journal.execute_batch(HISTORY).unwrap(),
        2 => journal
            .execute_batch(
                "DROP TABLE causes; DROP TABLE tallies; DROP TABLE warnings; DROP INDEX intents_with_warnings;
                 ALTER TABLE transactions DROP COLUMN took;",
            )
            .unwrap(),
        _ => unreachable!(),
    }
    journal.pragma_update(None, "user_version", schema).unwrap();
    journal.close().unwrap();
    fs::rename(old, path).unwrap();
}

fn log(world: &World) -> (Outcome, Value) {
    let outcome = world.run(&["log", "--json"]).exits(0);
    let log = serde_json::from_str(&outcome.stdout).unwrap();
    (outcome, log)
}

/// A world with three transactions: one with a warning, one with a failure, one of two sources that changed.
fn three() -> World {
    let world = World::new();
    world.write("a.py", "x = 1\nif x is 1: pass\n");
    world.commit().exits(0);
    world.write("bad.py", "= =\n");
    world.write("b.py", "x = 1\n");
    world.commit().exits(1);
    world.write("b.py", "x = 22\n");
    world.commit().exits(1);
    world
}

#[test]
fn a_journal_of_an_earlier_schema_keeps_its_history_its_warnings_and_its_failures() {
    for schema in [2, 3] {
        let world = three();
        let (_, before) = log(&world);
        take_back(&world, schema);
        world.commit().exits(1).says("failed 1 (2 up to date)");
        world.run(&["status"]).exits(0).says("1 warnings in 1 sources").says("2 targets are published");
        let owner = world.run(&["owner", world.pyc("b.py").to_str().unwrap()]).exits(0);
        owner.says("transaction 3");
        let (outcome, mut after) = log(&world);
        // The source that was refused was tried once more: by which release it was, such a journal does not know.
        let last = after.as_array_mut().unwrap().remove(0);
        assert_eq!((&last["id"], &last["counts"]["failed"]), (&4.into(), &1.into()), "{}", outcome.context());
        if schema == 3 {
            assert_eq!(before, after, "{}", outcome.context());
        }
        for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
            for field in ["id", "state", "counts"] {
                assert_eq!(before[field], after[field], "{}", outcome.context());
            }
            if schema == 2 {
                assert_eq!((&after["took"], after["causes"].as_array().unwrap().len()), (&Value::Null, 0));
            }
        }
        assert_eq!(before[0]["bytes"], after[0]["bytes"], "{}", outcome.context());
        for number in ["1", "2", "3"] {
            world.run(&["log", number]).exits(0).says("compiled");
        }
    }
}

#[test]
fn what_the_ledger_of_an_earlier_schema_has_is_replaced_and_removed() {
    let world = three();
    take_back(&world, 3);
    let touched = world.tree().join("a.py");
    crate::aid::set_mtime(&touched, 1_000_000_000, 0);
    fs::remove_file(world.tree().join("b.py")).unwrap();
    world.commit().exits(1).says("compiled 1, removed 1");
    assert!(world.pyc("a.py").exists() && !world.pyc("b.py").exists());
    assert_eq!(world.query::<i64>("SELECT count(*) FROM ledger"), 1);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM facts"), 1, "facts are left over");
}

#[test]
fn what_is_staged_in_a_journal_of_an_earlier_schema_is_published_as_it_is() {
    let world = three();
    world.write("c.py", "x = 3\n");
    world.run_on_tree(&["record"]).exits(0);
    world.run(&["stage"]).exits(0);
    world.write("d.py", "x = 4\n");
    world.run_on_tree(&["record"]).exits(0);
    let staging = world.state().join("staging/4");
    let staged = fs::read_dir(&staging).unwrap().next().unwrap().unwrap().metadata().unwrap();
    take_back(&world, 3);
    let outcome = world.commit().exits(1).says("compiled 2");
    assert_eq!(fs::metadata(world.pyc("c.py")).unwrap().ino(), staged.ino(), "{}", outcome.context());
    assert!(world.pyc("d.py").exists() && !staging.exists(), "{}", outcome.context());
    world.commit().exits(1).says("4 up to date");
}

/// Makes the journal one of schema 8, which knew an interpreter by its magic number only.
fn take_back_to_8(world: &World) {
    let journal = world.journal();
    journal.pragma_update(None, "foreign_keys", false).unwrap();
    let columns = "id, path, cache_tag, magic, major, minor, as_nobody, inode, size, mtime, ctime";
    let table = MIGRATIONS[0].split("CREATE TABLE directories").next().unwrap();
    let table = table.replace("CREATE TABLE interpreters", "CREATE TABLE old");
    journal
        .execute_batch(&format!(
            "{table} INSERT INTO old SELECT {columns} FROM interpreters;
             DROP TABLE interpreters; ALTER TABLE old RENAME TO interpreters;
             ALTER TABLE directories DROP COLUMN mount; PRAGMA user_version = 8"
        ))
        .unwrap();
}

#[test]
fn bytecode_of_a_compiler_that_an_earlier_journal_does_not_know_stays_and_is_not_used_again() {
    let world = three();
    take_back_to_8(&world);
    world.commit().exits(1).says("failed 1 (2 up to date)");
    let broken = "SELECT count(*) FROM pragma_foreign_key_check";
    assert_eq!(world.query::<i64>(broken), 0);
    crate::aid::set_mtime(&world.tree().join("a.py"), 1_000_000_000, 0);
    world.commit().exits(1).says("compiled 1").does_not_say("reused");
    crate::aid::set_mtime(&world.tree().join("a.py"), 1_000_000_001, 0);
    world.commit().exits(1).says("reused 1");
}
