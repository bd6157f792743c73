//! From what is asked for to what is to be done: the comparison of sources, targets and ledger by metadata.
//!
//! Owns the rule for what is current. Reads no source and no bytecode, and changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::intent::{Action, Compile, Group, InterpreterId};
use super::journal::{FailureEntry, Journal, LedgerEntry};
use super::tree::{self, Listing};
use crate::disk::{Escaped, Identity, Quoted, cause};
use crate::python::header::Invalidation;
use crate::python::interpreter::Interpreter;
use crate::python::pycache::{DIRECTORY, Level, NameTooLong, Remnant, Target};
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
}

impl Plan {
    /// How many intents it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.actions.len()).sum()
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
            match tree::list(self.root, directory, &names) {
                Ok(listing) => self.plan_listing(&listing, owner, Some(&names), wishes, &mut plan)?,
                Err(error) => {
                    plan.problems
                        .push(format!("cannot examine {}: {}", Quoted(directory), cause(&error)));
                }
            }
        }
        Ok(plan)
    }

    fn plan_tree(&self, top: &Path, wishes: &Wishes<'_>, plan: &mut Plan) -> Result<()> {
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        if self.root.on_disk(top).is_dir() {
            tree::walk(self.root, top, &mut problems, &mut |listing| {
                self.plan_listing(&listing, None, None, wishes, plan)?;
                seen.insert(listing.directory);
                Ok(())
            })?;
        }
        plan.problems.append(&mut problems);
        let Some(journal) = self.journal else {
            return Ok(());
        };
        for directory in journal.ledger_directories(top)? {
            // A directory that could not be read is not one whose sources are gone.
            if !seen.contains(&directory) && !self.root.on_disk(&directory).exists() {
                let gone = Listing {
                    directory,
                    complete: true,
                    ..Listing::default()
                };
                self.plan_listing(&gone, None, None, wishes, plan)?;
            }
        }
        Ok(())
    }

    /// Plans one directory. Of a listing that is not complete `asked` names the sources that were looked for.
    fn plan_listing(
        &self,
        listing: &Listing,
        owner: Option<&str>,
        asked: Option<&[OsString]>,
        wishes: &Wishes<'_>,
        plan: &mut Plan,
    ) -> Result<()> {
        let published = self
            .journal
            .map(|journal| journal.published(&listing.directory))
            .transpose()?;
        let failed = self
            .journal
            .map(|journal| journal.failed(&listing.directory))
            .transpose()?;
        let (published, failed) = (published.unwrap_or_default(), failed.unwrap_or_default());
        let mut actions = Vec::new();
        for compiler in (wishes.compilers)(&listing.directory) {
            for (&level, (source, seen)) in wishes
                .levels
                .iter()
                .flat_map(|level| listing.sources.iter().map(move |each| (level, each)))
            {
                let target = match Target::of(source, &compiler.interpreter.cache_tag, level) {
                    Ok(target) => target,
                    Err(NameTooLong) => {
                        let path = listing.directory.join(source);
                        plan.refused
                            .push(located(&path, "the name of its bytecode would be too long"));
                        continue;
                    }
                };
                let (entry, failure) = (published.get(target.name()), failed.get(target.name()));
                let wish = Wish {
                    compiler: &compiler,
                    mode: wishes.mode,
                    source: seen,
                };
                if !wishes.force && self.is_current(&wish, entry, &listing.directory, &target) {
                    plan.current += 1;
                } else if let Some(failure) = failure.filter(|_| !wishes.force)
                    && self.is_still_refused(&wish, failure)
                {
                    plan.refused
                        .push(located(&listing.directory.join(source), &failure.message));
                } else {
                    actions.push(Action::Compile(Compile {
                        source: source.clone(),
                        target,
                        interpreter: compiler.id,
                        level,
                        mode: wishes.mode,
                        force: wishes.force,
                        seen: *seen,
                    }));
                }
            }
        }
        let is_gone = |source: &OsString| {
            !listing.sources.contains_key(source) && asked.is_none_or(|asked| asked.contains(source))
        };
        let gone = published
            .iter()
            .filter(|(_, entry)| is_gone(&entry.source))
            .map(|(target, _)| target);
        let leftovers = listing.cached.iter().filter(|name| is_leftover(name, listing));
        let removals = gone.chain(leftovers).filter_map(|name| Remnant::parse(name));
        actions.extend(removals.map(Action::Remove));
        if !actions.is_empty() {
            let (directory, owner) = (listing.directory.clone(), owner.map(str::to_owned));
            plan.groups.push(Group {
                directory,
                owner,
                actions,
            });
        }
        Ok(())
    }

    fn is_current(
        &self,
        wish: &Wish<'_>,
        entry: Option<&LedgerEntry>,
        directory: &Path,
        target: &Target,
    ) -> bool {
        let Some(entry) = entry else { return false };
        entry.mode == wish.mode
            && entry.identity.same_content(wish.source)
            && self.writes_the_same(entry.interpreter, wish.compiler)
            && is_in_place(entry, &self.root.on_disk(directory), target)
    }

    fn is_still_refused(&self, wish: &Wish<'_>, failure: &FailureEntry) -> bool {
        failure.refused
            && failure.identity.same_content(wish.source)
            && self.writes_the_same(failure.interpreter, wish.compiler)
    }

    /// Whether the interpreter of this number is the same one, or writes the same bytecode.
    fn writes_the_same(&self, id: InterpreterId, compiler: &Compiler) -> bool {
        let dialect = compiler.interpreter.dialect;
        id == compiler.id
            || self
                .known
                .iter()
                .any(|known| known.id == id && known.interpreter.dialect == dialect)
    }
}

/// One source, one compiler.
struct Wish<'a> {
    compiler: &'a Compiler,
    mode: Invalidation,
    source: &'a Identity,
}

/// Whether the pyc that was published still stands where it was put.
pub(super) fn is_in_place(entry: &LedgerEntry, directory: &Path, target: &Target) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(directory.join(DIRECTORY).join(target.name())) else {
        return false;
    };
    let found = Identity::of_metadata(&metadata);
    metadata.is_file()
        && (found.inode, found.size, found.mtime) == (entry.pyc.inode, entry.pyc.size, entry.pyc.mtime)
}

/// Whether this is what an interrupted writer left of the bytecode of a source that is there.
fn is_leftover(name: &std::ffi::OsStr, listing: &Listing) -> bool {
    Remnant::parse(name)
        .is_some_and(|remnant| remnant.is_leftover() && listing.sources.contains_key(&remnant.source()))
}

/// A message about a source, as compilers give them: `PATH:LINE: MESSAGE` where it has a line.
#[must_use]
pub fn located(path: &Path, message: &str) -> String {
    let has_line = message
        .split_once(": ")
        .is_some_and(|(line, _)| line.bytes().all(|b| b.is_ascii_digit()));
    format!("{}:{}{message}", Escaped(path), if has_line { "" } else { " " })
}

type ByDirectory<'a> = BTreeMap<(&'a Path, Option<&'a str>), Vec<OsString>>;

fn by_directory(files: &[(PathBuf, Option<String>)]) -> ByDirectory<'_> {
    let mut groups = ByDirectory::new();
    for (path, owner) in files {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            groups
                .entry((directory, owner.as_deref()))
                .or_default()
                .push(name.to_owned());
        }
    }
    groups
}
