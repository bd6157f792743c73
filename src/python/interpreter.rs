//! An interpreter that compiles: where it is, what it calls itself, and which bytecode it writes.
//!
//! Owns asking one; remembering the answer is the journal's part. It must not know where a distribution keeps
//! its interpreters.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::confine::Rights;
use super::header::Dialect;
use super::marshal::Format;
use super::process::{Limit, Process};
use crate::disk::{Identity, Quoted};
use crate::interrupt::Interrupt;

/// How long an interpreter may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for: mark, implementation, major, minor, cache tag, magic number (hexadecimal).
const QUESTION: &str = "import _frozen_importlib_external as e\n\
    i = sys.implementation\n\
    s = 'pyc-txn %s %d %d %s %s' % (i.name, *sys.version_info[:2], i.cache_tag, e.MAGIC_NUMBER.hex())\n\
    sys.stdout.write('%-80s' % s)";

/// The length of the answer in bytes, padded with spaces.
const ANSWER: usize = 80;

/// A Python that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The file that is executed, symlinks resolved.
    pub path: PathBuf,
    /// Version and magic number.
    pub dialect: Dialect,
    /// `sys.implementation.cache_tag`, as `cpython-311`.
    pub cache_tag: String,
    /// The rights it runs with.
    pub rights: Rights,
}

impl Interpreter {
    /// The layout of its code objects, if this program knows it.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        let (major, minor) = self.dialect.version;
        if self.cache_tag.starts_with("pypy") {
            Format::of_pypy(major, minor)
        } else {
            Format::of(major, minor)
        }
    }

    /// Starts the interpreter at `path` and asks what it is: as `nobody` if it can be run so.
    ///
    /// # Errors
    /// It cannot be started, does not answer as a Python from 3.6 on does, or not in time.
    pub fn ask(path: &Path, interrupt: &Interrupt) -> Result<Self> {
        let mut failures = Vec::new();
        for &rights in Rights::to_try() {
            match ask(path, rights, interrupt) {
                Ok(interpreter) => return Ok(interpreter),
                Err(error) => failures.push(error),
            }
        }
        let Some(last) = failures.pop() else { bail!("no rights to run an interpreter with") };
        Err(last.context(format!("{} cannot be used as an interpreter", Quoted(path))))
    }
}

/// The identity of the binary at `path`, by which its answer can be remembered; `None` for a script: what a
/// wrapper starts may change without a change of the wrapper.
///
/// # Errors
/// It cannot be read.
pub fn binary_identity(path: &Path) -> Result<Option<Identity>> {
    let examine = || -> std::io::Result<_> {
        let mut file = File::open(path)?;
        let identity = Identity::of_metadata(&file.metadata()?);
        let mut start = [0; 4];
        let is_binary = file.read_exact(&mut start).is_ok() && start == *b"\x7fELF";
        Ok(is_binary.then_some(identity))
    };
    examine().map_err(|cause| anyhow::anyhow!("cannot open {}: {}", Quoted(path), crate::disk::cause(&cause)))
}

fn ask(path: &Path, rights: Rights, interrupt: &Interrupt) -> Result<Interpreter> {
    let deadline = Some(Limit::from_now(PATIENCE));
    let mut process = Process::start(path, rights, QUESTION, interrupt)
        .map_err(|error| anyhow::anyhow!("{}", crate::disk::cause(&error)))?;
    let answer = process.receive(ANSWER, deadline).map_err(|broken| anyhow::anyhow!("{broken}"))?;
    parse(&answer).map(|(dialect, cache_tag)| Interpreter {
        path: path.to_owned(),
        dialect,
        cache_tag,
        rights,
    })
}

fn parse(answer: &[u8]) -> Result<(Dialect, String)> {
    let text = std::str::from_utf8(answer).context("it answered garbage")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["pyc-txn", _implementation, major, minor, cache_tag, magic] = words[..] else {
        bail!("it answered garbage");
    };
    let version = (major.parse()?, minor.parse()?);
    if version < (3, 6) {
        bail!("Python {major}.{minor} is older than 3.6");
    }
    let magic = u32::from_str_radix(magic, 16).context("it answered garbage")?.to_be_bytes();
    Ok((Dialect { version, magic }, cache_tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let (dialect, tag) = parse(b"pyc-txn cpython 3 11 cpython-311 a70d0d0a   ").unwrap();
        assert_eq!(dialect, Dialect { version: (3, 11), magic: *b"\xa7\x0d\x0d\x0a" });
        assert_eq!(tag, "cpython-311");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for answer in [&b"hello"[..], b"\xff\xfe", b"pyc-txn cpython 2 7 None 03f30d0a", b""] {
            assert!(parse(answer).is_err(), "{answer:?}");
        }
    }
}
