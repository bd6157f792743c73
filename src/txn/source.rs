//! Reading a source: its bytes together with the identity they belong to.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use indicatif::DecimalBytes;
use rustix::io::Errno;

use super::audience::Audience;
use super::intent::{Failure, Fault, Outcome};
use crate::buffer::Buffer;
use crate::disk::{self, Dir, Identity};
use crate::root::Root;

/// How often a source that changes while it is read is read again.
const PATIENCE: usize = 3;

/// The largest source that can be compiled at all, in bytes: marshal's lengths have 31 bits.
const LARGEST: u64 = i32::MAX as u64;

/// Which sources are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest(
    /// The length of the largest one, in bytes; `None`: whatever can be compiled.
    pub Option<u64>,
);

impl Largest {
    /// Why a source of `size` bytes is not read, if it is not.
    pub(super) fn refusal(self, size: u64) -> Option<String> {
        let largest = self.0.unwrap_or(LARGEST).min(LARGEST);
        (size > largest).then(|| format!("larger than {}", DecimalBytes(largest)))
    }
}

/// A source as it was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) bytes: Buffer,
    pub(super) identity: Identity,
    /// Who may read it.
    pub(super) audience: Audience,
}

/// Reads the source `name` in the open directory `dir`, which is at `directory` (without the root's prefix).
///
/// # Errors
/// The outcome of its intent: it is gone, or cannot be read.
pub(super) fn read(
    root: &Root,
    (directory, dir): (&Path, &Dir),
    name: &OsStr,
    largest: Largest,
) -> Result<Source, Outcome> {
    let opened = match dir.open_file(name) {
        // A symlink leads to what it names inside the root.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => root.open(&directory.join(name)),
        opened => opened,
    };
    what_became(opened.and_then(|file| try_read(file, largest)))
}

/// Reads the source at `path` (without the root's prefix), as [`read`] does.
///
/// # Errors
/// As [`read`].
pub(super) fn read_at(root: &Root, path: &Path, largest: Largest) -> Result<Source, Outcome> {
    what_became(root.open(path).and_then(|file| try_read(file, largest)))
}

fn what_became(read: io::Result<Option<Source>>) -> Result<Source, Outcome> {
    match read {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(unreadable("it changes while it is read")),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Err(Outcome::Vanished),
            _ => Err(unreadable(&disk::cause(&error))),
        },
    }
}

/// The outcome of a source that cannot be used.
pub(super) fn unreadable(why: &str) -> Outcome {
    let source = Identity::default();
    Outcome::Failed(Box::new(Failure {
        fault: Fault::Unreadable,
        message: why.to_owned(),
        source,
        compiler: None,
    }))
}

fn try_read(mut file: File, largest: Largest) -> io::Result<Option<Source>> {
    for _ in 0..PATIENCE {
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let identity = Identity::of_metadata(&before);
        if let Some(refusal) = largest.refusal(identity.size) {
            return Err(io::Error::other(refusal));
        }
        let bytes = read_all(&mut file, identity.size)?;
        if Identity::of_metadata(&file.metadata()?) == identity && bytes.len() as u64 == identity.size {
            return Ok(Some(Source { bytes, identity, audience: Audience::of(&file, &before)? }));
        }
        io::Seek::rewind(&mut file)?;
    }
    Ok(None)
}

fn read_all(file: &mut File, size: u64) -> io::Result<Buffer> {
    let mut bytes = Buffer::new(usize::try_from(size).map_err(io::Error::other)?)?;
    match file.read_exact(&mut bytes) {
        // It is shorter than a moment ago: it changed, and its identity with it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Buffer::default()),
        read => read.map(|()| bytes),
    }
}
