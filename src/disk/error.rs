//! An error of the filesystem: what could not be done, to which path, and the cause last.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::Quoted;

/// An operation on the filesystem that failed. Its display is `cannot <verb> '<path>': <cause>`.
#[derive(Debug)]
pub struct Error {
    action: String,
    cause: io::Error,
}

impl Error {
    /// `cannot <verb> '<path>': <cause>`.
    pub(crate) fn new(verb: &str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self { action: format!("cannot {verb} {}", Quoted(path)), cause: cause.into() }
    }

    pub(super) fn rename(from: &Path, onto: &Path, cause: io::Error) -> Self {
        Self { action: format!("cannot rename {} to {}", Quoted(from), Quoted(onto)), cause }
    }

    /// Whether the medium failed (full, read-only, broken, out of a resource) and not this one place: the
    /// whole transaction is concerned, and the same call may well succeed later.
    #[must_use]
    pub fn is_medium(&self) -> bool {
        matches!(
            Errno::from_io_error(&self.cause),
            Some(
                Errno::NOSPC
                    | Errno::IO
                    | Errno::ROFS
                    | Errno::DQUOT
                    | Errno::MFILE
                    | Errno::NFILE
                    | Errno::NOMEM
                    | Errno::NODEV
                    | Errno::NXIO
                    | Errno::STALE
            )
        )
    }

    /// Whether there is no space left, of the filesystem's or of the user's.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(Errno::from_io_error(&self.cause), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Whether this process has run out of memory or files, which says nothing about the path.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        matches!(Errno::from_io_error(&self.cause), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
    }

    /// Whether nothing stands at the path.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }

    /// Whether something else stands where a directory is wanted; a symlink counts as something else.
    #[must_use]
    pub fn is_no_directory(&self) -> bool {
        matches!(Errno::from_io_error(&self.cause), Some(Errno::NOTDIR | Errno::LOOP))
    }

    /// Whether there is no such directory: nothing, or something else.
    #[must_use]
    pub fn is_no_such_directory(&self) -> bool {
        self.is_missing() || self.is_no_directory()
    }

    /// Whether the filesystem is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        Errno::from_io_error(&self.cause) == Some(Errno::ROFS)
    }
}

/// The words of the C library for `cause`, without the number that Rust puts behind them.
#[must_use]
pub fn cause(cause: &io::Error) -> String {
    let text = cause.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, cause(&self.cause))
    }
}

impl std::error::Error for Error {}
