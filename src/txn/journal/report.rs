//! What the journal tells people: `status` and `log`.

use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::Journal;
use super::error::Result;
use super::history::{self, CauseReport};
use super::ledger::STAYS;
use super::registry::{name, path};
use crate::python::pycache;
use crate::txn::intent::TxnId;

/// How many intents of a transaction came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Without an outcome yet.
    pub pending: u64,
    /// Compiled by an interpreter.
    pub compiled: u64,
    /// Made from earlier bytecode of the same content.
    pub reused: u64,
    /// Taken over as they were.
    pub adopted: u64,
    /// Right already.
    pub current: u64,
    /// Removed.
    pub removed: u64,
    /// Whose source vanished.
    pub vanished: u64,
    /// That failed: refused, lost, unreadable.
    pub failed: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let settled = self.compiled + self.reused + self.adopted + self.current + self.removed;
        self.pending + settled + self.vanished + self.failed
    }

    /// That of an outcome's word.
    fn of(&mut self, outcome: Option<&str>) -> &mut u64 {
        match outcome {
            None => &mut self.pending,
            Some("compiled") => &mut self.compiled,
            Some("reused") => &mut self.reused,
            Some("adopted") => &mut self.adopted,
            Some("current") => &mut self.current,
            Some("removed") => &mut self.removed,
            Some("vanished") => &mut self.vanished,
            Some(_) => &mut self.failed,
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.pending += other.pending;
        self.compiled += other.compiled;
        self.reused += other.reused;
        self.adopted += other.adopted;
        self.current += other.current;
        self.removed += other.removed;
        self.vanished += other.vanished;
        self.failed += other.failed;
    }
}

/// A transaction in short.
#[derive(Debug, Serialize)]
pub struct TransactionReport {
    /// Its number.
    pub id: i64,
    /// `commit` or `clean`.
    pub kind: String,
    /// See [`crate::txn::state::State`].
    pub state: String,
    /// Whether it waits for a later commit: staged, to be published by it, or retiring, to be settled.
    pub held: bool,
    /// Seconds since 1970 (UTC).
    pub began: i64,
    /// Seconds since 1970 (UTC).
    pub ended: Option<i64>,
    /// Milliseconds that runs which ended it or staged it were at work on it.
    pub took: Option<i64>,
    /// Why it was rolled back.
    pub message: Option<String>,
    /// What led to it.
    pub causes: Vec<CauseReport>,
    /// Of its intents.
    pub counts: Counts,
    /// The bytes of bytecode it wrote.
    pub bytes: u64,
}

/// An intent in full.
#[derive(Debug, Serialize)]
pub struct IntentReport {
    /// The source, or the file that is removed.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The target's file name.
    #[serde(serialize_with = "lossy_name")]
    pub target: std::ffi::OsString,
    /// The package that asked.
    pub owner: Option<String>,
    /// The interpreter's cache tag.
    pub interpreter: Option<String>,
    /// The optimization level.
    pub level: Option<u8>,
    /// `None`: pending.
    pub outcome: Option<String>,
    /// Of a failure.
    pub message: Option<String>,
    /// `LINE\tMESSAGE`, a line each.
    pub warnings: Option<String>,
    /// Whether an earlier transaction failed in the same way, and told of it.
    #[serde(skip)]
    pub is_known: bool,
}

/// A source that has no bytecode, or old one; or bytecode that could not be removed.
#[derive(Debug, Serialize)]
pub struct FailureReport {
    /// The source; of a removal, the bytecode.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The interpreter's cache tag; of a removal, none.
    pub interpreter: Option<String>,
    /// `refused`, `lost`, `unreadable` or `remains`.
    pub outcome: String,
    /// `LINE: MESSAGE`, or `MESSAGE`.
    pub message: String,
    /// The transaction that found it.
    pub transaction: i64,
}

/// SyntaxWarnings of a source whose bytecode is published.
#[derive(Debug, Serialize)]
pub struct WarningReport {
    /// The source.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// `LINE\tMESSAGE`, a line each.
    pub warnings: String,
}

impl Journal {
    /// The transactions, the latest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn transactions(&self) -> Result<Vec<TransactionReport>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!("{TRANSACTIONS} ORDER BY id DESC"))?;
            let rows = statement.query_map([], |row| transaction(connection, row))?;
            rows.collect()
        })
    }

    /// One transaction.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn transaction(&self, txn: TxnId) -> Result<Option<TransactionReport>> {
        self.read(|connection| {
            let query = format!("{TRANSACTIONS} WHERE id = ?1");
            connection.query_row(&query, [txn.0], |row| transaction(connection, row)).optional()
        })
    }

    /// How many intents of a transaction came out how.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn counts(&self, txn: TxnId) -> Result<Counts> {
        self.read(|connection| Ok(tally(connection, txn.0)?.0))
    }

    /// The intents of a transaction, in full; those that failed or left something only, if so asked.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn intent_reports(&self, txn: TxnId, only_failed: bool) -> Result<Vec<IntentReport>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT directories.path, source, target, owner, cache_tag, level,
                        CASE WHEN reused AND outcome = 'compiled' THEN 'reused' ELSE outcome END, message, warnings,
                        EXISTS (SELECT 1 FROM failures WHERE failures.directory = intents.directory
                                                             AND failures.target = intents.target
                                                             AND failures.txn < intents.txn)
                 FROM intents JOIN directories ON directories.id = directory
                 LEFT JOIN interpreters ON interpreters.id = interpreter
                 WHERE txn = ?1 AND (NOT ?2 OR outcome IN ('refused', 'lost', 'unreadable')
                                     OR (outcome = 'removed' AND message IS NOT NULL))
                 ORDER BY directories.path, target",
            )?;
            let rows = statement.query_map(params![txn.0, only_failed], |row| {
                Ok(IntentReport {
                    path: subject(row, (0, 1, 2))?,
                    target: name(row, 2)?,
                    owner: row.get(3)?,
                    interpreter: row.get(4)?,
                    level: row.get(5)?,
                    outcome: row.get(6)?,
                    message: row.get(7)?,
                    warnings: row.get(8)?,
                    is_known: row.get(9)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The sources that could not be compiled the last time, and what could not be removed.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn failures(&self) -> Result<Vec<FailureReport>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT directories.path, source, cache_tag, outcome, message, txn, target
                 FROM failures JOIN directories ON directories.id = directory
                 LEFT JOIN interpreters ON interpreters.id = interpreter
                 ORDER BY directories.path, source, cache_tag",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(FailureReport {
                    path: subject(row, (0, 1, 6))?,
                    interpreter: row.get(2)?,
                    outcome: row.get(3)?,
                    message: row.get(4)?,
                    transaction: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The warnings of what is published now.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn warnings(&self) -> Result<Vec<WarningReport>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT path, source, warnings
                 FROM warnings JOIN ledger USING (directory, target)
                 JOIN facts ON facts.id = ledger.facts AND facts.source_hash = warnings.source_hash
                 JOIN directories ON directories.id = directory
                 WHERE {STAYS} ORDER BY path, source"
            ))?;
            let rows = statement.query_map([], |row| {
                Ok(WarningReport { path: path(row, 0)?.join(name(row, 1)?), warnings: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    /// How many targets are published.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published_count(&self) -> Result<u64> {
        self.read(|connection| {
            let query = format!("SELECT count(*) FROM ledger WHERE {STAYS}");
            let count: i64 = connection.query_row(&query, [], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }
}

/// The path that an intent or a failure is about: its source, or the bytecode to be removed. From the columns of the
/// directory, the source and the target.
fn subject(row: &Row<'_>, (directory, source, target): (usize, usize, usize)) -> rusqlite::Result<PathBuf> {
    let directory = path(row, directory)?;
    if row.get_ref(source)? == ValueRef::Null {
        return Ok(directory.join(pycache::DIRECTORY).join(name(row, target)?));
    }
    Ok(directory.join(name(row, source)?))
}

const TRANSACTIONS: &str = "SELECT id, kind, state, held, began, ended, message, took FROM transactions";

fn transaction(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<TransactionReport> {
    let id = row.get(0)?;
    let (counts, bytes) = tally(connection, id)?;
    Ok(TransactionReport {
        id,
        kind: row.get(1)?,
        state: row.get(2)?,
        held: row.get(3)?,
        began: row.get(4)?,
        ended: row.get(5)?,
        took: row.get(7)?,
        message: row.get(6)?,
        causes: history::causes(connection, id)?,
        counts,
        bytes,
    })
}

/// How a transaction's intents came out, and the bytes they wrote: as it was added up when it was settled, before
/// that as it is now.
fn tally(connection: &Connection, txn: i64) -> rusqlite::Result<(Counts, u64)> {
    let mut statement = connection.prepare_cached(
        "SELECT outcome, intents, bytes FROM tallies WHERE txn = ?1
         UNION ALL
         SELECT CASE WHEN reused AND outcome = 'compiled' THEN 'reused' ELSE outcome END AS word, count(*),
                sum(CASE outcome WHEN 'compiled' THEN pyc_size ELSE 0 END)
         FROM intents LEFT JOIN facts USING (id)
         WHERE txn = ?1 AND NOT EXISTS (SELECT 1 FROM tallies WHERE txn = ?1) GROUP BY word",
    )?;
    let (mut counts, mut bytes) = (Counts::default(), 0);
    let mut rows = statement.query([txn])?;
    while let Some(row) = rows.next()? {
        let outcome: Option<String> = row.get(0)?;
        *counts.of(outcome.as_deref()) += row.get::<_, i64>(1)?.cast_unsigned();
        bytes += row.get::<_, i64>(2)?.cast_unsigned();
    }
    Ok((counts, bytes))
}

pub(super) fn lossy<S: serde::Serializer>(
    path: &std::path::Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn lossy_name<S: serde::Serializer>(
    name: &std::ffi::OsStr,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&name.to_string_lossy())
}
