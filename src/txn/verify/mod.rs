//! Verify: is every pyc what it should be? From sources, bytecode and ledger to findings, each with what mends it.
//!
//! Owns who looks at what: threads share the directories, and what seems wrong is looked at once more in the end, in
//! case somebody was just writing it. Changes nothing; what is to be mended goes the way of every commit. `class` has
//! the words, `case` what belongs together, `judge` the questions.

mod case;
mod class;
mod judge;

pub use case::Readers;
pub use class::{Class, Finding, Findings};

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use self::case::{Expectations, Scope};
use self::judge::Judge;
use super::intent::Group;
use super::journal::{Journal, Shelf, Shelves};
use super::plan::{Request, Wishes};
use super::seal::Surveyor;
use super::source::Largest;
use super::tree::{self, Listing};
use super::walk::Walk;
use crate::interrupt::Interrupt;
use crate::parallel;
use crate::python::pool::Interrupted;
use crate::root::Root;

/// How closely bytecode is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Metadata are compared, nothing is read.
    Metadata,
    /// As `Metadata` where the file is the one that the ledger has: it was durable before the ledger had it. All else is
    /// read.
    Unsettled,
    /// Everything is read.
    Content,
}

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
    /// How closely.
    pub depth: Depth,
    /// Which sources are read.
    pub largest: Largest,
    /// How many threads read.
    pub jobs: usize,
    /// What ends it early.
    pub interrupt: &'a Interrupt,
}

impl Verifier<'_> {
    /// Looks at everything in `request`, and with `everywhere` at everything the ledger has.
    ///
    /// # Errors
    /// The journal cannot be read, or the interrupt.
    pub fn verify(&self, request: &Request, everywhere: bool) -> Result<Findings> {
        let mut findings = Findings::default();
        let mut trees = request.tops();
        // A named source that is not there is among them, for what the ledger may have below it.
        trees.retain(|top| self.root.on_disk(top).is_dir());
        for top in &trees {
            self.look_through(top, &mut findings)?;
        }
        let is_seen = |path: &Path| trees.iter().any(|tree| path.starts_with(tree));
        let files = request.files.iter().map(|(path, _)| path).filter(|path| !is_seen(path));
        let mut files = by_directory(files);
        let mut places = if everywhere { self.rest(is_seen, &mut files)? } else { Vec::new() };
        for (directory, sources) in files {
            places.push(self.place(directory, sources)?);
        }
        findings.append(self.look_at(places)?);
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
        let places = by_directory(sources.iter()).into_iter().map(|(directory, sources)| {
            let only = files.remove(directory);
            Ok(Place { only, ..self.place(directory, sources)? })
        });
        let mut findings = self.look_at(places.collect::<Result<_>>()?)?;
        findings.sort();
        Ok(findings)
    }

    fn judge(&self) -> Judge<'_> {
        let Self { root, readers, depth, largest, .. } = *self;
        Judge { root, readers, depth, largest }
    }

    fn expectations(&self) -> Expectations<'_> {
        Expectations { readers: self.readers, wishes: self.wishes }
    }

    /// Looks at all of a tree.
    fn look_through(&self, top: &Path, findings: &mut Findings) -> Result<()> {
        if !self.root.on_disk(top).is_dir() {
            return Ok(());
        }
        let Self { root, journal, interrupt, .. } = *self;
        let (judge, expectations, shelves) = (self.judge(), self.expectations(), Shelves::of(journal));
        let look = |listings: Vec<Listing>| {
            let mut findings = Findings::default();
            unless_signalled(interrupt)?;
            let taken = shelves.take(listings.iter().map(|listing| listing.directory.as_path()))?;
            for (listing, shelf) in listings.iter().zip(taken) {
                look(&judge, &expectations, listing, shelf, Scope::Everything, &mut findings);
            }
            Ok(findings)
        };
        let surveyor = Surveyor { journal, terms: self.wishes.sealed(), root, threads: self.jobs };
        let survey = if self.depth == Depth::Metadata {
            let survey = surveyor.survey(top)?.but_alone();
            findings.count(Class::Valid, survey.current());
            survey
        } else {
            let (survey, looked) = surveyor.visit(top, look)?;
            looked.into_iter().for_each(|part| findings.append(part));
            survey
        };
        for part in Walk::unsealed(root, &survey).visit(self.jobs, &mut findings.problems, look)? {
            findings.append(part);
        }
        unless_signalled(interrupt)
    }

    /// A directory and what is looked at in it: the bytecode of these sources.
    fn place(&self, directory: &Path, sources: Vec<OsString>) -> Result<Place> {
        let shelf = self.journal.map(|journal| journal.shelf(directory)).transpose()?.unwrap_or_default();
        Ok(Place { directory: directory.to_owned(), sources, only: None, shelf })
    }

    /// What the ledger has outside of what is seen, and those of `files` that are in the same directories.
    fn rest(
        &self,
        is_seen: impl Fn(&Path) -> bool,
        files: &mut BTreeMap<&Path, Vec<OsString>>,
    ) -> Result<Vec<Place>> {
        let Some(journal) = self.journal else { return Ok(Vec::new()) };
        let mut places = Vec::new();
        for directory in journal.published_below(Path::new("/"))? {
            if is_seen(&directory) {
                continue;
            }
            let shelf = journal.shelf(&directory)?;
            let parsed = |name: &OsString| Some(crate::python::pycache::Remnant::parse(name)?.source());
            let asked = files.remove(directory.as_path()).into_iter().flatten();
            let sources: BTreeSet<OsString> =
                shelf.published.keys().filter_map(parsed).chain(asked).collect();
            places.push(Place { directory, sources: sources.into_iter().collect(), only: None, shelf });
        }
        Ok(places)
    }

    /// Looks at single files.
    fn look_at(&self, places: Vec<Place>) -> Result<Findings> {
        let (root, interrupt) = (self.root, self.interrupt);
        let (judge, expectations) = (self.judge(), self.expectations());
        let look = |place: Place| {
            let mut findings = Findings::default();
            if interrupt.signalled() {
                return findings;
            }
            let Place { directory, sources, only, shelf } = place;
            let scope = only.as_ref().map_or(Scope::Of(&sources), |only| Scope::Only(only, &sources));
            match tree::list(root, &directory, &sources, &mut findings.problems) {
                Ok(listing) => look(&judge, &expectations, &listing, shelf, scope, &mut findings),
                Err(error) => findings.problems.push(error.to_string()),
            }
            findings
        };
        let mut findings = Findings::default();
        parallel::map(places.into_iter(), self.jobs, look).into_iter().for_each(|part| findings.append(part));
        unless_signalled(interrupt)?;
        Ok(findings)
    }
}

fn unless_signalled(interrupt: &Interrupt) -> Result<()> {
    if interrupt.signalled() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Looks at a directory.
fn look(
    judge: &Judge<'_>,
    expectations: &Expectations<'_>,
    listing: &Listing,
    shelf: Shelf,
    scope: Scope<'_>,
    findings: &mut Findings,
) {
    let cache = match listing.cache() {
        Ok(cache) => cache,
        Err(error) => return findings.problems.push(error.to_string()),
    };
    let cases = expectations.cases(listing, &cache, shelf, scope);
    judge.cases(listing, &cache, &cases, |class, finding| match finding {
        Some(finding) => findings.add(finding),
        None => findings.count(class, 1),
    });
}

/// A directory in which single files are looked at.
struct Place {
    directory: PathBuf,
    /// Whose bytecode.
    sources: Vec<OsString>,
    /// Of it only the files of these names.
    only: Option<BTreeSet<OsString>>,
    shelf: Shelf,
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

fn by_directory<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<&'a Path, Vec<OsString>> {
    let mut groups: BTreeMap<&Path, Vec<OsString>> = BTreeMap::new();
    for path in paths {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            groups.entry(directory).or_default().push(name.to_owned());
        }
    }
    groups
}
