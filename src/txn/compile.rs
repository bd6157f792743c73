//! The two ends of the pool: sources go in, staged files come out.
//!
//! Owns what happens to one intent while a transaction stages: read; then adopt, or make from earlier bytecode, from
//! the cache, or compile, whichever can be done first; write. Changes nothing outside the staging directories and the
//! cache.

use std::cmp::Reverse;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};

use super::adopt::{Candidate, pyc_mode};
use super::flush::Progress;
use super::intent::{Action, Batch, Compile, Facts, Failure, Fault, Hash, Intent, IntentId, Outcome};
use super::journal::LedgerEntry;
use super::observer::Observer;
use super::reuse::Earlier;
use super::source::{self, Source, unreadable};
use super::staging::Staging;
use crate::cache::{Key, Origin, Store};
use crate::disk::{self, Dir};
use crate::python::interpreter::Interpreter;
use crate::python::pool::{BATCH, Ends, Job};
use crate::python::pycache::DIRECTORY;
use crate::python::worker::{self, Request};
use crate::root::Root;

/// What a compile intent needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) root: &'a Root,
    pub(super) batch: &'a Batch,
    pub(super) staging: &'a Staging,
    /// The number of the staging directory, by the batch's directories.
    pub(super) places: &'a [usize],
    /// Whether there is a `__pycache__`, by the batch's directories.
    pub(super) has_cache: &'a [bool],
    /// Who compiles; `None` for an interpreter that is gone.
    pub(super) interpreters: &'a [Interpreter],
    /// An intent's interpreter, as an index into `interpreters`.
    pub(super) interpreter_of: &'a (dyn Fn(&Compile) -> usize + Sync),
    /// What there is of earlier bytecode.
    pub(super) earlier: &'a Earlier<'a>,
    /// What others compiled, if there is a cache.
    pub(super) cache: Option<&'a Store>,
    pub(super) observer: &'a dyn Observer,
    /// Told how many bytes are staged.
    pub(super) staged: Progress,
}

/// The queue of intents to compile and the list of what became of them.
pub(super) struct Compilation<'a> {
    around: Surroundings<'a>,
    /// Indices into the batch, the largest source first; those that are compiled together by interpreter.
    queue: Vec<usize>,
    next: AtomicUsize,
    outcomes: Mutex<Vec<(IntentId, Outcome)>>,
}

/// What is remembered of an intent while its source is compiled.
pub(super) struct Ready {
    intent: usize,
    source: Source,
    header: crate::python::header::Header,
    source_hash: [u8; 32],
    /// Under which its code is in the cache, if there is one.
    key: Option<Key>,
}

/// Code to stage: canonical.
struct Code<'c> {
    bytes: &'c [u8],
    hash: Hash,
    warnings: String,
    /// Whether no compiler ran for it.
    reused: bool,
}

impl<'a> Compilation<'a> {
    pub(super) fn new(around: Surroundings<'a>, mut queue: Vec<usize>) -> Self {
        queue.sort_by_cached_key(|&index| {
            let size = around.intent(index).size();
            (Reverse(size.max(BATCH as u64)), around.interpreter_number(index), Reverse(size))
        });
        let outcomes = Vec::with_capacity(queue.len());
        Self { around, queue, next: AtomicUsize::new(0), outcomes: Mutex::new(outcomes) }
    }

    /// The outcomes, if the run of the pool was one.
    pub(super) fn into_outcomes(self, run: Result<()>) -> Result<Vec<(IntentId, Outcome)>> {
        run?;
        Ok(self.outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn settle(&self, index: usize, outcome: Outcome) {
        let id = self.around.batch.intents[index].id;
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((id, outcome));
        self.around.observer.advance(self.around.intent(index).size());
    }
}

impl Ends for Compilation<'_> {
    type Ready = Ready;

    fn next(&self) -> Result<Option<Job<Ready>>> {
        while let Some(&index) = self.queue.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            match self.around.prepare(index)? {
                Ok(job) => return Ok(Some(job)),
                Err(outcome) => self.settle(index, outcome),
            }
        }
        Ok(None)
    }

    fn finish(&self, ready: Ready, outcome: worker::Outcome) -> Result<()> {
        let index = ready.intent;
        let outcome = self.around.finish(&ready, outcome)?;
        self.settle(index, outcome);
        Ok(())
    }
}

impl Surroundings<'_> {
    fn intent(&self, index: usize) -> &Intent {
        &self.batch.intents[index]
    }

    /// The interpreter of an intent, as an index into `interpreters`; `None` for a removal.
    fn interpreter_number(&self, index: usize) -> Option<usize> {
        match &self.intent(index).action {
            Action::Compile(compile) => Some((self.interpreter_of)(compile)),
            Action::Remove(_) => None,
        }
    }

    /// Reads a source: a job for the pool, or the outcome where there is nothing to compile.
    fn prepare(&self, index: usize) -> Result<Result<Job<Ready>, Outcome>> {
        let intent = self.intent(index);
        let Action::Compile(compile) = &intent.action else { return Ok(Err(Outcome::Removed)) };
        let path = self.batch.path(intent);
        let filename = path.as_os_str().as_bytes().to_vec();
        let number = (self.interpreter_of)(compile);
        let interpreter = &self.interpreters[number];
        let may_have_one = !compile.force && self.has_cache[intent.directory];
        let candidate = may_have_one
            .then(|| Candidate::read(&self.pyc(intent, compile), compile, interpreter, &filename))
            .flatten();
        let mut source = match source::read(self.root, &path) {
            Ok(Ok(source)) => source,
            Ok(Err(outcome)) => return Ok(Err(outcome)),
            Err(cause) => return Err(disk::Error::new("open", &path, cause).into()),
        };
        let source_hash = hash(&source.bytes);
        if let Some(outcome) = self.spare(intent, compile, candidate, (&source, source_hash)) {
            return Ok(Err(outcome));
        }
        let header = interpreter.dialect.header(compile.mode, &source.identity, &source.bytes);
        let bytes = std::mem::take(&mut source.bytes);
        let key = self.cache.map(|_| key(compile, interpreter, &filename, &source_hash));
        let ready = Ready { intent: index, source, header, source_hash, key };
        if !compile.force
            && let Some(outcome) = self.reuse(&ready, intent, compile)?
        {
            return Ok(Err(outcome));
        }
        let request = Request { filename, level: compile.level, source: bytes };
        Ok(Ok(Job { interpreter: number, request, ready }))
    }

    /// The outcome of an intent whose target is right as it stands, or can be adopted.
    fn spare(
        &self,
        intent: &Intent,
        compile: &Compile,
        candidate: Option<Candidate>,
        (source, source_hash): (&Source, Hash),
    ) -> Option<Outcome> {
        let candidate = candidate?;
        let entry = self.earlier.published.get(&intent.id);
        let is_current = |entry: &&LedgerEntry| {
            entry.mode == compile.mode
                && entry.interpreter == compile.interpreter
                && entry.identity.same_content(&source.identity)
                && entry.is_in_place(candidate.identity())
        };
        if entry.filter(is_current).is_some() {
            return Some(Outcome::Current);
        }
        let interpreter = &self.interpreters[(self.interpreter_of)(compile)];
        candidate.adopt(compile, interpreter, source, source_hash, entry).map(Outcome::Adopted)
    }

    /// The outcome of an intent whose source was compiled before, here or elsewhere.
    fn reuse(&self, ready: &Ready, intent: &Intent, compile: &Compile) -> Result<Option<Outcome>> {
        let interpreter = &self.interpreters[(self.interpreter_of)(compile)];
        let pyc = self.pyc(intent, compile);
        if let Some(code) = self.earlier.code(intent.id, &pyc, interpreter, &ready.source_hash) {
            // What its compiler had to say the journal has.
            let code = Code { bytes: &code, hash: hash(&code), warnings: String::new(), reused: true };
            return self.write(ready, code).map(Some);
        }
        let cached = self.cache.zip(ready.key.as_ref()).and_then(|(cache, key)| cache.get(key));
        let Some(mut cached) = cached else { return Ok(None) };
        let warnings = std::mem::take(&mut cached.warnings);
        let code = Code { bytes: cached.code(), hash: cached.code_hash, warnings, reused: true };
        self.write(ready, code).map(Some)
    }

    /// Where the bytecode of an intent stands, on disk.
    fn pyc(&self, intent: &Intent, compile: &Compile) -> PathBuf {
        let directory = self.root.on_disk(&self.batch.directories[intent.directory]);
        directory.join(DIRECTORY).join(compile.target.name())
    }

    /// Writes the staged file of compiled code.
    fn finish(&self, ready: &Ready, outcome: worker::Outcome) -> Result<Outcome> {
        let source = ready.source.identity;
        match outcome {
            worker::Outcome::Code { code, warnings } => {
                let hash = hash(&code);
                if let Some((cache, key)) = self.cache.zip(ready.key.as_ref()) {
                    cache.put(key, &code, &hash, &warnings);
                }
                self.write(ready, Code { bytes: &code, hash, warnings, reused: false })
            }
            worker::Outcome::Refused { line, message } => {
                let message = if line == 0 { message } else { format!("{line}: {message}") };
                Ok(Outcome::Failed(Failure { fault: Fault::Refused, message, source }))
            }
            worker::Outcome::Lost(broken) => {
                let message = broken.to_string();
                Ok(Outcome::Failed(Failure { fault: Fault::Lost, message, source }))
            }
        }
    }

    /// Writes a staged file.
    fn write(&self, ready: &Ready, code: Code<'_>) -> Result<Outcome> {
        let Code { bytes, hash: code_hash, warnings, reused } = code;
        let intent = self.intent(ready.intent);
        let number = self.places[intent.directory];
        let place = self.staging.place(number).ok_or_else(|| anyhow!("a staging directory has gone"))?;
        let mode = pyc_mode(ready.source.mode);
        let pyc = place.create_file(intent.id.0.to_string(), mode, &[ready.header.as_bytes(), bytes])?;
        self.staged.add(pyc.size);
        let (source, source_hash) = (ready.source.identity, ready.source_hash);
        Ok(Outcome::Compiled(Facts { source, source_hash, code_hash, pyc, warnings, reused }, number))
    }
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// Under which key the cache has the code of a source.
fn key(compile: &Compile, interpreter: &Interpreter, filename: &[u8], source_hash: &Hash) -> Key {
    Key::of(&Origin {
        source_hash,
        filename,
        magic: interpreter.dialect.magic,
        cache_tag: &interpreter.cache_tag,
        level: compile.level.number(),
    })
}

/// What is known of a directory that can take bytecode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// Whether it has a `__pycache__`.
    pub(super) has_cache: bool,
}

/// Examines a directory that is to take bytecode; if it cannot, the outcome of what was to go there.
///
/// # Errors
/// The filesystem is read-only, or another failure of the medium.
pub(super) fn examine_site(directory: &Path) -> Result<Result<Site, Outcome>> {
    match Dir::open(directory).and_then(|dir| dir.writable_child(DIRECTORY)) {
        Ok(has_cache) => Ok(Ok(Site { has_cache })),
        Err(error) if error.is_medium() => Err(error.into()),
        Err(error) if error.is_missing() => Ok(Err(Outcome::Vanished)),
        Err(error) => Ok(Err(unreadable(&error.to_string()))),
    }
}
