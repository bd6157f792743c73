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
use super::process::{Broken, Limit, Process};
use crate::disk::{Identity, Quoted};
use crate::interrupt::Interrupt;

/// How long an interpreter may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for: mark, implementation, major, minor, cache tag, magic number (hexadecimal), release, architecture. Where
/// the build does not say what it is for, the machine and the bits of a pointer do: a 32-bit interpreter may run on a
/// 64-bit kernel.
const QUESTION: &str = "import _frozen_importlib_external as e\n\
    i = sys.implementation\n\
    words = ['pyc-txn', i.name, *sys.version_info[:2], i.cache_tag, e.MAGIC_NUMBER.hex()]\n\
    words.append('-'.join(['%08x' % sys.hexversion, *map(str, getattr(sys, 'pypy_version_info', ()))]))\n\
    bits = sys.maxsize.bit_length() + 1\n\
    words.append(getattr(i, '_multiarch', '') or '%s-%d' % (posix.uname().machine, bits))\n\
    sys.stdout.write('%-200s' % ' '.join(map(str, words)))";

/// The length of the answer in bytes, padded with spaces.
const ANSWER: usize = 200;

/// A Python that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The file that is executed, symlinks resolved.
    pub path: PathBuf,
    /// Version and magic number.
    pub dialect: Dialect,
    /// `sys.implementation.cache_tag`, as `cpython-311`.
    pub cache_tag: String,
    /// `sys.hexversion`, and what an implementation of its own numbering adds to it; empty: not known.
    pub release: String,
    /// What it was built for, as `x86_64-linux-gnu`; empty: not known.
    pub architecture: String,
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

    /// Whether the two give the same code for a source, wherever they are: they are known to be the same release for the
    /// same architecture. The magic number says less: by it Python knows what it can load. Releases that share it
    /// compile differently, as a miscompilation is mended in one of them, and architectures compute floats differently.
    #[must_use]
    pub fn compiles_as(&self, other: &Self) -> bool {
        self.is_identified()
            && self.dialect == other.dialect
            && self.cache_tag == other.cache_tag
            && self.release == other.release
            && self.architecture == other.architecture
    }

    /// Whether it is known which compiler it is.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        !self.release.is_empty() && !self.architecture.is_empty()
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
            // More rights do not help an interpreter that hangs, and each attempt takes half a minute.
            if failures.last().is_some_and(anyhow::Error::is::<Silent>) {
                break;
            }
        }
        let Some(last) = failures.pop() else { bail!("no rights to run an interpreter with") };
        bail!("{}", unusable(path, &format!("{last:#}")))
    }
}

/// An interpreter that does not answer in time.
#[derive(Debug)]
struct Silent;

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it did not answer within {} s", PATIENCE.as_secs())
    }
}

impl std::error::Error for Silent {}

/// The words that stand in each message about an interpreter, and in no other.
const UNUSABLE: &str = " cannot be used as an interpreter: ";

/// The reason why a Python that is newer than this program cannot be used.
pub const UNKNOWN_FORMAT: &str = "its bytecode is not known to this pyc-txn";

/// The message that the interpreter at `path` is of no use, and why.
#[must_use]
pub fn unusable(path: &Path, why: &str) -> String {
    format!("{}{UNUSABLE}{why}", Quoted(path))
}

/// Whether a message is about an interpreter: then it is the same for all its sources, and said once.
#[must_use]
pub fn is_about_interpreter(message: &str) -> bool {
    message.contains(UNUSABLE)
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
    let answer = process.receive(ANSWER, deadline).map_err(|broken| match broken {
        Broken::TimedOut(_) => anyhow::Error::new(Silent),
        broken => anyhow::anyhow!("{broken}"),
    })?;
    parse(&answer, path, rights)
}

fn parse(answer: &[u8], path: &Path, rights: Rights) -> Result<Interpreter> {
    let text = std::str::from_utf8(answer).context("it answered garbage")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["pyc-txn", _implementation, major, minor, cache_tag, magic, release, architecture] = words[..]
    else {
        bail!("it answered garbage");
    };
    let version = (major.parse()?, minor.parse()?);
    if version < (3, 6) {
        bail!("Python {major}.{minor} is older than 3.6");
    }
    let magic = u32::from_str_radix(magic, 16).context("it answered garbage")?.to_be_bytes();
    let [cache_tag, release, architecture] = [cache_tag, release, architecture].map(str::to_owned);
    let dialect = Dialect { version, magic };
    Ok(Interpreter { path: path.to_owned(), dialect, cache_tag, release, architecture, rights })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &[u8]) -> Result<Interpreter> {
        parse(answer, Path::new("/python"), Rights::Own)
    }

    #[test]
    fn an_answer_is_read() {
        let interpreter =
            parsed(b"pyc-txn cpython 3 11 cpython-311 a70d0d0a 030b02f0 x86_64-linux-gnu   ").unwrap();
        assert_eq!(interpreter.dialect, Dialect { version: (3, 11), magic: *b"\xa7\x0d\x0d\x0a" });
        let Interpreter { cache_tag, release, architecture, .. } = interpreter;
        assert_eq!([cache_tag, release, architecture], ["cpython-311", "030b02f0", "x86_64-linux-gnu"]);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for answer in [
            &b"hello"[..],
            b"\xff\xfe",
            b"pyc-txn cpython 2 7 None 03f30d0a 02071df0 x86_64-linux-gnu",
            b"pyc-txn cpython 3 11 cpython-311 a70d0d0a",
            b"",
        ] {
            assert!(parsed(answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn only_the_same_release_for_the_same_architecture_compiles_as_another() {
        let answer = |words: &str| parsed(format!("pyc-txn cpython 3 11 {words}").as_bytes()).unwrap();
        let one = answer("cpython-311 a70d0d0a 030b02f0 x86_64-linux-gnu");
        assert!(one.compiles_as(&Interpreter { path: "/elsewhere".into(), ..one.clone() }));
        for other in [
            answer("cpython-311 a70d0d0a 030b07f0 x86_64-linux-gnu"),
            answer("cpython-311 a70d0d0a 030b02f0 i386-linux-gnu"),
            answer("other-311 a70d0d0a 030b02f0 x86_64-linux-gnu"),
            answer("cpython-311 a80d0d0a 030b02f0 x86_64-linux-gnu"),
        ] {
            assert!(!one.compiles_as(&other) && !other.compiles_as(&one), "{other:?}");
        }
        let unknown = Interpreter { release: String::new(), ..one };
        assert!(!unknown.compiles_as(&unknown.clone()));
    }
}
