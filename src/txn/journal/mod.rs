//! The journal: the SQLite file that holds transactions, intents and the ledger. The only code that has SQL.
//!
//! Owns the file, its durability, and the writes that change a transaction's state; each such write demands the
//! evidence that what it claims is true on disk. It must not know how files are staged or published.
//!
//! # Durability
//! `journal_mode = PERSIST` and `synchronous = EXTRA`. A commit returns only when the change is on the medium
//! *and* the rollback journal that could take it back is void on the medium: PERSIST writes zeros over the header
//! of that file and syncs it. The file keeps its blocks, and what is written to it stays within them, so that its
//! `fdatasync(2)`, which Debian's SQLite uses, needs no commit of the filesystem; TRUNCATE, which is as safe, gives the
//! blocks back and takes new ones with every write. (In the DELETE mode it is the `EXTRA` sync of the directory that
//! makes the unlink durable; with `FULL` alone a power cut brings the file back, and SQLite then rolls back a decision
//! after which files have been renamed.) WAL is no choice: with `NORMAL` it loses acknowledged commits, and before
//! 3.51.3 several connections can corrupt it, while Debian 12 has 3.40.

mod batch;
mod error;
mod history;
mod ledger;
mod owner;
mod portion;
mod registry;
mod report;
mod retired;
mod schema;
mod seals;
mod shelves;
mod transitions;

pub use batch::Removal;
pub use error::JournalError;
pub use history::CauseReport;
pub use ledger::{FailureEntry, LedgerEntry, Shelf};
pub use owner::PublishedReport;
pub use portion::{PendingElsewhere, Which};
pub use report::{Counts, FailureReport, IntentReport, TransactionReport, WarningReport};
pub use retired::Retired;
pub use shelves::Shelves;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::config::History;
use crate::disk::{self, fault};
use crate::root::Root;
use error::Result;

/// The journal's file name in the state directory.
pub const FILE: &str = "journal.sqlite3";

/// How long a statement waits for another process's write. Writes are short: the longest is that of some
/// 100,000 outcomes.
const PATIENCE_MS: u32 = 60_000;

/// What the rollback journal keeps of its length, in bytes: enough for the pages that a maintainer script changes.
const ROLLBACK_LENGTH: i64 = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    /// The words of the command that writes.
    command: String,
    /// Where the directories are that it writes of.
    root: Option<Root>,
    /// What is kept of the history.
    history: History,
    /// Since when this run has been at work on the transaction it ends next.
    since: Instant,
}

impl Journal {
    /// Opens the journal in the state directory `directory`, created and brought up to this program's schema.
    ///
    /// # Errors
    /// [`JournalError`]: among others a journal from a newer pyc-txn, and a damaged one.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_with(directory, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens the journal for reading only; `None` where there is none.
    ///
    /// # Errors
    /// As [`Journal::open`]. A journal of an older schema is refused: there is nobody to bring it up.
    pub fn open_to_read(directory: &Path) -> Result<Option<Self>> {
        // One that cannot be seen is not one that is not there: SQLite says why.
        if matches!(directory.join(FILE).try_exists(), Ok(false)) {
            return Ok(None);
        }
        // A reader has to be able to roll back what a crash left (the hot journal), so where it can it opens
        // for writing; SQLite itself falls back to reading only where it cannot.
        Self::open_with(directory, OpenFlags::SQLITE_OPEN_READ_WRITE).map(Some)
    }

    fn open_with(directory: &Path, flags: OpenFlags) -> Result<Self> {
        let path = directory.join(FILE);
        let failed = |source| JournalError::new("open", &path, source);
        let mut connection =
            Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        // By pragma: rusqlite's own function for it needs SQLite 3.44, and Debian 12 has 3.40.
        connection.pragma_update(None, "busy_timeout", PATIENCE_MS).map_err(failed)?;
        // The busy time-out holds from here on; the first read of the file is in the next line.
        connection
            .pragma_update(None, "journal_mode", "PERSIST")
            .or_else(ignore_read_only)
            .map_err(failed)?;
        connection.pragma_update(None, "journal_size_limit", ROLLBACK_LENGTH).map_err(failed)?;
        let synchronous = if disk::is_durable() { "EXTRA" } else { "OFF" };
        connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        // Else SQLite would plan a cached statement anew whenever it is used again, in case other values want another
        // plan: for a look-up that costs more than to carry it out.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::bring_up(&mut connection, &path)?;
        let (command, history) = (String::new(), History::FOR_EVER);
        Ok(Self { connection, path, command, root: None, history, since: Instant::now() })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file and says whether it is in order.
    ///
    /// # Errors
    /// [`JournalError`]: what is wrong with it.
    pub fn check(&self) -> Result<()> {
        let verdict: String =
            self.read(|connection| connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
        if verdict == "ok" { Ok(()) } else { Err(JournalError::damaged(&self.path, &verdict)) }
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        query(&self.connection).map_err(|source| JournalError::new("read", &self.path, source))
    }

    /// One durable write: a numbered step, all of it or nothing.
    fn write<T>(
        &mut self,
        step: &str,
        statements: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed = |source| JournalError::new("write", &self.path, source);
        let write =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let value = statements(&write).map_err(failed)?;
        fault::step(step, &self.path).map_err(|cause| JournalError::io(&self.path, cause))?;
        write.commit().map_err(failed)?;
        Ok(value)
    }
}

/// A journal that cannot be written can still be read.
fn ignore_read_only(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ReadOnly) => Ok(()),
        _ => Err(error),
    }
}
