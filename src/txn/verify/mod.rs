//! Verify: is every pyc what it should be? From sources, bytecode and ledger to findings, each with what mends it.
//!
//! Owns who looks at what: one thread walks, others judge, and what seems wrong is looked at once more in the end, in
//! case somebody was just writing it. Changes nothing; what is to be mended goes the way of every commit. `class` has
//! the words, `case` what belongs together, `judge` the questions.

mod case;
mod class;
mod judge;

pub use case::Readers;
pub use class::{Class, Finding, Findings};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use self::case::{Expectations, Folder, Scope};
use self::judge::Judge;
use super::intent::Group;
use super::journal::{Journal, Shelf};
use super::plan::{Request, Wishes};
use super::tree;
use super::walk;
use crate::interrupt::Interrupt;
use crate::python::pool::Interrupted;
use crate::root::Root;

/// How many cases are handed over at a time: to wake up a thread costs more than to judge one.
const PORTION: usize = 128;

/// How many portions may wait for their judgement.
const AHEAD: usize = 64;

/// Verifies.
pub struct Verifier<'a> {
    /// Where the paths are.
    pub root: &'a Root,
    /// The ledger, where it can be read.
    pub journal: Option<&'a Journal>,
    /// Whose bytecode is judged.
    pub readers: &'a Readers,
    /// What a commit would make.
    pub wishes: &'a Wishes<'a>,
    /// Whether nothing is expected in a directory but what the ledger has.
    pub is_others: &'a dyn Fn(&Path) -> bool,
    /// Whether metadata alone are compared.
    pub quick: bool,
    /// How many threads read.
    pub jobs: usize,
    /// What ends it early.
    pub interrupt: &'a Interrupt,
}

/// Where directories go once their cases are known.
struct Judges {
    sender: SyncSender<Vec<Folder>>,
    portion: Vec<Folder>,
    cases: usize,
}

impl Judges {
    fn send(&mut self, folder: Folder) {
        self.cases += folder.cases.len();
        if !folder.cases.is_empty() {
            self.portion.push(folder);
        }
        if self.cases >= PORTION {
            self.hand_over();
        }
    }

    /// The judges take what comes until this is dropped.
    fn hand_over(&mut self) {
        self.cases = 0;
        let _ = self.sender.send(std::mem::take(&mut self.portion));
    }
}

impl Drop for Judges {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Verifier<'_> {
    /// Looks at everything in `request`, and with `everywhere` at everything the ledger has.
    ///
    /// # Errors
    /// The journal cannot be read, or the interrupt.
    pub fn verify(&self, request: &Request, everywhere: bool) -> Result<Findings> {
        let mut problems = Vec::new();
        let mut findings = self.judged(|judges| {
            let mut trees: Vec<&Path> = Vec::new();
            for top in &request.trees {
                let is_part = request.trees.iter().any(|other| top != other && top.starts_with(other));
                if !is_part && !trees.contains(&top.as_path()) {
                    self.send_tree(top, judges, &mut problems)?;
                    trees.push(top);
                }
            }
            for (directory, names) in by_directory(request.files.iter().map(|(path, _)| path)) {
                self.send_files(directory, &names, Scope::Of(&names), judges, &mut problems)?;
            }
            if everywhere {
                self.send_rest(&trees, judges, &mut problems)?;
            }
            Ok(())
        })?;
        findings.problems.append(&mut problems);
        self.confirm(findings)
    }

    /// Looks once more at what seems wrong: somebody may have been writing it.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn confirm(&self, mut findings: Findings) -> Result<Findings> {
        let wrong = findings.take_wrong();
        findings.append(self.again(&wrong)?);
        findings.sort();
        Ok(findings)
    }

    /// Looks at the pycs of earlier findings, as they are now.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn again(&self, earlier: &[Finding]) -> Result<Findings> {
        let mut files: BTreeMap<&Path, BTreeSet<OsString>> = BTreeMap::new();
        for finding in earlier {
            files.entry(&finding.directory).or_default().insert(finding.remnant.name().to_owned());
        }
        let sources: Vec<PathBuf> = earlier.iter().map(Finding::source).collect();
        let sources = by_directory(sources.iter());
        let mut problems = Vec::new();
        let mut findings = self.judged(|judges| {
            for (directory, names) in &files {
                let sources = &sources[directory];
                self.send_files(directory, sources, Scope::Only(names, sources), judges, &mut problems)?;
            }
            Ok(())
        })?;
        findings.problems.append(&mut problems);
        findings.sort();
        Ok(findings)
    }

    /// Has other threads judge what `feed` sends.
    fn judged(&self, feed: impl FnOnce(&mut Judges) -> Result<()>) -> Result<Findings> {
        let judge = Judge { root: self.root, readers: self.readers, quick: self.quick };
        let mut findings = Findings::default();
        let (sender, folders) = sync_channel(AHEAD);
        let folders = Mutex::new(folders);
        std::thread::scope(|scope| {
            let work = || judge_all(&judge, &folders, self.interrupt);
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            let mut judges = Judges { sender, portion: Vec::new(), cases: 0 };
            let fed = feed(&mut judges);
            drop(judges);
            for worker in workers {
                findings.append(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            fed
        })?;
        if self.interrupt.signalled() { Err(Interrupted.into()) } else { Ok(findings) }
    }

    fn expectations(&self) -> Expectations<'_> {
        Expectations { readers: self.readers, wishes: self.wishes, is_others: self.is_others }
    }

    fn send_tree(&self, top: &Path, judges: &mut Judges, problems: &mut Vec<String>) -> Result<()> {
        if !self.root.on_disk(top).is_dir() {
            return Ok(());
        }
        let expectations = self.expectations();
        walk::walk(self.root, top, problems, |listings| {
            let mut shelves: HashMap<PathBuf, Shelf> =
                self.journal.map(|journal| journal.shelves(top)).transpose()?.unwrap_or_default();
            for listing in listings {
                if self.interrupt.signalled() {
                    break;
                }
                let shelf = shelves.remove(&listing.directory).unwrap_or_default();
                judges.send(expectations.folder(listing, shelf, Scope::Everything));
            }
            Ok(())
        })
    }

    fn send_files(
        &self,
        directory: &Path,
        sources: &[OsString],
        scope: Scope<'_>,
        judges: &mut Judges,
        problems: &mut Vec<String>,
    ) -> Result<()> {
        match tree::list(self.root, directory, sources) {
            Ok(listing) => {
                let shelf = self.journal.map(|journal| journal.shelf(directory)).transpose()?;
                judges.send(self.expectations().folder(listing, shelf.unwrap_or_default(), scope));
            }
            Err(error) => problems.push(error.to_string()),
        }
        Ok(())
    }

    /// What the ledger has outside of `trees`.
    fn send_rest(&self, trees: &[&Path], judges: &mut Judges, problems: &mut Vec<String>) -> Result<()> {
        let Some(journal) = self.journal else { return Ok(()) };
        for (directory, shelf) in journal.shelves(Path::new("/"))? {
            if shelf.published.is_empty() || trees.iter().any(|tree| directory.starts_with(tree)) {
                continue;
            }
            let parsed = |name: &OsString| Some(crate::python::pycache::Remnant::parse(name)?.source());
            let sources: BTreeSet<OsString> = shelf.published.keys().filter_map(parsed).collect();
            let sources: Vec<OsString> = sources.into_iter().collect();
            self.send_files(&directory, &sources, Scope::Of(&sources), judges, problems)?;
        }
        Ok(())
    }
}

/// What mends findings, for a plan.
#[must_use]
pub fn remedies(findings: &Findings) -> Vec<Group> {
    let mut groups: BTreeMap<&Path, Group> = BTreeMap::new();
    for finding in findings.list.iter().filter(|finding| finding.wrong) {
        let group = || Group { directory: finding.directory.clone(), owner: None, actions: Vec::new() };
        if let Some(remedy) = &finding.remedy {
            groups.entry(&finding.directory).or_insert_with(group).actions.push(remedy.clone());
        }
    }
    groups.into_values().collect()
}

/// Judges until nobody sends any more; after a signal only takes what comes.
fn judge_all(judge: &Judge<'_>, portions: &Mutex<Receiver<Vec<Folder>>>, interrupt: &Interrupt) -> Findings {
    let mut findings = Findings::default();
    loop {
        let portion = portions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(portion) = portion else { return findings };
        for folder in portion.iter().filter(|_| !interrupt.signalled()) {
            judge.folder(folder, |class, finding| match finding {
                Some(finding) => findings.add(finding),
                None => findings.count(class),
            });
        }
    }
}

fn by_directory<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<&'a Path, Vec<OsString>> {
    let mut groups: BTreeMap<&Path, Vec<OsString>> = BTreeMap::new();
    for path in paths {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            groups.entry(directory).or_default().push(name.to_owned());
        }
    }
    groups
}
