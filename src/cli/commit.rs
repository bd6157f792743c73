//! `commit`, `record`, `stage`, `recover` and `rollback`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::disk::Escaped;
use crate::txn::compilers::{self, Compiler};
use crate::txn::intent::{Action, Group, TxnId};
use crate::txn::journal::Journal;
use crate::txn::lock::Writer;
use crate::txn::observer::Observer;
use crate::txn::plan::{Plan, Planner, Taker, located};
use crate::txn::publish::Committing;
use crate::txn::retired;
use crate::txn::stage::{Recording, Staged};
use crate::txn::state::State;

use super::Status;
use super::args::{Compiling, Selection};
use super::selection::{self, Selected};
use super::session::Run;

/// Makes a plan from what the journal says.
pub(super) type Planning<'a> = dyn FnMut(&mut Journal) -> Result<Plan> + 'a;

/// Records, stages, decides, publishes and settles what is planned and what is pending.
pub(super) fn commit(run: &Run<'_>, planning: Option<&mut Planning<'_>>) -> Result<Status> {
    if !run.config.settings.enabled {
        return suspended(run, planning);
    }
    run.with_writer(|writer| {
        let began = std::time::Instant::now();
        let mut plan = planning.map(|plan| plan(&mut writer.journal)).transpose()?.unwrap_or_default();
        if !plan.is_empty() {
            writer.journal.record(&std::mem::take(&mut plan.groups))?;
        }
        if !plan.seals.is_empty() {
            writer.journal.seal(&mut plan.seals)?;
            let fresh: usize = plan.seals.iter().map(|tree| tree.fresh).sum();
            run.reporter.detail(&format!("sealed {fresh} directories"));
        }
        run.reporter.phase("plan and record", began.elapsed());
        let mut committed = Vec::new();
        for (txn, state, _) in writer.journal.unfinished()? {
            if state == State::Staged {
                committed.push(finish(run, writer, Staged::found(txn))?);
            }
        }
        if let Some(recording) = Recording::open(writer)? {
            let txn = recording.id();
            match recording.stage(writer, &run.setting(), false) {
                Ok(staged) => committed.push(finish(run, writer, staged)?),
                Err(error) => return Err(run.incomplete(writer, txn, &error)),
            }
        }
        if plan.is_everything {
            retired::drop_all(writer)?;
        }
        report(run, &writer.journal, &committed, &plan)
    })
}

/// Records what is planned and leaves the rest to a later commit.
fn suspended(run: &Run<'_>, planning: Option<&mut Planning<'_>>) -> Result<Status> {
    if let Some(planning) = planning {
        let mut journal = run.journal()?;
        let plan = planning(&mut journal)?;
        if !plan.is_empty() {
            journal.record(&plan.groups)?;
        }
        plan.problems.iter().for_each(|problem| run.reporter.failure(&format!("pyc-txn: {problem}")));
    }
    let pending = pending(run.journal_to_read()?.as_ref())?;
    run.reporter.failure(&format!(
        "pyc-txn: compiling is switched off: {pending} pending; a later commit makes up for it"
    ));
    Ok(Status::Done)
}

/// Decides, publishes and settles what is staged.
fn finish(run: &Run<'_>, writer: &mut Writer<'_>, staged: Staged) -> Result<TxnId> {
    let txn = staged.id();
    let finished = staged.decide(writer, &run.setting()).and_then(|committing: Committing| {
        let published = committing.publish(writer, &run.config.root, run.interrupt, run.reporter)?;
        published.settle(writer, run.reporter)
    });
    finished.map_err(|error| run.incomplete(writer, txn, &error))
}

/// Adds to the open transaction; takes no lock.
pub(super) fn record(run: &Run<'_>, selection: &Selection, compiling: &Compiling) -> Result<Status> {
    let mut journal = run.journal()?;
    let plan = plan(run, &mut journal, selection, compiling)?;
    if plan.is_empty() {
        run.reporter.result("pyc-txn: nothing to record");
    } else {
        let txn = journal.record(&plan.groups)?;
        run.reporter.result(&format!("pyc-txn: recorded {} for transaction {}", plan.len(), txn.0));
    }
    plan.problems.iter().for_each(|problem| run.reporter.failure(&format!("pyc-txn: {problem}")));
    Ok(if plan.problems.is_empty() { Status::Done } else { Status::SomeFailed })
}

/// Compiles what is pending and holds it for a later commit.
pub(super) fn stage(run: &Run<'_>) -> Result<Status> {
    if !run.config.settings.enabled {
        return suspended(run, None);
    }
    run.with_writer(|writer| {
        let Some(recording) = Recording::open(writer)? else {
            run.reporter.result("pyc-txn: nothing is pending");
            return Ok(Status::Done);
        };
        let txn = recording.id();
        if let Err(error) = recording.stage(writer, &run.setting(), true) {
            return Err(run.incomplete(writer, txn, &error));
        }
        run.reporter
            .result(&format!("pyc-txn: transaction {} is staged; 'pyc-txn commit' publishes it", txn.0));
        report(run, &writer.journal, &[txn], &Plan::default())
    })
}

/// Finishes or rolls back what is left.
pub(super) fn recover(run: &Run<'_>) -> Result<Status> {
    run.with_writer(|writer| {
        writer.journal.check()?;
        let open: Vec<_> = writer.journal.unfinished()?;
        match open.as_slice() {
            [] => run.reporter.result("pyc-txn: nothing is left over, nothing is pending"),
            open => {
                for (txn, state, _) in open {
                    let pending = writer.journal.counts(*txn)?.pending;
                    run.reporter
                        .result(&format!("pyc-txn: transaction {} is {state}, {pending} pending", txn.0));
                }
            }
        }
        Ok(Status::Done)
    })
}

/// Drops the open transaction and what is staged.
pub(super) fn rollback(run: &Run<'_>) -> Result<Status> {
    run.with_writer(|writer| {
        let open = writer.journal.unfinished()?;
        if open.is_empty() {
            run.reporter.result("pyc-txn: no transaction is open");
        }
        for (txn, ..) in open {
            let count = writer.journal.forget(txn, "dropped by pyc-txn rollback")?;
            crate::txn::staging::remove(writer, txn)?;
            run.reporter.result(&format!("pyc-txn: transaction {} is dropped with {count} intents", txn.0));
        }
        Ok(Status::Done)
    })
}

/// Shows what a commit would do; writes nothing.
pub(super) fn dry_run(run: &Run<'_>, selection: &Selection, compiling: &Compiling) -> Result<Status> {
    let root = &run.config.root;
    let journal = run.journal_to_read()?;
    let mut problems = Vec::new();
    let resolve = |path: &Path| compilers::resolve_quietly(journal.as_ref(), path, run.interrupt);
    let compilers = selection::compilers(root, &compiling.python, &mut problems, resolve)?;
    let mut known = journal.as_ref().map(compilers::known).transpose()?.unwrap_or_default();
    known.extend(compilers.iter().cloned());
    let compilers = usable(&compilers, &problems, selection)?;
    let mut plan = make_plan(run, (journal.as_ref(), &known, None), compilers, selection, compiling)?;
    plan.problems.append(&mut problems);
    for group in &plan.groups {
        for action in &group.actions {
            let (word, name) = match action {
                Action::Compile(compile) => ("compile", group.directory.join(compile.source())),
                Action::Remove(remnant) => {
                    ("remove", group.directory.join(crate::python::pycache::DIRECTORY).join(remnant.name()))
                }
            };
            run.reporter.result(&format!("{word} {}", Escaped(&name)));
        }
    }
    let pending = pending(journal.as_ref())?;
    run.reporter.result(&format!(
        "pyc-txn: would compile or remove {}, beside {pending} pending ({} up to date)",
        plan.len(),
        plan.current
    ));
    Ok(complain(run, &plan, false))
}

/// How many intents are pending.
fn pending(journal: Option<&Journal>) -> Result<u64> {
    let Some(journal) = journal else { return Ok(0) };
    Ok(journal.recording()?.map(|txn| journal.counts(txn)).transpose()?.unwrap_or_default().pending)
}

/// The plan for what was asked, with interpreters resolved and remembered.
fn plan(run: &Run<'_>, journal: &mut Journal, selection: &Selection, compiling: &Compiling) -> Result<Plan> {
    plan_with(run, journal, (selection, compiling), None)
}

/// As [`plan`]; the larger part of a large one is recorded at once.
pub(super) fn plan_and_record(
    run: &Run<'_>,
    journal: &mut Journal,
    selection: &Selection,
    compiling: &Compiling,
) -> Result<Plan> {
    // The plan's own journal is read meanwhile.
    let writes = Mutex::new(None);
    let record = |groups: Vec<Group>| {
        let mut journal = writes.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = match &mut *journal {
            Some(journal) => journal,
            place => place.insert(run.journal()?),
        };
        Ok(journal.record(&groups).map(drop)?)
    };
    plan_with(run, journal, (selection, compiling), Some(&record))
}

fn plan_with(
    run: &Run<'_>,
    journal: &mut Journal,
    (selection, compiling): (&Selection, &Compiling),
    taker: Option<&Taker<'_>>,
) -> Result<Plan> {
    let mut problems = Vec::new();
    let resolve = |path: &Path| compilers::resolve(journal, path, run.interrupt);
    let compilers = selection::compilers(&run.config.root, &compiling.python, &mut problems, resolve)?;
    let known = compilers::known(journal)?;
    let compilers = usable(&compilers, &problems, selection)?;
    let mut plan = make_plan(run, (Some(journal), &known, taker), compilers, selection, compiling)?;
    plan.problems.append(&mut problems);
    Ok(plan)
}

/// The interpreters, if there are any or nothing was asked for by its path; else why none of those that are installed
/// can be used.
fn usable<'c>(
    compilers: &'c [Compiler],
    problems: &[String],
    selection: &Selection,
) -> Result<&'c [Compiler]> {
    match problems {
        _ if !compilers.is_empty() || selection.paths.is_empty() => Ok(compilers),
        [] => bail!("no supported Python is installed\nhint: name one with --python"),
        problems => bail!("{}\nhint: name another one with --python", problems.join("\n")),
    }
}

fn make_plan(
    run: &Run<'_>,
    (journal, known, taker): (Option<&Journal>, &[Compiler], Option<&Taker<'_>>),
    compilers: &[Compiler],
    selection: &Selection,
    compiling: &Compiling,
) -> Result<Plan> {
    let root = &run.config.root;
    let selected = Selected::of(root, selection, journal)?;
    let planner = Planner { root, journal, known, taker };
    let mut plan = selection::plan(&planner, &run.config.settings, &selected.request, compiling, compilers)?;
    plan.problems.extend(selected.problems);
    if selection.is_empty() {
        planner.complete(&mut plan, &selection::gone(root, known))?;
    }
    Ok(plan)
}

/// The plan that asks for nothing but what was put off: what is pending, and what is retired.
pub(super) fn plan_rest(run: &Run<'_>, journal: &Journal) -> Result<Plan> {
    let groups = retired::take_back(journal, &run.config.root)?;
    Ok(Plan { groups, is_everything: true, ..Plan::default() })
}

/// Says how transactions came out.
fn report(run: &Run<'_>, journal: &Journal, txns: &[TxnId], plan: &Plan) -> Result<Status> {
    let mut total = crate::txn::journal::Counts::default();
    for &txn in txns {
        total += journal.counts(txn)?;
        for intent in journal.intent_reports(txn, true)? {
            let message = intent.message.as_deref().unwrap_or("failed");
            run.reporter.failure(&located(&intent.path, message));
        }
    }
    let status = complain(run, plan, total.failed > 0);
    run.reporter.summary(&total, plan.refused.len(), plan.current);
    Ok(status)
}

/// Prints what the plan could not take in.
fn complain(run: &Run<'_>, plan: &Plan, some_failed: bool) -> Status {
    plan.refused.iter().for_each(|refused| run.reporter.known_failure(refused));
    plan.problems.iter().for_each(|problem| run.reporter.failure(&format!("pyc-txn: {problem}")));
    let all_well = !some_failed && plan.refused.is_empty() && plan.problems.is_empty();
    if all_well { Status::Done } else { Status::SomeFailed }
}
