//! Interpreters and directories: what intents and the ledger refer to by number.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row};

use super::Journal;
use super::error::Result;
use crate::disk::Identity;
use crate::python::confine::Rights;
use crate::python::header::{Dialect, Invalidation};
use crate::python::interpreter::Interpreter;
use crate::txn::intent::InterpreterId;

impl Journal {
    /// The interpreters that gave their answer before, with the identity of the binary that did.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn interpreters(&self) -> Result<Vec<(InterpreterId, Interpreter, Identity)>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, path, cache_tag, magic, major, minor, as_nobody, inode, size, mtime, ctime,
                        release, architecture
                 FROM interpreters ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                let interpreter = Interpreter {
                    path: path(row, 1)?,
                    cache_tag: row.get(2)?,
                    dialect: Dialect { magic: row.get(3)?, version: (row.get(4)?, row.get(5)?) },
                    release: row.get(11)?,
                    architecture: row.get(12)?,
                    rights: if row.get(6)? { Rights::Nobody } else { Rights::Own },
                };
                Ok((InterpreterId(row.get(0)?), interpreter, identity(row, 7)?))
            })?;
            rows.collect()
        })
    }

    /// Remembers what the binary with this identity said it is.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn remember(&mut self, interpreter: &Interpreter, binary: &Identity) -> Result<InterpreterId> {
        let id = self.write("journal: remember interpreter", |write| {
            write.query_row(
                "INSERT INTO interpreters
                     (path, cache_tag, magic, major, minor, as_nobody, inode, size, mtime, ctime,
                      release, architecture)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (path, cache_tag, magic, release, architecture) DO UPDATE SET
                     as_nobody = excluded.as_nobody, inode = excluded.inode, size = excluded.size,
                     mtime = excluded.mtime, ctime = excluded.ctime
                 RETURNING id",
                (
                    interpreter.path.as_os_str().as_bytes(),
                    &interpreter.cache_tag,
                    interpreter.dialect.magic,
                    interpreter.dialect.version.0,
                    interpreter.dialect.version.1,
                    interpreter.rights == Rights::Nobody,
                    binary.inode.cast_signed(),
                    binary.size.cast_signed(),
                    binary.mtime,
                    binary.ctime,
                    &interpreter.release,
                    &interpreter.architecture,
                ),
                |row| row.get(0),
            )
        })?;
        Ok(InterpreterId(id))
    }
}

/// The numbers of directories, looked up or given within one write. The last one is remembered: what is recorded
/// comes by directory.
#[derive(Default)]
pub(super) struct Directories<'a>(Option<(&'a Path, i64)>);

impl<'a> Directories<'a> {
    pub(super) fn number(&mut self, connection: &Connection, path: &'a Path) -> rusqlite::Result<i64> {
        if let Some((_, number)) = self.0.filter(|(last, _)| *last == path) {
            return Ok(number);
        }
        // The update changes nothing; without one RETURNING would be silent about a row that is there.
        let number = connection
            .prepare_cached(
                "INSERT INTO directories (path) VALUES (?1)
                 ON CONFLICT (path) DO UPDATE SET path = excluded.path RETURNING id",
            )?
            .query_row([path.as_os_str().as_bytes()], |row| row.get(0))?;
        self.0 = Some((path, number));
        Ok(number)
    }
}

pub(super) fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<PathBuf> {
    Ok(name(row, column)?.into())
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<std::ffi::OsString> {
    Ok(std::ffi::OsString::from_vec(row.get(column)?))
}

/// The identity in the four columns from `first` on: inode, size, mtime, ctime. Its device is 0: the journal
/// outlives the boot that gave the number.
pub(super) fn identity(row: &Row<'_>, first: usize) -> rusqlite::Result<Identity> {
    Ok(Identity {
        device: 0,
        inode: row.get::<_, i64>(first)?.cast_unsigned(),
        size: row.get::<_, i64>(first + 1)?.cast_unsigned(),
        mtime: row.get(first + 2)?,
        ctime: row.get(first + 3)?,
    })
}

pub(super) fn mode_word(mode: Invalidation) -> &'static str {
    match mode {
        Invalidation::Timestamp => "timestamp",
        Invalidation::CheckedHash => "checked-hash",
        Invalidation::UncheckedHash => "unchecked-hash",
    }
}

pub(super) fn mode(row: &Row<'_>, column: usize) -> rusqlite::Result<Invalidation> {
    match row.get_ref(column)?.as_str()? {
        "timestamp" => Ok(Invalidation::Timestamp),
        "checked-hash" => Ok(Invalidation::CheckedHash),
        "unchecked-hash" => Ok(Invalidation::UncheckedHash),
        other => Err(unreadable(column, &format!("'{other}' is no invalidation mode"))),
    }
}

/// A value that this program did not write.
pub(super) fn unreadable(column: usize, what: &str) -> rusqlite::Error {
    let cause = FromSqlError::Other(what.to_owned().into());
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(cause))
}

pub(super) fn bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}
