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
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::intent::{Hash, IntentId};
use super::journal::{LedgerEntry, Retired};
use super::pyc::Pyc;
use super::retired;
use crate::buffer::Buffer;
use crate::disk::{self, Dir};
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
    /// Whether there may be code for a source of this size: one of another size has other content.
    pub(super) fn may_have(&self, id: IntentId, size: u64) -> bool {
        self.retired.contains_key(&id)
            || self.published.get(&id).is_some_and(|entry| entry.identity.size == size)
    }

    /// The code for a source with this hash, if it was compiled before. `pyc` is what stands under the target's name,
    /// `state` the state directory.
    pub(super) fn find(
        &self,
        id: IntentId,
        (pyc, state): (Option<&Pyc>, &Dir),
        interpreter: &Interpreter,
        source_hash: &Hash,
    ) -> Option<Found> {
        let published = || {
            let entry = self.published.get(&id).filter(|entry| entry.source_hash == *source_hash)?;
            let code = code(pyc?, entry.code_hash)?;
            found(code, entry.code_hash, (interpreter, entry.canonical), None)
        };
        let retired = || {
            let retired = self.retired.get(&id).filter(|retired| retired.source_hash == *source_hash)?;
            let path = retired::path(retired.id);
            let pyc = Pyc::of(state.open_file(&path).ok()?, interpreter)?;
            let code = code(&pyc, retired.code_hash)?;
            let Pyc { header, metadata, .. } = pyc;
            let spare = Spare { path, header, metadata };
            found(code, retired.code_hash, (interpreter, retired.canonical), Some(spare))
        };
        published().or_else(retired)
    }
}

/// The code of a pyc, if it has this hash.
fn code(pyc: &Pyc, hash: Hash) -> Option<Buffer> {
    pyc.code().filter(|code| *blake3::hash(code).as_bytes() == hash)
}

/// Code in its canonical form, in which it may be known to be; then the file that it is in can be used too.
fn found(
    mut code: Buffer,
    hash: Hash,
    (interpreter, canonical): (&Interpreter, bool),
    spare: Option<Spare>,
) -> Option<Found> {
    if canonical {
        return Some(Found { code, hash, spare });
    }
    let length = marshal::canonicalize(&mut code, interpreter.format()?).ok()?.bytes().len();
    code.resize(length);
    let hash = *blake3::hash(&code).as_bytes();
    Some(Found { code, hash, spare: None })
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
