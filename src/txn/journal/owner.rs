//! What the ledger tells people of single files: `owner`.

use std::path::{Path, PathBuf};

use rusqlite::Row;
use serde::Serialize;

use super::Journal;
use super::error::Result;
use super::ledger::STAYS;
use super::registry::{bytes, name, path};
use super::report::lossy;
use crate::python::pycache::{self, Remnant, Target};

/// A published pyc.
#[derive(Debug, Serialize)]
pub struct PublishedReport {
    /// The pyc.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The source it was made from.
    #[serde(serialize_with = "lossy")]
    pub source: PathBuf,
    /// The package that asked for it.
    pub package: Option<String>,
    /// The interpreter's executable.
    #[serde(serialize_with = "lossy")]
    pub python: PathBuf,
    /// Its cache tag.
    pub interpreter: String,
    /// The optimization level.
    pub level: Option<u8>,
    /// How Python checks it.
    pub invalidation: String,
    /// The transaction that published it.
    pub transaction: i64,
    /// Its end, in seconds since 1970 (UTC); `None` where the history does not have it any more.
    pub published: Option<i64>,
}

impl Journal {
    /// What is published at `file`, or of the source `file`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn published_of(&self, file: &Path) -> Result<Vec<PublishedReport>> {
        let (Some(parent), Some(file_name)) = (file.parent(), file.file_name()) else {
            return Ok(Vec::new());
        };
        let is_cached = parent.file_name().is_some_and(|name| name == pycache::DIRECTORY);
        let directory = if is_cached { parent.parent().unwrap_or(parent) } else { parent };
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT directories.path, target, ledger.owner, interpreters.path, cache_tag, mode, txn, ended
                 FROM ledger JOIN directories ON directories.id = directory
                 JOIN interpreters ON interpreters.id = interpreter
                 LEFT JOIN transactions ON transactions.id = txn
                 WHERE directories.path = ?1 AND {STAYS} ORDER BY target"
            ))?;
            let mut found = Vec::new();
            let mut rows = statement.query([bytes(directory.as_os_str())])?;
            while let Some(row) = rows.next()? {
                let Some(remnant) = Remnant::parse(&name(row, 1)?) else { continue };
                if if is_cached { remnant.name() == file_name } else { remnant.source() == file_name } {
                    found.push(published(row, &remnant)?);
                }
            }
            Ok(found)
        })
    }
}

fn published(row: &Row<'_>, remnant: &Remnant) -> rusqlite::Result<PublishedReport> {
    let directory = path(row, 0)?;
    Ok(PublishedReport {
        path: directory.join(pycache::DIRECTORY).join(remnant.name()),
        source: directory.join(remnant.source()),
        package: row.get(2)?,
        python: path(row, 3)?,
        interpreter: row.get(4)?,
        level: Target::in_place(remnant).map(|(.., level)| level.number()),
        invalidation: row.get(5)?,
        transaction: row.get(6)?,
        published: row.get(7)?,
    })
}
