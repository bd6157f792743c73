//! Adoption: a pyc that something else wrote, taken into the ledger instead of compiled again.
//!
//! Owns the doubts. Whatever is in doubt is compiled: that costs time, the other way costs trust.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::intent::{Compile, Facts};
use super::journal::LedgerEntry;
use super::source::Source;
use crate::disk::Identity;
use crate::python::header::{Dialect, Invalidation};
use crate::python::marshal::{self, Format};

/// What a pyc is compared with.
pub(super) struct Expected<'a> {
    pub(super) compile: &'a Compile,
    pub(super) dialect: Dialect,
    pub(super) source: &'a Source,
    /// The file name that should be inside.
    pub(super) filename: &'a [u8],
    /// The ledger's entry for the target, if there is one.
    pub(super) entry: Option<&'a LedgerEntry>,
}

/// What the ledger should say of the pyc at `path`, if it is beyond doubt: of this interpreter and mode, for
/// this very source, structurally whole, with the right file name inside, permissions as we would give, and
/// written by the source's owner or by ourselves.
pub(super) fn adopt(path: &Path, expected: &Expected<'_>) -> Option<Facts> {
    let source = expected.source;
    let mut file = open(path)?;
    let metadata = file.metadata().ok()?;
    let identity = Identity::of_metadata(&metadata);
    let us = rustix::process::geteuid().as_raw();
    let is_trusted = metadata.uid() == source.uid || metadata.uid() == us;
    if !metadata.is_file() || !is_trusted || metadata.mode() & 0o7777 != pyc_mode(source.mode) {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let header = expected.dialect.header(expected.compile.mode, &source.identity, &source.bytes);
    let code = bytes.strip_prefix(header.as_bytes())?;
    let (major, minor) = expected.dialect.version;
    let whole = marshal::check(code, Format::of(major, minor)?).ok()?;
    let source_hash = *blake3::hash(&source.bytes).as_bytes();
    let code_hash = *blake3::hash(code).as_bytes();
    let is_of_this_source = match expected.entry {
        Some(entry) => entry.source_hash == source_hash && entry.code_hash == code_hash,
        // Size and second of the source agree; but a source that was put in place after its bytecode was
        // written may have both from elsewhere (clamped mtimes) and other content.
        None => expected.compile.mode != Invalidation::Timestamp || identity.ctime >= source.identity.ctime,
    };
    let is_this = is_of_this_source && *whole.filename() == *expected.filename;
    is_this.then(|| Facts {
        source: source.identity,
        source_hash,
        code_hash,
        pyc: identity,
        warnings: String::new(),
    })
}

/// The permissions of the bytecode of a source with permissions `mode`: as CPython's `_calc_mode` and
/// `_write_atomic` have it, without the umask.
pub(super) fn pyc_mode(mode: u32) -> u32 {
    (mode | 0o200) & 0o666
}

fn open(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    File::options().read(true).custom_flags(flags).open(path).ok()
}
