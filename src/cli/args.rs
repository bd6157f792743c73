//! The command line, as clap sees it; turned into a [`Config`] and typed wishes here.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Verbosity, default_state_dir};
use crate::disk::{Quoted, cause};
use crate::python::header::Invalidation;
use crate::python::pycache::Level;
use crate::root::Root;

/// Byte-compiles Python transactionally: a whole set of bytecode at once, durably, or nothing.
#[derive(Debug, Parser)]
#[command(name = "pyc-txn", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) general: General,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct General {
    /// Put DIR in front of every path, the state directory's included
    #[arg(long, value_name = "DIR", default_value = "/", global = true)]
    root: PathBuf,
    /// Keep journal, lock and staging in DIR [default: /var/lib/pyc-txn, for users $XDG_STATE_HOME/pyc-txn]
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Wait so many seconds at most for another pyc-txn
    #[arg(long, value_name = "SECONDS", default_value_t = 60, global = true)]
    wait: u64,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what is done, and how long each phase takes
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compile and publish PATHs, packages, and what is pending, as one transaction
    ///
    /// Without PATH and -p: everything pending and the public module directories.
    Commit {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        compiling: Compiling,
        #[command(flatten)]
        running: Running,
        /// Show what would be done and change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Add PATHs and packages to the open transaction and return at once
    Record {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        compiling: Compiling,
    },
    /// Compile what is pending now, publish it with a later commit
    Stage {
        #[command(flatten)]
        running: Running,
    },
    /// Finish or roll back what an interrupted run left
    Recover,
    /// Drop the open transaction and its intents
    Rollback,
    /// Remove the bytecode of PATHs and packages
    Clean {
        #[command(flatten)]
        selection: Selection,
        /// Remove only the bytecode of this interpreter (repeatable)
        #[arg(long, value_name = "PATH|VERSION")]
        python: Vec<String>,
        /// Show what would be removed and change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Show the open transaction, leftovers, failures, warnings and interpreters
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the transactions so far, or one in full
    Log {
        /// The number of a transaction
        id: Option<i64>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Python sources, or directories of such
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// The public modules of an installed package (repeatable)
    #[arg(short, long = "package", value_name = "PKG")]
    pub(super) packages: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Compiling {
    /// Compile with this interpreter (repeatable) [default: the supported ones]
    #[arg(long, value_name = "PATH|VERSION")]
    pub(super) python: Vec<String>,
    /// Compile at this optimization level: 0, 1 or 2 (repeatable) [default: 0]
    #[arg(short = 'O', value_name = "LEVEL", value_parser = level)]
    levels: Vec<Level>,
    /// How Python is to check the bytecode: timestamp, checked-hash or unchecked-hash
    #[arg(long, value_name = "MODE", default_value = "timestamp", value_parser = invalidation)]
    pub(super) invalidation: Invalidation,
    /// Compile also what is current
    #[arg(short, long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Running {
    /// Run so many workers at a time [default: one for each processor]
    #[arg(short, long)]
    jobs: Option<NonZeroUsize>,
    /// Give up on a source after so many seconds; 0 never does
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

impl Compiling {
    /// The optimization levels, each once.
    pub(super) fn levels(&self) -> Vec<Level> {
        let mut levels = self.levels.clone();
        levels.sort_unstable();
        levels.dedup();
        if levels.is_empty() { vec![Level::default()] } else { levels }
    }
}

impl General {
    /// Resolves the settings of a command.
    pub(super) fn config(&self, running: Option<&Running>) -> Result<Config> {
        let failed = |path: &Path, error| anyhow!("cannot open {}: {}", Quoted(path), cause(&error));
        let root = Root::new(&self.root).map_err(|error| failed(&self.root, error))?;
        let state_dir = match &self.state_dir {
            Some(path) => std::path::absolute(path).map_err(|error| failed(path, error))?,
            None => default_state_dir(&root),
        };
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let timeout = running.map_or(0, |running| running.timeout);
        Ok(Config {
            root,
            state_dir,
            jobs: running.and_then(|running| running.jobs).unwrap_or(processors).get(),
            limit: (timeout > 0).then(|| Duration::from_secs(timeout)),
            patience: Duration::from_secs(self.wait),
            verbosity: match (self.quiet, self.verbose) {
                (true, _) => Verbosity::Quiet,
                (_, true) => Verbosity::Verbose,
                _ => Verbosity::Normal,
            },
        })
    }
}

impl Arguments {
    /// Parses the command line; ends the program with status 2, or 0 after `--help`, where that is it.
    pub(super) fn of(words: impl Iterator<Item = OsString>) -> Self {
        let arguments = Self::parse_from(words);
        if arguments.command.lacks_selection() {
            let problem = "PATH or --package is needed: which bytecode is meant?";
            Self::command().error(ErrorKind::MissingRequiredArgument, problem).exit();
        }
        arguments
    }
}

impl Command {
    /// Whether it names nothing, but has to: only `commit` has a meaning without.
    fn lacks_selection(&self) -> bool {
        match self {
            Self::Record { selection, .. } | Self::Clean { selection, .. } => {
                selection.paths.is_empty() && selection.packages.is_empty()
            }
            _ => false,
        }
    }

    /// Whether it may have to do with a journal that needs a new one in its place.
    pub(super) fn writes(&self) -> bool {
        !matches!(self, Self::Status { .. } | Self::Log { .. } | Self::Commit { dry_run: true, .. })
    }

    /// The part of it that says how to run.
    pub(super) fn running(&self) -> Option<&Running> {
        match self {
            Self::Commit { running, .. } | Self::Stage { running } => Some(running),
            _ => None,
        }
    }
}

fn level(text: &str) -> Result<Level, String> {
    let number = text.parse().ok().and_then(Level::new);
    number.ok_or_else(|| "a level is 0, 1 or 2".to_owned())
}

fn invalidation(text: &str) -> Result<Invalidation, String> {
    match text {
        "timestamp" => Ok(Invalidation::Timestamp),
        "checked-hash" => Ok(Invalidation::CheckedHash),
        "unchecked-hash" => Ok(Invalidation::UncheckedHash),
        _ => Err("a mode is timestamp, checked-hash or unchecked-hash".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../man/pyc-txn.8");

    /// A word as the manual's source has it.
    fn roff(word: &str) -> String {
        word.replace('-', "\\-")
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manual_has_every_command_and_every_option() {
        let program = Arguments::command();
        let mut missing = Vec::new();
        for command in program.get_subcommands() {
            let name = command.get_name();
            let is_there =
                [format!(".BR {name} "), format!(".B {name}\n")].iter().any(|line| MANUAL.contains(line));
            missing.extend((!is_there).then(|| name.to_owned()));
        }
        for argument in
            program.get_arguments().chain(program.get_subcommands().flat_map(clap::Command::get_arguments))
        {
            let long = argument.get_long().map(|long| roff(&format!("--{long}")));
            let short = argument.get_short().map(|short| format!("\\-{short}"));
            let names: Vec<String> = long.into_iter().chain(short).collect();
            missing.extend(names.into_iter().filter(|name| !MANUAL.contains(name.as_str())));
        }
        assert!(missing.is_empty(), "the manual lacks {missing:?}");
    }
}
