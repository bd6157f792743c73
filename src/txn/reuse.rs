//! Reuse: the code of earlier bytecode for a source whose content is the same; only the header is new. No compiler
//! runs.
//!
//! Owns the proof: the source has the hash that the ledger or a retired pyc was compiled from, for the same target
//! and so the same level and file name inside, by the same release of the interpreter for the same architecture, and the
//! code still has the hash that was published. Code that was adopted is not used: by whom and with which arithmetic it
//! was compiled its magic number does not say. (In place it stays: Python itself would go on with it.)
//!
//! A retired pyc that is as a new one would be, but for the header, becomes the staged file itself. Its row in the journal
//! stays until the end of the transaction; without its file it is worth nothing, so what is rolled back costs its
//! compilation.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::intent::{Hash, IntentId, InterpreterId};
use super::journal::{LedgerEntry, Retired};
use super::pyc::Pyc;
use super::retired;
use crate::buffer::Buffer;
use crate::disk::{self, Dir};
use crate::python::interpreter::Interpreter;

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

/// The code to look for.
pub(super) struct Sought<'a> {
    /// The interpreter that is to load it.
    pub(super) interpreter: &'a Interpreter,
    /// Whether an interpreter of this number would compile the same.
    pub(super) is_compilers: &'a dyn Fn(InterpreterId) -> bool,
    /// The hash of the source, and its length in bytes.
    pub(super) source: (&'a Hash, u64),
}

impl Sought<'_> {
    /// Whether code is this, by what the journal says of it.
    fn is(&self, compiler: InterpreterId, is_ours: bool, source_hash: &Hash) -> bool {
        is_ours && source_hash == self.source.0 && (self.is_compilers)(compiler)
    }
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

    /// The code that is wanted for an intent, if it was compiled before. `pyc` is what stands under the target's name,
    /// `state` the state directory.
    pub(super) fn find(
        &self,
        id: IntentId,
        (pyc, state): (Option<&Pyc>, &Dir),
        sought: &Sought<'_>,
    ) -> Option<Found> {
        let published = || {
            let is_it = |it: &&LedgerEntry| sought.is(it.interpreter, it.canonical, &it.source_hash);
            let entry = self.published.get(&id).filter(is_it)?;
            Some(Found { code: code(pyc?, entry.code_hash)?, hash: entry.code_hash, spare: None })
        };
        let retired = || {
            let is_it = |it: &&Retired| sought.is(it.interpreter, it.canonical, &it.source_hash);
            let retired = self.retired.get(&id).filter(is_it)?;
            let path = retired::path(retired.id);
            let pyc = Pyc::of(state.open_file(&path).ok()?, sought.interpreter, sought.source.1)?;
            let code = code(&pyc, retired.code_hash)?;
            let Pyc { file, header, metadata } = pyc;
            let spare = (!disk::has_acl(&file)).then_some(Spare { path, header, metadata });
            Some(Found { code, hash: retired.code_hash, spare })
        };
        published().or_else(retired)
    }
}

/// The code of a pyc, if it has this hash.
fn code(pyc: &Pyc, hash: Hash) -> Option<Buffer> {
    pyc.code().filter(|code| *blake3::hash(code).as_bytes() == hash)
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
