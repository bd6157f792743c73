//! The ledger: what has been published, and what could not be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::Journal;
use super::error::Result;
use super::registry::{identity, mode, mount, name, path};
use crate::disk::Identity;
use crate::python::header::Invalidation;
use crate::python::pycache::Remnant;
use crate::txn::intent::{Batch, Hash, IntentId, InterpreterId, TxnId};

/// A published target.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
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
    /// Whether that code is known to be in its canonical form.
    pub canonical: bool,
    /// Inode, size and mtime of the pyc; device and ctime are 0.
    pub pyc: Identity,
}

impl LedgerEntry {
    /// Whether a file with this identity is the pyc that was published.
    #[must_use]
    pub fn is_in_place(&self, found: &Identity) -> bool {
        let what = |identity: &Identity| (identity.inode, identity.size, identity.mtime);
        what(found) == what(&self.pyc)
    }
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

/// What the ledger has of one directory, by the targets' names.
#[derive(Debug, Default)]
pub struct Shelf {
    /// What is published.
    pub published: HashMap<OsString, LedgerEntry>,
    /// What could not be compiled.
    pub failed: HashMap<OsString, FailureEntry>,
    /// What could not be removed.
    pub remains: HashSet<OsString>,
    /// The mount point of its filesystem; `None`: that is the root's own, or not known.
    pub mount: Option<PathBuf>,
}

impl Journal {
    /// The removals that failed the last time, by directory.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn remains(&self) -> Result<BTreeMap<PathBuf, Vec<Remnant>>> {
        self.read(|connection| {
            let mut found: BTreeMap<PathBuf, Vec<Remnant>> = BTreeMap::new();
            let mut statement = connection.prepare(
                "SELECT path, target FROM failures JOIN directories ON directories.id = directory
                 WHERE outcome = 'remains'",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                found.entry(path(row, 0)?).or_default().extend(Remnant::parse(&name(row, 1)?));
            }
            Ok(found)
        })
    }

    /// What the ledger has of one directory, and what of it will stay.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shelf(&self, directory: &Path) -> Result<Shelf> {
        self.read(|connection| read_shelf(connection, directory))
    }

    /// What the ledger has of directories, and what of it will stay; in their order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shelves<'a>(&self, directories: impl Iterator<Item = &'a Path>) -> Result<Vec<Shelf>> {
        self.read(|connection| {
            // In one read: each has SQLite take a lock and look for what a crash has left.
            let together = connection.unchecked_transaction()?;
            directories.map(|directory| read_shelf(&together, directory)).collect()
        })
    }

    /// The directory `top` and those below it in which something is published that will stay.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published_below(&self, top: &Path) -> Result<Vec<PathBuf>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&published_below())?;
            statement.query_map(below(top), |row| path(row, 0))?.collect()
        })
    }

    /// Whether there is any such directory.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn has_published(&self, top: &Path) -> Result<bool> {
        self.read(|connection| connection.prepare(&published_below())?.exists(below(top)))
    }

    /// What is published under the targets of a portion of a transaction's intents.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published(&self, txn: TxnId, portion: &Batch) -> Result<HashMap<IntentId, LedgerEntry>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT intents.id, {ENTRY} FROM intents JOIN ledger USING (directory, target)
                 JOIN facts ON facts.id = ledger.facts
                 WHERE intents.txn = ?1 AND intents.source IS NOT NULL AND directory BETWEEN ?2 AND ?3"
            ))?;
            let rows = statement.query_map((txn.0, portion.after + 1, portion.last()), |row| {
                Ok((IntentId(row.get(0)?), entry(row, 1)?))
            })?;
            rows.collect()
        })
    }

    /// What is published that one of these interpreters compiled, by directory, and the mount point of that.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published_by(&self, interpreters: &[InterpreterId]) -> Result<ByDirectory> {
        self.read(|connection| {
            let mut found = ByDirectory::new();
            let mut statement = connection.prepare_cached(
                "SELECT path, target, mount FROM ledger JOIN directories ON directories.id = directory
                 WHERE interpreter = ?1",
            )?;
            for interpreter in interpreters {
                let mut rows = statement.query([interpreter.0])?;
                while let Some(row) = rows.next()? {
                    let key = (path(row, 0)?, mount(row, 2)?);
                    found.entry(key).or_default().extend(Remnant::parse(&name(row, 1)?));
                }
            }
            Ok(found)
        })
    }
}

/// Bytecode by directory and its mount point.
type ByDirectory = BTreeMap<(PathBuf, Option<PathBuf>), Vec<Remnant>>;

/// The query for the directories [`below`] one in which something is published that stays.
fn published_below() -> String {
    format!(
        "SELECT path FROM directories
         WHERE (path = ?1 OR (path >= ?2 AND path < ?3))
               AND EXISTS (SELECT 1 FROM ledger WHERE directory = directories.id AND {STAYS})
         ORDER BY path"
    )
}

/// A path, and those between which the paths below it are: `PATH/` and `PATH0`, since the byte behind the slash is the
/// zero.
fn below(top: &Path) -> (&[u8], Vec<u8>, Vec<u8>) {
    let top = top.as_os_str().as_bytes();
    let stem = top.strip_suffix(b"/").unwrap_or(top);
    (top, [stem, b"/"].concat(), [stem, b"0"].concat())
}

fn read_shelf(connection: &Connection, directory: &Path) -> rusqlite::Result<Shelf> {
    let mut shelf = Shelf::default();
    let number = connection
        .prepare_cached("SELECT id, mount FROM directories WHERE path = ?1")?
        .query_row([directory.as_os_str().as_bytes()], |row| Ok((row.get::<_, i64>(0)?, mount(row, 1)?)))
        .optional()?;
    let Some((number, mount)) = number else { return Ok(shelf) };
    shelf.mount = mount;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT target, {ENTRY} FROM ledger JOIN facts ON facts.id = ledger.facts
         WHERE directory = ?1 AND {STAYS}"
    ))?;
    let mut rows = statement.query([number])?;
    while let Some(row) = rows.next()? {
        shelf.published.insert(name(row, 0)?, entry(row, 1)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT target, outcome = 'refused', interpreter, inode, size, mtime, ctime, message
         FROM failures WHERE directory = ?1",
    )?;
    let mut rows = statement.query([number])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(2)? == ValueRef::Null {
            shelf.remains.insert(name(row, 0)?);
        } else {
            shelf.failed.insert(name(row, 0)?, failure(row, 1)?);
        }
    }
    Ok(shelf)
}

/// Of the ledger, what no transaction is decided to remove: that may be gone, and will be.
pub(super) const STAYS: &str = "NOT EXISTS (
    SELECT 1 FROM intents
    WHERE intents.txn = (SELECT id FROM transactions WHERE state = 'committing') AND outcome = 'removed'
          AND intents.directory = ledger.directory AND intents.target = ledger.target)";

/// The columns of a [`LedgerEntry`].
const ENTRY: &str = "ledger.interpreter, ledger.mode, facts.inode, facts.size, facts.mtime, facts.ctime,
    source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime, facts.canonical";

fn entry(row: &Row<'_>, first: usize) -> rusqlite::Result<LedgerEntry> {
    Ok(LedgerEntry {
        interpreter: InterpreterId(row.get(first)?),
        mode: mode(row, first + 1)?,
        identity: identity(row, first + 2)?,
        source_hash: row.get(first + 6)?,
        code_hash: row.get(first + 7)?,
        canonical: row.get(first + 11)?,
        pyc: Identity {
            inode: row.get::<_, i64>(first + 8)?.cast_unsigned(),
            size: row.get::<_, i64>(first + 9)?.cast_unsigned(),
            mtime: row.get(first + 10)?,
            ..Identity::default()
        },
    })
}

fn failure(row: &Row<'_>, first: usize) -> rusqlite::Result<FailureEntry> {
    let message: String = row.get(first + 6)?;
    Ok(FailureEntry {
        refused: row.get(first)? && !is_lack(&message),
        interpreter: InterpreterId(row.get(first + 1)?),
        identity: identity(row, first + 2)?,
        message,
    })
}

/// Whether a refusal says nothing about the source, because memory or files were lacking. Earlier versions took these
/// for final.
fn is_lack(message: &str) -> bool {
    message == "MemoryError: " || ["OSError: ", "SystemError: "].iter().any(|kind| message.starts_with(kind))
}

/// Brings the ledger up to the outcomes of a transaction.
pub(super) fn settle(write: &Connection, txn: TxnId) -> rusqlite::Result<()> {
    super::retired::settle(write, txn)?;
    for statement in [
        // Of what is replaced or removed.
        "DELETE FROM facts WHERE id IN
             (SELECT facts FROM intents JOIN ledger USING (directory, target)
              WHERE intents.txn = ?1 AND outcome IN ('compiled', 'adopted', 'removed'))",
        "INSERT OR REPLACE INTO ledger
         SELECT directory, target,
                coalesce(owner, (SELECT owner FROM ledger WHERE ledger.directory = intents.directory
                                                            AND ledger.target = intents.target)),
                txn, interpreter, mode, id
         FROM intents WHERE txn = ?1 AND outcome IN ('compiled', 'adopted')",
        // The entry of a source that vanished stays: the next walk finds its bytecode by it, and removes it.
        "DELETE FROM ledger WHERE (directory, target) IN
             (SELECT directory, target FROM intents WHERE txn = ?1 AND outcome = 'removed')",
        // One that has failed in the same way before keeps the number of the transaction that told of it.
        "DELETE FROM failures WHERE EXISTS
             (SELECT 1 FROM intents WHERE txn = ?1 AND intents.directory = failures.directory
                                          AND intents.target = failures.target
                                          AND intents.message IS NOT failures.message)",
        "INSERT INTO failures
         SELECT directory, target, source, txn, interpreter,
                coalesce(facts.inode, 0), coalesce(facts.size, 0), coalesce(facts.mtime, 0), coalesce(facts.ctime, 0),
                CASE WHEN source IS NULL THEN 'remains' ELSE outcome END, message
         FROM intents LEFT JOIN facts USING (id)
         WHERE txn = ?1 AND (outcome IN ('refused', 'lost', 'unreadable')
                             OR (outcome = 'removed' AND message IS NOT NULL))
         ON CONFLICT DO UPDATE SET
             source = excluded.source, interpreter = excluded.interpreter, inode = excluded.inode,
             size = excluded.size, mtime = excluded.mtime, ctime = excluded.ctime, outcome = excluded.outcome",
        // A removal that failed changed nothing that would break a seal, and is to be tried again.
        "DELETE FROM seals WHERE EXISTS
             (SELECT 1 FROM intents WHERE txn = ?1 AND source IS NULL AND message IS NOT NULL)",
        // From here on the facts are those of the ledger.
        "DELETE FROM facts WHERE id IN
             (SELECT id FROM intents WHERE txn = ?1 AND outcome NOT IN ('compiled', 'adopted'))",
    ] {
        write.execute(statement, [txn.0])?;
    }
    Ok(())
}
