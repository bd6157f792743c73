//! Interpreters and directories: what intents and the ledger refer to by number.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row};

use super::Journal;
use super::error::Result;
use crate::disk::{Identity, Mounts};
use crate::python::confine::Rights;
use crate::python::header::{Dialect, Invalidation};
use crate::python::interpreter::Interpreter;
use crate::root::Root;
use crate::txn::intent::{Action, Group, InterpreterId};

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
        let mount = Mounts::below(Path::new("/")).point(&interpreter.path).map(Path::to_owned);
        let id = self.write("journal: remember interpreter", |write| {
            let id: i32 = write.query_row(
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
            )?;
            let mount = mount.as_ref().map(|mount| mount.as_os_str().as_bytes());
            write.execute("UPDATE interpreters SET mount = ?2 WHERE id = ?1", (id, mount))?;
            Ok(id)
        })?;
        Ok(InterpreterId(id))
    }

    /// The mount point of the filesystem that an interpreter was on; `None`: that is the system's own, or not known.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn mount_of_interpreter(&self, id: InterpreterId) -> Result<Option<PathBuf>> {
        let query = "SELECT mount FROM interpreters WHERE id = ?1";
        self.read(|connection| connection.query_row(query, [id.0], |row| mount(row, 0)))
    }
}

/// The numbers of directories, looked up or given within one write. The last one is remembered: what is recorded
/// comes by directory.
#[derive(Default)]
pub(super) struct Directories<'a>(Option<(&'a Path, i64)>);

impl<'a> Directories<'a> {
    /// The number of the directory `path`, which is on the filesystem at `mount`, if that is known.
    pub(super) fn number(
        &mut self,
        connection: &Connection,
        path: &'a Path,
        mount: Option<&Path>,
    ) -> rusqlite::Result<i64> {
        if let Some((_, number)) = self.0.filter(|(last, _)| *last == path) {
            return Ok(number);
        }
        // Of a directory that is missing just now the mount point that was known stays.
        let number = connection
            .prepare_cached(
                "INSERT INTO directories (path, mount) VALUES (?1, ?2)
                 ON CONFLICT (path) DO UPDATE SET mount = coalesce(excluded.mount, mount) RETURNING id",
            )?
            .query_row(
                (path.as_os_str().as_bytes(), mount.map(|mount| mount.as_os_str().as_bytes())),
                |row| row.get(0),
            )?;
        self.0 = Some((path, number));
        Ok(number)
    }
}

/// The mount points of the directories of `groups`, without the root's prefix, as far as they can be found out.
pub(super) fn mounts_of(root: Option<&Root>, groups: &[Group]) -> Vec<Option<PathBuf>> {
    let Some(root) = root else { return vec![None; groups.len()] };
    let mut mounts = Mounts::below(root.path());
    let mut mount = |group: &Group| {
        // What stands there is a bare mount point, if anything.
        if group.actions.iter().all(Action::is_unseen) {
            return None;
        }
        let point = mounts.point(&root.on_disk(&group.directory))?;
        Some(Path::new("/").join(point.strip_prefix(root.path()).ok()?))
    };
    groups.iter().map(&mut mount).collect()
}

/// The mount point of a directory, in a column of its row; `None` also for that of the root.
pub(super) fn mount(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<PathBuf>> {
    let mount = row.get::<_, Option<Vec<u8>>>(column)?.filter(|mount| mount != ROOT);
    Ok(mount.map(|mount| OsString::from_vec(mount).into()))
}

/// The mount point of the root's own filesystem.
pub(super) const ROOT: &[u8] = b"/";

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
