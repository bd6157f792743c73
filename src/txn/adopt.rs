//! Adoption: a pyc that something else wrote, taken into the ledger instead of compiled again.
//!
//! Owns the doubts. Whatever is in doubt is compiled: that costs time, the other way costs trust.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::audience::Audience;
use super::intent::{Compile, Facts, Hash, Stamp};
use super::journal::LedgerEntry;
use super::source::Source;
use crate::buffer::Buffer;
use crate::disk::{Dir, Identity};
use crate::python::header::{Invalidation, may_be_pyc_of};
use crate::python::interpreter::Interpreter;
use crate::python::marshal;

/// A pyc that is whole in itself; whether it belongs to its source is another question. Its bytes are gone by
/// then: the largest ones are as large as their source, and both at a time need not be in memory.
pub(super) struct Candidate {
    header: Vec<u8>,
    code_hash: Hash,
    identity: Identity,
    audience: Audience,
}

impl Candidate {
    /// Reads the pyc at `path`: of this interpreter, structurally whole, with the right file name inside, and
    /// where its header has the source's time and size, with these.
    pub(super) fn read(
        path: &Path,
        compile: &Compile,
        interpreter: &Interpreter,
        filename: &[u8],
    ) -> Option<Self> {
        let mut file = open(path)?;
        let is_plausible = |metadata: &std::fs::Metadata| {
            metadata.is_file() && may_be_pyc_of(metadata.len(), compile.seen.size)
        };
        let metadata = file.metadata().ok().filter(is_plausible)?;
        let mut header = vec![0; interpreter.dialect.header_length()];
        file.read_exact(&mut header).ok()?;
        let Stamp { size, mtime } = compile.seen;
        let seen = Identity { size, mtime, ..Identity::default() };
        let is_plausible = header.starts_with(&interpreter.dialect.magic)
            && (compile.mode != Invalidation::Timestamp
                || interpreter.dialect.header(compile.mode, &seen, &[]).as_bytes() == header);
        if !is_plausible {
            return None;
        }
        let length = usize::try_from(metadata.len()).ok()?.checked_sub(header.len())?;
        let mut code = Buffer::new(length).ok()?;
        file.read_exact(&mut code).ok()?;
        let audience = Audience::of(&file, &metadata).ok()?;
        let whole = marshal::check(&code, interpreter.format()?).ok()?;
        (*whole.filename() == *filename).then(|| Self {
            header,
            code_hash: *blake3::hash(&code).as_bytes(),
            identity: Identity::of_metadata(&metadata),
            audience,
        })
    }

    /// What it is on disk.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the ledger should say of it, if it is beyond doubt the bytecode of `source`, with permissions as we
    /// would give, and written by the source's owner or by ourselves.
    pub(super) fn adopt(
        self,
        compile: &Compile,
        interpreter: &Interpreter,
        source: &Source,
        source_hash: Hash,
        entry: Option<&LedgerEntry>,
    ) -> Option<Facts> {
        let us = rustix::process::geteuid().as_raw();
        let is_trusted = self.audience.uid == source.audience.uid || self.audience.uid == us;
        let is_for_the_same = self.audience.mode == source.audience.mode_of_bytecode()
            && source.audience.misfit(&self.audience).is_none();
        let header = interpreter.dialect.header(compile.mode, &source.identity, &source.bytes);
        if !is_trusted || !is_for_the_same || header.as_bytes() != self.header {
            return None;
        }
        let is_of_this_source = match entry {
            Some(entry) => entry.source_hash == source_hash && entry.code_hash == self.code_hash,
            // Size and second of the source agree; but a source that was put in place after its bytecode was
            // written may have both from elsewhere (clamped mtimes) and other content.
            None => compile.mode != Invalidation::Timestamp || self.identity.ctime > source.identity.ctime,
        };
        is_of_this_source.then(|| Facts {
            source: source.identity,
            source_hash,
            code_hash: self.code_hash,
            // What was published is still what it was.
            compiler: entry.map_or(compile.interpreter, |entry| entry.interpreter),
            canonical: entry.is_some_and(|entry| entry.canonical),
            pyc: self.identity,
            warnings: String::new(),
            reused: false,
        })
    }
}

/// The filesystems on which bytecode was adopted: one directory of each, by device. Who wrote it may not have synced it, so
/// they are synced before it is called published.
#[derive(Debug, Default)]
pub(super) struct Filesystems(Mutex<HashMap<u64, Dir>>);

impl Filesystems {
    /// Adds that of adopted bytecode, which is in `directory`; says whether it can be synced.
    pub(super) fn add(&self, pyc: &Identity, directory: &Path) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.entry(pyc.device) {
            Entry::Occupied(_) => true,
            Entry::Vacant(place) => Dir::open(directory).map(|dir| place.insert(dir)).is_ok(),
        }
    }

    /// The directories.
    pub(super) fn into_dirs(self) -> impl Iterator<Item = Dir> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into_values()
    }
}

/// Opens a file in somebody's tree: not through a symlink, and without waiting for the other end of a FIFO.
pub(super) fn open(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    File::options().read(true).custom_flags(flags).open(path).ok()
}
