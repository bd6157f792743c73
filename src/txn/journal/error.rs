//! What can be wrong with the journal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Quoted};

pub(super) type Result<T> = std::result::Result<T, JournalError>;

/// An error of the journal, with its path.
#[derive(Debug)]
pub struct JournalError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With what the system says of opening the file, where SQLite could not.
    Sqlite(&'static str, rusqlite::Error, Option<io::Error>),
    Io(io::Error),
    Damaged(String),
    Newer {
        found: i64,
        known: i64,
    },
    Older {
        found: i64,
        known: i64,
    },
}

impl JournalError {
    pub(super) fn new(verb: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let kind = if is_damage(&source) {
            Kind::Damaged(words(&source))
        } else {
            let is_closed = source.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen);
            let cause = if is_closed { std::fs::File::open(path).err() } else { None };
            Kind::Sqlite(verb, source, cause)
        };
        Self { path: path.to_owned(), kind }
    }

    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), kind: Kind::Io(cause) }
    }

    pub(super) fn damaged(path: &Path, what: &str) -> Self {
        Self { path: path.to_owned(), kind: Kind::Damaged(what.to_owned()) }
    }

    pub(super) fn newer(path: &Path, found: i64, known: i64) -> Self {
        Self { path: path.to_owned(), kind: Kind::Newer { found, known } }
    }

    pub(super) fn older(path: &Path, found: i64, known: i64) -> Self {
        Self { path: path.to_owned(), kind: Kind::Older { found, known } }
    }

    /// Whether the file is damaged: no journal, or not a whole one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self.kind, Kind::Damaged(_))
    }

    /// Whether there is no space left to write it, or a write failed: to SQLite a quota that is used up (EDQUOT) is an
    /// I/O error like any other, and where a write fails another program's files would not be durable either.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use rusqlite::ffi::{
            SQLITE_FULL, SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE,
            SQLITE_IOERR_WRITE,
        };
        const UNWRITABLE: [i32; 5] = [
            SQLITE_FULL,
            SQLITE_IOERR_WRITE,
            SQLITE_IOERR_FSYNC,
            SQLITE_IOERR_DIR_FSYNC,
            SQLITE_IOERR_TRUNCATE,
        ];
        matches!(&self.kind, Kind::Sqlite(_, source, _)
            if source.sqlite_error().is_some_and(|error| UNWRITABLE.contains(&error.extended_code)))
    }
}

/// Whether the file is not what this program wrote. Its statements are always the same and right: they fail only
/// where a table, a column or a value is not what it was.
fn is_damage(source: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqlInputError, Utf8Error,
    };
    use rusqlite::ffi::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase, Unknown};
    match source {
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | SqlInputError { .. }
        | Utf8Error(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(DatabaseCorrupt | NotADatabase | ConstraintViolation | Unknown)
        ),
    }
}

/// What SQLite says, without the name of the call.
fn words(source: &rusqlite::Error) -> String {
    match source {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Quoted(&self.path);
        match &self.kind {
            Kind::Sqlite(verb, source, cause) => {
                let cause = cause.as_ref().map_or_else(|| words(source), disk::cause);
                write!(f, "cannot {verb} the journal {path}: {cause}")
            }
            Kind::Io(cause) => write!(f, "cannot write the journal {path}: {}", disk::cause(cause)),
            Kind::Damaged(what) => write!(f, "the journal {path} is damaged: {what}"),
            Kind::Newer { found, known } => write!(
                f,
                "the journal {path} has schema {found}, written by a newer pyc-txn; this one knows {known}"
            ),
            Kind::Older { found, known } => {
                write!(
                    f,
                    "the journal {path} has schema {found}, this pyc-txn needs {known}; commit brings it up"
                )
            }
        }
    }
}

impl std::error::Error for JournalError {}
