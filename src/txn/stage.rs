//! Stage: compile every pending intent of the open transaction into the staging directories.
//!
//! `recording` → `staged`. Until the journal says `staged`, what was compiled is worth nothing, and so are outcomes that
//! it has already: a crash drops them with the staging directories, and keeps the intents.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::compile::{Compilation, Surroundings};
use super::flush::{self, Flush};
use super::intent::{IntentId, Outcome, Share, TxnId};
use super::lock::Writer;
use super::observer::Observer;
use super::opened::Last;
use super::reach;
use super::site;
use super::source::Largest;
use super::supply::{self, Intake, Outcomes, Supply, Wanted};
use super::team::Team;
use crate::cache::Cache;
use crate::disk::{self, Durable};
use crate::interrupt::Interrupt;
use crate::parallel::{self, joined};
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
    /// Which sources are read.
    pub largest: Largest,
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
    /// The open transaction, if there is one with anything that is in reach.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn open(writer: &Writer<'_>, root: &Root) -> Result<Option<Self>> {
        let Some(txn) = writer.journal.recording()? else { return Ok(None) };
        Ok(reach::has_any(&writer.journal, root, txn)?.then_some(Self(txn)))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.0
    }

    /// Compiles what is pending. With `held` the staged files wait for a later commit, and recovery keeps them.
    ///
    /// # Errors
    /// A failure of the medium, or the interrupt. The journal says what state
    /// the transaction is in then; [`super::recover::roll_back`] is the way on.
    pub fn stage(self, writer: &mut Writer<'_>, setting: &Setting<'_>, held: bool) -> Result<Staged> {
        let shares = writer.journal.shares(self.0)?;
        let (outcomes, durable) = compile(writer, self.0, (shares, Wanted::Pending), setting)?;
        writer.journal.mark_staged(self.0, &outcomes, held, &durable)?;
        Ok(Staged(self.0))
    }
}

/// Compiles the intents of `txn` that are `wanted`, which `shares` sum up, into its staging directories, which are made
/// if need be, and makes them durable. The outcomes are those that are not in the journal yet.
///
/// # Errors
/// As [`Recording::stage`].
pub(super) fn compile(
    writer: &mut Writer<'_>,
    txn: TxnId,
    (shares, wanted): (Vec<Share>, Wanted),
    setting: &Setting<'_>,
) -> Result<(Vec<(IntentId, Outcome)>, Durable)> {
    let began = Instant::now();
    let team = Team::gather(writer, &shares, setting.interrupt)?;
    let (staging, sites) = site::prepare(writer, txn, shares, &team, setting.root)?;
    setting.observer.begin(usize::try_from(sites.sources).unwrap_or(usize::MAX), sites.bytes);
    let (staged, flush) = Flush::new();
    let around = Surroundings {
        root: setting.root,
        largest: setting.largest,
        staging: &staging,
        last: Last::default(),
        sites: &sites.all,
        team: &team,
        state: &writer.state,
        cache: if sites.sources == 0 { None } else { setting.cache.store() },
        observer: setting.observer,
        staged,
    };
    let outcomes = Outcomes::default();
    let supply = Supply { journal: &mut writer.journal, txn, wanted, outcomes: &outcomes, after: 0 };
    let threads = usize::try_from(sites.bytes / WORTH_A_WORKER).unwrap_or(usize::MAX).saturating_add(1);
    let pool = Pool {
        interpreters: &team.interpreters,
        threads: threads.min(setting.jobs),
        limit: setting.limit,
        interrupt: setting.interrupt,
    };
    run(&pool, around, (supply, &outcomes), Some(flush).filter(|_| flush::is_worth(sites.bytes)))?;
    setting.observer.phase("compile", began.elapsed());
    if setting.interrupt.signalled() {
        return Err(Interrupted.into());
    }
    let began = Instant::now();
    let durable = disk::sync()?;
    setting.observer.phase("sync staged files", began.elapsed());
    Ok((outcomes.take(), durable))
}

/// Runs the pool, and beside it, where there are threads for them, the supply and the flush.
fn run<'a>(
    pool: &Pool<'_>,
    around: Surroundings<'a>,
    (supply, outcomes): (Supply<'a>, &'a Outcomes),
    flush: Option<Flush>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (taker, portions) = supply::hand_over();
        let supplying = parallel::spawn_scoped(scope, (supply, taker), |(supply, taker)| supply.run(taker));
        let (supplying, intake) = match supplying {
            Ok(thread) => (Some(thread), Intake::Thread(portions)),
            Err((supply, _)) => (None, Intake::Own(supply)),
        };
        // Without a thread that writes back meanwhile, the sync in the end has more to do.
        let flushing = flush.and_then(|flush| parallel::spawn_scoped(scope, flush, Flush::run).ok());
        let compilation = Compilation::new(around, intake, outcomes);
        let compiled = pool.run(&compilation);
        // And with it the other ends of what keeps the other threads going.
        drop(compilation);
        flushing.map_or(Ok(()), |flushing| joined(flushing.join()))?;
        supplying.map_or(Ok(()), |supplying| joined(supplying.join()))?;
        compiled
    })
}
