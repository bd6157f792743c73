//! What a command line of `py3compile` asks for: which sources, for which versions, and what is left out.

use std::path::Path;

use anyhow::Result;

use crate::debian::packages;
use crate::debian::pythons::{self, Home, Version};
use crate::debian::versions::Installed;
use crate::disk::Quoted;
use crate::python::pool::Interrupted;
use crate::root::{Located, Resolver};
use crate::txn::compilers::{self, Compiler};
use crate::txn::journal::{Journal, JournalError};
use crate::txn::plan::{self, Plan, Planner, Wishes};
use crate::txn::tree;

use super::super::newer;
use super::super::rules::{Guard, Manner, Rules};
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
struct Part {
    request: plan::Request,
    rules: Rules,
}

impl Request {
    /// What `arguments` ask for, of the `installed` versions these.
    pub(super) fn of(
        run: &Run<'_>,
        arguments: &Arguments,
        (installed, versions): (&Installed<'_>, Vec<Version>),
    ) -> Self {
        let (force, mut warnings) = (arguments.force, Vec::new());
        let rules = Rules::of(&run.config.root, version_of, Some(&mut warnings));
        let mut request = Self { parts: Vec::new(), versions, force, warnings, problems: Vec::new() };
        match &arguments.package {
            Some(package) => request.add_package(run, arguments, package, &rules),
            None => arguments.paths.iter().for_each(|path| request.add_path(run, arguments, path, &rules)),
        }
        if arguments.package.is_some() && !arguments.paths.is_empty() {
            // Private modules run with one Python only.
            request.versions = installed.preferred(&request.versions).into_iter().collect();
        }
        request
    }

    fn add_package(&mut self, run: &Run<'_>, arguments: &Arguments, package: &str, rules: &Rules) {
        let root = &run.config.root;
        let sources = match packages::sources(root, package) {
            Ok(sources) => sources,
            Err(error) => return self.problems.push(error.to_string()),
        };
        if arguments.paths.is_empty() {
            let public = sources.iter().filter(|source| pythons::is_public(&source.named));
            return self.add_part(package, public.collect(), rules.clone());
        }
        for path in &arguments.paths {
            // As it was typed: with a slash at its end it is the beginning of fewer paths.
            let named = if path.starts_with(root.path()) { root.inside(path) } else { path.clone() };
            let directory = Located { path: Resolver::new(root).directory(&named), named };
            if !root.on_disk(&directory.path).exists() {
                self.warnings.push(format!("no such file or directory: {}", Quoted(path)));
                continue;
            }
            let below = packages::below(&sources, &directory).collect();
            self.add_part(package, below, with_patterns(rules, arguments, &directory.named));
        }
    }

    fn add_part(&mut self, package: &str, sources: Vec<&Located>, mut rules: Rules) {
        rules.add_names_of(sources.iter().copied());
        let files = sources.into_iter().map(|source| (source.path.clone(), Some(package.to_owned())));
        let request = plan::Request { files: files.collect(), ..plan::Request::default() };
        self.parts.push(Part { request, rules });
    }

    fn add_path(&mut self, run: &Run<'_>, arguments: &Arguments, path: &Path, rules: &Rules) {
        let root = &run.config.root;
        let located = match selection::locate(root, path) {
            Ok(located) => located,
            Err(error) => return self.problems.push(error.to_string()),
        };
        let on_disk = root.on_disk(&located.path);
        let mut request = plan::Request::default();
        if on_disk.is_dir() {
            request.trees.push(located.path.clone());
        } else if on_disk.symlink_metadata().is_err() {
            return self.warnings.push(format!("no such file or directory: {}", Quoted(path)));
        } else if tree::is_source_name(located.path.file_name().unwrap_or_default()) {
            request.files.push((located.path.clone(), None));
        }
        let mut rules = with_patterns(rules, arguments, &located.named);
        rules.add_name(&located);
        self.parts.push(Part { request, rules });
    }

    /// The plan for it, with interpreters resolved and remembered. `newer` are then those that are newer than this
    /// program, for which nothing is planned.
    pub(super) fn plan(
        &self,
        run: &Run<'_>,
        journal: &mut Journal,
        newer: &mut Vec<Compiler>,
    ) -> Result<Plan> {
        let root = &run.config.root;
        let mut plan = Plan { problems: self.problems.clone(), ..Plan::default() };
        let resolved = self.compilers(run, journal, &mut plan.problems)?;
        *newer = newer::among(&resolved);
        let compilers = newer::without(&resolved);
        let known = compilers::known(journal)?;
        let planner = Planner { root, journal: Some(journal), known: &known, taker: None };
        for part in &self.parts {
            plan.append(self.plan_part(run, &planner, part, &compilers)?);
        }
        Ok(plan)
    }

    /// The interpreters of the versions. One that cannot be used is a problem, unless it is the only one.
    fn compilers(
        &self,
        run: &Run<'_>,
        journal: &mut Journal,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Compiler>> {
        let (mut compilers, mut failures) = (Vec::new(), Vec::new());
        for &version in &self.versions {
            let Some(path) = pythons::executable(&run.config.root, version) else { continue };
            match compilers::resolve_or_remember(journal, &path, run.interrupt) {
                Ok(compiler) => compilers.push(compiler),
                Err(error) if error.is::<JournalError>() || error.is::<Interrupted>() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        if compilers.is_empty() && !failures.is_empty() {
            return Err(failures.swap_remove(0));
        }
        problems.extend(failures.iter().map(|error| format!("{error:#}")));
        Ok(compilers)
    }

    fn plan_part(
        &self,
        run: &Run<'_>,
        planner: &Planner<'_>,
        part: &Part,
        compilers: &[Compiler],
    ) -> Result<Plan> {
        let guard = Guard::Nothing;
        let manner = Manner { is_explicit: false, force: self.force, sealable: None, guard };
        let work = |wishes: &Wishes<'_>| planner.plan(&part.request, wishes);
        part.rules.with_wishes(&run.config.settings, compilers, manner, work)
    }
}

/// The rules with `-X` for what is below `directory`.
fn with_patterns(rules: &Rules, arguments: &Arguments, directory: &Path) -> Rules {
    let mut rules = rules.clone();
    arguments.exclude.iter().for_each(|pattern| rules.leave_out(directory, pattern.clone()));
    rules
}

/// The only version that the public modules in a directory are for. Its own modules are for every version that is asked
/// for.
fn version_of(directory: &Path) -> Option<Version> {
    match pythons::home(directory) {
        Some(Home::Of(version)) => Some(version),
        _ => None,
    }
}
