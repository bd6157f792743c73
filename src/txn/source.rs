//! Reading a source: its bytes together with the identity they belong to.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::audience::Audience;
use super::intent::{Failure, Fault, Outcome};
use crate::buffer::Buffer;
use crate::disk::{self, Identity};
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
    /// Who may read it.
    pub(super) audience: Audience,
}

/// Reads the source at `path` (without the root's prefix).
///
/// # Errors
/// The outcome of its intent: it is gone, or cannot be read.
pub(super) fn read(root: &Root, path: &Path) -> Result<Source, Outcome> {
    match try_read(root, path) {
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

fn try_read(root: &Root, path: &Path) -> io::Result<Option<Source>> {
    let mut file = root.open(path)?;
    for _ in 0..PATIENCE {
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let identity = Identity::of_metadata(&before);
        let bytes = read_all(&mut file, identity.size)?;
        if Identity::of_metadata(&file.metadata()?) == identity && bytes.len() as u64 == identity.size {
            return Ok(Some(Source { bytes, identity, audience: Audience::of(&file, &before)? }));
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
