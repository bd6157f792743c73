//! A pyc that was made before, open: adoption and reuse both begin with it, and it is opened once for both.
//!
//! Owns what the two read of it. It must not know what they make of it.

use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;

use crate::buffer::Buffer;
use crate::python::header::may_be_pyc_of;
use crate::python::interpreter::Interpreter;

/// An open pyc.
pub(super) struct Pyc {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    pub(super) header: Vec<u8>,
}

impl Pyc {
    /// Reads the header of a file; `None` if it is no regular file, not bytecode for this interpreter, or longer than that
    /// of a source of `source_size` bytes can be.
    pub(super) fn of(file: File, interpreter: &Interpreter, source_size: u64) -> Option<Self> {
        let is_plausible =
            |metadata: &Metadata| metadata.is_file() && may_be_pyc_of(metadata.len(), source_size);
        let metadata = file.metadata().ok().filter(is_plausible)?;
        let mut header = vec![0; interpreter.dialect.header_length()];
        file.read_exact_at(&mut header, 0).ok()?;
        let is_right = header.starts_with(&interpreter.dialect.magic);
        is_right.then_some(Self { file, metadata, header })
    }

    /// Reads the code behind the header.
    pub(super) fn code(&self) -> Option<Buffer> {
        let length = usize::try_from(self.metadata.len()).ok()?.checked_sub(self.header.len())?;
        let mut code = Buffer::new(length).ok()?;
        self.file.read_exact_at(&mut code, self.header.len() as u64).ok()?;
        Some(code)
    }
}
