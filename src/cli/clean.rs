//! `clean`: remove the bytecode of trees and packages.

use anyhow::Result;

use crate::disk::Escaped;
use crate::python::pycache::{self, Remnant};
use crate::txn::compilers;
use crate::txn::intent::{Action, Group};
use crate::txn::journal::{Journal, Removal};
use crate::txn::lock::Writer;
use crate::txn::plan::{Plan, located};
use crate::txn::publish;
use crate::txn::tree::{self, Listing};
use crate::txn::walk::{self, Walk};

use super::Status;
use super::args::Selection;
use super::selection::{self, Selected};
use super::session::Run;

/// Removes what `selection` names: the bytecode of its sources, and in whole trees also that of sources which
/// are gone. Other tools' files stay.
pub(super) fn clean(
    run: &Run<'_>,
    selection: &Selection,
    python: &[String],
    dry_run: bool,
) -> Result<Status> {
    if dry_run {
        let plan = collect(run, selection, python)?;
        show(run, &plan.groups);
        return Ok(complain(run, &plan.problems));
    }
    run.with_writer(|writer| {
        let plan = collect(run, selection, python)?;
        let status = complain(run, &plan.problems);
        if plan.is_empty() {
            run.reporter.result("pyc-txn: nothing to remove");
            return Ok(status);
        }
        Ok(match remove(run, writer, &plan.groups)? {
            Status::Done => status,
            failed => failed,
        })
    })
}

/// Moves what `groups` name out of the way, as a part of the transaction that is retiring.
pub(super) fn retire(run: &Run<'_>, writer: &mut Writer<'_>, groups: &[Group]) -> Result<Status> {
    let decide = || writer.journal.record_clean(groups, Removal::Retire);
    let (txn, batch) = run.reporter.timed("decide", decide)?;
    let committing = publish::Committing::decided(txn);
    let publish = || committing.publish_part(writer, &run.config.root, run.interrupt, &batch);
    match run.reporter.timed("publish", publish) {
        Ok(failures) if failures.is_empty() => Ok(Status::Done),
        Ok(failures) => {
            failures.iter().for_each(|(path, why)| run.reporter.failure(&located(path, why)));
            Ok(Status::SomeFailed)
        }
        Err(error) => Err(run.incomplete(writer, txn, &error)),
    }
}

/// Removes what `groups` name, as a transaction.
pub(super) fn remove(run: &Run<'_>, writer: &mut Writer<'_>, groups: &[Group]) -> Result<Status> {
    let decide = || writer.journal.record_clean(groups, Removal::Delete);
    let (txn, _) = run.reporter.timed("decide", decide)?;
    let published = publish::Committing::decided(txn)
        .publish(writer, &run.config.root, run.interrupt, run.reporter)
        .and_then(|published| published.settle(writer, run.reporter));
    if let Err(error) = published {
        return Err(run.incomplete(writer, txn, &error));
    }
    let counts = writer.journal.counts(txn)?;
    let told = run.tell_failures(&writer.journal, &[txn])?;
    run.reporter.summary(&counts, 0, 0);
    Ok(if told.failed > 0 { Status::SomeFailed } else { Status::Done })
}

/// What is to be removed, and what could not be examined.
fn collect(run: &Run<'_>, selection: &Selection, python: &[String]) -> Result<Plan> {
    let root = &run.config.root;
    let journal = run.journal_to_read()?;
    let mut tags = Vec::new();
    for name in python {
        let path = selection::executable(root, name)?;
        let compiler = compilers::resolve_quietly(journal.as_ref(), &path, run.interrupt)?;
        tags.push(compiler.interpreter.cache_tag);
    }
    let selected = Selected::of(root, selection, journal.as_ref())?;
    let is_tagged = |_: &Listing, remnant: &Remnant| {
        tags.is_empty() || tags.iter().any(|tag: &String| tag.as_bytes() == remnant.tag())
    };
    let mut plan = Plan { problems: selected.problems, ..Plan::default() };
    for top in &selected.request.trees {
        let walk = Walk::begin(root, top);
        let remove = |listings| Ok(Plan::removal(listings, None, is_tagged));
        for part in walk.visit(walk::THREADS, &mut plan.problems, remove)? {
            plan.append(part);
        }
    }
    let remains = journal.as_ref().map(Journal::remains).transpose()?.unwrap_or_default();
    for (directory, mut remnants) in remains {
        if selected.request.trees.iter().any(|top| directory.starts_with(top)) {
            let is_planned = |remnant: &Remnant| plan.removes(&directory, remnant);
            remnants.retain(|remnant| is_tagged(&Listing::default(), remnant) && !is_planned(remnant));
            plan.add(directory, None, remnants.into_iter().map(Action::Remove).collect());
        }
    }
    for (path, _) in &selected.request.files {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        match tree::list(root, directory, &[], &mut plan.problems) {
            Ok(listing) => plan.remove(listing, None, |listing, remnant| {
                remnant.source() == name && is_tagged(listing, remnant)
            }),
            Err(error) => plan.problems.push(error.to_string()),
        }
    }
    Ok(plan)
}

fn show(run: &Run<'_>, groups: &[Group]) {
    for group in groups {
        for action in &group.actions {
            if let Action::Remove(remnant) = action {
                let path = group.directory.join(pycache::DIRECTORY).join(remnant.name());
                run.reporter.result(&format!("remove {}", Escaped(&path)));
            }
        }
    }
}

fn complain(run: &Run<'_>, problems: &[String]) -> Status {
    problems.iter().for_each(|problem| run.reporter.failure(&format!("pyc-txn: {problem}")));
    if problems.is_empty() { Status::Done } else { Status::SomeFailed }
}
