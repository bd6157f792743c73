//! Reuse: the code of earlier bytecode for a source whose content is the same; only the header is new. No compiler
//! runs.
//!
//! Owns the proof: the source has the hash that the ledger or a retired pyc was compiled from, for the same target
//! and so the same interpreter, level and file name inside, and the code still has the hash that was published. It is
//! made canonical: what was adopted may be as another compiler wrote it.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::adopt;
use super::intent::{Hash, IntentId};
use super::journal::{LedgerEntry, Retired};
use super::retired;
use crate::buffer::Buffer;
use crate::disk::Dir;
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

impl Earlier {
    /// The code for a source with this hash, if it was compiled before. `pyc` is the target on disk, `state` the
    /// state directory.
    pub(super) fn code(
        &self,
        id: IntentId,
        (pyc, state): (PathBuf, &Dir),
        interpreter: &Interpreter,
        source_hash: &Hash,
    ) -> Option<Buffer> {
        let published = || {
            let entry = self.published.get(&id).filter(|entry| entry.source_hash == *source_hash)?;
            read(&pyc, interpreter, entry.code_hash)
        };
        let retired = || {
            let retired = self.retired.get(&id).filter(|retired| retired.source_hash == *source_hash)?;
            read(&retired::path(state, retired.id), interpreter, retired.code_hash)
        };
        published().or_else(retired)
    }
}

/// The code of the pyc at `path`, if it is for this interpreter and has this hash.
fn read(path: &Path, interpreter: &Interpreter, hash: Hash) -> Option<Buffer> {
    let mut file = adopt::open(path)?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut header = vec![0; interpreter.dialect.header_length()];
    file.read_exact(&mut header).ok()?;
    let length = usize::try_from(metadata.len()).ok()?.checked_sub(header.len())?;
    let mut code = Buffer::new(length);
    file.read_exact(&mut code).ok()?;
    if !header.starts_with(&interpreter.dialect.magic) || *blake3::hash(&code).as_bytes() != hash {
        return None;
    }
    let length = marshal::canonicalize(&mut code, interpreter.format()?).ok()?.bytes().len();
    code.resize(length);
    Some(code)
}
