//! The command line, as clap sees it; turned into a [`Config`] and typed wishes here.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Settings, Verbosity, default_state_dir, is_installed};
use crate::disk::{Quoted, cause};
use crate::python::header::Invalidation;
use crate::python::pycache::Level;

use super::{report, settings};

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
    /// Put DIR in front of every path, the state directory's included [default: $DPKG_ROOT, or /]
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Keep journal, lock and staging in DIR, outside the root to leave nothing in a payload [default: /var/lib/pyc-txn, for users $XDG_STATE_HOME/pyc-txn]
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Read the settings from FILE [default: /etc/pyc-txn.conf]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
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
    /// Without PATH and -p: everything pending, the public module directories, the standard library, and the private
    /// modules for which packages ask in their scripts.
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
    /// For maintainer scripts and hooks: do what is due at this moment of a dpkg run; always exits 0
    Hook {
        /// The moment
        #[arg(value_enum)]
        when: When,
    },
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
    /// Check every pyc of PATHs and packages: header, source, structure, hash
    ///
    /// Without PATH and -p: everything that is published, the public module directories, the private modules for which
    /// packages ask in their scripts, and the standard library.
    Verify {
        #[command(flatten)]
        selection: Selection,
        /// Check only the bytecode of this interpreter (repeatable)
        #[arg(long, value_name = "PATH|VERSION")]
        python: Vec<String>,
        /// Expect bytecode at this optimization level: 0, 1 or 2 (repeatable) [default: 'optimize' of the
        /// settings, or 0]
        #[arg(short = 'O', value_name = "LEVEL", value_parser = level)]
        levels: Vec<Level>,
        #[command(flatten)]
        running: Running,
        /// Mend what is wrong, as one transaction
        #[arg(long)]
        repair: bool,
        /// Compare metadata only, read nothing; where nothing has changed in a directory, its bytecode is not looked at
        #[arg(long)]
        quick: bool,
        /// With --quick: look at all bytecode
        #[arg(short, long)]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
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
    /// Show the shared bytecode cache: its place, size and use
    Cache {
        /// Remove all that is in it, and count anew
        #[arg(long, conflicts_with = "json")]
        clear: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the package, source and transaction of bytecode
    Owner {
        /// Bytecode, or Python sources, whose bytecode is then meant
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// A moment of a dpkg run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// postinst configure: recover, and commit everything
    Configure,
    /// postinst triggered: commit everything
    Triggered,
    /// prerm remove: commit what is pending
    Remove,
    /// Before a dpkg run: recover what an interrupted run left
    Before,
    /// After a dpkg run: commit what is pending, if neither a trigger nor apt's hook is going to
    AfterDpkg,
    /// After apt's last dpkg run: commit what is pending
    AfterApt,
    /// At boot: after an unclean shutdown look for damage and mend it; recover, and commit what is pending
    Boot,
    /// At shutdown, as the last: note that it is a clean one
    Shutdown,
    /// Once a week: verify and repair, unless the settings say otherwise; exits as verify does
    Weekly,
}

#[derive(Debug, Args, Default)]
pub(super) struct Selection {
    /// Python sources, or directories of such
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// The public modules of an installed package, and the private ones for which its script asks (repeatable)
    #[arg(short, long = "package", value_name = "PKG")]
    pub(super) packages: Vec<String>,
}

#[derive(Debug, Args, Default)]
pub(super) struct Compiling {
    /// Compile with this interpreter (repeatable) [default: the supported ones]
    #[arg(long, value_name = "PATH|VERSION")]
    pub(super) python: Vec<String>,
    /// Compile at this optimization level: 0, 1 or 2 (repeatable) [default: 'optimize' of the settings, or 0]
    #[arg(short = 'O', value_name = "LEVEL", value_parser = level)]
    pub(super) levels: Vec<Level>,
    /// How Python is to check the bytecode: timestamp, checked-hash or unchecked-hash [default: as in the
    /// settings, or timestamp]
    #[arg(long, value_name = "MODE", value_parser = invalidation)]
    pub(super) invalidation: Option<Invalidation>,
    /// Compile also what is current
    #[arg(short, long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Running {
    /// Run so many workers at a time [default: as in the settings, or one for each processor]
    #[arg(short, long)]
    jobs: Option<NonZeroUsize>,
    /// Give up on a source after so many seconds; 0 never does [default: as in the settings, or 300]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Selection {
    /// Whether it names nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.packages.is_empty()
    }
}

impl Compiling {
    fn apply(&self, settings: &mut Settings) {
        if !self.levels.is_empty() {
            settings.optimize.clone_from(&self.levels);
            settings.optimize.sort_unstable();
            settings.optimize.dedup();
        }
        if let Some(invalidation) = self.invalidation {
            settings.invalidation = invalidation;
        }
    }
}

impl Running {
    fn apply(&self, settings: &mut Settings) {
        if self.jobs.is_some() {
            settings.jobs = self.jobs;
        }
        if let Some(seconds) = self.timeout {
            settings.timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
        }
    }
}

impl Arguments {
    /// Resolves the settings of the command.
    pub(super) fn config(&self) -> Result<Config> {
        let general = &self.general;
        let failed = |path: &Path, error| anyhow!("cannot open {}: {}", Quoted(path), cause(&error));
        let root = settings::root(general.root.as_deref())?;
        let state_dir = match &general.state_dir {
            Some(path) => std::path::absolute(path).map_err(|error| failed(path, error))?,
            None => default_state_dir(&root),
        };
        let creates_state = general.state_dir.is_some() || general.root.is_none() || is_installed(&root);
        let mut settings = settings::read(&root, general.config.as_deref())?;
        self.command.apply(&mut settings);
        let patience = Duration::from_secs(general.wait);
        let verbosity = match (general.quiet, general.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Ok(Config { root, state_dir, creates_state, settings, patience, verbosity })
    }

    /// Parses the command line; ends the program with status 2, or 0 after `--help`, where that is it.
    pub(super) fn of(words: &[OsString]) -> Self {
        let arguments = Self::try_parse_from(words).unwrap_or_else(|error| {
            if error.use_stderr() && words.iter().any(|word| word == "hook") {
                // A script that was written for another version must not fail its package.
                let _ = error.print();
                std::process::exit(0);
            }
            report::leave(&error)
        });
        if arguments.command.lacks_selection() {
            let problem = "PATH or --package is needed: which bytecode is meant?";
            report::leave(&Self::command().error(ErrorKind::MissingRequiredArgument, problem));
        }
        arguments
    }
}

impl Command {
    /// Whether it names nothing, but has to: only `commit` has a meaning without.
    fn lacks_selection(&self) -> bool {
        match self {
            Self::Record { selection, .. } | Self::Clean { selection, .. } => selection.is_empty(),
            _ => false,
        }
    }

    /// Whether it is called where a failure would be another's.
    pub(super) fn is_hook(&self) -> bool {
        matches!(self, Self::Hook { when } if *when != When::Weekly)
    }

    /// Whether it may have to do with a journal that needs a new one in its place.
    pub(super) fn writes(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Log { .. } | Self::Owner { .. } | Self::Cache { .. } => false,
            Self::Commit { dry_run, .. } => !dry_run,
            Self::Verify { repair, .. } => *repair,
            _ => true,
        }
    }

    /// What it says takes the place of what the file says.
    fn apply(&self, settings: &mut Settings) {
        match self {
            Self::Commit { compiling, running, .. } => {
                compiling.apply(settings);
                running.apply(settings);
            }
            Self::Record { compiling, .. } => compiling.apply(settings),
            Self::Stage { running } => running.apply(settings),
            Self::Verify { levels, running, .. } => {
                Compiling { levels: levels.clone(), ..Compiling::default() }.apply(settings);
                running.apply(settings);
            }
            _ => {}
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

/// Demands that the source of a manual has every option of a program.
#[cfg(test)]
pub(super) fn assert_documented(program: &clap::Command, manual: &str) {
    let mut missing = Vec::new();
    for argument in
        program.get_arguments().chain(program.get_subcommands().flat_map(clap::Command::get_arguments))
    {
        let long = argument.get_long().map(|long| format!("--{long}").replace('-', "\\-"));
        let short = argument.get_short().map(|short| format!("\\-{short}"));
        let names: Vec<String> = long.into_iter().chain(short).collect();
        missing.extend(names.into_iter().filter(|name| !manual.contains(name.as_str())));
    }
    assert!(missing.is_empty(), "the manual lacks {missing:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../man/pyc-txn.8");

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
        assert!(missing.is_empty(), "the manual lacks {missing:?}");
        assert_documented(&program, MANUAL);
    }

    #[test]
    fn the_manual_has_every_moment_of_a_hook() {
        for moment in When::value_variants() {
            let name = moment.to_possible_value().unwrap().get_name().replace('-', "\\-");
            assert!(MANUAL.contains(&format!("\n.B {name}\n")), "{name}");
        }
    }
}
