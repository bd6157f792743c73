//! From what is asked for to what is to be done.
//!
//! Owns which directories are looked at, and what a plan is. Changes nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;

use super::compare::Comparison;
use super::compilers::Compiler;
use super::intent::{Action, Group, Hash, InterpreterId};
use super::journal::{Journal, Shelf, Shelves};
use super::retired;
use super::seal::{Seal, Seals, Surveyor};
use super::tree::{self, Listing};
use super::walk::{self, Walk};
use crate::disk::{Escaped, Text};
use crate::python::header::Invalidation;
use crate::python::pycache::{Level, Remnant};
use crate::root::Root;

/// What a hook or a person asks for. Paths have no prefix of the root.
#[derive(Debug, Default)]
pub struct Request {
    /// Trees, whole.
    pub trees: Vec<PathBuf>,
    /// Single sources, with the package they belong to.
    pub files: Vec<(PathBuf, Option<String>)>,
}

impl Request {
    /// The trees, each once, without those that are parts of others.
    pub(super) fn tops(&self) -> Vec<&Path> {
        let mut tops: Vec<&Path> = Vec::new();
        for top in self.trees.iter().map(PathBuf::as_path) {
            let is_part = self.trees.iter().any(|other| top != other && top.starts_with(other));
            if !is_part && !tops.contains(&top) {
                tops.push(top);
            }
        }
        tops
    }
}

/// How sources are to be compiled.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    /// Who compiles the sources of a directory.
    pub compilers: &'a (dyn Fn(&Path) -> Vec<Compiler> + Sync),
    /// Directories in which no bytecode is wanted but what is there, of any level, or was published and is gone: their
    /// own packages decide what is compiled.
    pub is_guarded: &'a (dyn Fn(&Path) -> bool + Sync),
    /// Which sources of a directory they compile.
    pub admits: &'a (dyn Fn(&Path, &OsStr, &Compiler) -> bool + Sync),
    /// At which levels.
    pub levels: &'a [Level],
    /// How Python is to check the bytecode.
    pub mode: Invalidation,
    /// Whether also what is current.
    pub force: bool,
    /// What tells all of this from other wishes; `None`: nothing is sealed.
    pub terms: Option<Hash>,
}

impl Wishes<'_> {
    /// The terms under which a sealed directory need not be looked into.
    pub(super) fn sealed(&self) -> Option<Hash> {
        self.terms.filter(|_| !self.force)
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// By directory.
    pub groups: Vec<Group>,
    /// How many targets are right already.
    pub current: u64,
    /// Sources that have not changed since the compiler refused them: `PATH:LINE: MESSAGE`.
    pub refused: Vec<String>,
    /// What could not be examined, and why.
    pub problems: Vec<String>,
    /// Trees of which so much could be sealed that it is worth to be written.
    pub seals: Vec<Seals>,
    /// Whether it has all that is wanted: what is retired and not in it is not wanted any more.
    pub is_everything: bool,
}

impl Plan {
    /// How many intents it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.actions.len()).sum()
    }

    /// Whether it removes a file.
    #[must_use]
    pub fn removes(&self, directory: &Path, remnant: &Remnant) -> bool {
        let is_it = |action: &Action| matches!(action, Action::Remove(removed) if removed == remnant);
        let mut groups = self.groups.iter().filter(|group| group.directory == directory);
        groups.any(|group| group.actions.iter().any(is_it))
    }

    /// Adds what is to be done in a directory.
    pub fn add(&mut self, directory: PathBuf, owner: Option<String>, mut actions: Vec<Action>) {
        if !actions.is_empty() {
            actions.shrink_to_fit();
            self.groups.push(Group { directory, owner, actions });
        }
    }

    /// The removal of the bytecode of directories that `is_meant`.
    #[must_use]
    pub fn removal(
        listings: Vec<Listing>,
        owner: Option<&str>,
        is_meant: impl Fn(&Listing, &Remnant) -> bool,
    ) -> Self {
        let mut plan = Self::default();
        listings.into_iter().for_each(|listing| plan.remove(listing, owner, &is_meant));
        plan
    }

    /// Adds the removal of the bytecode of a directory that `is_meant`.
    pub fn remove(
        &mut self,
        listing: Listing,
        owner: Option<&str>,
        is_meant: impl Fn(&Listing, &Remnant) -> bool,
    ) {
        match listing.cache() {
            Ok(cache) => {
                let remnants = cache.remnants().filter(|remnant| is_meant(&listing, remnant));
                let actions = remnants.map(Action::Remove).collect();
                self.add(listing.directory, owner.map(str::to_owned), actions);
            }
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    /// Adds what another plan has.
    pub fn append(&mut self, other: Self) {
        self.groups.extend(other.groups);
        self.current += other.current;
        self.seals.extend(other.seals);
        self.refused.extend(other.refused);
        self.problems.extend(other.problems);
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// Makes plans.
pub struct Planner<'a> {
    /// Where the paths are.
    pub root: &'a Root,
    /// The ledger; `None` where there is none yet.
    pub journal: Option<&'a Journal>,
    /// Every interpreter the journal knows.
    pub known: &'a [Compiler],
    /// Takes what is planned so far of a tree, each time that it is much, so that memory does not grow with the tree;
    /// `None`: the plan has all of it.
    pub taker: Option<&'a Taker<'a>>,
}

/// Takes a part of a plan.
pub type Taker<'a> = dyn Fn(Vec<Group>) -> Result<()> + Sync + 'a;

/// So many actions are much.
const MUCH: usize = 2048;

impl Planner<'_> {
    /// Plans the compilation of a request, and the removal of published targets whose source is gone.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn plan(&self, request: &Request, wishes: &Wishes<'_>) -> Result<Plan> {
        let mut plan = Plan::default();
        for top in request.tops() {
            self.plan_tree(top, wishes, &mut plan)?;
        }
        let files = by_directory(&request.files);
        let directories = files.keys().map(|(directory, _)| *directory);
        let shelves = self.journal.map(|journal| journal.shelves(directories)).transpose()?;
        let mut shelves = shelves.into_iter().flatten();
        for (directory, names) in files {
            let shelf = shelves.next().unwrap_or_default();
            self.plan_files(directory, &names, &shelf, wishes, &mut plan);
        }
        Ok(plan)
    }

    fn plan_tree(&self, top: &Path, wishes: &Wishes<'_>, plan: &mut Plan) -> Result<()> {
        let comparison = self.comparison(wishes);
        let Self { journal, root, .. } = *self;
        let surveyor = Surveyor { journal, terms: wishes.sealed(), root, threads: walk::THREADS };
        let survey = surveyor.survey(top)?;
        plan.current += survey.current();
        let (shelves, taker) = (Shelves::of(journal), self.taker);
        // Where nothing is published yet nothing can be sealed.
        let may_seal =
            wishes.sealed().is_some() && journal.map_or(Ok(false), |journal| journal.has_published(top))?;
        let much = Mutex::new(Vec::new());
        let compare = |listings: Vec<Listing>| {
            let (mut part, mut seals) = (Plan::default(), Vec::new());
            let taken = shelves.take(listings.iter().map(|listing| listing.directory.as_path()))?;
            for (listing, shelf) in listings.into_iter().zip(taken) {
                seals.extend(comparison.add(listing, None, &shelf, &[], &mut part));
            }
            let busy = part.groups.iter().map(|group| (group.directory.clone(), Seal::default()));
            seals = if may_seal { busy.chain(seals).collect() } else { Vec::new() };
            if let Some(taker) = taker {
                let mut much = much.lock().unwrap_or_else(PoisonError::into_inner);
                much.append(&mut part.groups);
                if much.iter().map(|group: &Group| group.actions.len()).sum::<usize>() >= MUCH {
                    taker(std::mem::take(&mut *much))?;
                }
            }
            Ok((part, seals))
        };
        let mut fresh = Vec::new();
        let walk = Walk::unsealed(root, &survey);
        for (part, seals) in walk.visit(walk::THREADS, &mut plan.problems, compare)? {
            plan.append(part);
            fresh.extend(seals);
        }
        plan.groups.append(&mut much.into_inner().unwrap_or_else(PoisonError::into_inner));
        if !survey.is_whole() {
            self.plan_gone(top, &comparison, plan)?;
        }
        plan.seals.extend(survey.renew(fresh));
        Ok(())
    }

    /// Plans the removal of what is published in directories that are gone.
    fn plan_gone(&self, top: &Path, comparison: &Comparison<'_>, plan: &mut Plan) -> Result<()> {
        let Some(journal) = self.journal else { return Ok(()) };
        for directory in journal.published_below(top)? {
            // One that could not be read is not one whose sources are gone.
            if !self.root.on_disk(&directory).exists() {
                let shelf = journal.shelf(&directory)?;
                let gone = Listing { directory, complete: true, ..Listing::default() };
                comparison.add(gone, None, &shelf, &[], plan);
            }
        }
        Ok(())
    }

    fn plan_files(
        &self,
        (directory, owner): (&Path, Option<&str>),
        names: &[OsString],
        shelf: &Shelf,
        wishes: &Wishes<'_>,
        plan: &mut Plan,
    ) {
        match tree::list(self.root, directory, names, &mut plan.problems) {
            Ok(listing) => {
                self.comparison(wishes).add(listing, owner, shelf, names, plan);
            }
            Err(error) => plan.problems.push(error.to_string()),
        }
    }

    fn comparison<'a>(&'a self, wishes: &'a Wishes<'a>) -> Comparison<'a> {
        Comparison { root: self.root, wishes, known: self.known, began: SystemTime::now() }
    }

    /// Adds what is wanted of everything and is in no directory that is walked: retired bytecode whose source is
    /// there, and the removal of what interpreters left that are gone and of what could not be removed before. Not of what is
    /// guarded and has its source: a library that outlives its interpreter has other users.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn complete(&self, plan: &mut Plan, wishes: &Wishes<'_>, gone: &[InterpreterId]) -> Result<()> {
        plan.is_everything = true;
        let Some(journal) = self.journal else { return Ok(()) };
        // The first, so that what is planned for the same target goes before them.
        plan.groups.splice(0..0, self.take_back(journal, wishes)?);
        for ((directory, mount), mut remnants) in journal.published_by(gone)? {
            if self.root.misses(&directory, mount.as_deref()) {
                continue;
            }
            if (wishes.is_guarded)(&directory) {
                let has_source =
                    |remnant: &Remnant| self.root.on_disk(&directory.join(remnant.source())).exists();
                remnants.retain(|remnant| !has_source(remnant));
            }
            plan.add(directory, None, remnants.into_iter().map(Action::Remove).collect());
        }
        for (directory, mut remnants) in journal.remains()? {
            let is_gone =
                |remnant: &Remnant| matches!(self.root.identity(&directory.join(remnant.source())), Ok(None));
            remnants.retain(is_gone);
            plan.add(directory, None, remnants.into_iter().map(Action::Remove).collect());
        }
        Ok(())
    }

    /// Puts back what is retired, as far as it is wished for.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn take_back(&self, journal: &Journal, wishes: &Wishes<'_>) -> Result<Vec<Group>> {
        let admits = |directory: &Path, source: &OsStr, interpreter: InterpreterId| {
            let compiler = self.known.iter().find(|known| known.id == interpreter);
            compiler.is_none_or(|compiler| (wishes.admits)(directory, source, compiler))
        };
        retired::take_back(journal, self.root, admits)
    }
}

/// A message about a source, as compilers give them: `PATH:LINE: MESSAGE` where it has a line; in one line.
#[must_use]
pub fn located(path: &Path, message: &str) -> String {
    let has_line = message.split_once(": ").is_some_and(|(line, _)| line.bytes().all(|b| b.is_ascii_digit()));
    format!("{}:{}{}", Escaped(path), if has_line { "" } else { " " }, Text(message))
}

type ByDirectory<'a> = BTreeMap<(&'a Path, Option<&'a str>), Vec<OsString>>;

fn by_directory(files: &[(PathBuf, Option<String>)]) -> ByDirectory<'_> {
    let mut groups = ByDirectory::new();
    for (path, owner) in files {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            groups.entry((directory, owner.as_deref())).or_default().push(name.to_owned());
        }
    }
    groups
}
