//! What people and scripts type.
//!
//! Owns the command line, the words on the terminal and the exit status. How a transaction works is not known
//! here; each command is a few calls into [`crate::txn`].
//!
//! The way of a package's request: its postinst calls `py3compile`, which records it and activates dpkg's trigger
//! (`deferred`); at the end of the run the trigger calls `hook`, and that `commit`: stage, decide, publish.

mod args;
mod cache;
mod clean;
mod commit;
mod deferred;
mod hook;
mod log;
mod newer;
mod original;
mod owner;
mod private;
mod py3clean;
mod py3compile;
mod report;
mod rules;
mod selection;
mod session;
mod settings;
mod status;
mod unusable;
mod verify;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::cache::Cache;
use crate::config::Config;
use crate::debian::dpkg;
use crate::disk;
use crate::interrupt::Interrupt;
use crate::python::confine;
use crate::txn::lock::Held;
use crate::txn::verify::Depth;
use args::{Arguments, Command, Compiling};
use report::Reporter;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// Everything is done.
    Done = 0,
    /// It is done, but something could not be compiled or was not found, or is wrong.
    SomeFailed = 1,
    /// The transaction was not completed.
    Incomplete = 3,
    /// Another pyc-txn holds the lock.
    Locked = 4,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// The command line of `pyc-txn`, for what is made from it: completions.
#[must_use]
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the program that `arguments` name in their first place.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if dpkg::is_unsafe_io() {
        disk::renounce_durability();
    }
    let program = arguments.next().unwrap_or_default();
    match Path::new(&program).file_name().and_then(OsStr::to_str) {
        Some(confine::PROGRAM) => {
            report::complain(&confine::become_interpreter(arguments));
            ExitCode::from(127)
        }
        Some(py3compile::NAME) => py3compile::run(&arguments.collect::<Vec<_>>()),
        Some(py3clean::NAME) => py3clean::run(&arguments.collect::<Vec<_>>()),
        _ => pyc_txn(std::iter::once(program).chain(arguments)),
    }
}

fn pyc_txn(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    let arguments = Arguments::of(&words);
    let command = &arguments.command;
    // What stands before it is where, not why.
    let definition = definition();
    let is_general = |word: &&OsString| definition.find_subcommand(word).is_none();
    let line = session::command_line(words.iter().skip(1).skip_while(is_general).map(OsString::as_os_str));
    let ended =
        prepare(&arguments).map(|(config, interrupt)| run_command(command, &line, &config, &interrupt));
    let is_hook = command.is_hook();
    let status = ended.unwrap_or_else(|error| {
        report::failed(&error, is_hook);
        Status::Incomplete
    });
    let status = report::concluded(status);
    // Hooks never break the package manager.
    if is_hook { ExitCode::SUCCESS } else { status.into() }
}

fn prepare(arguments: &Arguments) -> Result<(Config, Interrupt)> {
    Ok((arguments.config()?, session::interrupt()?))
}

fn run_command(command: &Command, line: &str, config: &Config, interrupt: &Interrupt) -> Status {
    let is_hook = command.is_hook();
    let reporter = if is_hook { Reporter::terse(config.verbosity) } else { Reporter::new(config.verbosity) };
    let cache = Cache::new(&config.settings.cache);
    let run = session::Run { config, interrupt, reporter: &reporter, cache: &cache, command: line };
    let result =
        if command.writes() { attempt(&run, || dispatch(command, &run)) } else { dispatch(command, &run) };
    reporter.finish();
    result.unwrap_or_else(|error| {
        report::failed(&error, is_hook);
        if error.is::<Held>() { Status::Locked } else { Status::Incomplete }
    })
}

/// Does `work`; where a damaged journal is in its way, once more with a new one.
fn attempt(run: &session::Run<'_>, mut work: impl FnMut() -> Result<Status>) -> Result<Status> {
    let mut result = work();
    for insist in [false, true] {
        let Err(error) = &result else { break };
        if !session::is_damage(error) {
            break;
        }
        report::error(error);
        result = session::set_journal_aside(run.config, run.reporter, insist).and_then(|()| work());
    }
    result
}

fn dispatch(command: &Command, run: &session::Run<'_>) -> Result<Status> {
    match command {
        Command::Commit { selection, compiling, dry_run: true, .. } => {
            commit::dry_run(run, selection, compiling)
        }
        Command::Commit { selection, compiling, .. } => {
            // What nobody named can be found by the later commit that makes up for this one.
            let is_asked = run.config.settings.enabled || !selection.is_empty();
            commit::commit_selected(run, selection, compiling, is_asked)
        }
        Command::Record { selection, compiling } => commit::record(run, selection, compiling),
        Command::Stage { .. } => commit::stage(run),
        Command::Recover => commit::recover(run),
        Command::Rollback => commit::rollback(run),
        Command::Hook { when } => hook::hook(run, *when),
        Command::Clean { selection, python, dry_run } => clean::clean(run, selection, python, *dry_run),
        Command::Verify { selection, python, repair, quick, force, json, .. } => {
            let depth = if *quick { Depth::Metadata } else { Depth::Content };
            let manner = verify::Manner { repair: *repair, depth, json: *json };
            let compiling = Compiling { python: python.clone(), force: *force, ..Compiling::default() };
            verify::verify(run, selection, compiling, manner)
        }
        Command::Status { json } => status::status(run, *json),
        Command::Log { id: Some(id), json } => log::one(run, *id, *json),
        Command::Log { id: None, json } => log::all(run, *json),
        Command::Owner { paths, json } => owner::owner(run, paths, *json),
        Command::Cache { clear: true, .. } => cache::clear(run),
        Command::Cache { json, .. } => cache::show(run, *json),
    }
}
