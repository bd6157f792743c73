//! The ledger: what has been published, and what could not be.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::Journal;
use super::error::Result;
use super::registry::{identity, mode, name, path};
use super::seals;
use crate::disk::Identity;
use crate::python::header::Invalidation;
use crate::python::pycache::Remnant;
use crate::txn::intent::{Batch, Hash, IntentId, InterpreterId, TxnId};
use crate::txn::seal::Seal;

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
    /// The seal of its `__pycache__`.
    pub seal: Option<Seal>,
}

impl Journal {
    /// What the ledger has of the directory `top` and of those below it, and what of it will stay. Read at once, so
    /// that nobody who records has to wait until a walk is over.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shelves(&self, top: &Path) -> Result<HashMap<PathBuf, Shelf>> {
        let top = top.as_os_str().as_bytes();
        // Paths below are those between `top/` and `top0`: the byte behind the slash is the zero.
        let stem = top.strip_suffix(b"/").unwrap_or(top);
        let (first, end) = ([stem, b"/"].concat(), [stem, b"0"].concat());
        let which = "path = ?1 OR (path >= ?2 AND path < ?3)";
        self.read(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            read_shelves(&snapshot, which, &[top, &first, &end])
        })
    }

    /// What the ledger has of these directories, and what of it will stay. In one read: each has SQLite take a lock and
    /// look for what a crash has left, and a package has dozens of directories.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shelves_of<'a>(
        &self,
        directories: impl IntoIterator<Item = &'a Path>,
    ) -> Result<HashMap<PathBuf, Shelf>> {
        self.read(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut shelves = HashMap::new();
            for directory in directories {
                shelves.extend(read_shelves(&snapshot, "path = ?1", &[directory.as_os_str().as_bytes()])?);
            }
            Ok(shelves)
        })
    }

    /// What the ledger has of one directory, and what of it will stay.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shelf(&self, directory: &Path) -> Result<Shelf> {
        Ok(self.shelves_of([directory])?.remove(directory).unwrap_or_default())
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

    /// What is published that one of these interpreters compiled, by directory.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published_by(&self, interpreters: &[InterpreterId]) -> Result<BTreeMap<PathBuf, Vec<Remnant>>> {
        self.read(|connection| {
            let mut found: BTreeMap<PathBuf, Vec<Remnant>> = BTreeMap::new();
            let mut statement = connection.prepare_cached(
                "SELECT path, target FROM ledger JOIN directories ON directories.id = directory
                 WHERE interpreter = ?1",
            )?;
            for interpreter in interpreters {
                let mut rows = statement.query([interpreter.0])?;
                while let Some(row) = rows.next()? {
                    found.entry(path(row, 0)?).or_default().extend(Remnant::parse(&name(row, 1)?));
                }
            }
            Ok(found)
        })
    }
}

fn read_shelves(
    connection: &Connection,
    which: &str,
    paths: &[&[u8]],
) -> rusqlite::Result<HashMap<PathBuf, Shelf>> {
    let mut shelves: HashMap<PathBuf, Shelf> = HashMap::new();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT path, target, {ENTRY} FROM ledger JOIN directories ON directories.id = directory
         JOIN facts ON facts.id = ledger.facts WHERE ({which}) AND {STAYS}"
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(paths))?;
    // A directory's come one after the other; to look it up for each would cost as much as to read them.
    let (mut directory, mut published) = (PathBuf::new(), HashMap::new());
    let mut put = |directory: PathBuf, published: HashMap<_, _>| match shelves.entry(directory) {
        _ if published.is_empty() => {}
        Entry::Vacant(vacant) => drop(vacant.insert(Shelf { published, ..Shelf::default() })),
        Entry::Occupied(mut shelf) => shelf.get_mut().published.extend(published),
    };
    while let Some(row) = rows.next()? {
        if row.get_ref(0)?.as_blob()? != directory.as_os_str().as_bytes() {
            put(std::mem::replace(&mut directory, path(row, 0)?), std::mem::take(&mut published));
        }
        published.insert(name(row, 1)?, entry(row, 2)?);
    }
    put(directory, published);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT path, target, outcome = 'refused', interpreter, inode, size, mtime, ctime, message
         FROM failures JOIN directories ON directories.id = directory WHERE {which}"
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(paths))?;
    while let Some(row) = rows.next()? {
        let shelf = shelves.entry(path(row, 0)?).or_default();
        shelf.failed.insert(name(row, 1)?, failure(row, 2)?);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT path, inode, mtime, ctime FROM seals JOIN directories ON directories.id = directory
         WHERE {which}"
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(paths))?;
    while let Some(row) = rows.next()? {
        shelves.entry(path(row, 0)?).or_default().seal = Some(seals::seal(row, 1)?);
    }
    Ok(shelves)
}

/// Of the ledger, what no transaction is decided to remove: that may be gone, and will be.
pub(super) const STAYS: &str = "NOT EXISTS (
    SELECT 1 FROM intents
    WHERE intents.txn = (SELECT id FROM transactions WHERE state = 'committing') AND outcome = 'removed'
          AND intents.directory = ledger.directory AND intents.target = ledger.target)";

/// The columns of a [`LedgerEntry`].
const ENTRY: &str = "ledger.interpreter, ledger.mode, facts.inode, facts.size, facts.mtime, facts.ctime,
    source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime";

fn entry(row: &Row<'_>, first: usize) -> rusqlite::Result<LedgerEntry> {
    Ok(LedgerEntry {
        interpreter: InterpreterId(row.get(first)?),
        mode: mode(row, first + 1)?,
        identity: identity(row, first + 2)?,
        source_hash: row.get(first + 6)?,
        code_hash: row.get(first + 7)?,
        pyc: Identity {
            inode: row.get::<_, i64>(first + 8)?.cast_unsigned(),
            size: row.get::<_, i64>(first + 9)?.cast_unsigned(),
            mtime: row.get(first + 10)?,
            ..Identity::default()
        },
    })
}

fn failure(row: &Row<'_>, first: usize) -> rusqlite::Result<FailureEntry> {
    Ok(FailureEntry {
        refused: row.get(first)?,
        interpreter: InterpreterId(row.get(first + 1)?),
        identity: identity(row, first + 2)?,
        message: row.get(first + 6)?,
    })
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
        "DELETE FROM failures WHERE (directory, target) IN
             (SELECT directory, target FROM intents WHERE txn = ?1)",
        "INSERT INTO failures
         SELECT directory, target, source, txn, interpreter, facts.inode, facts.size, facts.mtime, facts.ctime,
                outcome, message
         FROM intents JOIN facts USING (id)
         WHERE txn = ?1 AND outcome IN ('refused', 'lost', 'unreadable') AND source IS NOT NULL",
        // From here on the facts are those of the ledger.
        "DELETE FROM facts WHERE id IN
             (SELECT id FROM intents WHERE txn = ?1 AND outcome NOT IN ('compiled', 'adopted'))",
    ] {
        write.execute(statement, [txn.0])?;
    }
    Ok(())
}
