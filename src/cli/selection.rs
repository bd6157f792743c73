//! From words to a request: PATHs, packages, interpreters.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use crate::config::Settings;
use crate::debian::{packages, pythons};
use crate::disk::{Quoted, cause};
use crate::python::pattern::Pattern;
use crate::python::pycache::Remnant;
use crate::root::Root;
use crate::txn::compilers::Compiler;
use crate::txn::intent::{Hash, InterpreterId};
use crate::txn::journal::{Journal, JournalError};
use crate::txn::plan::{Plan, Planner, Request, Wishes};
use crate::txn::tree;

use super::args::{Compiling, Selection};

/// A request, and what of the words could not be made part of it.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) request: Request,
    pub(super) problems: Vec<String>,
}

impl Selected {
    /// What PATHs and packages mean; without any, the public module directories.
    pub(super) fn of(root: &Root, selection: &Selection, journal: Option<&Journal>) -> Result<Self> {
        let mut selected = Self::default();
        if selection.is_empty() {
            selected.request.trees = pythons::public_directories(root);
        }
        for path in &selection.paths {
            if let Err(error) = selected.add_path(root, path, journal) {
                selected.problems.push(error.to_string());
            }
        }
        for package in &selection.packages {
            match packages::public_sources(root, package) {
                Ok(sources) => {
                    let owned = sources.into_iter().map(|path| (path, Some(package.clone())));
                    selected.request.files.extend(owned);
                }
                Err(error) => selected.problems.push(error.to_string()),
            }
        }
        Ok(selected)
    }

    fn add_path(&mut self, root: &Root, path: &Path, journal: Option<&Journal>) -> Result<()> {
        let located =
            root.locate(path).map_err(|error| anyhow!("cannot open {}: {}", Quoted(path), cause(&error)))?;
        let on_disk = root.on_disk(&located);
        if on_disk.is_dir() {
            self.request.trees.push(located);
        } else if !tree::is_source_name(located.file_name().unwrap_or_default()) && on_disk.exists() {
            bail!("{} is no Python source and no directory", Quoted(path));
        } else if on_disk.symlink_metadata().is_ok() || is_known(journal, &located)? {
            // A source, or one that the ledger knows: of the latter the bytecode is to go.
            self.request.files.push((located.clone(), None));
            self.request.trees.extend((!on_disk.exists()).then_some(located));
        } else {
            bail!("cannot open {}: No such file or directory", Quoted(path));
        }
        Ok(())
    }
}

/// Whether the ledger has something of this path or below it.
fn is_known(journal: Option<&Journal>, path: &Path) -> Result<bool> {
    let Some(journal) = journal else { return Ok(false) };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(false);
    };
    let is_published =
        |target: &OsString| Remnant::parse(target).is_some_and(|target| target.source() == name);
    Ok(journal.shelf(directory)?.published.keys().any(is_published)
        || !journal.published_below(path)?.is_empty())
}

/// The executables that are asked for; by default Debian's supported versions.
pub(super) fn executables(root: &Root, named: &[String]) -> Result<Vec<PathBuf>> {
    if named.is_empty() {
        return Ok(pythons::supported(root));
    }
    named.iter().map(|name| executable(root, name)).collect()
}

/// The interpreters that are asked for, as `resolve` knows them. One that nobody named and that does not answer, while
/// its package is half installed, is a problem and no reason to do nothing for the others.
pub(super) fn compilers(
    root: &Root,
    named: &[String],
    problems: &mut Vec<String>,
    mut resolve: impl FnMut(&Path) -> Result<Compiler>,
) -> Result<Vec<Compiler>> {
    let mut compilers = Vec::new();
    for path in executables(root, named)? {
        match resolve(&path) {
            Ok(compiler) => compilers.push(compiler),
            Err(error) if named.is_empty() && !error.is::<JournalError>() => {
                problems.push(format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(compilers)
}

fn executable(root: &Root, name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let version = pythons::version(name).filter(|_| !name.starts_with("python"));
    if let Some(path) = version.and_then(|version| pythons::executable(root, version)) {
        return Ok(path);
    }
    let program = if version.is_some() { format!("python{name}") } else { name.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(&program)).find(|path| path.exists());
    found.ok_or_else(|| anyhow!("no interpreter '{name}' is installed"))
}

/// Directories whose bytecode is kept right, where there is any, but never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Those of the standard libraries: their packages decide what is compiled.
    StandardLibrary,
    /// None: the paths that were named are meant, whatever they are.
    Nothing,
}

impl Guard {
    fn has(self, directory: &Path) -> bool {
        self == Self::StandardLibrary && pythons::is_standard_library(directory)
    }
}

/// The plan for a request.
pub(super) fn plan(
    planner: &Planner<'_>,
    settings: &Settings,
    request: &Request,
    (compiling, guard): (&Compiling, Guard),
    compilers: &[Compiler],
) -> Result<Plan> {
    with_wishes(settings, (compiling, guard), compilers, |wishes| {
        let mut wishes = *wishes;
        // Seals of a library say that what is guarded is right; that is less than what is meant here.
        if guard == Guard::Nothing && request.trees.iter().any(|tree| pythons::is_standard_library(tree)) {
            wishes.terms = None;
        }
        planner.plan(request, &wishes)
    })
}

/// How sources are to be compiled: with the interpreters that were named, or the supported ones where they fit.
pub(super) fn with_wishes<T>(
    settings: &Settings,
    (compiling, guard): (&Compiling, Guard),
    compilers: &[Compiler],
    work: impl FnOnce(&Wishes<'_>) -> T,
) -> T {
    let is_explicit = !compiling.python.is_empty();
    let fitting = |directory: &Path| {
        let only = if is_explicit { None } else { pythons::version_of(directory) };
        let fits =
            |compiler: &&Compiler| only.is_none_or(|only| compiler.interpreter.dialect.version == only);
        compilers.iter().filter(fits).cloned().collect()
    };
    let admits = |directory: &Path, source: &OsStr, _: &Compiler| is_admitted(settings, directory, source);
    let wishes = Wishes {
        compilers: &fitting,
        is_guarded: &|directory| guard.has(directory),
        admits: &admits,
        levels: &settings.optimize,
        mode: settings.invalidation,
        force: compiling.force,
        terms: Some(terms(settings, is_explicit, compilers)),
    };
    work(&wishes)
}

/// What tells these wishes from those with other settings or other interpreters.
fn terms(settings: &Settings, is_explicit: bool, compilers: &[Compiler]) -> Hash {
    let Settings { optimize, invalidation, exclude, .. } = settings;
    let exclude: Vec<&str> = exclude.iter().map(Pattern::text).collect();
    let words = format!("{is_explicit} {compilers:?} {optimize:?} {invalidation:?} {exclude:?}");
    *blake3::hash(words.as_bytes()).as_bytes()
}

/// The interpreters of `known` that were Debian's and are not installed any more, where no other one uses their
/// bytecode. One that somebody keeps elsewhere may just be out of reach.
pub(super) fn gone(root: &Root, known: &[Compiler]) -> Vec<InterpreterId> {
    let is_debians = |compiler: &&Compiler| {
        let path = pythons::path(compiler.interpreter.dialect.version);
        [root.on_disk(&path), path].contains(&compiler.interpreter.path)
    };
    let is_used = |tag: &str| {
        known.iter().any(|other| other.interpreter.cache_tag == tag && other.interpreter.path.exists())
    };
    let gone = known.iter().filter(is_debians).filter(|compiler| !is_used(&compiler.interpreter.cache_tag));
    gone.map(|compiler| compiler.id).collect()
}

/// Whether the settings leave a source in.
pub(super) fn is_admitted(settings: &Settings, directory: &Path, source: &OsStr) -> bool {
    settings.exclude.is_empty() || {
        let path = directory.join(source);
        !settings.exclude.iter().any(|pattern| pattern.occurs_in(&path))
    }
}
