//! Adoption: a pyc that something else wrote, taken into the ledger instead of compiled again.
//!
//! Owns the doubts. Whatever is in doubt is compiled: that costs time, the other way costs trust.

use super::audience::Audience;
use super::intent::{Compile, Facts, Hash, Stamp};
use super::journal::LedgerEntry;
use super::pyc::Pyc;
use super::source::Source;
use crate::disk::Identity;
use crate::python::header::Invalidation;
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
    /// Reads a pyc: structurally whole, with the right file name inside, and where its header has the source's time and
    /// size, with these.
    pub(super) fn read(
        pyc: &Pyc,
        compile: &Compile,
        interpreter: &Interpreter,
        filename: &[u8],
    ) -> Option<Self> {
        let Pyc { metadata, header, .. } = pyc;
        let Stamp { size, mtime } = compile.seen;
        let seen = Identity { size, mtime, ..Identity::default() };
        let is_plausible = compile.mode != Invalidation::Timestamp
            || interpreter.dialect.header(compile.mode, &seen, &[]).as_bytes() == header;
        if !is_plausible {
            return None;
        }
        let code = pyc.code()?;
        let audience = Audience::of(&pyc.file, metadata).ok()?;
        let whole = marshal::check(&code, interpreter.format()?).ok()?;
        (*whole.filename() == *filename).then(|| Self {
            header: header.clone(),
            code_hash: *blake3::hash(&code).as_bytes(),
            identity: Identity::of_metadata(metadata),
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
