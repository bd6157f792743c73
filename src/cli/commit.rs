//! `commit`, `record`, `stage`, `recover` and `rollback`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::debian::pythons;
use crate::disk::Escaped;
use crate::txn::compilers::{self, Compiler};
use crate::txn::intent::{Action, Group, TxnId};
use crate::txn::journal::Journal;
use crate::txn::lock::Writer;
use crate::txn::observer::Observer;
use crate::txn::plan::{Plan, Planner, Taker};
use crate::txn::publish::Committing;
use crate::txn::retired;
use crate::txn::stage::{Recording, Staged};
use crate::txn::state::State;

use super::Status;
use super::args::{Compiling, Selection};
use super::newer;
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
        if let Some(recording) = Recording::open(writer, &run.config.root)? {
            let txn = recording.id();
            match recording.stage(writer, &run.setting(), false) {
                Ok(staged) => committed.push(finish(run, writer, staged)?),
                Err(error) => return Err(run.incomplete(writer, txn, &error)),
            }
        }
        if plan.is_everything {
            retired::drop_all(writer)?;
        }
        if !run.reporter.is_terse() {
            run.remind(&writer.journal)?;
        }
        report(run, &writer.journal, &committed, &plan)
    })
}

/// Commits what is selected and what is pending; without `is_asked` the latter only. For Pythons that are newer than
/// this program the original is called afterwards.
pub(super) fn commit_selected(
    run: &Run<'_>,
    selection: &Selection,
    compiling: &Compiling,
    is_asked: bool,
) -> Result<Status> {
    let mut newer = Vec::new();
    let mut planning = |journal: &mut Journal| {
        let (plan, unknown) = plan_and_record(run, journal, selection, compiling)?;
        newer = unknown;
        Ok(plan)
    };
    let status = commit(run, is_asked.then_some(&mut planning))?;
    if !run.config.settings.enabled {
        return Ok(status);
    }
    let of_newer = newer::compile_selected(run, &newer, selection, compiling);
    Ok(if status == Status::Done { of_newer } else { status })
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
    let (mut plan, newer) = plan_with(run, &mut journal, (selection, compiling), None)?;
    plan.problems.extend(newer.iter().map(newer::complaint));
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
        let Some(recording) = Recording::open(writer, &run.config.root)? else {
            let is_any = writer.journal.recording()?.is_some();
            let what = if is_any { "nothing is pending in reach" } else { "nothing is pending" };
            run.reporter.result(&format!("pyc-txn: {what}"));
            run.remind(&writer.journal)?;
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
        run.remind(&writer.journal)?;
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
            crate::txn::staging::remove(writer, txn, run.reporter)?;
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
    usable(&compilers, &problems, selection)?;
    let resolved = (&compilers[..], problems);
    let mut plan = make_plan(run, (journal.as_ref(), &known, None), resolved, selection, compiling)?;
    plan.problems.extend(newer::among(&compilers).iter().map(newer::complaint));
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
    Ok(complain(run, &plan, |_| false, false))
}

/// How many intents are pending.
fn pending(journal: Option<&Journal>) -> Result<u64> {
    let Some(journal) = journal else { return Ok(0) };
    Ok(journal.recording()?.map(|txn| journal.counts(txn)).transpose()?.unwrap_or_default().pending)
}

/// As [`plan_with`]; the larger part of a large plan is recorded at once.
fn plan_and_record(
    run: &Run<'_>,
    journal: &mut Journal,
    selection: &Selection,
    compiling: &Compiling,
) -> Result<(Plan, Vec<Compiler>)> {
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

/// The plan for what was asked, with interpreters resolved and remembered; and the interpreters that are newer than this
/// program, for which nothing is planned.
fn plan_with(
    run: &Run<'_>,
    journal: &mut Journal,
    (selection, compiling): (&Selection, &Compiling),
    taker: Option<&Taker<'_>>,
) -> Result<(Plan, Vec<Compiler>)> {
    let mut problems = Vec::new();
    let resolve = |path: &Path| compilers::resolve(journal, path, run.interrupt);
    let compilers = selection::compilers(&run.config.root, &compiling.python, &mut problems, resolve)?;
    let known = compilers::known(journal)?;
    usable(&compilers, &problems, selection)?;
    let resolved = (&compilers[..], problems);
    let plan = make_plan(run, (Some(journal), &known, taker), resolved, selection, compiling)?;
    Ok((plan, newer::among(&compilers)))
}

/// Whether there are interpreters, or nothing was asked for by its path.
///
/// # Errors
/// Why none of those that are installed can be used.
fn usable(compilers: &[Compiler], problems: &[String], selection: &Selection) -> Result<()> {
    match problems {
        _ if !compilers.is_empty() || selection.paths.is_empty() => Ok(()),
        [] => bail!("no supported Python is installed\nhint: name one with --python"),
        problems => bail!("{}\nhint: name another one with --python", problems.join("\n")),
    }
}

/// The plan for `compilers`; `problems` are those of the interpreters that are none.
fn make_plan(
    run: &Run<'_>,
    (journal, known, taker): (Option<&Journal>, &[Compiler], Option<&Taker<'_>>),
    (compilers, problems): (&[Compiler], Vec<String>),
    selection: &Selection,
    compiling: &Compiling,
) -> Result<Plan> {
    let root = &run.config.root;
    let mut selected = Selected::of(root, selection, journal)?;
    if selection.is_empty() && compiling.python.is_empty() {
        selected.add_trees(root, pythons::supported_libraries(root));
    }
    let planner = Planner { root, journal, known, taker };
    let mut plan = selected.with_wishes(&run.config.settings, compiling, compilers, |wishes| {
        let mut plan = planner.plan(&selected.request, wishes)?;
        if selection.is_empty() {
            planner.complete(&mut plan, wishes, &selection::gone(root, known))?;
        }
        anyhow::Ok(plan)
    })?;
    plan.problems.extend(selected.problems.into_iter().chain(problems));
    Ok(plan)
}

/// The plan that asks for nothing but what was put off: what is pending, and what is retired.
pub(super) fn plan_rest(run: &Run<'_>, journal: &Journal) -> Result<Plan> {
    let mut plan = Plan { is_everything: true, ..Plan::default() };
    if journal.has_retired()? {
        let (root, known) = (&run.config.root, compilers::known(journal)?);
        let selected = Selected::of(root, &Selection::default(), Some(journal))?;
        let planner = Planner { root, journal: Some(journal), known: &known, taker: None };
        plan.groups =
            selected.with_wishes(&run.config.settings, &Compiling::default(), &known, |wishes| {
                planner.take_back(journal, wishes)
            })?;
    }
    Ok(plan)
}

/// Says how transactions came out.
fn report(run: &Run<'_>, journal: &Journal, txns: &[TxnId], plan: &Plan) -> Result<Status> {
    let mut total = crate::txn::journal::Counts::default();
    for &txn in txns {
        total += journal.counts(txn)?;
    }
    let told = run.tell_failures(journal, txns)?;
    let is_said = |problem: &String| told.unusable.has(problem);
    let status = complain(run, plan, is_said, told.failed > 0);
    run.reporter.summary(&total, plan.refused.len(), plan.current);
    Ok(status)
}

/// Prints what the plan could not take in, unless it `is_said` already.
fn complain(run: &Run<'_>, plan: &Plan, is_said: impl Fn(&String) -> bool, some_failed: bool) -> Status {
    plan.refused.iter().for_each(|refused| run.reporter.known_failure(refused));
    let news = plan.problems.iter().filter(|problem| !is_said(problem));
    news.for_each(|problem| run.reporter.failure(&format!("pyc-txn: {problem}")));
    let all_well = !some_failed && plan.refused.is_empty() && plan.problems.is_empty();
    if all_well { Status::Done } else { Status::SomeFailed }
}
