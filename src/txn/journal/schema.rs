//! The ladder of schemas: `migrations/NNNN_*.sql`, numbered by `PRAGMA user_version`, applied in one exclusive
//! transaction. A file that has been released never changes; a change is a new file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::{JournalError, Result};
use crate::disk::fault;

const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001_initial.sql"),
    include_str!("../../../migrations/0002_retired.sql"),
    include_str!("../../../migrations/0003_history.sql"),
    include_str!("../../../migrations/0004_facts.sql"),
    include_str!("../../../migrations/0005_seals.sql"),
    include_str!("../../../migrations/0006_ends.sql"),
    include_str!("../../../migrations/0007_trees.sql"),
    include_str!("../../../migrations/0008_canonical.sql"),
    include_str!("../../../migrations/0009_compilers.sql"),
    include_str!("../../../migrations/0010_filesystems.sql"),
    include_str!("../../../migrations/0011_remains.sql"),
];

/// The schema this program knows.
#[expect(clippy::cast_possible_wrap, reason = "there are not that many")]
const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Brings the schema up to [`KNOWN`].
pub(super) fn bring_up(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |source| JournalError::new("open", path, source);
    match version(connection).map_err(failed)? {
        KNOWN => return Ok(()),
        newer if newer > KNOWN => return Err(JournalError::newer(path, newer, KNOWN)),
        older if connection.is_readonly("main").map_err(failed)? => {
            return Err(JournalError::older(path, older, KNOWN));
        }
        _ => {}
    }
    let write = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failed)?;
    // Another process may have been first.
    let found = version(&write).map_err(failed)?;
    for (number, migration) in (1..).zip(MIGRATIONS) {
        if number > found {
            write.execute_batch(migration).map_err(failed)?;
            write.pragma_update(None, "user_version", number).map_err(failed)?;
        }
    }
    fault::step("journal: bring up schema", path).map_err(|cause| JournalError::io(path, cause))?;
    write.commit().map_err(failed)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_with(statements: &str) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        bring_up(&mut connection, Path::new("journal")).unwrap();
        connection.execute_batch(statements).unwrap();
        connection
    }

    #[test]
    fn a_journal_of_a_newer_program_is_refused_with_both_numbers() {
        let mut connection = journal_with("PRAGMA user_version = 99");
        let message = bring_up(&mut connection, Path::new("/j")).unwrap_err().to_string();
        assert!(message.contains("schema 99") && message.contains(&format!("knows {KNOWN}")), "{message}");
    }

    #[test]
    fn the_schema_refuses_every_change_of_state_but_the_five() {
        let states = ["recording", "staged", "committing", "committed", "rolled-back"];
        let ways = |from: &str| match from {
            "recording" => vec![],
            "staged" => vec!["staged"],
            "committing" => vec!["staged", "committing"],
            "committed" => vec!["staged", "committing", "committed"],
            _ => vec!["rolled-back"],
        };
        let mut legal = Vec::new();
        for from in states {
            for to in states.into_iter().filter(|to| *to != from) {
                let connection = journal_with(
                    "INSERT INTO transactions (kind, state, began) VALUES ('commit', 'recording', 0)",
                );
                for state in ways(from) {
                    change(&connection, state).unwrap();
                }
                if change(&connection, to).is_ok() {
                    legal.push((from, to));
                }
            }
        }
        let expected = [
            ("recording", "staged"),
            ("recording", "rolled-back"),
            ("staged", "committing"),
            ("staged", "rolled-back"),
            ("committing", "committed"),
        ];
        assert_eq!(legal, expected);
    }

    fn change(connection: &Connection, state: &str) -> rusqlite::Result<usize> {
        let ended = matches!(state, "committed" | "rolled-back").then_some(1);
        connection.execute("UPDATE transactions SET state = ?1, ended = ?2", (state, ended))
    }

    #[test]
    fn a_transaction_cannot_begin_in_the_middle() {
        let connection = journal_with("");
        for (kind, state, legal) in
            [("commit", "committing", false), ("commit", "staged", false), ("clean", "committing", true)]
        {
            let statement = "INSERT INTO transactions (kind, state, began) VALUES (?1, ?2, 0)";
            assert_eq!(connection.execute(statement, (kind, state)).is_ok(), legal, "{kind} {state}");
        }
    }

    #[test]
    fn the_past_cannot_be_changed() {
        let connection = journal_with(
            "INSERT INTO transactions (kind, state, began) VALUES ('commit', 'recording', 0);
             INSERT INTO directories (path) VALUES (x'2f');
             INSERT INTO intents (txn, directory, target) VALUES (1, 1, x'61');
             UPDATE transactions SET state = 'rolled-back', ended = 1;",
        );
        assert!(connection.execute("UPDATE intents SET outcome = 'removed'", []).is_err());
        let late = "INSERT INTO intents (txn, directory, target) VALUES (1, 1, x'62')";
        assert!(connection.execute(late, []).is_err());
    }
}
