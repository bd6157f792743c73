//! The history: why a transaction was, how it came out, and what is forgotten of it and when.
//!
//! Owns the tables `causes`, `tallies` and `warnings`. All of it is written as a part of writes that are made anyway.
//! The file keeps the pages that become free, and the next transactions fill them: with the history its size stays
//! where it is. SQLite's `auto_vacuum` would give them back with more work in every commit, to ask for them again
//! in the next.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::Journal;
use super::transitions::now;
use crate::config::History;
use crate::root::Root;
use crate::txn::intent::{Group, TxnId};

/// Intents that a settle may forget whatever its own size: some milliseconds' work.
const TRIMMED_AT_ONCE: i64 = 2_000;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// A command that asked for something in a transaction, or took it on.
#[derive(Debug, Serialize)]
pub struct CauseReport {
    /// Its words.
    pub command: String,
    /// The package that it asked for, where it named one.
    pub package: Option<String>,
}

impl Journal {
    /// Says on whose behalf this journal is written from here on: the words of the command, the root of its paths, and
    /// what it keeps of the history.
    pub fn write_for(&mut self, command: &str, root: &Root, history: History) {
        command.clone_into(&mut self.command);
        self.root = Some(root.clone());
        self.history = history;
    }
}

/// Notes that `command` asked for `groups` in a transaction.
pub(super) fn note_request(
    write: &Connection,
    txn: i64,
    command: &str,
    groups: &[Group],
) -> rusqlite::Result<()> {
    let mut packages: Vec<&str> =
        groups.iter().map(|group| group.owner.as_deref().unwrap_or_default()).collect();
    packages.sort_unstable();
    packages.dedup();
    packages.iter().try_for_each(|package| note(write, txn, command, package))
}

/// Notes that `command` took a transaction on, unless it is known to have asked for it.
pub(super) fn note_work(write: &Connection, txn: TxnId, command: &str) -> rusqlite::Result<()> {
    let query = "SELECT EXISTS (SELECT 1 FROM causes WHERE txn = ?1 AND command = ?2)";
    let is_known = write.query_row(query, params![txn.0, command], |row| row.get(0))?;
    if is_known { Ok(()) } else { note(write, txn.0, command, "") }
}

fn note(write: &Connection, txn: i64, command: &str, package: &str) -> rusqlite::Result<()> {
    if !command.is_empty() {
        let query = "INSERT OR IGNORE INTO causes VALUES (?1, ?2, ?3)";
        write.prepare_cached(query)?.execute(params![txn, command, package])?;
    }
    Ok(())
}

/// Notes the causes of a transaction, some of whose intents are another's now, for that one, too.
pub(super) fn inherit(write: &Connection, from: TxnId, to: i64) -> rusqlite::Result<()> {
    write.execute(
        "INSERT OR IGNORE INTO causes SELECT ?2, command, package FROM causes WHERE txn = ?1",
        (from.0, to),
    )?;
    Ok(())
}

/// What led to a transaction.
pub(super) fn causes(connection: &Connection, txn: i64) -> rusqlite::Result<Vec<CauseReport>> {
    let query = "SELECT command, package FROM causes WHERE txn = ?1 ORDER BY command, package";
    let mut statement = connection.prepare_cached(query)?;
    let cause = |row: &Row<'_>| {
        let package: String = row.get(1)?;
        let package = (!package.is_empty()).then_some(package);
        Ok(CauseReport { command: row.get(0)?, package })
    };
    statement.query_map([txn], cause)?.collect()
}

/// Adds up a transaction's outcomes, keeps its warnings, and forgets what the rule lets go.
pub(super) fn settle(write: &Connection, txn: TxnId, rule: History) -> rusqlite::Result<()> {
    write.execute(
        "INSERT INTO tallies
         SELECT txn, CASE WHEN reused AND outcome = 'compiled' THEN 'reused' ELSE outcome END AS word, count(*),
                sum(CASE outcome WHEN 'compiled' THEN pyc_size ELSE 0 END)
         FROM intents LEFT JOIN facts USING (id) WHERE txn = ?1 GROUP BY word",
        [txn.0],
    )?;
    keep_warnings(write, txn)?;
    trim(write, txn, rule)
}

/// Brings the warnings up to what was compiled. What is reused or adopted had its say when it was compiled.
fn keep_warnings(write: &Connection, txn: TxnId) -> rusqlite::Result<()> {
    write.execute(
        "DELETE FROM warnings WHERE EXISTS (
             SELECT 1 FROM intents
             WHERE txn = ?1 AND intents.directory = warnings.directory AND intents.target = warnings.target
                   AND outcome = 'compiled' AND NOT reused)",
        [txn.0],
    )?;
    write.execute(
        "INSERT OR REPLACE INTO warnings
         SELECT directory, target, source, source_hash, warnings
         FROM intents INDEXED BY intents_with_warnings JOIN facts USING (id)
         WHERE txn = ?1 AND warnings IS NOT NULL AND outcome = 'compiled'",
        [txn.0],
    )?;
    forget_warnings(write)
}

/// Forgets the warnings of bytecode that is neither published nor retired.
pub(super) fn forget_warnings(write: &Connection) -> rusqlite::Result<()> {
    write.execute(
        "DELETE FROM warnings
         WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.directory = warnings.directory
                                                      AND ledger.target = warnings.target)
           AND NOT EXISTS (SELECT 1 FROM retired WHERE retired.directory = warnings.directory
                                                       AND retired.target = warnings.target)",
        [],
    )?;
    Ok(())
}

/// Forgets transactions that ended too long ago and are not among the latest, the oldest first. A large one is not
/// forgotten at once, so that no small commit has to wait for that: its intents go first, a part with each settle,
/// and it goes with the last of them. A settle forgets twice as many intents as it has: none stay for ever.
fn trim(write: &Connection, txn: TxnId, rule: History) -> rusqlite::Result<()> {
    if rule.days == 0 {
        return Ok(());
    }
    let before = now() - i64::from(rule.days) * SECONDS_OF_A_DAY;
    let query = "SELECT id FROM transactions WHERE ended < ?1 AND id <= (
                     SELECT id FROM transactions ORDER BY id DESC LIMIT 1 OFFSET ?2) ORDER BY id";
    let mut statement = write.prepare_cached(query)?;
    let due = statement.query_map((before, rule.transactions), |row| row.get(0))?;
    let due: Vec<i64> = due.collect::<rusqlite::Result<_>>()?;
    if due.is_empty() {
        return Ok(());
    }
    let own: i64 =
        write.query_row("SELECT coalesce(sum(intents), 0) FROM tallies WHERE txn = ?1", [txn.0], |row| {
            row.get(0)
        })?;
    let mut budget = TRIMMED_AT_ONCE.max(2 * own);
    let mut forget_intents = write
        .prepare_cached("DELETE FROM intents WHERE id IN (SELECT id FROM intents WHERE txn = ?1 LIMIT ?2)")?;
    let mut forget = write.prepare_cached("DELETE FROM transactions WHERE id = ?1")?;
    for old in due {
        let forgotten = forget_intents.execute((old, budget))?;
        budget -= i64::try_from(forgotten).unwrap_or(i64::MAX);
        if budget <= 0 {
            break;
        }
        forget.execute([old])?;
    }
    Ok(())
}
