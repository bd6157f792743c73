//! What has been retired: published bytecode that is out of the tree for a while.

use std::collections::HashMap;

use rusqlite::{Connection, Row};

use super::Journal;
use super::error::Result;
use super::registry::{mode, mount, name, path};
use crate::python::header::Invalidation;
use crate::python::pycache::Remnant;
use crate::txn::intent::{Batch, Hash, IntentId, InterpreterId, TxnId};

/// A retired pyc.
#[derive(Debug, Clone)]
pub struct Retired {
    /// The intent that retired it; the name of its file.
    pub id: IntentId,
    /// The directory of its source.
    pub directory: std::path::PathBuf,
    /// Its name in `__pycache__`.
    pub remnant: Remnant,
    /// The package it belonged to.
    pub owner: Option<String>,
    /// Who compiled it.
    pub interpreter: InterpreterId,
    /// How Python checked it.
    pub mode: Invalidation,
    /// The hash of the source it was compiled from.
    pub source_hash: Hash,
    /// The hash of the code behind the header.
    pub code_hash: Hash,
    /// Whether that code is known to be in its canonical form.
    pub canonical: bool,
    /// The mount point of the directory's filesystem; `None`: that is the root's own, or not known.
    pub mount: Option<std::path::PathBuf>,
}

const COLUMNS: &str = "retired.id, path, retired.target, retired.owner, retired.interpreter, retired.mode,
    retired.source_hash, retired.code_hash, retired.canonical, mount";

/// What is retired and not wanted. The transactions that have not ended are looked up first: a join with them would
/// have SQLite read the whole history for each retired pyc.
const NOT_WANTED: &str = "FROM retired JOIN directories ON directories.id = directory
    WHERE NOT EXISTS (
        SELECT 1 FROM intents
        WHERE txn IN (SELECT id FROM transactions WHERE ended IS NULL)
              AND intents.directory = retired.directory AND intents.target = retired.target)
    ORDER BY path, target";

impl Journal {
    /// What was retired under the targets of a portion of a transaction's intents.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn retired_for(&self, txn: TxnId, portion: &Batch) -> Result<HashMap<IntentId, Retired>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT {COLUMNS}, intents.id FROM intents JOIN retired USING (directory, target)
                 JOIN directories ON directories.id = directory
                 WHERE txn = ?1 AND intents.source IS NOT NULL AND directory BETWEEN ?2 AND ?3"
            ))?;
            let mut all = HashMap::new();
            let mut rows = statement.query((txn.0, portion.after + 1, portion.last()))?;
            while let Some(row) = rows.next()? {
                if let Some(retired) = retired(row)? {
                    all.insert(IntentId(row.get(10)?), retired);
                }
            }
            Ok(all)
        })
    }

    /// What is retired and not wanted by a pending intent.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn retired_and_not_wanted(&self) -> Result<Vec<Retired>> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!("SELECT {COLUMNS} {NOT_WANTED}"))?;
            let mut all = Vec::new();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                all.extend(retired(row)?);
            }
            Ok(all)
        })
    }

    /// Whether anything is retired, or a transaction is decided that may be retiring.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn has_retired(&self) -> Result<bool> {
        let query = "SELECT EXISTS (SELECT 1 FROM retired)
                            OR EXISTS (SELECT 1 FROM transactions WHERE state = 'committing')";
        self.read(|connection| connection.query_row(query, [], |row| row.get(0)))
    }

    /// Forgets what is retired, all of it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn forget_retired(&mut self) -> Result<()> {
        self.write("journal: forget retired", |write| {
            write.execute("DELETE FROM retired", [])?;
            super::history::forget_warnings(write)
        })
    }
}

fn retired(row: &Row<'_>) -> rusqlite::Result<Option<Retired>> {
    let Some(remnant) = Remnant::parse(&name(row, 2)?) else { return Ok(None) };
    Ok(Some(Retired {
        id: IntentId(row.get(0)?),
        directory: path(row, 1)?,
        remnant,
        owner: row.get(3)?,
        interpreter: InterpreterId(row.get(4)?),
        mode: mode(row, 5)?,
        source_hash: row.get(6)?,
        code_hash: row.get(7)?,
        canonical: row.get(8)?,
        mount: mount(row, 9)?,
    }))
}

/// Moves the ledger's entries of what a transaction retired; before they are removed from there.
pub(super) fn settle(write: &Connection, txn: TxnId) -> rusqlite::Result<()> {
    write.execute(
        "INSERT OR REPLACE INTO retired
         SELECT intents.id, directory, target, ledger.owner, ledger.interpreter, ledger.mode,
                source_hash, code_hash, canonical
         FROM intents JOIN ledger USING (directory, target) JOIN facts ON facts.id = ledger.facts
         WHERE intents.txn = ?1 AND retire = 1 AND outcome = 'removed'",
        [txn.0],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_not_searched_for_what_is_retired() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let query = format!("EXPLAIN QUERY PLAN SELECT {COLUMNS} {NOT_WANTED}");
        let steps = journal.read(|connection| {
            let mut statement = connection.prepare(&query)?;
            let steps = statement.query_map([], |row| row.get::<_, String>(3))?;
            steps.collect::<rusqlite::Result<Vec<_>>>()
        });
        let steps = steps.unwrap();
        let looks_at_intents = |step: &&String| step.contains(" intents ");
        let looks: Vec<_> = steps.iter().filter(looks_at_intents).collect();
        assert!(!looks.is_empty(), "{steps:#?}");
        assert!(looks.iter().all(|step| step.contains("(txn=? AND directory=? AND target=?)")), "{steps:#?}");
    }
}
