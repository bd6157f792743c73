//! The seals of directories.

use std::path::PathBuf;

use rusqlite::Row;

use super::Journal;
use super::error::Result;
use super::registry::Directories;
use crate::txn::seal::Seal;

impl Journal {
    /// Notes the seals of directories of sources, instead of those they had.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn seal(&mut self, seals: &[(PathBuf, Seal)]) -> Result<()> {
        self.write("journal: seal", |write| {
            let mut directories = Directories::default();
            let mut statement = write.prepare_cached(
                "INSERT OR REPLACE INTO seals (directory, inode, mtime, ctime) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (directory, seal) in seals {
                let directory = directories.number(write, directory)?;
                statement.execute((directory, seal.inode.cast_signed(), seal.mtime, seal.ctime))?;
            }
            Ok(())
        })
    }
}

/// The seal in the three columns from `first` on: inode, mtime, ctime.
pub(super) fn seal(row: &Row<'_>, first: usize) -> rusqlite::Result<Seal> {
    let inode: i64 = row.get(first)?;
    Ok(Seal { inode: inode.cast_unsigned(), mtime: row.get(first + 1)?, ctime: row.get(first + 2)? })
}
