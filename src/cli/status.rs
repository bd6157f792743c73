//! `status`: what is open, and what to do about it.

use anyhow::Result;
use serde::Serialize;

use crate::disk::{Dir, Escaped};
use crate::python::worker::count_warnings;
use crate::txn::journal::{FailureReport, Journal, TransactionReport, WarningReport};
use crate::txn::lock::Lock;
use crate::txn::plan::located;
use crate::txn::reach::{self, Waiting};
use crate::txn::staging;
use crate::txn::state::State;

use super::Status;
use super::session::Run;
use super::unusable::Unusable;

/// What `status --json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The journal's file.
    journal: String,
    /// Whether another pyc-txn is at work just now; `null` where that cannot be seen.
    busy: Option<bool>,
    /// Transactions that have not ended, the oldest first.
    open: Vec<TransactionReport>,
    /// What is pending for filesystems that are not mounted.
    waiting: Vec<WaitingReport>,
    /// Transactions whose staging directory is left over.
    leftovers: Vec<i64>,
    /// Staging directories in trees that could not be removed so far.
    places: Vec<String>,
    /// How many targets are published.
    published: u64,
    failures: Vec<FailureReport>,
    warnings: Vec<WarningReport>,
    interpreters: Vec<InterpreterReport>,
}

#[derive(Debug, Serialize)]
struct WaitingReport {
    /// Where the filesystem is to be mounted.
    mount: String,
    intents: u64,
}

#[derive(Debug, Serialize)]
struct InterpreterReport {
    path: String,
    version: String,
    cache_tag: String,
    /// Hexadecimal, as it stands in the header.
    magic: String,
    /// `sys.hexversion`, hexadecimal.
    release: String,
    architecture: String,
    /// Whether the executable is there.
    present: bool,
    /// Whether this program knows its bytecode.
    known: bool,
}

/// Shows how things stand.
pub(super) fn status(run: &Run<'_>, json: bool) -> Result<Status> {
    let report = collect(run)?;
    if json {
        super::report::json(&report)?;
    } else {
        tell(&report);
    }
    Ok(Status::Done)
}

fn collect(run: &Run<'_>) -> Result<Report> {
    let state_dir = &run.config.state_dir;
    let mut report = Report {
        journal: Escaped(&state_dir.join(crate::txn::journal::FILE)).to_string(),
        busy: Lock::is_held(state_dir).ok(),
        ..Report::default()
    };
    let Some(journal) = run.journal_to_read()? else {
        return Ok(report);
    };
    let open = journal.unfinished()?;
    for (txn, ..) in &open {
        report.open.extend(journal.transaction(*txn)?);
    }
    let waiting = reach::waiting(&journal, &run.config.root)?.into_iter();
    let describe_waiting =
        |Waiting { mount, intents }| WaitingReport { mount: Escaped(&mount).to_string(), intents };
    report.waiting = waiting.map(describe_waiting).collect();
    if let Ok(path) = state_dir.canonicalize() {
        let state = Dir::open(&path)?;
        report.leftovers = leftovers(&state, &journal)?;
        report.places = staging::left(&state)?.iter().map(|place| Escaped(place).to_string()).collect();
    }
    report.published = journal.published_count()?;
    report.failures = journal.failures()?;
    report.warnings = journal.warnings()?;
    for (_, interpreter, _) in journal.interpreters()? {
        // Of several releases that were at one path the latest is there.
        report.interpreters.retain(|earlier| earlier.path != Escaped(&interpreter.path).to_string());
        report.interpreters.push(describe(&interpreter));
    }
    Ok(report)
}

fn describe(interpreter: &crate::python::interpreter::Interpreter) -> InterpreterReport {
    let (major, minor) = interpreter.dialect.version;
    InterpreterReport {
        path: Escaped(&interpreter.path).to_string(),
        version: format!("{major}.{minor}"),
        cache_tag: interpreter.cache_tag.clone(),
        magic: interpreter.dialect.magic.map(|byte| format!("{byte:02x}")).concat(),
        release: interpreter.release.clone(),
        architecture: interpreter.architecture.clone(),
        present: interpreter.path.exists(),
        known: interpreter.format().is_some(),
    }
}

fn tell_failures(failures: &[FailureReport]) {
    let say = super::report::result;
    let (remains, failed): (Vec<_>, Vec<_>) =
        failures.iter().partition(|failure| failure.interpreter.is_none());
    if !failed.is_empty() {
        say(&format!("{} could not be compiled:", failed.len()));
    }
    let mut unusable = Unusable::default();
    for failure in failed {
        if !unusable.counts(&failure.message) {
            let interpreter = failure.interpreter.as_deref().unwrap_or_default();
            say(&format!("  {} [{interpreter}]", located(&failure.path, &failure.message)));
        }
    }
    unusable.lines().for_each(|line| say(&format!("  {line}; 'pyc-txn commit' tries again")));
    if !remains.is_empty() {
        say(&format!("{} could not be removed; the next 'pyc-txn commit' tries again:", remains.len()));
    }
    for failure in remains {
        say(&format!("  {}", located(&failure.path, &failure.message)));
    }
}

/// Staging directories that nobody will publish from.
fn leftovers(state: &Dir, journal: &Journal) -> Result<Vec<i64>> {
    let mut leftovers = Vec::new();
    for txn in staging::found(state)? {
        if !matches!(journal.state(txn)?, Some(State::Staged | State::Committing)) {
            leftovers.push(txn.0);
        }
    }
    Ok(leftovers)
}

/// Tells what waits for filesystems that are not mounted, or cannot be written to.
fn tell_of_filesystems(report: &Report) {
    let say = super::report::result;
    for WaitingReport { mount, intents } in &report.waiting {
        say(&format!(
            "{intents} pending wait for the filesystem of {mount}: mount it and run 'pyc-txn commit', or 'pyc-txn \
             rollback' drops them"
        ));
    }
    for place in &report.places {
        say(&format!("the staging directory {place} could not be removed; the next run tries again"));
    }
}

fn tell(report: &Report) {
    let say = super::report::result;
    let busy = report.busy == Some(true);
    if busy {
        say("another pyc-txn is at work just now");
    }
    for open in &report.open {
        let (id, pending) = (open.id, open.counts.pending);
        say(&match (open.state.as_str(), open.held) {
            ("recording", _) => {
                format!("transaction {id} is recording: {pending} pending; 'pyc-txn commit' compiles them")
            }
            ("staged", true) => format!(
                "transaction {id} is staged: {} compiled; 'pyc-txn commit' publishes them, 'pyc-txn rollback' drops them",
                open.counts.compiled
            ),
            ("committing", true) => format!(
                "transaction {id} is retiring: {} moved out of the tree while dpkg is at work; 'pyc-txn commit' takes \
                 back what is right",
                open.counts.removed
            ),
            (state, _) if busy => format!("transaction {id} is {state}"),
            ("staged", _) => {
                format!(
                    "transaction {id} was interrupted before it was decided; 'pyc-txn recover' rolls it back"
                )
            }
            _ => format!("transaction {id} is decided but not finished; 'pyc-txn recover' finishes it"),
        });
    }
    if report.open.is_empty() {
        say("no transaction is open");
    }
    if !busy {
        for id in &report.leftovers {
            say(&format!("staged files of transaction {id} are left over; 'pyc-txn recover' removes them"));
        }
    }
    tell_of_filesystems(report);
    say(&format!("{} targets are published", report.published));
    tell_failures(&report.failures);
    if !report.warnings.is_empty() {
        let count: u64 = report.warnings.iter().map(|each| count_warnings(&each.warnings)).sum();
        say(&format!(
            "{count} warnings in {} sources; 'pyc-txn status --json' has them",
            report.warnings.len()
        ));
    }
    for interpreter in &report.interpreters {
        let remark = match (interpreter.present, interpreter.known) {
            (false, _) => ", not installed any more",
            (true, false) => ", newer than this pyc-txn: the original py3compile makes its bytecode",
            (true, true) => "",
        };
        say(&format!("interpreter {} ({}{remark})", interpreter.path, interpreter.cache_tag));
    }
}
