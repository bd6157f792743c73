//! Reuse: the code of earlier bytecode for a source whose content is the same; only the header is new. No compiler
//! runs.
//!
//! Owns the proof: the source has the hash that the ledger or a retired pyc was compiled from, for the same target
//! and so the same interpreter, level and file name inside, and the code still has the hash that was published. It is
//! made canonical, if it is not known to be: what was adopted may be as another compiler wrote it.
//!
//! A retired pyc that is as a new one would be, but for the header, becomes the staged file itself. Its row in the journal
//! stays until the end of the transaction; without its file it is worth nothing, so what is rolled back costs its
//! compilation.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::adopt;
use super::intent::{Hash, IntentId};
use super::journal::{LedgerEntry, Retired};
use super::retired;
use crate::buffer::Buffer;
use crate::disk::{self, Dir};
use crate::python::header::may_be_pyc_of;
use crate::python::interpreter::Interpreter;
use crate::python::marshal;

/// What there is of earlier bytecode for some intents.
#[derive(Default)]
pub(super) struct Earlier {
    /// What the ledger has of their targets.
    pub(super) published: HashMap<IntentId, LedgerEntry>,
    /// What was retired under their targets.
    pub(super) retired: HashMap<IntentId, Retired>,
}

/// Code that can be used again.
pub(super) struct Found {
    pub(super) code: Buffer,
    pub(super) hash: Hash,
    /// The file that it is in, if nobody else needs that.
    pub(super) spare: Option<Spare>,
}

/// A retired pyc with this very code.
pub(super) struct Spare {
    /// In the state directory.
    path: PathBuf,
    header: Vec<u8>,
    metadata: Metadata,
}

impl Earlier {
    /// The code for a source with this hash and size, if it was compiled before. `pyc` is the target on disk, `state`
    /// the state directory.
    pub(super) fn find(
        &self,
        id: IntentId,
        (pyc, state): (&Path, &Dir),
        interpreter: &Interpreter,
        (source_hash, source_size): (&Hash, u64),
    ) -> Option<Found> {
        let published = || {
            let entry = self.published.get(&id).filter(|entry| entry.source_hash == *source_hash)?;
            let pyc = Pyc::read(adopt::open(pyc)?, interpreter, entry.code_hash, source_size)?;
            pyc.into_found(interpreter, entry.canonical, None)
        };
        let retired = || {
            let retired = self.retired.get(&id).filter(|retired| retired.source_hash == *source_hash)?;
            let path = retired::path(retired.id);
            let file = state.open_file(&path).ok()?;
            let pyc = Pyc::read(file, interpreter, retired.code_hash, source_size)?;
            pyc.into_found(interpreter, retired.canonical, Some(path))
        };
        published().or_else(retired)
    }
}

/// A pyc whose code is what was published.
struct Pyc {
    header: Vec<u8>,
    code: Buffer,
    hash: Hash,
    metadata: Metadata,
}

impl Pyc {
    /// Reads one, if it is for this interpreter, its code has this hash, and a source of this size can have it.
    fn read(mut file: File, interpreter: &Interpreter, hash: Hash, source_size: u64) -> Option<Self> {
        let is_plausible =
            |metadata: &Metadata| metadata.is_file() && may_be_pyc_of(metadata.len(), source_size);
        let metadata = file.metadata().ok().filter(is_plausible)?;
        let mut header = vec![0; interpreter.dialect.header_length()];
        file.read_exact(&mut header).ok()?;
        let length = usize::try_from(metadata.len()).ok()?.checked_sub(header.len())?;
        let mut code = Buffer::new(length).ok()?;
        file.read_exact(&mut code).ok()?;
        let is_right =
            header.starts_with(&interpreter.dialect.magic) && *blake3::hash(&code).as_bytes() == hash;
        is_right.then_some(Self { header, code, hash, metadata })
    }

    /// Its code in its canonical form, in which it may be known to be; then the file can be used too, if `path` says where
    /// it is.
    fn into_found(self, interpreter: &Interpreter, canonical: bool, path: Option<PathBuf>) -> Option<Found> {
        let Self { header, mut code, hash, metadata } = self;
        if canonical {
            let spare = path.map(|path| Spare { path, header, metadata });
            return Some(Found { code, hash, spare });
        }
        let length = marshal::canonicalize(&mut code, interpreter.format()?).ok()?.bytes().len();
        code.truncate(length);
        let hash = *blake3::hash(&code).as_bytes();
        Some(Found { code, hash, spare: None })
    }
}

impl Spare {
    /// Gives the file this header, if it is in everything else what a new one with the permissions `mode` would be; its
    /// path in the state directory then.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn renew(&self, state: &Dir, header: &[u8], mode: u32) -> Result<Option<&Path>, disk::Error> {
        let Self { path, metadata, .. } = self;
        let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_ours = (metadata.uid(), metadata.gid()) == us && metadata.nlink() == 1;
        if !is_ours || metadata.mode() & 0o7777 != mode || header.len() != self.header.len() {
            return Ok(None);
        }
        if header != self.header {
            state.overwrite_file(path, header)?;
        }
        Ok(Some(path))
    }
}
