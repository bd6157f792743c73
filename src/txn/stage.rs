//! Stage: compile every pending intent of the open transaction into the staging directories.
//!
//! `recording` → `staged`. Until the journal says `staged`, what was compiled is worth nothing: a crash drops the
//! staging directories and keeps the intents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::compile::{Compilation, Site, Surroundings, examine_site};
use super::compilers;
use super::flush::Flush;
use super::intent::{Action, Batch, Compile, IntentId, InterpreterId, Outcome, TxnId};
use super::journal::Which;
use super::lock::Writer;
use super::observer::Observer;
use super::reuse::Earlier;
use super::staging::Staging;
use crate::cache::Cache;
use crate::disk::{self, Durable};
use crate::interrupt::Interrupt;
use crate::python::interpreter::Interpreter;
use crate::python::pool::{Interrupted, Pool};
use crate::root::Root;

/// Sources, in bytes, for which another worker is worth its start: about 10 ms of compiling.
const WORTH_A_WORKER: u64 = 128 << 10;

/// How to compile.
pub struct Setting<'a> {
    /// Where the paths are.
    pub root: &'a Root,
    /// How many workers at a time.
    pub jobs: usize,
    /// The time limit for one source.
    pub limit: Option<Duration>,
    /// What others compiled; untouched unless something is to be compiled.
    pub cache: &'a Cache,
    /// What ends it early.
    pub interrupt: &'a Interrupt,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

/// A transaction that takes intents.
#[derive(Debug)]
#[must_use]
pub struct Recording(TxnId);

/// A transaction whose staged files are durable.
#[derive(Debug)]
#[must_use]
pub struct Staged(pub(super) TxnId);

impl Staged {
    /// A transaction that the journal says is staged.
    pub fn found(txn: TxnId) -> Self {
        Self(txn)
    }
}

impl Recording {
    /// The open transaction, if there is one.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn open(writer: &Writer<'_>) -> Result<Option<Self>> {
        Ok(writer.journal.recording()?.map(Self))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.0
    }

    /// Compiles what is pending. With `held` the staged files wait for a later commit, and recovery keeps them.
    ///
    /// # Errors
    /// A failure of the medium, a worker that cannot be started, or the interrupt. The journal says what state
    /// the transaction is in then; [`super::recover::roll_back`] is the way on.
    pub fn stage(self, writer: &mut Writer<'_>, setting: &Setting<'_>, held: bool) -> Result<Staged> {
        let batch = writer.journal.intents(self.0, Which::Pending)?;
        let (outcomes, durable) = compile(writer, self.0, &batch, setting)?;
        writer.journal.mark_staged(self.0, &outcomes, held, &durable)?;
        Ok(Staged(self.0))
    }
}

/// Compiles the intents of `batch` into the staging directories of `txn`, which are made if need be, and makes
/// them durable.
///
/// # Errors
/// As [`Recording::stage`].
pub(super) fn compile(
    writer: &mut Writer<'_>,
    txn: TxnId,
    batch: &Batch,
    setting: &Setting<'_>,
) -> Result<(Vec<(IntentId, Outcome)>, Durable)> {
    let began = Instant::now();
    let mut outcomes = Vec::new();
    let team = Team::gather(writer, batch, setting.interrupt)?;
    let mut sites = Sites::new(batch, setting.root);
    let queue = sort_out(batch, &team, &mut sites, &mut outcomes)?;
    let directories: Vec<&Path> = sites.usable();
    let (staging, numbers) = Staging::make(writer, txn, &directories)?;
    let places = sites.places(&numbers);
    let earlier = Earlier {
        published: writer.journal.published(txn)?,
        retired: writer.journal.retired_for(txn)?,
        state: &writer.state,
    };
    let bytes = queue.iter().map(|&index| batch.intents[index].size()).sum();
    setting.observer.begin(queue.len(), bytes);
    let (staged, flush) = Flush::new();
    let around = Surroundings {
        root: setting.root,
        batch,
        staging: &staging,
        places: &places,
        has_cache: &sites.have_cache(),
        interpreters: &team.interpreters,
        interpreter_of: &|compile| team.index_of(compile).unwrap_or_default(),
        earlier: &earlier,
        cache: if queue.is_empty() { None } else { setting.cache.store() },
        observer: setting.observer,
        staged,
    };
    let compilation = Compilation::new(around, queue);
    let threads = usize::try_from(bytes / WORTH_A_WORKER).unwrap_or(usize::MAX).saturating_add(1);
    let pool = Pool {
        interpreters: &team.interpreters,
        threads: threads.min(setting.jobs),
        limit: setting.limit,
        interrupt: setting.interrupt,
    };
    outcomes.append(&mut std::thread::scope(|scope| {
        let flushing = scope.spawn(|| flush.run(&staging));
        let compiled = pool.run(&compilation);
        // Consumes the compilation, and with it the sender that keeps the other thread going.
        let compiled = compilation.into_outcomes(compiled);
        flushing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        compiled
    })?);
    // In the order of the journal, which then appends.
    outcomes.sort_unstable_by_key(|(id, _)| *id);
    setting.observer.phase("compile", began.elapsed());
    if setting.interrupt.signalled() {
        return Err(Interrupted.into());
    }
    let began = Instant::now();
    let durable = disk::sync(staging.places())?;
    setting.observer.phase("sync staged files", began.elapsed());
    Ok((outcomes, durable))
}

/// The interpreters of a batch, as they are now.
struct Team {
    interpreters: Vec<Interpreter>,
    /// By the journal's number; `None` for one that is gone, or calls itself otherwise now.
    index: HashMap<InterpreterId, Option<usize>>,
}

impl Team {
    fn gather(writer: &mut Writer<'_>, batch: &Batch, interrupt: &Interrupt) -> Result<Self> {
        let known = compilers::known(&writer.journal)?;
        let mut team = Self { interpreters: Vec::new(), index: HashMap::new() };
        for intent in &batch.intents {
            let Action::Compile(compile) = &intent.action else {
                continue;
            };
            if team.index.contains_key(&compile.interpreter) {
                continue;
            }
            let before = known.iter().find(|known| known.id == compile.interpreter);
            let now = match before {
                Some(before) if before.interpreter.path.exists() => {
                    let now = compilers::resolve(&mut writer.journal, &before.interpreter.path, interrupt)?;
                    Some(now.interpreter).filter(|now| now.cache_tag == before.interpreter.cache_tag)
                }
                _ => None,
            };
            let index = now.map(|interpreter| {
                team.interpreters.push(interpreter);
                team.interpreters.len() - 1
            });
            team.index.insert(compile.interpreter, index);
        }
        Ok(team)
    }

    fn index_of(&self, compile: &Compile) -> Option<usize> {
        self.index.get(&compile.interpreter).copied().flatten()
    }
}

/// The directories that are compiled to.
struct Sites {
    on_disk: Vec<PathBuf>,
    /// `None`: nothing is to be compiled there.
    verdicts: Vec<Option<Result<Site, Outcome>>>,
}

impl Sites {
    fn new(batch: &Batch, root: &Root) -> Self {
        let on_disk: Vec<PathBuf> = batch.directories.iter().map(|path| root.on_disk(path)).collect();
        Self { verdicts: vec![None; on_disk.len()], on_disk }
    }

    /// Whether a directory can take bytecode, found out once.
    fn verdict(&mut self, directory: usize) -> Result<Result<Site, Outcome>> {
        if let Some(verdict) = &self.verdicts[directory] {
            return Ok(verdict.clone());
        }
        let verdict = examine_site(&self.on_disk[directory])?;
        self.verdicts[directory] = Some(verdict.clone());
        Ok(verdict)
    }

    fn is_usable(&self, directory: usize) -> bool {
        matches!(self.verdicts[directory], Some(Ok(_)))
    }

    fn usable(&self) -> Vec<&Path> {
        let usable = self.on_disk.iter().enumerate().filter(|(directory, _)| self.is_usable(*directory));
        usable.map(|(_, path)| path.as_path()).collect()
    }

    /// Whether each directory has a `__pycache__`.
    fn have_cache(&self) -> Vec<bool> {
        let has_cache = |verdict: &Option<_>| matches!(verdict, Some(Ok(Site { has_cache: true })));
        self.verdicts.iter().map(has_cache).collect()
    }

    /// The staging directory's number for every directory, from those of the usable ones.
    fn places(&self, numbers: &[usize]) -> Vec<usize> {
        let mut numbers = numbers.iter();
        (0..self.on_disk.len())
            .map(|directory| if self.is_usable(directory) { numbers.next().copied() } else { None })
            .map(Option::unwrap_or_default)
            .collect()
    }
}

/// Takes out what needs no compiler, or cannot have one; the rest is the queue.
fn sort_out(
    batch: &Batch,
    team: &Team,
    sites: &mut Sites,
    outcomes: &mut Vec<(IntentId, Outcome)>,
) -> Result<Vec<usize>> {
    let mut queue = Vec::new();
    for (index, intent) in batch.intents.iter().enumerate() {
        let outcome = match &intent.action {
            Action::Remove(_) => Some(Outcome::Removed),
            Action::Compile(compile) if team.index_of(compile).is_none() => Some(Outcome::Vanished),
            Action::Compile(_) => sites.verdict(intent.directory)?.err(),
        };
        match outcome {
            Some(outcome) => outcomes.push((intent.id, outcome)),
            None => queue.push(index),
        }
    }
    Ok(queue)
}
