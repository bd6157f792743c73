//! The seals of trees.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension;

use super::Journal;
use super::error::Result;
use crate::txn::intent::Hash;
use crate::txn::seal::{self, Seal, Seals};

impl Journal {
    /// The seals of the tree at `top` that were made under these terms.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn seals(&self, top: &Path, terms: &Hash) -> Result<Vec<(PathBuf, Seal)>> {
        let bytes: Option<Vec<u8>> = self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT directories FROM seals WHERE tree = ?1 AND terms = ?2")?;
            statement.query_row((top.as_os_str().as_bytes(), terms), |row| row.get(0)).optional()
        })?;
        Ok(bytes.and_then(|bytes| seal::read(&bytes)).unwrap_or_default())
    }

    /// Notes the seals of trees, instead of those they had.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn seal(&mut self, trees: &mut [Seals]) -> Result<()> {
        self.write("journal: seal", |write| {
            for Seals { top, terms, all, .. } in trees {
                let top: &OsStr = top.as_ref();
                write.execute(
                    "INSERT OR REPLACE INTO seals (tree, terms, directories) VALUES (?1, ?2, ?3)",
                    (top.as_bytes(), &*terms, seal::write(all)),
                )?;
            }
            Ok(())
        })
    }
}
