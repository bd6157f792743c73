//! The ledger: what has been published, and what could not be.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::Journal;
use super::error::Result;
use super::registry::{identity, mode, name, path};
use crate::disk::Identity;
use crate::python::header::Invalidation;
use crate::txn::intent::{Hash, InterpreterId, TxnId};

/// A published target.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The source's file name.
    pub source: OsString,
    /// Who compiled it.
    pub interpreter: InterpreterId,
    /// How Python checks it.
    pub mode: Invalidation,
    /// The source it was compiled from (device 0).
    pub identity: Identity,
    /// The hash of that source.
    pub source_hash: Hash,
    /// The hash of the code behind the header.
    pub code_hash: Hash,
    /// Inode, size and mtime of the pyc; device and ctime are 0.
    pub pyc: Identity,
}

/// A target that could not be made.
#[derive(Debug, Clone)]
pub struct FailureEntry {
    /// Whether the compiler refused the source, so that asking again is of no use.
    pub refused: bool,
    /// Who refused it.
    pub interpreter: InterpreterId,
    /// The source as it was then (device 0).
    pub identity: Identity,
    /// `LINE: MESSAGE`, or `MESSAGE`.
    pub message: String,
}

impl Journal {
    /// What is published in a directory, by the targets' names.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published(&self, directory: &Path) -> Result<HashMap<OsString, LedgerEntry>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT target, source, interpreter, mode, inode, size, mtime, ctime, source_hash, code_hash,
                        pyc_inode, pyc_size, pyc_mtime
                 FROM ledger WHERE directory = (SELECT id FROM directories WHERE path = ?1)",
            )?;
            let rows = statement.query_map([directory.as_os_str().as_bytes()], |row| {
                let entry = LedgerEntry {
                    source: name(row, 1)?,
                    interpreter: InterpreterId(row.get(2)?),
                    mode: mode(row, 3)?,
                    identity: identity(row, 4)?,
                    source_hash: row.get(8)?,
                    code_hash: row.get(9)?,
                    pyc: Identity {
                        inode: row.get::<_, i64>(10)?.cast_unsigned(),
                        size: row.get::<_, i64>(11)?.cast_unsigned(),
                        mtime: row.get(12)?,
                        ..Identity::default()
                    },
                };
                Ok((name(row, 0)?, entry))
            })?;
            rows.collect()
        })
    }

    /// What could not be compiled in a directory, by the targets' names.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn failed(&self, directory: &Path) -> Result<HashMap<OsString, FailureEntry>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT target, outcome = 'refused', interpreter, inode, size, mtime, ctime, message
                 FROM failures WHERE directory = (SELECT id FROM directories WHERE path = ?1)",
            )?;
            let rows = statement.query_map([directory.as_os_str().as_bytes()], |row| {
                let entry = FailureEntry {
                    refused: row.get(1)?,
                    interpreter: InterpreterId(row.get(2)?),
                    identity: identity(row, 3)?,
                    message: row.get(7)?,
                };
                Ok((name(row, 0)?, entry))
            })?;
            rows.collect()
        })
    }

    /// The directories at or below `top` in which something is published or has failed.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn ledger_directories(&self, top: &Path) -> Result<Vec<PathBuf>> {
        let top = top.as_os_str().as_bytes();
        // Paths below are those between `top/` and `top0`: the byte behind the slash is the zero.
        let stem = top.strip_suffix(b"/").unwrap_or(top);
        let (first, behind) = ([stem, b"/"].concat(), [stem, b"0"].concat());
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT path FROM directories
                 WHERE (path = ?1 OR (path >= ?2 AND path < ?3))
                   AND (EXISTS (SELECT 1 FROM ledger WHERE directory = directories.id)
                        OR EXISTS (SELECT 1 FROM failures WHERE directory = directories.id))
                 ORDER BY path",
            )?;
            let rows = statement.query_map((top, first, behind), |row| path(row, 0))?;
            rows.collect()
        })
    }
}

/// Brings the ledger up to the outcomes of a transaction.
pub(super) fn settle(write: &Connection, txn: TxnId) -> rusqlite::Result<()> {
    for statement in [
        "INSERT OR REPLACE INTO ledger
         SELECT directory, target, source,
                coalesce(owner, (SELECT owner FROM ledger WHERE ledger.directory = intents.directory
                                                            AND ledger.target = intents.target)),
                txn, interpreter, mode, inode, size, mtime, ctime,
                source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime
         FROM intents WHERE txn = ?1 AND outcome IN ('compiled', 'adopted')",
        // The entry of a source that vanished stays: the next walk finds its bytecode by it, and removes it.
        "DELETE FROM ledger WHERE (directory, target) IN
             (SELECT directory, target FROM intents WHERE txn = ?1 AND outcome = 'removed')",
        "DELETE FROM failures WHERE (directory, target) IN
             (SELECT directory, target FROM intents WHERE txn = ?1)",
        "INSERT INTO failures
         SELECT directory, target, source, txn, interpreter, inode, size, mtime, ctime, outcome, message
         FROM intents
         WHERE txn = ?1 AND outcome IN ('refused', 'lost', 'unreadable') AND source IS NOT NULL",
    ] {
        write.execute(statement, [txn.0])?;
    }
    Ok(())
}
