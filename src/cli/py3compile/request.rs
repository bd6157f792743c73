//! What a command line of `py3compile` asks for: which sources, for which versions, and what is left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::debian::excludes::Excludes;
use crate::debian::packages;
use crate::debian::pythons::{self, Home, Version};
use crate::debian::versions;
use crate::disk::{Quoted, cause};
use crate::txn::compilers::{self, Compiler};
use crate::txn::journal::Journal;
use crate::txn::plan::{self, Plan, Planner, Wishes};
use crate::txn::tree;

use super::super::selection;
use super::super::session::Run;
use super::Arguments;

/// What is asked for.
pub(super) struct Request {
    parts: Vec<Part>,
    versions: Vec<Version>,
    force: bool,
    /// What could not be done, and is no reason to fail.
    pub(super) warnings: Vec<String>,
    problems: Vec<String>,
}

/// Sources that one set of rules holds for.
#[derive(Default)]
struct Part {
    request: plan::Request,
    excludes: Excludes,
    /// A directory as it was named, and where its symlinks lead: rules are about the former.
    named: Option<(PathBuf, PathBuf)>,
}

impl Request {
    /// What `arguments` ask for, of the installed `versions`.
    pub(super) fn of(run: &Run<'_>, arguments: &Arguments, versions: Vec<Version>) -> Self {
        let (force, warnings) = (arguments.force, Vec::new());
        let mut request = Self { parts: Vec::new(), versions, force, warnings, problems: Vec::new() };
        match &arguments.package {
            Some(package) => request.add_package(run, arguments, package),
            None => arguments.paths.iter().for_each(|path| request.add_path(run, arguments, path)),
        }
        request
    }

    fn add_package(&mut self, run: &Run<'_>, arguments: &Arguments, package: &str) {
        let root = &run.config.root;
        let sources = match packages::sources(root, package) {
            Ok(sources) => sources,
            Err(error) => return self.problems.push(error.to_string()),
        };
        let owned = |path: &PathBuf| (path.clone(), Some(package.to_owned()));
        if arguments.paths.is_empty() {
            let files = sources.iter().filter(|path| pythons::is_public(path)).map(owned).collect();
            let excludes = Excludes::of_packages(root, &mut self.warnings);
            let request = plan::Request { files, ..plan::Request::default() };
            self.parts.push(Part { request, excludes, named: None });
            return;
        }
        // Private modules run with one Python only.
        self.versions = versions::preferred(root, &self.versions).into_iter().collect();
        for path in &arguments.paths {
            let inside = match path.strip_prefix(root.path()) {
                Ok(below) if !root.is_host() => Path::new("/").join(below),
                // As it was typed: with a slash at its end it is the beginning of fewer paths.
                _ => path.clone(),
            };
            if !root.on_disk(&inside).exists() {
                self.warnings.push(format!("no such file or directory: {}", Quoted(path)));
                continue;
            }
            let begins =
                |source: &&PathBuf| source.as_os_str().as_bytes().starts_with(inside.as_os_str().as_bytes());
            let files = sources.iter().filter(begins).map(owned).collect();
            let excludes = self.excludes(run, arguments, &inside);
            let request = plan::Request { files, ..plan::Request::default() };
            self.parts.push(Part { request, excludes, named: None });
        }
    }

    fn add_path(&mut self, run: &Run<'_>, arguments: &Arguments, path: &Path) {
        let root = &run.config.root;
        let failed = |error: std::io::Error| format!("cannot open {}: {}", Quoted(path), cause(&error));
        let located = root.locate(path).and_then(|located| Ok((std::path::absolute(path)?, located)));
        let (named, located) = match located {
            Ok(both) => both,
            Err(error) => return self.problems.push(failed(error)),
        };
        let on_disk = root.on_disk(&located);
        let mut request = plan::Request::default();
        if on_disk.is_dir() {
            request.trees.push(located.clone());
        } else if on_disk.symlink_metadata().is_err() {
            return self.warnings.push(format!("no such file or directory: {}", Quoted(path)));
        } else if tree::is_source_name(located.file_name().unwrap_or_default()) {
            request.files.push((located.clone(), None));
        }
        let named = match named.strip_prefix(root.path()) {
            Ok(inside) => Path::new("/").join(inside),
            Err(_) => named,
        };
        let excludes = self.excludes(run, arguments, &named);
        self.parts.push(Part { request, excludes, named: Some((named, located)) });
    }

    /// The rules for what is below `directory`.
    fn excludes(&mut self, run: &Run<'_>, arguments: &Arguments, directory: &Path) -> Excludes {
        let warnings = if self.parts.is_empty() { &mut self.warnings } else { &mut Vec::new() };
        let mut excludes = Excludes::of_packages(&run.config.root, warnings);
        arguments.exclude.iter().for_each(|pattern| excludes.add(directory, pattern.clone()));
        excludes
    }

    /// The plan for it, with interpreters resolved and remembered.
    pub(super) fn plan(&self, run: &Run<'_>, journal: &mut Journal) -> Result<Plan> {
        let root = &run.config.root;
        let mut compilers = Vec::new();
        for path in self.versions.iter().filter_map(|&version| pythons::executable(root, version)) {
            compilers.push(compilers::resolve_or_remember(journal, &path, run.interrupt)?);
        }
        let known = compilers::known(journal)?;
        let planner = Planner { root, journal: Some(journal), known: &known, taker: None };
        let mut plan = Plan { problems: self.problems.clone(), ..Plan::default() };
        for part in &self.parts {
            plan.append(self.plan_part(run, &planner, part, &compilers)?);
        }
        Ok(plan)
    }

    fn plan_part(
        &self,
        run: &Run<'_>,
        planner: &Planner<'_>,
        part: &Part,
        compilers: &[Compiler],
    ) -> Result<Plan> {
        let settings = &run.config.settings;
        let fitting = |directory: &Path| {
            let only = match pythons::home(directory) {
                Some(Home::Of(version)) => Some(version),
                _ => None,
            };
            let fits =
                |compiler: &&Compiler| only.is_none_or(|only| compiler.interpreter.dialect.version == only);
            compilers.iter().filter(fits).cloned().collect()
        };
        let admits = |directory: &Path, source: &OsStr, compiler: &Compiler| {
            selection::is_admitted(settings, directory, source)
                && !part.leaves_out(directory, source, compiler.interpreter.dialect.version)
        };
        let wishes = Wishes {
            is_guarded: &|_| false,
            compilers: &fitting,
            admits: &admits,
            levels: &settings.optimize,
            mode: settings.invalidation,
            force: self.force,
            terms: None,
        };
        planner.plan(&part.request, &wishes)
    }
}

impl Part {
    fn leaves_out(&self, directory: &Path, source: &OsStr, version: Version) -> bool {
        if self.excludes.is_empty() {
            return false;
        }
        let path = directory.join(source);
        let as_named = self.named.as_ref().and_then(|(named, located)| {
            let below = path.strip_prefix(located).ok()?;
            Some(if below.as_os_str().is_empty() { named.clone() } else { named.join(below) })
        });
        self.excludes.has(as_named.as_deref().unwrap_or(&path), version)
    }
}
