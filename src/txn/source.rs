//! Reading a source: its bytes together with the identity they belong to.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::io::Errno;

use super::intent::{Failure, Fault, Outcome};
use crate::buffer::Buffer;
use crate::disk::{self, Dir, Identity};
use crate::root::Root;

/// How often a source that changes while it is read is read again.
const PATIENCE: usize = 3;

/// The largest source, in bytes: marshal's lengths have 31 bits.
const LARGEST: u64 = i32::MAX as u64;

/// A source as it was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) bytes: Buffer,
    pub(super) identity: Identity,
    /// Permission bits.
    pub(super) mode: u32,
    /// Its owner.
    pub(super) uid: u32,
}

/// Reads the source `name` in the open directory `dir`, which is at `directory` (without the root's prefix). A source
/// that is gone, or that cannot be read, is the outcome of its intent.
///
/// # Errors
/// This process has run out of memory or files: that says nothing about the source.
pub(super) fn read(
    root: &Root,
    (directory, dir): (&Path, &Dir),
    name: &OsStr,
) -> io::Result<Result<Source, Outcome>> {
    let opened = match dir.open_file(name) {
        // A symlink leads to what it names inside the root.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => root.open(&directory.join(name)),
        opened => opened,
    };
    what_became(opened.and_then(try_read))
}

/// Reads the source at `path` (without the root's prefix), as [`read`] does.
///
/// # Errors
/// As [`read`].
pub(super) fn read_at(root: &Root, path: &Path) -> io::Result<Result<Source, Outcome>> {
    what_became(root.open(path).and_then(try_read))
}

fn what_became(read: io::Result<Option<Source>>) -> io::Result<Result<Source, Outcome>> {
    match read {
        Ok(Some(source)) => Ok(Ok(source)),
        Ok(None) => Ok(Err(unreadable("it changes while it is read"))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Err(Outcome::Vanished)),
            _ if is_ours(&error) => Err(error),
            _ => Ok(Err(unreadable(&disk::cause(&error)))),
        },
    }
}

/// The outcome of a source that cannot be used.
pub(super) fn unreadable(why: &str) -> Outcome {
    let source = Identity::default();
    Outcome::Failed(Box::new(Failure { fault: Fault::Unreadable, message: why.to_owned(), source }))
}

/// A medium that fails under one source (EIO) is that source's affair; a full table of open files is ours.
fn is_ours(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

fn try_read(mut file: File) -> io::Result<Option<Source>> {
    for _ in 0..PATIENCE {
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let identity = Identity::of_metadata(&before);
        let bytes = read_all(&mut file, identity.size)?;
        if Identity::of_metadata(&file.metadata()?) == identity && bytes.len() as u64 == identity.size {
            use std::os::unix::fs::MetadataExt;
            return Ok(Some(Source { bytes, identity, mode: before.mode() & 0o7777, uid: before.uid() }));
        }
        io::Seek::rewind(&mut file)?;
    }
    Ok(None)
}

fn read_all(file: &mut File, size: u64) -> io::Result<Buffer> {
    if size > LARGEST {
        return Err(io::Error::other("it is larger than 2 GiB"));
    }
    let mut bytes = Buffer::new(usize::try_from(size).unwrap_or(0));
    match file.read_exact(&mut bytes) {
        // It is shorter than a moment ago: it changed, and its identity with it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Buffer::default()),
        read => read.map(|()| bytes),
    }
}
