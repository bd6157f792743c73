//! Intents go out: read by the one who holds the lock, a portion at a time, so that memory does not grow with them.

use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::Journal;
use super::error::Result;
use super::registry::{ROOT, identity, mode, mount, name, path, unreadable};
use crate::disk::Identity;
use crate::python::pycache::{Level, Remnant, Target};
use crate::txn::intent::{
    Action, Batch, Compile, Directory, Intent, IntentId, InterpreterId, Made, Share, Stamp, TxnId,
};

/// So many intents are a portion, and what more there are in the last of its directories.
const PORTION: usize = 1024;

/// Which intents of a transaction to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those without an outcome.
    Pending,
    /// Those that rest on a source: compiled and adopted ones.
    Compiled,
    /// Those that change something outside: compiled and removed ones.
    ToPublish,
}

/// Pending intents that need other filesystems than the system's own.
#[derive(Debug)]
pub struct PendingElsewhere {
    /// The mount point of that of their directories, without the root's prefix; `None`: the root's own.
    pub directory: Option<PathBuf>,
    /// The mount point of that of their interpreter; `None`: the system's own.
    pub interpreter: Option<PathBuf>,
    /// How many they are.
    pub intents: u64,
}

/// The intents of the open transaction ?1: all are pending, also those to which an interrupted run gave an outcome.
const PENDING: &str = "FROM intents JOIN directories ON directories.id = directory
    LEFT JOIN interpreters ON interpreters.id = interpreter WHERE txn = ?1";

/// Whether one of them needs another filesystem than that at ?2.
const ELSEWHERE: &str = "coalesce(directories.mount, ?2) <> ?2 OR coalesce(interpreters.mount, ?2) <> ?2";

impl Journal {
    /// The next intents of a transaction, ordered by directory; `after` is the last directory of those before. Without
    /// intents behind the last one.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn portion(&self, txn: TxnId, which: Which, after: i64) -> Result<Batch> {
        let filter = match which {
            Which::Pending => "outcome IS NULL",
            Which::Compiled => "outcome IN ('compiled', 'adopted')",
            Which::ToPublish => "outcome IN ('compiled', 'removed')",
        };
        self.read(|connection| {
            // In the order of the index: what is not read costs nothing.
            let mut statement = connection.prepare_cached(&format!(
                "SELECT intents.id, directory, path, target, source, interpreter, level, mode, force,
                        intents.size, intents.mtime, retire, facts.id, staged_in,
                        facts.inode, facts.size, facts.mtime, facts.ctime, device, mount
                 FROM intents JOIN directories ON directories.id = directory
                 LEFT JOIN facts ON facts.id = intents.id
                 WHERE txn = ?1 AND directory > ?2 AND {filter} ORDER BY directory, target"
            ))?;
            let mut batch = Batch { after, ..Batch::default() };
            let mut rows = statement.query((txn.0, after))?;
            while let Some(row) = rows.next()? {
                let number = row.get(1)?;
                if batch.last() != number {
                    if batch.intents.len() >= PORTION {
                        break;
                    }
                    batch.directories.push(Directory { number, path: path(row, 2)?, mount: mount(row, 19)? });
                }
                let (id, directory) = (IntentId(row.get(0)?), batch.directories.len() - 1);
                let (action, made, retire) = (action(row)?, made(row)?, row.get(11)?);
                batch.intents.push(Intent { id, directory, action, made, retire });
            }
            Ok(batch)
        })
    }

    /// What is to be compiled of the pending intents of a transaction, by directory and interpreter.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn shares(&self, txn: TxnId) -> Result<Vec<Share>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT directory, path, interpreter, count(*), sum(size), mount
                 FROM intents JOIN directories ON directories.id = directory
                 WHERE txn = ?1 AND outcome IS NULL AND source IS NOT NULL
                 GROUP BY directory, interpreter ORDER BY directory",
            )?;
            let rows = statement.query_map([txn.0], |row| {
                Ok(Share {
                    directory: Directory { number: row.get(0)?, path: path(row, 1)?, mount: mount(row, 5)? },
                    interpreter: InterpreterId(row.get(2)?),
                    sources: row.get::<_, i64>(3)?.cast_unsigned(),
                    bytes: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })?;
            rows.collect()
        })
    }

    /// Whether the open transaction has intents that need no other filesystem than the system's own, as far as that is
    /// known.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn has_pending_on_root(&self, txn: TxnId) -> Result<bool> {
        let query = format!("SELECT EXISTS (SELECT 1 {PENDING} AND NOT ({ELSEWHERE}))");
        self.read(|connection| connection.query_row(&query, (txn.0, ROOT), |row| row.get(0)))
    }

    /// The other filesystems that intents of the open transaction need: the mount points of that of their directory and
    /// that of their interpreter, and how many they are.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn mounts_of_pending(&self, txn: TxnId) -> Result<Vec<PendingElsewhere>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT directories.mount, interpreters.mount, count(*) {PENDING} AND ({ELSEWHERE})
                 GROUP BY 1, 2 ORDER BY 1, 2"
            ))?;
            let rows = statement.query_map((txn.0, ROOT), |row| {
                let intents = row.get::<_, i64>(2)?.cast_unsigned();
                Ok(PendingElsewhere { directory: mount(row, 0)?, interpreter: mount(row, 1)?, intents })
            })?;
            rows.collect()
        })
    }
}

/// The action in a row of [`Journal::portion`]. The names of targets are built again from their sources, so
/// that not even a journal from elsewhere can name another file.
fn action(row: &Row<'_>) -> rusqlite::Result<Action> {
    let target = name(row, 3)?;
    if row.get_ref(4)? == ValueRef::Null {
        let remnant = Remnant::parse(&target);
        return remnant.map(Action::Remove).ok_or_else(|| unreadable(3, "a target that is no bytecode"));
    }
    let source = name(row, 4)?;
    let level = Level::new(row.get(6)?).ok_or_else(|| unreadable(6, "no such level"))?;
    let seen = Stamp { size: row.get::<_, i64>(9)?.cast_unsigned(), mtime: row.get(10)? };
    let tag = Remnant::parse(&target).map(|remnant| String::from_utf8_lossy(remnant.tag()).into_owned());
    let rebuilt = tag.and_then(|tag| Target::of(&source, &tag, level).ok());
    match rebuilt {
        Some(rebuilt) if rebuilt.name() == target && rebuilt.source() == source => {
            Ok(Action::Compile(Compile {
                target: rebuilt,
                interpreter: InterpreterId(row.get(5)?),
                level,
                mode: mode(row, 7)?,
                force: row.get(8)?,
                seen,
            }))
        }
        _ => Err(unreadable(3, "a target that is not its source's")),
    }
}

/// What was made, in a row of [`Journal::portion`].
fn made(row: &Row<'_>) -> rusqlite::Result<Option<Made>> {
    if row.get_ref(12)? == ValueRef::Null {
        return Ok(None);
    }
    let staged_in = row.get::<_, Option<i64>>(13)?.and_then(|number| usize::try_from(number).ok());
    let source = Identity { device: row.get::<_, i64>(18)?.cast_unsigned(), ..identity(row, 14)? };
    Ok(Some(Made { source, staged_in }))
}
