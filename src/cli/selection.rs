//! From words to a request: PATHs, packages, interpreters.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use crate::config::Settings;
use crate::debian::{packages, pythons, scripts};
use crate::disk::{Quoted, cause};
use crate::python::pool::Interrupted;
use crate::python::pycache::Remnant;
use crate::root::{Located, Resolver, Root};
use crate::txn::compilers::Compiler;
use crate::txn::intent::InterpreterId;
use crate::txn::journal::{Journal, JournalError};
use crate::txn::plan::{Request, Wishes};
use crate::txn::tree;

use super::args::{Compiling, Selection};
use super::private::{self, Private};
use super::rules::{Guard, Manner, Rules};

/// A request, the rules for it, and what of the words could not be made part of it.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) request: Request,
    pub(super) rules: Rules,
    /// Where nothing is to be made that is not there.
    pub(super) guard: Guard,
    pub(super) problems: Vec<String>,
}

impl Selected {
    /// What PATHs and packages mean; without any, the public module directories and what packages say in their scripts
    /// of their private ones.
    pub(super) fn of(root: &Root, selection: &Selection, journal: Option<&Journal>) -> Result<Self> {
        // It is `py3compile` that says what is wrong with a package's list.
        let rules = Rules::of(root, pythons::version_of, None);
        let guard = if selection.is_empty() { Guard::StandardLibrary } else { Guard::Nothing };
        let mut selected = Self { request: Request::default(), rules, guard, problems: Vec::new() };
        if selection.is_empty() {
            selected.add_trees(root, pythons::public_directories(root));
            let private = private::asked_for(root, &scripts::calls(root), |_| true);
            private.into_iter().for_each(|private| selected.add_private(private));
        }
        for path in &selection.paths {
            if let Err(error) = selected.add_path(root, path, journal) {
                selected.problems.push(error.to_string());
            }
        }
        if !selection.paths.is_empty() {
            selected.add_rules_of_packages(root);
        }
        for package in &selection.packages {
            if let Err(error) = selected.add_package(root, package) {
                selected.problems.push(error.to_string());
            }
        }
        Ok(selected)
    }

    /// Adds those of these directories that are there, each once.
    pub(super) fn add_trees(&mut self, root: &Root, directories: Vec<PathBuf>) {
        let mut resolver = Resolver::new(root);
        for named in directories {
            let path = resolver.directory(&named);
            let located = Located { named, path };
            if root.on_disk(&located.path).is_dir() {
                self.rules.add_name(&located);
                if !self.request.trees.contains(&located.path) {
                    self.request.trees.push(located.path);
                }
            }
        }
    }

    fn add_path(&mut self, root: &Root, path: &Path, journal: Option<&Journal>) -> Result<()> {
        let located = locate(root, path)?;
        let on_disk = root.on_disk(&located.path);
        self.rules.add_name(&located);
        let located = located.path;
        let seen = on_disk.symlink_metadata();
        if on_disk.is_dir() {
            self.request.trees.push(located);
        } else if !tree::is_source_name(located.file_name().unwrap_or_default()) && on_disk.exists() {
            bail!("{} is no Python source and no directory", Quoted(path));
        } else if seen.is_ok() || is_known(journal, &located)? {
            // A source, or one that the ledger knows: of the latter the bytecode is to go.
            self.request.files.push((located.clone(), None));
            self.request.trees.extend((!on_disk.exists()).then_some(located));
        } else if let Err(error) = seen {
            bail!("cannot open {}: {}", Quoted(path), cause(&error));
        }
        Ok(())
    }

    /// Adds what packages say of their private modules in the PATHs that were added.
    fn add_rules_of_packages(&mut self, root: &Root) {
        let Request { trees, files } = &self.request;
        let is_meant = |directory: &Path| {
            let mut paths = trees.iter().chain(files.iter().map(|(path, _)| path));
            paths.any(|path| path.starts_with(directory) || directory.starts_with(path))
        };
        for private in private::asked_for(root, &scripts::calls(root), is_meant) {
            self.rules.add_names_of(&private.sources);
            self.rules.add_call(private.call);
        }
    }

    /// Adds the public modules of a package, and the private ones for which its script asks.
    fn add_package(&mut self, root: &Root, package: &str) -> Result<()> {
        let mut sources = packages::sources(root, package)?;
        sources.retain(|source| pythons::is_public(&source.named));
        self.add_files(package, &sources);
        let private = private::asked_for(root, &scripts::calls_of(root, package), |_| true);
        private.into_iter().for_each(|private| self.add_private(private));
        Ok(())
    }

    /// Does `work` with how these sources are to be compiled: with the interpreters that were named, or the supported
    /// ones where they fit.
    pub(super) fn with_wishes<T>(
        &self,
        settings: &Settings,
        compiling: &Compiling,
        compilers: &[Compiler],
        work: impl FnOnce(&Wishes<'_>) -> T,
    ) -> T {
        let Self { guard, request, .. } = self;
        let trees = &request.trees;
        // Seals of a library say that what is guarded is right; that is less than what is meant where it is named.
        let is_meant = |tree: &PathBuf| *guard == Guard::Nothing && pythons::is_standard_library(tree);
        let sealable = (!trees.iter().any(is_meant)).then_some(trees.as_slice());
        let (is_explicit, force) = (!compiling.python.is_empty(), compiling.force);
        let manner = Manner { is_explicit, force, sealable, guard: *guard };
        self.rules.with_wishes(settings, compilers, manner, work)
    }

    fn add_private(&mut self, private: Private) {
        self.add_files(&private.package, &private.sources);
        self.rules.add_call(private.call);
    }

    fn add_files(&mut self, package: &str, sources: &[Located]) {
        self.rules.add_names_of(sources);
        let owned = sources.iter().map(|source| (source.path.clone(), Some(package.to_owned())));
        self.request.files.extend(owned);
    }
}

/// A path as it was typed, and where it is.
pub(super) fn locate(root: &Root, path: &Path) -> Result<Located> {
    let located =
        root.locate(path).and_then(|located| Ok((root.inside(&std::path::absolute(path)?), located)));
    match located {
        Ok((named, path)) => Ok(Located { named, path }),
        Err(error) => bail!("cannot open {}: {}", Quoted(path), cause(&error)),
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

/// The interpreters that are asked for, as `resolve` knows them. One that does not answer, while its package is half
/// installed, is a problem and no reason to do nothing for the others.
///
/// # Errors
/// None of those that were named can be used; the journal cannot be used; [`Interrupted`].
pub(super) fn compilers(
    root: &Root,
    named: &[String],
    problems: &mut Vec<String>,
    mut resolve: impl FnMut(&Path) -> Result<Compiler>,
) -> Result<Vec<Compiler>> {
    let paths: Vec<Result<PathBuf>> = match named {
        [] => pythons::supported(root).into_iter().map(Ok).collect(),
        named => named.iter().map(|name| executable(root, name)).collect(),
    };
    let (mut compilers, mut failures) = (Vec::new(), Vec::new());
    for path in paths {
        match path.and_then(|path| resolve(&path)) {
            Ok(compiler) => compilers.push(compiler),
            Err(error) if error.is::<JournalError>() || error.is::<Interrupted>() => return Err(error),
            Err(error) => failures.push(error),
        }
    }
    if compilers.is_empty() && !named.is_empty() {
        let error = failures.into_iter().next();
        return Err(error.unwrap_or_else(|| anyhow!("no interpreter is named")));
    }
    problems.extend(failures.iter().map(|error| format!("{error:#}")));
    Ok(compilers)
}

/// The executable that is meant with `name`: a path, a version, or the name of a program.
pub(super) fn executable(root: &Root, name: &str) -> Result<PathBuf> {
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
