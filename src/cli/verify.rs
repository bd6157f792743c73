//! `verify`: is every pyc what it should be, and what mends it.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::config::Verbosity;
use crate::debian::pythons;
use crate::disk::{Escaped, Text};
use crate::txn::compilers::{self, Compiler};
use crate::txn::journal::Journal;
use crate::txn::plan::Plan;
use crate::txn::source::Largest;
use crate::txn::verify::{Class, Depth, Finding, Findings, Readers, Verifier, remedies};

use super::Status;
use super::args::{Compiling, Selection};
use super::commit;
use super::report::{Reporter, one_line};
use super::rules::Guard;
use super::selection::{self, Selected};
use super::session::{Run, is_damage};

/// How to verify.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) repair: bool,
    pub(super) depth: Depth,
    pub(super) json: bool,
}

/// What `verify --json` prints; the manual page has it.
#[derive(Debug, Serialize)]
struct Report {
    /// How many pycs were looked at.
    checked: u64,
    /// How many of them are of each class.
    counts: std::collections::BTreeMap<Class, u64>,
    /// How many are wrong and not repaired.
    wrong: usize,
    repaired: usize,
    findings: Vec<FindingReport>,
    /// What could not be examined.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FindingReport {
    class: Class,
    path: String,
    source: String,
    reason: String,
    wrong: bool,
    repaired: bool,
}

/// Verifies, repairs if that is asked for, and says what was found.
pub(super) fn verify(
    run: &Run<'_>,
    selection: &Selection,
    compiling: Compiling,
    manner: Manner,
) -> Result<Status> {
    let began = std::time::Instant::now();
    let mut problems = Vec::new();
    let journal = ledger(run, manner, &mut problems)?;
    let selected = select(run, selection, journal.as_ref())?;
    let job = Job { run, compiling, manner, selected: &selected };
    let mut findings = job.find(journal.as_ref(), selection.is_empty())?;
    drop(journal);
    findings.problems.extend(problems.into_iter().chain(selected.problems.iter().cloned()));
    let left = if manner.repair && findings.wrong() > 0 { Some(job.repair(&findings)?) } else { None };
    let seconds = began.elapsed().as_secs_f64();
    job.tell(&findings, left.as_ref(), seconds)
}

/// Looks at all bytecode that may not have been durable when the power went, and mends what is damaged; says so in one
/// line. The ledger is asked only for what need not be read: without one everything is.
pub(super) fn mend_after_power_cut(run: &Run<'_>) -> Result<()> {
    let quiet = Reporter::new(Verbosity::Quiet);
    let manner = Manner { repair: true, depth: Depth::Unsettled, json: false };
    let run_quietly = Run { reporter: &quiet, ..*run };
    let journal = ledger(&run_quietly, manner, &mut Vec::new())?;
    let selected = select(run, &Selection::default(), journal.as_ref())?;
    let job = Job { run: &run_quietly, compiling: Compiling::default(), manner, selected: &selected };
    let mut findings = job.find(journal.as_ref(), true)?;
    drop(journal);
    findings.retain_damage();
    let mut left = Findings::default();
    if findings.wrong() > 0 {
        left = job.repair(&findings)?;
        left.retain_damage();
    }
    let (looked_at, damaged, left) = (findings.present(), findings.wrong(), left.wrong());
    if looked_at > 0 {
        let mended = damaged - left;
        let rest =
            if left > 0 { format!("; {left} could not be: see 'pyc-txn verify'") } else { String::new() };
        run.reporter.note(&format!(
            "the last shutdown was not clean: {looked_at} pycs looked at, {damaged} damaged, {mended} mended{rest}"
        ));
    }
    Ok(())
}

/// One call of the command.
struct Job<'a> {
    run: &'a Run<'a>,
    compiling: Compiling,
    manner: Manner,
    selected: &'a Selected,
}

/// What PATHs and packages mean; without any, also the standard libraries. In these only what is there is expected.
fn select(run: &Run<'_>, selection: &Selection, journal: Option<&Journal>) -> Result<Selected> {
    let root = &run.config.root;
    let mut selected = Selected::of(root, selection, journal)?;
    selected.guard = Guard::StandardLibrary;
    if selection.is_empty() {
        selected.add_trees(root, pythons::standard_libraries(root));
    }
    Ok(selected)
}

/// The journal; where it cannot be read, which is no obstacle without `--repair`, nothing is known to be ours.
fn ledger(run: &Run<'_>, manner: Manner, problems: &mut Vec<String>) -> Result<Option<Journal>> {
    let error = match run.journal_to_read() {
        Err(error) if !manner.repair => error,
        journal => return journal,
    };
    let what = format!("{}; going on without the ledger", one_line(&error));
    if is_damage(&error) {
        problems.push(what);
    } else {
        run.reporter.note(&what);
    }
    Ok(None)
}

impl Job<'_> {
    /// Looks at what is selected; with `everywhere` at everything that the ledger has, too.
    fn find(&self, journal: Option<&Journal>, everywhere: bool) -> Result<Findings> {
        let resolve = |path: &Path| compilers::resolve_quietly(journal, path, self.run.interrupt);
        let mut unusable = Vec::new();
        let compilers = self.compilers(&mut unusable, resolve)?;
        unusable.iter().for_each(|problem| self.run.reporter.failure(&format!("pyc-txn: {problem}")));
        let verify = |verifier: &Verifier<'_>| verifier.verify(&self.selected.request, everywhere);
        self.with_verifier(journal, &compilers, verify)
    }

    /// The interpreters that were named, or the supported ones that answer.
    fn compilers(
        &self,
        problems: &mut Vec<String>,
        resolve: impl FnMut(&Path) -> Result<Compiler>,
    ) -> Result<Vec<Compiler>> {
        selection::compilers(&self.run.config.root, &self.compiling.python, problems, resolve)
    }

    fn with_verifier<T>(
        &self,
        journal: Option<&Journal>,
        compilers: &[Compiler],
        work: impl FnOnce(&Verifier<'_>) -> Result<T>,
    ) -> Result<T> {
        let config = self.run.config;
        let only = !self.compiling.python.is_empty();
        let mut all = compilers.to_vec();
        if !only {
            let known = journal.map(compilers::known).transpose()?.unwrap_or_default();
            all.extend(known.into_iter().filter(|known| known.interpreter.path.exists()));
        }
        let readers = Readers { all, only };
        self.selected.with_wishes(&config.settings, &self.compiling, compilers, |wishes| {
            work(&Verifier {
                root: &config.root,
                journal,
                readers: &readers,
                wishes,
                depth: self.manner.depth,
                largest: Largest(config.settings.largest),
                jobs: config.settings.jobs(),
                interrupt: self.run.interrupt,
            })
        })
    }

    /// Mends what is wrong, as a commit does it, and looks at it again: what of it is as it should be now, and what is
    /// not.
    fn repair(&self, findings: &Findings) -> Result<Findings> {
        let wrong: Vec<Finding> = findings.list.iter().filter(|finding| finding.wrong).cloned().collect();
        let quiet = Reporter::new(Verbosity::Quiet);
        let run = Run { reporter: if self.manner.json { &quiet } else { self.run.reporter }, ..*self.run };
        let mut said_before = Vec::new();
        // With the lock: what another run has mended meanwhile is left alone.
        let mut planning = |journal: &mut Journal| {
            let compilers =
                self.compilers(&mut said_before, |path| compilers::resolve(journal, path, run.interrupt))?;
            let again = self.with_verifier(Some(journal), &compilers, |verifier| verifier.again(&wrong))?;
            Ok(Plan { groups: remedies(&again), ..Plan::default() })
        };
        commit::commit(&run, Some(&mut planning))?;
        let journal = self.run.journal_to_read()?;
        let resolve = |path: &Path| compilers::resolve_quietly(journal.as_ref(), path, run.interrupt);
        let compilers = self.compilers(&mut said_before, resolve)?;
        self.with_verifier(journal.as_ref(), &compilers, |verifier| verifier.again(&wrong))
    }

    /// Says what was found, and what of it is left.
    fn tell(&self, findings: &Findings, left: Option<&Findings>, seconds: f64) -> Result<Status> {
        let report = Report::new(findings, left);
        let reporter = self.run.reporter;
        if self.manner.json {
            super::report::json(&report)?;
        } else {
            report.findings.iter().for_each(|finding| say(self.run, finding));
            reporter.result(&report.summary(seconds));
        }
        report.problems.iter().for_each(|problem| reporter.failure(&format!("pyc-txn: {problem}")));
        let all_well = report.wrong == 0 && report.problems.is_empty();
        Ok(if all_well { Status::Done } else { Status::SomeFailed })
    }
}

/// One line of the table. What is somebody else's and not wrong is for -v; what stays wrong is said with -q, too.
fn say(run: &Run<'_>, finding: &FindingReport) {
    let line = finding.line();
    match run.config.verbosity {
        Verbosity::Quiet if finding.wrong && !finding.repaired => run.reporter.finding(&line),
        Verbosity::Normal if matches!(finding.class, Class::Foreign | Class::Unknown) => {}
        _ => run.reporter.result(&line),
    }
}

impl Report {
    fn new(findings: &Findings, left: Option<&Findings>) -> Self {
        let is_left = |finding: &Finding| {
            let is_same = |other: &Finding| other.wrong && other.path() == finding.path();
            left.is_none_or(|left| left.list.iter().any(is_same))
        };
        let describe = |finding: &Finding| FindingReport {
            class: finding.class,
            path: Escaped(&finding.path()).to_string(),
            source: Escaped(&finding.source()).to_string(),
            reason: Text(&finding.reason).to_string(),
            wrong: finding.wrong,
            repaired: finding.wrong && !is_left(finding),
        };
        let list: Vec<FindingReport> = findings.list.iter().map(describe).collect();
        let repaired = list.iter().filter(|finding| finding.repaired).count();
        let mut counts = findings.counts.clone();
        for class in Class::ALL {
            counts.entry(class).or_default();
        }
        Self {
            checked: counts.values().sum(),
            counts,
            wrong: findings.wrong() - repaired,
            repaired,
            findings: list,
            problems: findings.problems.clone(),
        }
    }

    fn summary(&self, seconds: f64) -> String {
        let some = self.counts.iter().filter(|(_, count)| **count > 0);
        let parts: Vec<String> = some.map(|(class, count)| format!("{class} {count}")).collect();
        let what = if parts.is_empty() { "nothing to verify".to_owned() } else { parts.join(", ") };
        let repaired =
            if self.repaired > 0 { format!(" (repaired {})", self.repaired) } else { String::new() };
        format!("pyc-txn: {what}{repaired} in {seconds:.2} s")
    }
}

impl FindingReport {
    fn line(&self) -> String {
        let repaired = if self.repaired { "; repaired" } else { "" };
        format!("{} {}: {}{repaired}", self.class, self.path, self.reason)
    }
}
