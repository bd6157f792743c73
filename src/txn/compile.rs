//! The two ends of the pool: sources go in, staged files come out.
//!
//! Owns what happens to one intent while a transaction stages: read; then adopt, or make from earlier bytecode, from
//! the cache, or compile, whichever can be done first; write. Changes nothing outside the staging directories and the
//! cache.

use std::cmp::Reverse;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};

use super::adopt::Candidate;
use super::flush::Progress;
use super::intent::{
    Action, Compile, Directory, Facts, Failure, Fault, Hash, Intent, InterpreterId, Outcome,
};
use super::journal::LedgerEntry;
use super::observer::Observer;
use super::opened::{Last, Opened};
use super::pyc::Pyc;
use super::reuse::{Found, Sought, Spare};
use super::site::{self, Site};
use super::source::{self, Largest, Source, unreadable};
use super::staging::{Spot, Staging};
use super::supply::{Intake, Outcomes, Portion};
use super::team::{Member, Team};
use crate::buffer::Buffer;
use crate::cache::{Key, Origin, Store};
use crate::disk::{Dir, Identity, Manner};
use crate::python::interpreter::Interpreter;
use crate::python::pool::{BATCH, Ends, Job};
use crate::python::worker::{self, Request};
use crate::root::Root;

/// What a compile intent needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) root: &'a Root,
    /// Which sources are read.
    pub(super) largest: Largest,
    pub(super) staging: &'a Staging,
    /// The directory that was worked on last.
    pub(super) last: Last,
    /// What is known of the directories, by their numbers.
    pub(super) sites: &'a site::ByNumber,
    pub(super) team: &'a Team,
    /// The state directory.
    pub(super) state: &'a Dir,
    /// What others compiled, if there is a cache.
    pub(super) cache: Option<&'a Store>,
    pub(super) observer: &'a dyn Observer,
    /// Told how many bytes are staged.
    pub(super) staged: Progress,
}

/// The queue of intents to compile and the list of what became of them.
pub(super) struct Compilation<'a> {
    around: Surroundings<'a>,
    queue: Mutex<Queue<'a>>,
    outcomes: &'a Outcomes,
}

/// Intents in the order in which they are compiled. Those of a portion: the largest source first, and those that are
/// compiled together by interpreter; behind them, by directory, those that need no compiler as far as can be seen.
struct Queue<'a> {
    portions: Intake<'a>,
    portion: Arc<Portion>,
    /// Indices into the portion.
    order: std::vec::IntoIter<usize>,
}

/// An intent of a portion.
#[derive(Clone)]
struct Task {
    portion: Arc<Portion>,
    index: usize,
}

/// What is remembered of an intent while its source is compiled.
pub(super) struct Ready {
    task: Task,
    source: Source,
    header: crate::python::header::Header,
    source_hash: Hash,
    /// The number of the interpreter that compiles it.
    compiler: InterpreterId,
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

impl Task {
    fn intent(&self) -> &Intent {
        &self.portion.batch.intents[self.index]
    }

    fn directory(&self) -> &Directory {
        &self.portion.batch.directories[self.intent().directory]
    }
}

impl<'a> Compilation<'a> {
    pub(super) fn new(around: Surroundings<'a>, portions: Intake<'a>, outcomes: &'a Outcomes) -> Self {
        let queue = Queue { portions, portion: Arc::default(), order: Vec::new().into_iter() };
        Self { around, queue: Mutex::new(queue), outcomes }
    }

    fn settle(&self, intent: &Intent, outcome: Outcome) {
        self.outcomes.add(intent.id, outcome);
        self.around.observer.advance(intent.size());
    }

    /// The next intent to compile.
    fn task(&self) -> Result<Option<Task>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(index) = queue.order.next() {
                return Ok(Some(Task { portion: Arc::clone(&queue.portion), index }));
            }
            let Some(portion) = queue.portions.take()? else { return Ok(None) };
            queue.order = self.sort_out(&portion).into_iter();
            queue.portion = Arc::new(portion);
        }
    }

    /// Takes out what needs no compiler, or cannot have one; the rest in the order in which it is compiled.
    fn sort_out(&self, portion: &Portion) -> Vec<usize> {
        let Portion { batch, .. } = portion;
        let mut order = Vec::new();
        let out_of_reach = |directory: &Directory| directory.is_out_of_reach(self.around.root);
        let out_of_reach: Vec<bool> = batch.directories.iter().map(out_of_reach).collect();
        for (index, intent) in batch.intents.iter().enumerate() {
            // It stays pending.
            if out_of_reach[intent.directory] {
                continue;
            }
            let Action::Compile(compile) = &intent.action else {
                self.settle(intent, Outcome::Removed);
                continue;
            };
            // What came in after this began is left for the next transaction.
            let site = self.around.sites.get(&batch.directories[intent.directory].number);
            match (self.around.team.find(compile.interpreter), site) {
                (Member::Gone, _) => self.settle(intent, Outcome::Vanished),
                (Member::Unusable(why), _) => {
                    self.settle(intent, lost(why.to_owned(), Identity::default(), None));
                }
                (Member::Present(number), Some(Ok(_))) => {
                    let size = intent.size();
                    let of_compiling = (Reverse(size.max(BATCH as u64)), number, Reverse(size));
                    let is_old = !compile.force && portion.earlier.may_have(intent.id, size);
                    order.push((is_old, (!is_old).then_some(of_compiling), index));
                }
                (Member::Present(_), Some(Err(outcome))) => self.settle(intent, outcome.clone()),
                (Member::Unknown, _) | (_, None) => {}
            }
        }
        order.sort_unstable();
        order.into_iter().map(|(.., index)| index).collect()
    }
}

impl Ends for Compilation<'_> {
    type Ready = Ready;

    fn next(&self) -> Result<Option<Job<Ready>>> {
        while let Some(task) = self.task()? {
            match self.around.prepare(&task)? {
                Ok(job) => return Ok(Some(job)),
                Err(outcome) => self.settle(task.intent(), outcome),
            }
        }
        Ok(None)
    }

    fn finish(&self, ready: Ready, outcome: worker::Outcome) -> Result<()> {
        let outcome = self.around.finish(&ready, outcome)?;
        self.settle(ready.task.intent(), outcome);
        Ok(())
    }

    fn reread(&self, ready: &Ready) -> Option<Buffer> {
        let path = ready.task.portion.batch.path(ready.task.intent());
        let source = source::read_at(self.around.root, &path, self.around.largest).ok()?;
        let is_same = source.identity == ready.source.identity && hash(&source.bytes) == ready.source_hash;
        is_same.then_some(source.bytes)
    }
}

impl Surroundings<'_> {
    /// Reads a source: a job for the pool, or the outcome where there is nothing to compile.
    fn prepare(&self, task: &Task) -> Result<Result<Job<Ready>, Outcome>> {
        let intent = task.intent();
        let Action::Compile(compile) = &intent.action else { return Ok(Err(Outcome::Removed)) };
        let path = task.portion.batch.path(intent);
        let filename = path.as_os_str().as_bytes().to_vec();
        let (number, interpreter) = self.team.member(compile.interpreter)?;
        let opened = match self.open(task)? {
            Ok(opened) => opened,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let pyc = if compile.force { None } else { opened.pyc(compile, interpreter) };
        let candidate = pyc.as_ref().and_then(|pyc| Candidate::read(pyc, compile, interpreter, &filename));
        let beside = (task.directory().path.as_path(), &opened.dir);
        let mut source = match source::read(self.root, beside, &compile.source(), self.largest) {
            Ok(source) => source,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let source_hash = hash(&source.bytes);
        let outcome = as_it_stands(task, (compile, interpreter), candidate, (&source, source_hash));
        if let Some(outcome) = outcome {
            // Who wrote it may not have synced it.
            if let (Outcome::Adopted(_), Some(pyc), Some(cache)) = (&outcome, pyc, &opened.cache) {
                cache.note_file(compile.target.name(), pyc.file)?;
                opened.dir.note()?;
            }
            return Ok(Err(outcome));
        }
        let header = interpreter.dialect.header(compile.mode, &source.identity, &source.bytes);
        let bytes = std::mem::take(&mut source.bytes);
        let key = self.cache.map(|_| key(compile, interpreter, &filename, &source_hash));
        let compiler = self.team.number(number);
        let ready = Ready { task: task.clone(), source, header, source_hash, compiler, key };
        if !compile.force
            && let Some(outcome) = self.reuse(&ready, pyc.as_ref(), number)?
        {
            return Ok(Err(outcome));
        }
        let request = Request { filename, level: compile.level, source: bytes };
        Ok(Ok(Job { interpreter: number, request, ready }))
    }

    /// The directory of an intent that is compiled, open; the outcome of the intent where it cannot be.
    fn open(&self, task: &Task) -> Result<Result<Arc<Opened>, Outcome>> {
        let has_cache = self.site(task)?.has_cache;
        match self.last.open(self.root, task.directory(), has_cache) {
            Ok(opened) => Ok(Ok(opened)),
            Err(error) if error.is_missing() => Ok(Err(Outcome::Vanished)),
            Err(error) => Ok(Err(unreadable(&error.to_string()))),
        }
    }

    /// What is known of the directory of an intent that is compiled.
    fn site(&self, task: &Task) -> Result<Site> {
        match self.sites.get(&task.directory().number) {
            Some(Ok(site)) => Ok(*site),
            _ => Err(anyhow!("a directory was not examined")),
        }
    }

    /// The outcome of an intent whose source was compiled before, here or elsewhere; `pyc` is what stands under its
    /// target's name.
    fn reuse(&self, ready: &Ready, pyc: Option<&Pyc>, interpreter: usize) -> Result<Option<Outcome>> {
        let Task { portion, .. } = &ready.task;
        let id = ready.task.intent().id;
        let is_compilers = |other| self.team.compiles_as(interpreter, other);
        let interpreter = &self.team.interpreters[interpreter];
        let source = (&ready.source_hash, ready.source.identity.size);
        let sought = Sought { interpreter, is_compilers: &is_compilers, source };
        let earlier = portion.earlier.find(id, (pyc, self.state), &sought);
        if let Some(found) = earlier {
            let Found { code, hash, spare } = &found;
            // What its compiler had to say the journal has.
            let code = Code { bytes: code, hash: *hash, warnings: String::new(), reused: true };
            let taken = spare.as_ref().map(|spare| self.take(ready, spare)).transpose()?.flatten();
            let outcome = match taken {
                Some((pyc, place)) => outcome(ready, code, pyc, place),
                None => self.write(ready, code)?,
            };
            return Ok(Some(outcome));
        }
        let cached = self.cache.zip(ready.key.as_ref()).and_then(|(cache, key)| cache.get(key, source.1));
        let Some(mut cached) = cached else { return Ok(None) };
        let warnings = std::mem::take(&mut cached.warnings);
        let code = Code { bytes: cached.code(), hash: cached.code_hash, warnings, reused: true };
        self.write(ready, code).map(Some)
    }

    /// Writes the staged file of compiled code.
    fn finish(&self, ready: &Ready, outcome: worker::Outcome) -> Result<Outcome> {
        let (source, compiler) = (ready.source.identity, Some(ready.compiler));
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
                Ok(Outcome::Failed(Box::new(Failure { fault: Fault::Refused, message, source, compiler })))
            }
            worker::Outcome::Lost(broken) => Ok(lost(broken.to_string(), source, compiler)),
            worker::Outcome::Unable(message) | worker::Outcome::Unusable(message) => {
                Ok(lost(message, source, compiler))
            }
        }
    }

    /// Writes a staged file.
    fn write(&self, ready: &Ready, code: Code<'_>) -> Result<Outcome> {
        let parts = [ready.header.as_bytes(), code.bytes];
        let (number, spot) = self.spot(ready)?;
        let (audience, opened) = (&ready.source.audience, self.home(ready)?);
        let home = opened.as_ref().map(|opened| opened.home());
        let manner = Manner { mode: audience.mode_of_bytecode(), home, owners: audience.owners() };
        let pyc = spot.write(ready.task.intent(), &manner, &parts)?;
        self.staged.add(pyc.size);
        Ok(outcome(ready, code, pyc, number))
    }

    /// Makes a retired pyc the staged file, if it can be that; what it is on disk then, and the number of the place.
    fn take(&self, ready: &Ready, spare: &Spare) -> Result<Option<(Identity, usize)>> {
        let Source { audience, .. } = &ready.source;
        if self.site(&ready.task)?.passes_on || audience.owners().is_some() {
            return Ok(None);
        }
        let mode = audience.mode_of_bytecode();
        let Some(path) = spare.renew(self.state, ready.header.as_bytes(), mode)? else { return Ok(None) };
        let (number, spot) = self.spot(ready)?;
        let taken = spot.take((self.state, path), ready.task.intent())?;
        Ok(taken.map(|pyc| (pyc, number)))
    }

    /// The directory whose own the staged file of an intent is to be, if that makes a difference. If it has gone just now,
    /// the decision or publishing finds out.
    fn home(&self, ready: &Ready) -> Result<Option<Arc<Opened>>> {
        let passes_on = self.site(&ready.task)?.passes_on;
        Ok(if passes_on { self.open(&ready.task)?.ok() } else { None })
    }

    /// Where the staged file of an intent goes; the number of the place, first.
    fn spot(&self, ready: &Ready) -> Result<(usize, Spot<'_>)> {
        let Site { place: number, whole, .. } = self.site(&ready.task)?;
        let place = self.staging.place(number).ok_or_else(|| anyhow!("a staging directory has gone"))?;
        Ok((number, Spot { place, directory: ready.task.directory().number, whole }))
    }
}

/// The outcome of an intent whose staged file is `pyc`, in the place of this number.
fn outcome(ready: &Ready, code: Code<'_>, pyc: Identity, place: usize) -> Outcome {
    let Code { hash: code_hash, warnings, reused, .. } = code;
    let (source, source_hash, compiler) = (ready.source.identity, ready.source_hash, ready.compiler);
    let facts = Facts { source, source_hash, code_hash, compiler, canonical: true, pyc, warnings, reused };
    Outcome::Compiled(Box::new(facts), place)
}

/// The outcome of a source that the next commit tries again.
fn lost(message: String, source: Identity, compiler: Option<InterpreterId>) -> Outcome {
    Outcome::Failed(Box::new(Failure { fault: Fault::Lost, message, source, compiler }))
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
        release: &interpreter.release,
        architecture: &interpreter.architecture,
        level: compile.level.number(),
    })
}

/// The outcome of an intent whose target is right as it stands, or can be adopted.
fn as_it_stands(
    task: &Task,
    (compile, interpreter): (&Compile, &Interpreter),
    candidate: Option<Candidate>,
    (source, source_hash): (&Source, Hash),
) -> Option<Outcome> {
    let candidate = candidate?;
    let entry = task.portion.earlier.published.get(&task.intent().id);
    let is_current = |entry: &&LedgerEntry| {
        entry.mode == compile.mode
            && entry.interpreter == compile.interpreter
            && entry.identity.same_content(&source.identity)
            && entry.is_in_place(candidate.identity())
    };
    if entry.filter(is_current).is_some() {
        return Some(Outcome::Current);
    }
    let facts = candidate.adopt(compile, interpreter, source, source_hash, entry)?;
    Some(Outcome::Adopted(Box::new(facts)))
}
