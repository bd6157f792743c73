//! What every command begins with: the state directory, the journal, the lock; and what a run ends with that
//! could not complete its transaction.

use std::ffi::OsStr;
use std::fmt;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::cache::Cache;
use crate::config::Config;
use crate::disk::{self, Dir, Escaped, Quoted};
use crate::interrupt::Interrupt;
use crate::txn::intent::TxnId;
use crate::txn::journal::{self, Journal, JournalError};
use crate::txn::lock::{Lock, Writer};
use crate::txn::observer::Observer;
use crate::txn::plan::located;
use crate::txn::reach::{self, Waiting};
use crate::txn::recover::{self, Recovered, Retiring};
use crate::txn::retired;
use crate::txn::source::Largest;
use crate::txn::stage::Setting;
use crate::txn::staging;
use crate::txn::state::State;

use super::report::Reporter;
use super::unusable::Unusable;

/// A run of a command.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) config: &'a Config,
    pub(super) interrupt: &'a Interrupt,
    pub(super) reporter: &'a Reporter,
    pub(super) cache: &'a Cache,
    /// The words of the command line, as the history is to have them.
    pub(super) command: &'a str,
}

/// Catches the signals that end a run.
pub(super) fn interrupt() -> Result<Interrupt> {
    Interrupt::install().map_err(|error| anyhow!("cannot catch signals: {}", disk::cause(&error)))
}

/// The longest command line that the history has in full, in characters.
const LONGEST_COMMAND: usize = 200;

/// The command line of a program in one line.
pub(super) fn command_line<'a>(words: impl Iterator<Item = &'a OsStr>) -> String {
    let words: Vec<String> = words.map(|word| Escaped(word.as_ref()).to_string()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST_COMMAND) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A transaction that was not completed: why, what state it is in, and what to do.
#[derive(Debug)]
pub(super) struct Incomplete {
    cause: String,
    txn: TxnId,
    state: Option<State>,
    is_journal_damaged: bool,
}

/// The failures that were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many intents failed.
    pub(super) failed: usize,
    /// Those that failed for want of an interpreter, which are told together.
    pub(super) unusable: Unusable,
}

/// What there is to do without anybody asking for more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unfinished {
    /// An interrupted run left something.
    pub(super) is_left_over: bool,
    /// A transaction is open and not all of it is out of reach, or bytecode is retired.
    pub(super) is_pending: bool,
}

/// Whether `error` comes from a full disk.
pub(super) fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<disk::Error>().is_some_and(disk::Error::is_full)
            || cause.downcast_ref::<JournalError>().is_some_and(JournalError::is_full)
    })
}

/// Whether `error` comes from a damaged journal, which can be set aside.
pub(super) fn is_damage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let journal = cause.downcast_ref::<JournalError>();
        let incomplete = cause.downcast_ref::<Incomplete>();
        journal.is_some_and(JournalError::is_damaged)
            || incomplete.is_some_and(|incomplete| incomplete.is_journal_damaged)
    })
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cause, id) = (&self.cause, self.txn.0);
        writeln!(f, "{cause}")?;
        match self.state {
            Some(State::RolledBack) => write!(
                f,
                "transaction {id} is rolled back: nothing has changed, and what it was to do is pending\n\
                 hint: run 'pyc-txn commit' once the cause is mended"
            ),
            Some(State::Committing) => write!(
                f,
                "transaction {id} is committing: it is decided, and part of it may not be in place yet\n\
                 hint: the next run of pyc-txn finishes it, or 'pyc-txn recover' does"
            ),
            Some(State::Committed) => write!(
                f,
                "transaction {id} is committed: everything is in place, but its staging directory is left\n\
                 hint: the next run of pyc-txn removes it, or 'pyc-txn recover' does"
            ),
            Some(State::Recording | State::Staged) | None => write!(
                f,
                "transaction {id} is not decided: nothing has changed, but it could not be rolled back\n\
                 hint: the next run of pyc-txn does that, or 'pyc-txn recover'"
            ),
        }
    }
}

impl std::error::Error for Incomplete {}

impl<'a> Run<'a> {
    /// Opens the state directory, created if need be.
    fn state(&self) -> Result<Dir> {
        let Config { root, state_dir, creates_state, .. } = self.config;
        if !creates_state {
            bail!(
                "{} is no installed system (it has no /var/lib/dpkg): a journal in it would become a part of it\n\
                 hint: name a place for the journal with --state-dir, outside of a payload",
                Quoted(root.path())
            );
        }
        Ok(disk::create_state_dir(state_dir)?)
    }

    /// Opens the journal for a write that needs no lock.
    pub(super) fn journal(&self) -> Result<Journal> {
        let state = self.state()?;
        let mut journal = Journal::open(state.path())?;
        journal.write_for(self.command, &self.config.root, self.config.settings.history);
        Ok(journal)
    }

    /// Opens the journal to read it, if there is one.
    pub(super) fn journal_to_read(&self) -> Result<Option<Journal>> {
        Ok(Journal::open_to_read(&self.config.state_dir)?)
    }

    /// Does `work` with the lock, after recovering what an interrupted run left.
    pub(super) fn with_writer<T>(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let done = self.with_lock(Retiring::Ends, work);
        // Nobody needs to wait for that.
        self.put_cache_away();
        done
    }

    /// As [`Run::with_writer`], for who only adds to what is retired.
    pub(super) fn with_retiring_writer<T>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T>,
    ) -> Result<T> {
        self.with_lock(Retiring::GoesOn, work)
    }

    fn with_lock<T>(&self, retiring: Retiring, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let state = self.state()?;
        let mut lock = Lock::open(state.path())?;
        let waiting = || self.reporter.note("waiting for another pyc-txn to finish");
        let mut writer = lock.acquire(state, self.config.patience, waiting)?;
        writer.journal.write_for(self.command, &self.config.root, self.config.settings.history);
        self.recover(&mut writer, retiring)?;
        self.reporter.phase("open the journal", began.elapsed());
        work(&mut writer)
    }

    /// Counts, evicts, and says what there is to say of the cache.
    fn put_cache_away(&self) {
        let Some(conclusion) = self.cache.conclude() else { return };
        self.reporter.detail(&format!("cache: {} hits, {} misses", conclusion.hits, conclusion.misses));
        if let Some(problem) = conclusion.problem {
            self.reporter.note(&problem);
        }
    }

    /// Whether an interrupted run left something, or there is something to commit; where there is no journal,
    /// nothing.
    pub(super) fn unfinished(&self) -> Result<Unfinished> {
        let Some(journal) = self.journal_to_read()? else {
            return Ok(Unfinished::default());
        };
        let open = journal.unfinished()?;
        let path = self.config.state_dir.canonicalize()?;
        let is_at_work = |(txn, state, _): &(TxnId, State, bool)| match state {
            State::Recording => reach::has_any(&journal, &self.config.root, *txn),
            _ => Ok(true),
        };
        let at_work = open.iter().map(is_at_work).collect::<Result<Vec<bool>>>()?;
        let held = |txn| open.iter().any(|(id, _, held)| *id == txn && *held);
        let is_interrupted = |(_, state, held): &(_, State, bool)| *state != State::Recording && !held;
        let state = Dir::open(&path)?;
        let is_left = staging::found(&state)?.into_iter().any(|txn| !held(txn));
        Ok(Unfinished {
            is_left_over: is_left || retired::is_left(&journal, &state)? || open.iter().any(is_interrupted),
            is_pending: at_work.contains(&true) || journal.has_retired()?,
        })
    }

    /// Finishes or rolls back what is left, and says so.
    fn recover(&self, writer: &mut Writer<'_>, retiring: Retiring) -> Result<()> {
        let unfinished = writer.journal.unfinished()?;
        let is_left = unfinished.iter().any(|(_, state, held)| *state != State::Recording && !held)
            || !staging::found(&writer.state)?.is_empty();
        if is_left {
            // What stopped that run may have damaged the journal too.
            writer.journal.check()?;
        }
        let decided = unfinished.into_iter().find(|left| left.1 == State::Committing);
        let recovered = recover::recover(writer, &self.config.root, retiring, self.interrupt, self.reporter);
        let recovered = match (recovered, decided) {
            (Err(error), Some((txn, ..))) => return Err(self.incomplete(writer, txn, &error)),
            (recovered, _) => recovered?,
        };
        if self.reporter.is_terse() && !recovered.is_empty() {
            self.remind(&writer.journal)?;
        }
        for recovered in recovered {
            let (txn, what) = match recovered {
                // Each py3clean has told of its own failures.
                Recovered::Retired(_) => continue,
                Recovered::Finished(txn) => {
                    self.tell_failures(&writer.journal, &[txn])?;
                    (txn, "was decided and interrupted; it is finished now")
                }
                Recovered::RolledBack(txn) => {
                    (txn, "was interrupted; it is rolled back, its intents are pending")
                }
                Recovered::Swept(txn) => (txn, "was interrupted; its staging directory is removed"),
            };
            self.reporter.note(&format!("transaction {} {what}", txn.0));
        }
        Ok(())
    }

    /// Says what of transactions failed; inside a package manager only what is new.
    pub(super) fn tell_failures(&self, journal: &Journal, txns: &[TxnId]) -> Result<Told> {
        let mut told = Told::default();
        let say = |line: &str, is_news: bool| {
            if is_news { self.reporter.failure(line) } else { self.reporter.known_failure(line) }
        };
        let mut is_news = false;
        for &txn in txns {
            for intent in journal.intent_reports(txn, true)? {
                let message = intent.message.as_deref().unwrap_or("failed");
                told.failed += 1;
                if told.unusable.counts(message) {
                    is_news |= !intent.is_known;
                } else {
                    say(&located(&intent.path, message), !intent.is_known);
                }
            }
        }
        told.unusable.lines().for_each(|line| say(&format!("pyc-txn: {line}"), is_news));
        Ok(told)
    }

    /// Says what is pending and out of reach.
    pub(super) fn remind(&self, journal: &Journal) -> Result<()> {
        for Waiting { mount, intents } in reach::waiting(journal, &self.config.root)? {
            self.reporter
                .note(&format!("{intents} pending until a filesystem is mounted on {}", Quoted(&mount)));
        }
        Ok(())
    }

    /// After an error: rolls the transaction back if it is not decided, and says how it stands.
    pub(super) fn incomplete(
        &self,
        writer: &mut Writer<'_>,
        txn: TxnId,
        error: &anyhow::Error,
    ) -> anyhow::Error {
        let cause = format!("{error:#}");
        let rolled_back = recover::roll_back(writer, txn, &cause, self.reporter);
        let state = rolled_back.or_else(|_| writer.journal.state(txn));
        let is_journal_damaged = is_damage(error);
        Incomplete { cause, txn, state: state.ok().flatten(), is_journal_damaged }.into()
    }

    /// How this run compiles.
    pub(super) fn setting(&self) -> Setting<'a> {
        Setting {
            root: &self.config.root,
            jobs: self.config.settings.jobs(),
            limit: self.config.settings.timeout,
            largest: Largest(self.config.settings.largest),
            cache: self.cache,
            interrupt: self.interrupt,
            observer: self.reporter,
        }
    }
}

/// Moves a damaged journal aside, so that a new one can be built from what is on disk. Unless it insists, one that
/// is in order as far as SQLite can tell stays.
pub(super) fn set_journal_aside(config: &Config, reporter: &Reporter, insist: bool) -> Result<()> {
    let state = disk::create_state_dir(&config.state_dir)?;
    let path = state.path().join(journal::FILE);
    let mut lock = Lock::open(state.path())?;
    let waiting = || reporter.note("waiting for another pyc-txn to finish");
    lock.hold(config.patience, waiting)?;
    // While we waited another process may have done this.
    let checked = Journal::open(state.path()).and_then(|journal| journal.check());
    if !insist && !checked.is_err_and(|error: JournalError| error.is_damaged()) {
        return Ok(());
    }
    let mut rollback = path.clone().into_os_string();
    rollback.push("-journal");
    if std::path::Path::new(&rollback).exists() {
        disk::set_aside(rollback.as_ref(), "damaged")?;
    }
    let aside = disk::set_aside(&path, "damaged")?;
    reporter.note(&format!("it is kept as {}; a new one is built from what is on disk", Quoted(&aside)));
    Ok(())
}
