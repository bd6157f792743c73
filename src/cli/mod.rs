//! What people and scripts type.
//!
//! Owns the command line, the words on the terminal and the exit status. How a transaction works is not known
//! here; each command is a few calls into [`crate::txn`].

mod args;
mod clean;
mod commit;
mod log;
mod report;
mod selection;
mod session;
mod status;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::python::confine;
use crate::txn::lock::Held;
use args::{Arguments, Command};
use report::Reporter;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Everything is done.
    Done = 0,
    /// It is done, but something could not be compiled or was not found.
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
    let program = arguments.next().unwrap_or_default();
    if Path::new(&program).file_name() == Some(confine::PROGRAM.as_ref()) {
        eprintln!("{}", confine::become_interpreter(arguments));
        return ExitCode::from(127);
    }
    let arguments = Arguments::of(std::iter::once(program).chain(arguments));
    let status = match prepare(&arguments) {
        Ok((config, interrupt)) => run_command(&arguments.command, &config, &interrupt),
        Err(error) => {
            report::error(&error);
            Status::Incomplete
        }
    };
    status.into()
}

fn prepare(arguments: &Arguments) -> Result<(Config, Interrupt)> {
    Ok((arguments.general.config(arguments.command.running())?, Interrupt::install()?))
}

fn run_command(command: &Command, config: &Config, interrupt: &Interrupt) -> Status {
    let reporter = Reporter::new(config.verbosity);
    let mut result = dispatch(command, config, interrupt, &reporter);
    for insist in [false, true] {
        let Err(error) = &result else { break };
        if !session::is_damage(error) || !command.writes() {
            break;
        }
        report::error(error);
        result = session::set_journal_aside(config, &reporter, insist)
            .and_then(|()| dispatch(command, config, interrupt, &reporter));
    }
    reporter.finish();
    result.unwrap_or_else(|error| {
        report::error(&error);
        if error.is::<Held>() { Status::Locked } else { Status::Incomplete }
    })
}

fn dispatch(
    command: &Command,
    config: &Config,
    interrupt: &Interrupt,
    reporter: &Reporter,
) -> Result<Status> {
    let run = session::Run { config, interrupt, reporter };
    match command {
        Command::Commit { selection, compiling, dry_run: true, .. } => {
            commit::dry_run(&run, selection, compiling)
        }
        Command::Commit { selection, compiling, .. } => commit::commit(&run, selection, compiling),
        Command::Record { selection, compiling } => commit::record(&run, selection, compiling),
        Command::Stage { .. } => commit::stage(&run),
        Command::Recover => commit::recover(&run),
        Command::Rollback => commit::rollback(&run),
        Command::Clean { selection, python, dry_run } => clean::clean(&run, selection, python, *dry_run),
        Command::Status { json } => status::status(&run, *json),
        Command::Log { id: Some(id), json } => log::one(&run, *id, *json),
        Command::Log { id: None, json } => log::all(&run, *json),
    }
}
