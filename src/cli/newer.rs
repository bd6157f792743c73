//! Pythons that are newer than this program, which does not know their bytecode: the original `py3compile` makes it.
//!
//! Owns how the original is called for them. It compiles at once, skips what is up to date, and is no part of a
//! transaction; it finds interpreters and packages of this system only, not of another root.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::debian::dpkg;
use crate::debian::pythons::{self, Version};
use crate::disk::{Quoted, cause};
use crate::python::interpreter::{UNKNOWN_FORMAT, unusable};
use crate::root::Root;
use crate::txn::compilers::Compiler;

use super::args::{Compiling, Selection};
use super::original::Call;
use super::session::Run;
use super::{Status, py3compile};

/// The interpreters whose bytecode this program knows.
pub(super) fn without(compilers: &[Compiler]) -> Vec<Compiler> {
    compilers.iter().filter(|compiler| compiler.interpreter.format().is_some()).cloned().collect()
}

/// The interpreters whose bytecode this program does not know.
pub(super) fn among(compilers: &[Compiler]) -> Vec<Compiler> {
    compilers.iter().filter(|compiler| compiler.interpreter.format().is_none()).cloned().collect()
}

/// The message that nothing makes the bytecode of a Python.
pub(super) fn complaint(compiler: &Compiler) -> String {
    unusable(&compiler.interpreter.path, UNKNOWN_FORMAT)
}

/// Calls the original for each of `newer`, with the paths and packages of a commit.
pub(super) fn compile_selected(
    run: &Run<'_>,
    newer: &[Compiler],
    selection: &Selection,
    compiling: &Compiling,
) -> Status {
    let each = |compiler: &Compiler| {
        let calls = calls(run, compiler.interpreter.dialect.version, selection, compiling);
        compile(run, compiler, &calls)
    };
    together(newer.iter().map(each))
}

/// Calls the original for each of `newer` with `words`, which have no range of versions.
pub(super) fn compile_as_called(run: &Run<'_>, newer: &[Compiler], words: &[OsString]) -> Status {
    together(newer.iter().map(|compiler| compile(run, compiler, &[words.to_vec()])))
}

fn together(statuses: impl Iterator<Item = Status>) -> Status {
    // All of them, also after one that failed.
    let failed = statuses.filter(|status| *status != Status::Done).count();
    if failed == 0 { Status::Done } else { Status::SomeFailed }
}

/// The calls of the original for a commit, without the version: a package each, and all paths together.
fn calls(
    run: &Run<'_>,
    version: Version,
    selection: &Selection,
    compiling: &Compiling,
) -> Vec<Vec<OsString>> {
    let settings = &run.config.settings;
    let mut paths = selection.paths.clone();
    if selection.is_empty() {
        let fits = |only: Option<Version>| only.is_none_or(|only| only == version);
        paths = pythons::public_directories(&run.config.root);
        paths.retain(|directory| fits(pythons::version_of(directory)));
    }
    let mut calls: Vec<Vec<OsString>> = Vec::new();
    calls.extend(selection.packages.iter().map(|package| vec!["-p".into(), package.into()]));
    if !paths.is_empty() {
        // The original's expressions match at the beginning, those of the settings anywhere.
        let patterns = settings.exclude.iter().map(|pattern| format!("-X.*(?:{})", pattern.text()));
        let mut call: Vec<OsString> = patterns.map(OsString::from).collect();
        call.push("--".into());
        call.extend(paths.into_iter().map(OsString::from));
        calls.push(call);
    }
    // It knows no level above 1.
    let levels = settings.optimize.iter().filter(|level| level.number() <= 1);
    let with = |level: u8, call: &Vec<OsString>| {
        let flags = compiling.force.then_some("-f").into_iter().chain((level == 1).then_some("-O"));
        flags.map(OsString::from).chain(call.iter().cloned()).collect()
    };
    levels.flat_map(|level| calls.iter().map(|call| with(level.number(), call))).collect()
}

/// Runs the original for a Python, once with each of these words.
fn compile(run: &Run<'_>, compiler: &Compiler, calls: &[Vec<OsString>]) -> Status {
    let version = compiler.interpreter.dialect.version;
    let call = Call { name: py3compile::NAME, words: &[], remedy: "" };
    let original =
        call.original().ok().filter(|path| path.exists() && is_of_system(&run.config.root, compiler));
    let Some(original) = original else {
        run.reporter.failure(&format!("pyc-txn: {}; nothing makes it", complaint(compiler)));
        return Status::SomeFailed;
    };
    let (name, program) = (format!("{}.{}", version.0, version.1), Quoted(&original));
    run.reporter.note(&format!("bytecode of python{name} is not known to this pyc-txn; {program} makes it"));
    let mut status = Status::Done;
    for words in calls {
        let mut command = Command::new(&original);
        command.args(["-V", &name]).args(words).stdin(Stdio::null());
        let ended = dpkg::with_usual_umask(|| command.status());
        let failure = match ended {
            Ok(ended) if ended.success() => continue,
            Ok(ended) => ended.to_string(),
            Err(error) => cause(&error),
        };
        run.reporter.failure(&format!("pyc-txn: {program} did not compile all for python{name}: {failure}"));
        status = Status::SomeFailed;
    }
    status
}

/// Whether the original finds this interpreter by its version.
fn is_of_system(root: &Root, compiler: &Compiler) -> bool {
    let Compiler { interpreter, .. } = compiler;
    let path = pythons::executable(root, interpreter.dialect.version);
    let path = path.and_then(|path| path.canonicalize().ok());
    root.is_host() && path.is_some_and(|path| path == interpreter.path)
}
