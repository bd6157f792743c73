//! From what is asked for to what is to be done: the comparison of sources, targets and ledger by metadata.
//!
//! Owns the rule for what is current. Reads no source and no bytecode, and changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::intent::{Action, Compile, Group, InterpreterId};
use super::journal::{FailureEntry, Journal, LedgerEntry, Shelf};
use super::retired;
use super::tree::{self, Listing};
use super::walk;
use crate::disk::{Escaped, Identity};
use crate::python::header::Invalidation;
use crate::python::interpreter::Interpreter;
use crate::python::pycache::{Level, Remnant, Target};
use crate::root::Root;

/// What a hook or a person asks for. Paths have no prefix of the root.
#[derive(Debug, Default)]
pub struct Request {
    /// Trees, whole.
    pub trees: Vec<PathBuf>,
    /// Single sources, with the package they belong to.
    pub files: Vec<(PathBuf, Option<String>)>,
}

/// An interpreter with its number in the journal.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// Its number.
    pub id: InterpreterId,
    /// What it is.
    pub interpreter: Interpreter,
}

/// How sources are to be compiled.
pub struct Wishes<'a> {
    /// Who compiles the sources of a directory.
    pub compilers: &'a dyn Fn(&Path) -> Vec<Compiler>,
    /// Which sources of a directory they compile.
    pub admits: &'a dyn Fn(&Path, &OsStr, &Compiler) -> bool,
    /// At which levels.
    pub levels: &'a [Level],
    /// How Python is to check the bytecode.
    pub mode: Invalidation,
    /// Whether also what is current.
    pub force: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// By directory.
    pub groups: Vec<Group>,
    /// How many targets are right already.
    pub current: usize,
    /// Sources that have not changed since the compiler refused them: `PATH:LINE: MESSAGE`.
    pub refused: Vec<String>,
    /// What could not be examined, and why.
    pub problems: Vec<String>,
    /// Whether it has all that is wanted: what is retired and not in it is not wanted any more.
    pub is_everything: bool,
}

impl Plan {
    /// How many intents it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.actions.len()).sum()
    }

    fn add(&mut self, directory: PathBuf, owner: Option<String>, actions: Vec<Action>) {
        if !actions.is_empty() {
            self.groups.push(Group { directory, owner, actions });
        }
    }

    /// Adds what another plan has.
    pub fn append(&mut self, other: Self) {
        self.groups.extend(other.groups);
        self.current += other.current;
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
}

impl Planner<'_> {
    /// Plans the compilation of a request, and the removal of published targets whose source is gone.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn plan(&self, request: &Request, wishes: &Wishes<'_>) -> Result<Plan> {
        let mut plan = Plan::default();
        for top in &request.trees {
            self.plan_tree(top, wishes, &mut plan)?;
        }
        for ((directory, owner), names) in by_directory(&request.files) {
            self.plan_files(directory, owner, &names, wishes, &mut plan)?;
        }
        Ok(plan)
    }

    fn plan_tree(&self, top: &Path, wishes: &Wishes<'_>, plan: &mut Plan) -> Result<()> {
        let load =
            || anyhow::Ok(self.journal.map(|journal| journal.shelves(top)).transpose()?.unwrap_or_default());
        let mut problems = Vec::new();
        let shelves: HashMap<PathBuf, Shelf> = if self.root.on_disk(top).is_dir() {
            walk::walk(self.root, top, &mut problems, |listings| {
                let mut shelves = load()?;
                for listing in listings {
                    let shelf = shelves.remove(&listing.directory).unwrap_or_default();
                    let actions = self.plan_listing(&listing, &shelf, &[], wishes, plan);
                    plan.add(listing.directory, None, actions);
                }
                anyhow::Ok(shelves)
            })?
        } else {
            load()?
        };
        plan.problems.append(&mut problems);
        let mut unseen: Vec<_> = shelves.into_iter().collect();
        unseen.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (directory, shelf) in unseen {
            // A directory that could not be read is not one whose sources are gone.
            if !self.root.on_disk(&directory).exists() {
                let gone = Listing { complete: true, ..Listing::default() };
                let actions = self.plan_listing(&gone, &shelf, &[], wishes, plan);
                plan.add(directory, None, actions);
            }
        }
        Ok(())
    }

    fn plan_files(
        &self,
        directory: &Path,
        owner: Option<&str>,
        names: &[OsString],
        wishes: &Wishes<'_>,
        plan: &mut Plan,
    ) -> Result<()> {
        let listing = match tree::list(self.root, directory, names) {
            Ok(listing) => listing,
            Err(error) => {
                plan.problems.push(error.to_string());
                return Ok(());
            }
        };
        let shelf = self.journal.map(|journal| journal.shelf(directory)).transpose()?;
        let actions = self.plan_listing(&listing, &shelf.unwrap_or_default(), names, wishes, plan);
        plan.add(listing.directory, owner.map(str::to_owned), actions);
        Ok(())
    }

    /// Adds what is wanted of everything and is in no directory that is walked: retired bytecode whose source is
    /// there, and the removal of what interpreters left that are gone.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn complete(&self, plan: &mut Plan, gone: &[InterpreterId]) -> Result<()> {
        plan.is_everything = true;
        let Some(journal) = self.journal else { return Ok(()) };
        // The first, so that what is planned for the same target goes before them.
        plan.groups.splice(0..0, retired::take_back(journal, self.root)?);
        for (directory, remnants) in journal.published_by(gone)? {
            plan.add(directory, None, remnants.into_iter().map(Action::Remove).collect());
        }
        Ok(())
    }

    /// Plans one directory. `asked` names sources that were looked for where the listing is not complete.
    fn plan_listing(
        &self,
        listing: &Listing,
        shelf: &Shelf,
        asked: &[OsString],
        wishes: &Wishes<'_>,
        plan: &mut Plan,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for compiler in (wishes.compilers)(&listing.directory) {
            for &level in wishes.levels {
                let wish = Wish { compiler: &compiler, level, mode: wishes.mode, force: wishes.force };
                let is_admitted = |name: &OsStr| (wishes.admits)(&listing.directory, name, &compiler);
                let sources = listing.sources.iter().filter(|(name, _)| is_admitted(name));
                let compile =
                    sources.filter_map(|source| self.plan_source(listing, shelf, source, &wish, plan));
                actions.extend(compile.map(Action::Compile));
            }
        }
        let is_gone = |published: &Remnant| {
            let source = published.source();
            (listing.complete || asked.contains(&source)) && !listing.sources.contains_key(&source)
        };
        let is_left =
            |remnant: &Remnant| remnant.is_leftover() && listing.sources.contains_key(&remnant.source());
        let gone = shelf.published.keys().filter_map(|name| Remnant::parse(name)).filter(is_gone);
        let left = listing.cached.keys().filter_map(|name| Remnant::parse(name)).filter(is_left);
        actions.extend(gone.chain(left).map(Action::Remove));
        actions
    }

    /// What is to be done for one source; nothing if its target is right, or cannot be made.
    fn plan_source(
        &self,
        listing: &Listing,
        shelf: &Shelf,
        (source, seen): (&OsString, &Identity),
        wish: &Wish<'_>,
        plan: &mut Plan,
    ) -> Option<Compile> {
        let path = || listing.directory.join(source);
        let Ok(target) = Target::of(source, &wish.compiler.interpreter.cache_tag, wish.level) else {
            plan.refused.push(located(&path(), "the name of its bytecode would be too long"));
            return None;
        };
        let entry = shelf.published.get(target.name());
        if entry.is_some_and(|entry| self.is_current(wish, seen, entry, listing.cached.get(target.name()))) {
            plan.current += 1;
            return None;
        }
        let failure = shelf.failed.get(target.name());
        if let Some(failure) = failure.filter(|failure| self.is_still_refused(wish, seen, failure)) {
            plan.refused.push(located(&path(), &failure.message));
            return None;
        }
        let (interpreter, level, mode) = (wish.compiler.id, wish.level, wish.mode);
        let (source, force, seen) = (source.clone(), wish.force, (*seen).into());
        Some(Compile { source, target, interpreter, level, mode, force, seen })
    }

    fn is_current(
        &self,
        wish: &Wish<'_>,
        seen: &Identity,
        entry: &LedgerEntry,
        pyc: Option<&Option<Identity>>,
    ) -> bool {
        !wish.force
            && entry.mode == wish.mode
            && entry.identity.same_content(seen)
            && self.writes_the_same(entry.interpreter, wish.compiler)
            && pyc.copied().flatten().is_some_and(|pyc| entry.is_in_place(&pyc))
    }

    fn is_still_refused(&self, wish: &Wish<'_>, seen: &Identity, failure: &FailureEntry) -> bool {
        !wish.force
            && failure.refused
            && failure.identity.same_content(seen)
            && self.writes_the_same(failure.interpreter, wish.compiler)
    }

    /// Whether the interpreter of this number is the same one, or writes the same bytecode.
    fn writes_the_same(&self, id: InterpreterId, compiler: &Compiler) -> bool {
        let dialect = compiler.interpreter.dialect;
        id == compiler.id
            || self.known.iter().any(|known| known.id == id && known.interpreter.dialect == dialect)
    }
}

/// One compiler, one level.
struct Wish<'a> {
    compiler: &'a Compiler,
    level: Level,
    mode: Invalidation,
    force: bool,
}

/// A message about a source, as compilers give them: `PATH:LINE: MESSAGE` where it has a line.
#[must_use]
pub fn located(path: &Path, message: &str) -> String {
    let has_line = message.split_once(": ").is_some_and(|(line, _)| line.bytes().all(|b| b.is_ascii_digit()));
    format!("{}:{}{message}", Escaped(path), if has_line { "" } else { " " })
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
