//! `owner`: whose bytecode a file is, what it was made from, and when.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::debian::packages;
use crate::disk::{Escaped, Quoted, Text};
use crate::txn::journal::{Journal, PublishedReport};

use super::Status;
use super::log::date;
use super::report::{self, complain, result};
use super::session::Run;

/// What is known of one PATH.
#[derive(Debug, Serialize)]
struct Answer {
    /// As it was typed.
    path: String,
    /// Empty where nothing is known of it.
    bytecode: Vec<PublishedReport>,
}

/// Shows what the ledger has of these pycs, and of the pycs of these sources.
pub(super) fn owner(run: &Run<'_>, paths: &[PathBuf], json: bool) -> Result<Status> {
    let journal = run.journal_to_read()?;
    let mut answers = Vec::new();
    for path in paths {
        let bytecode = journal.as_ref().map(|journal| known(run, journal, path)).transpose()?;
        let path = Escaped(path).to_string();
        answers.push(Answer { path, bytecode: bytecode.unwrap_or_default() });
    }
    ask_dpkg(run, &mut answers)?;
    if json {
        report::json(&answers)?;
    } else {
        answers.iter().for_each(tell);
    }
    let all_known = answers.iter().all(|answer| !answer.bytecode.is_empty());
    Ok(if all_known { Status::Done } else { Status::SomeFailed })
}

fn known(run: &Run<'_>, journal: &Journal, path: &std::path::Path) -> Result<Vec<PublishedReport>> {
    // A path that leads nowhere is one that nothing is known of.
    let Ok(located) = run.config.root.locate(path) else { return Ok(Vec::new()) };
    Ok(journal.published_of(&located)?)
}

/// What no package asked for by its name may still belong to one.
fn ask_dpkg(run: &Run<'_>, answers: &mut [Answer]) -> Result<()> {
    let ownerless = answers.iter_mut().flat_map(|answer| &mut answer.bytecode);
    let mut ownerless: Vec<_> = ownerless.filter(|pyc| pyc.package.is_none()).collect();
    let sources = ownerless.iter().map(|pyc| pyc.source.clone()).collect();
    if ownerless.is_empty() {
        return Ok(());
    }
    let owners = packages::owners(&run.config.root, &sources)?;
    ownerless.iter_mut().for_each(|pyc| pyc.package = owners.get(&pyc.source).cloned());
    Ok(())
}

fn tell(answer: &Answer) {
    if answer.bytecode.is_empty() {
        complain(&format!("pyc-txn: nothing is published of '{}'", answer.path));
    }
    for pyc in &answer.bytecode {
        let package = pyc.package.as_deref().unwrap_or("no package");
        let when =
            pyc.published.map_or_else(|| "not in the history any more".to_owned(), |at| date(at).to_string());
        result(&format!(
            "{}: {}, from {}, by {}, in transaction {} ({when})",
            Escaped(&pyc.path),
            Text(package),
            Quoted(&pyc.source),
            Quoted(&pyc.python),
            pyc.transaction,
        ));
    }
}
