//! Which sources are wanted, and by which versions of Python.
//!
//! Owns how the rules come together: `exclude` of the settings, the lists of packages (bcep), `-V` and `-X` of a
//! package for its private modules, and directories that are for one version. Every command asks these rules, so that
//! none makes what another one leaves out. They are about paths without the root's prefix, both as they are named and
//! with symlinks resolved.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::debian::excludes::Excludes;
use crate::debian::pythons::{self, Version};
use crate::python::pattern::Pattern;
use crate::root::{Located, Root};
use crate::txn::compilers::Compiler;
use crate::txn::intent::Hash;
use crate::txn::plan::Wishes;

use super::newer;

/// The only version that the modules of a directory are for, if there is such.
pub(super) type Only = fn(&Path) -> Option<Version>;

/// The rules.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    excludes: Excludes,
    only: Only,
    /// The names of directories that were reached through symlinks, by where they are.
    names: HashMap<PathBuf, PathBuf>,
    calls: Vec<Call>,
    /// Which calls are about a source.
    by_source: HashMap<PathBuf, Vec<usize>>,
}

/// A call of `py3compile` by which a package asks for private modules.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The modules, where they are.
    pub(super) sources: Vec<PathBuf>,
    /// The versions that compile them.
    pub(super) versions: Vec<Version>,
    /// Those of the modules that are left out.
    pub(super) excludes: Excludes,
}

/// What else a command says of how to compile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    /// Whether the interpreters were named: then they compile everything.
    pub(super) is_explicit: bool,
    /// Whether to compile also what is current.
    pub(super) force: bool,
    /// The trees that may be sealed, if any.
    pub(super) sealable: Option<&'a [PathBuf]>,
    /// Where nothing is made that is not there.
    pub(super) guard: Guard,
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

impl Rules {
    /// The rules that hold for all sources; what is wrong with a package's list is described in `problems`, if given.
    pub(super) fn of(root: &Root, only: Only, problems: Option<&mut Vec<String>>) -> Self {
        let excludes = Excludes::of_packages(root, problems);
        Self { excludes, only, names: HashMap::new(), calls: Vec::new(), by_source: HashMap::new() }
    }

    /// Adds that `pattern` is left out below `directory`.
    pub(super) fn leave_out(&mut self, directory: &Path, pattern: Pattern) {
        self.excludes.add(directory, pattern);
    }

    /// Notes by which name a directory or a file was reached.
    pub(super) fn add_name(&mut self, located: &Located) {
        if located.named != located.path {
            self.names.entry(located.path.clone()).or_insert_with(|| located.named.clone());
        }
    }

    /// Notes by which names the directories of these sources were reached.
    pub(super) fn add_names_of<'a>(&mut self, sources: impl IntoIterator<Item = &'a Located>) {
        for Located { named, path } in sources {
            if let (Some(named), Some(path)) = (named.parent(), path.parent())
                && named != path
                && !self.names.contains_key(path)
            {
                self.names.insert(path.to_owned(), named.to_owned());
            }
        }
    }

    /// Adds a call.
    pub(super) fn add_call(&mut self, call: Call) {
        for source in &call.sources {
            self.by_source.entry(source.clone()).or_default().push(self.calls.len());
        }
        self.calls.push(call);
    }

    /// Does `work` with how sources are to be compiled: by those of `compilers` that fit.
    pub(super) fn with_wishes<T>(
        &self,
        settings: &Settings,
        compilers: &[Compiler],
        manner: Manner<'_>,
        work: impl FnOnce(&Wishes<'_>) -> T,
    ) -> T {
        let compilers = &newer::without(compilers)[..];
        let fitting = |directory: &Path| {
            let only = if manner.is_explicit { None } else { self.only(directory) };
            let fits =
                |compiler: &&Compiler| only.is_none_or(|only| compiler.interpreter.dialect.version == only);
            compilers.iter().filter(fits).cloned().collect()
        };
        let admits = |directory: &Path, source: &OsStr, compiler: &Compiler| {
            let version = compiler.interpreter.dialect.version;
            self.admits(settings, (directory, source), version, manner.is_explicit)
        };
        let wishes = Wishes {
            compilers: &fitting,
            is_guarded: &|directory| manner.guard.has(directory),
            admits: &admits,
            levels: &settings.optimize,
            mode: settings.invalidation,
            force: manner.force,
            terms: manner.sealable.map(|trees| self.terms(settings, compilers, manner.is_explicit, trees)),
        };
        work(&wishes)
    }

    /// The only version that a directory's modules are for. A directory that is none of Python's own has the version of
    /// the one that leads to it.
    fn only(&self, directory: &Path) -> Option<Version> {
        let by_name = || self.named(directory).and_then(|named| (self.only)(&named));
        (self.only)(directory).or_else(|| pythons::home(directory).map_or_else(by_name, |_| None))
    }

    /// Whether a version of Python is to compile a source.
    fn admits(
        &self,
        settings: &Settings,
        (directory, source): (&Path, &OsStr),
        version: Version,
        is_explicit: bool,
    ) -> bool {
        if settings.exclude.is_empty() && self.excludes.is_empty() && self.calls.is_empty() {
            return true;
        }
        let path = directory.join(source);
        let named = self.named(&path);
        let is_any = |holds: &dyn Fn(&Path) -> bool| holds(&path) || named.as_deref().is_some_and(holds);
        let wants = |call: &Call| {
            (is_explicit || call.versions.contains(&version))
                && !is_any(&|path| call.excludes.has(path, version))
        };
        let calls = self.by_source.get(&path);
        !is_any(&|path| settings.exclude.iter().any(|pattern| pattern.occurs_in(path)))
            && !is_any(&|path| self.excludes.has(path, version))
            && calls.is_none_or(|calls| calls.iter().any(|&call| wants(&self.calls[call])))
    }

    /// The name by which a path was reached, if it is another one.
    fn named(&self, path: &Path) -> Option<PathBuf> {
        if self.names.is_empty() {
            return None;
        }
        let (above, name) = path.ancestors().find_map(|above| Some((above, self.names.get(above)?)))?;
        let below = path.strip_prefix(above).ok()?;
        Some(if below.as_os_str().is_empty() { name.clone() } else { name.join(below) })
    }

    /// What tells the wishes for these trees from those with other settings, interpreters or rules.
    fn terms(
        &self,
        settings: &Settings,
        compilers: &[Compiler],
        is_explicit: bool,
        trees: &[PathBuf],
    ) -> Hash {
        let Settings { optimize, invalidation, exclude, .. } = settings;
        let exclude: Vec<&str> = exclude.iter().map(Pattern::text).collect();
        // Of thousands of private modules almost none is in a tree: their bytes say so in less time than their parts.
        let begins = |path: &Path, tree: &Path| {
            path.as_os_str().as_bytes().starts_with(tree.as_os_str().as_bytes()) && path.starts_with(tree)
        };
        let is_in_trees = |path: &Path| trees.iter().any(|tree| begins(path, tree));
        let mut names: Vec<_> = self.names.iter().filter(|(path, _)| is_in_trees(path)).collect();
        names.sort_unstable();
        let calls = self.calls.iter().filter(|call| call.sources.iter().any(|source| is_in_trees(source)));
        let calls: Vec<&Call> = calls.collect();
        let words = format!(
            "{is_explicit} {compilers:?} {optimize:?} {invalidation:?} {exclude:?} {:?} {names:?} {calls:?}",
            self.excludes
        );
        *blake3::hash(words.as_bytes()).as_bytes()
    }
}
