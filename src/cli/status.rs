//! `status`: what is open, and what to do about it.

use anyhow::Result;
use serde::Serialize;

use crate::disk::{Dir, Escaped};
use crate::python::worker::count_warnings;
use crate::txn::journal::{FailureReport, Journal, TransactionReport, WarningReport};
use crate::txn::lock::Lock;
use crate::txn::plan::located;
use crate::txn::staging;
use crate::txn::state::State;

use super::Status;
use super::session::Run;

/// What `status --json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The journal's file.
    journal: String,
    /// Whether another pyc-txn is at work just now; `null` where that cannot be seen.
    busy: Option<bool>,
    /// Transactions that have not ended, the oldest first.
    open: Vec<TransactionReport>,
    /// Transactions whose staging directory is left over.
    leftovers: Vec<i64>,
    /// How many targets are published.
    published: u64,
    failures: Vec<FailureReport>,
    warnings: Vec<WarningReport>,
    interpreters: Vec<InterpreterReport>,
}

#[derive(Debug, Serialize)]
struct InterpreterReport {
    path: String,
    version: String,
    cache_tag: String,
    /// Hexadecimal, as it stands in the header.
    magic: String,
    /// Whether the executable is there.
    present: bool,
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
    report.leftovers = leftovers(run, &journal)?;
    report.published = journal.published_count()?;
    report.failures = journal.failures()?;
    report.warnings = journal.warnings()?;
    report.interpreters = journal.interpreters()?.into_iter().map(|(_, each, _)| describe(&each)).collect();
    Ok(report)
}

fn describe(interpreter: &crate::python::interpreter::Interpreter) -> InterpreterReport {
    let (major, minor) = interpreter.dialect.version;
    InterpreterReport {
        path: Escaped(&interpreter.path).to_string(),
        version: format!("{major}.{minor}"),
        cache_tag: interpreter.cache_tag.clone(),
        magic: interpreter.dialect.magic.map(|byte| format!("{byte:02x}")).concat(),
        present: interpreter.path.exists(),
    }
}

/// Staging directories that nobody will publish from.
fn leftovers(run: &Run<'_>, journal: &Journal) -> Result<Vec<i64>> {
    let Ok(path) = run.config.state_dir.canonicalize() else {
        return Ok(Vec::new());
    };
    let mut leftovers = Vec::new();
    for txn in staging::found(&Dir::open(&path)?)? {
        if !matches!(journal.state(txn)?, Some(State::Staged | State::Committing)) {
            leftovers.push(txn.0);
        }
    }
    Ok(leftovers)
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
    say(&format!("{} targets are published", report.published));
    if !report.failures.is_empty() {
        say(&format!("{} could not be compiled:", report.failures.len()));
        for failure in &report.failures {
            say(&format!("  {} [{}]", located(&failure.path, &failure.message), failure.interpreter));
        }
    }
    if !report.warnings.is_empty() {
        let count: u64 = report.warnings.iter().map(|each| count_warnings(&each.warnings)).sum();
        say(&format!(
            "{count} warnings in {} sources; 'pyc-txn status --json' has them",
            report.warnings.len()
        ));
    }
    for interpreter in &report.interpreters {
        let gone = if interpreter.present { "" } else { ", not installed any more" };
        say(&format!("interpreter {} ({}{gone})", interpreter.path, interpreter.cache_tag));
    }
}
