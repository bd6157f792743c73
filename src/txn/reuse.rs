//! Reuse: the code of earlier bytecode for a source whose content is the same; only the header is new. No compiler
//! runs.
//!
//! Owns the proof: the source has the hash that the ledger or a retired pyc was compiled from, for the same target
//! and so the same interpreter, level and file name inside, and the code still has the hash that was published.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use super::adopt;
use super::intent::{Hash, IntentId};
use super::journal::{LedgerEntry, Retired};
use super::retired;
use crate::buffer::Buffer;
use crate::disk::Dir;
use crate::python::header::Dialect;

/// What there is of earlier bytecode for the intents of a transaction.
pub(super) struct Earlier<'a> {
    /// What the ledger has of their targets.
    pub(super) published: HashMap<IntentId, LedgerEntry>,
    /// What was retired under their targets.
    pub(super) retired: HashMap<IntentId, Retired>,
    /// The state directory.
    pub(super) state: &'a Dir,
}

impl Earlier<'_> {
    /// The code for a source with this hash, and its own hash, if it was compiled before. `pyc` is the target on disk.
    pub(super) fn code(
        &self,
        id: IntentId,
        pyc: &Path,
        dialect: &Dialect,
        source_hash: &Hash,
    ) -> Option<(Buffer, Hash)> {
        let published = || {
            let entry = self.published.get(&id).filter(|entry| entry.source_hash == *source_hash)?;
            read(pyc, dialect, entry.code_hash)
        };
        let retired = || {
            let retired = self.retired.get(&id).filter(|retired| retired.source_hash == *source_hash)?;
            read(&retired::path(self.state, retired.id), dialect, retired.code_hash)
        };
        published().or_else(retired)
    }
}

/// The code of the pyc at `path`, if it is for this dialect and has this hash.
fn read(path: &Path, dialect: &Dialect, hash: Hash) -> Option<(Buffer, Hash)> {
    let mut file = adopt::open(path)?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut header = vec![0; dialect.header_length()];
    file.read_exact(&mut header).ok()?;
    let length = usize::try_from(metadata.len()).ok()?.checked_sub(header.len())?;
    let mut code = Buffer::new(length);
    file.read_exact(&mut code).ok()?;
    (header.starts_with(&dialect.magic) && *blake3::hash(&code).as_bytes() == hash).then_some((code, hash))
}
