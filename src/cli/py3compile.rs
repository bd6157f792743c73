//! `py3compile`: what maintainer scripts call, with the command line of Debian's program of that name.
//!
//! In a maintainer script it records what is wanted and has dpkg call pyc-txn at the end of the run; elsewhere it
//! commits at once.

mod request;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{PathBufValueParser, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser};

use crate::cache::Cache;
use crate::config::{Config, Settings, Verbosity, default_state_dir};
use crate::debian::dpkg;
use crate::debian::versions::{Installed, Range};
use crate::interrupt::Interrupt;
use crate::python::pattern::Pattern;
use crate::python::pycache::Level;
use crate::txn::compilers::Compiler;
use crate::txn::journal::Journal;
use crate::txn::plan::Plan;

use super::original::Call;
use super::report::{self, Reporter};
use super::session::{self, Run};
use super::{Status, commit, deferred, newer, settings};
use request::Request;

/// The name by which the program is this one.
pub(super) const NAME: &str = "py3compile";

/// What mends a call for which there was no room: a commit of everything asks the scripts of the packages what they
/// want.
const REMEDY: &str = "once there is room, 'pyc-txn commit' compiles what packages want";

/// How long a front end waits for another pyc-txn.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Byte-compiles the modules of a package, of directories, or single ones.
///
/// In a maintainer script this is recorded, and done at the end of the dpkg run.
#[derive(Debug, Parser)]
#[command(name = NAME, version = concat!("(pyc-txn) ", env!("CARGO_PKG_VERSION")), max_term_width = 100)]
#[command(
    override_usage = "py3compile [-V [X.Y][-][A.B]] DIR_OR_FILE [-X REGEXPR]\n       py3compile -p PACKAGE"
)]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    usual: Usual,
    /// Compile also what is up to date
    #[arg(short, long)]
    pub(super) force: bool,
    /// Compile at optimization level 1 (NAME.TAG.opt-1.pyc)
    #[arg(short = 'O')]
    optimize: bool,
    /// The modules of this package: the public ones, or those below the DIRs that are given
    #[arg(short, long, value_name = "PACKAGE", allow_hyphen_values = true)]
    pub(super) package: Option<String>,
    /// For the installed versions in this range: '3.9' (this one), '3.9-' (and newer), '3.9-3.12' (before 3.12),
    /// '-4.0' (before 4.0); private modules, with -p and DIR, for one of them only
    #[arg(short = 'V', value_name = "RANGE", allow_hyphen_values = true, value_parser = range)]
    pub(super) range: Option<Range>,
    /// Leave out what matches this regular expression below DIR (repeatable)
    #[arg(short = 'X', long, value_name = "REGEXPR", allow_hyphen_values = true)]
    #[arg(action = ArgAction::Append, value_parser = pattern())]
    pub(super) exclude: Vec<Pattern>,
    /// Directories of modules, or single ones
    #[arg(value_name = "DIR_OR_FILE", value_parser = PathBufValueParser::new())]
    pub(super) paths: Vec<PathBuf>,
}

/// The options that both front ends have.
#[derive(Debug, Args)]
pub(super) struct Usual {
    /// Show program's version number and exit
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Say what is done, and how long each phase takes
    #[arg(short, long, overrides_with = "quiet")]
    verbose: bool,
    /// Say nothing but what went wrong (the default)
    #[arg(short, long, overrides_with = "verbose")]
    quiet: bool,
}

fn range(text: &str) -> Result<Range, String> {
    text.parse()
}

fn pattern() -> impl TypedValueParser<Value = Pattern> {
    StringValueParser::new().try_map(|text| Pattern::new(&text).map_err(anyhow::Error::msg))
}

/// Runs the program with the arguments `words`.
pub(super) fn run(words: &[OsString]) -> ExitCode {
    let call = Call { name: NAME, words, remedy: REMEDY };
    let arguments = match parse(words) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && dpkg::is_maintainer_script() => {
            return call.leave_to_original("this command line is not understood");
        }
        Err(error) => report::leave(&error),
    };
    match prepare(&arguments) {
        Ok((config, interrupt)) => perform(&call, &arguments, &config, &interrupt),
        Err(error) => call.conclude(Err(error)),
    }
}

pub(super) fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let arguments = Arguments::try_parse_from(std::iter::once(&OsString::from(NAME)).chain(words))?;
    if !arguments.exclude.is_empty() && arguments.paths.is_empty() {
        let problem = "--exclude works with private directories only; packages say in /usr/share/python3/bcep \
                       which of their public modules are to be left out";
        return Err(Arguments::command().error(ErrorKind::MissingRequiredArgument, problem));
    }
    Ok(arguments)
}

fn prepare(arguments: &Arguments) -> Result<(Config, Interrupt)> {
    let mut config = config(&arguments.usual, "PYCOMPILE_DEBUG")?;
    arguments.apply(&mut config.settings);
    Ok((config, session::interrupt()?))
}

/// The configuration of a front end: nothing of it is on its command line.
pub(super) fn config(usual: &Usual, debug: &str) -> Result<Config> {
    let root = settings::root(None)?;
    let state_dir = default_state_dir(&root);
    let settings = settings::read(&root, None)?;
    let verbose = usual.verbose || std::env::var_os(debug).is_some_and(|value| value == "1");
    let verbosity = if verbose { Verbosity::Verbose } else { Verbosity::Quiet };
    Ok(Config { root, state_dir, creates_state: true, settings, patience: PATIENCE, verbosity })
}

impl Arguments {
    fn apply(&self, settings: &mut Settings) {
        if self.optimize {
            settings.optimize = Level::new(1).into_iter().collect();
        }
    }

    /// The words of the command line, but for the range of versions and for what is only about messages.
    fn words(&self) -> Vec<OsString> {
        let flags = self.force.then_some("-f").into_iter().chain(self.optimize.then_some("-O"));
        let mut words: Vec<OsString> = flags.map(OsString::from).collect();
        if let Some(package) = &self.package {
            words.extend(["-p".into(), package.into()]);
        }
        for pattern in &self.exclude {
            words.extend(["-X".into(), pattern.text().into()]);
        }
        words.push("--".into());
        words.extend(self.paths.iter().map(OsString::from));
        words
    }
}

fn perform(call: &Call<'_>, arguments: &Arguments, config: &Config, interrupt: &Interrupt) -> ExitCode {
    let installed = Installed::of(&config.root);
    let versions = installed.requested(&arguments.range.unwrap_or_default());
    if versions.is_empty() {
        report::complain("py3compile: the requested versions are not installed");
        return call.status(Status::Incomplete);
    }
    if arguments.package.is_none() && arguments.paths.is_empty() {
        report::result(&Arguments::command().render_usage().to_string());
        return call.status(Status::SomeFailed);
    }
    let is_script = dpkg::is_maintainer_script();
    let new = if is_script { Reporter::terse } else { Reporter::new };
    let reporter = new(config.verbosity);
    let command = call.line();
    let cache = Cache::new(&config.settings.cache);
    let run = Run { config, interrupt, reporter: &reporter, cache: &cache, command: &command };
    let request =
        reporter.timed("read dpkg's lists", || Request::of(&run, arguments, (&installed, versions)));
    request.warnings.iter().for_each(|warning| reporter.failure(&format!("py3compile: {warning}")));
    // Without the package there is nobody whom the trigger would call.
    let has_trigger = is_script && dpkg::knows_us(&config.root);
    let mut newer = Vec::new();
    let mut result = super::attempt(&run, || {
        if has_trigger && config.settings.defer {
            return record(&run, &request, &mut newer);
        }
        let mut planning = |journal: &mut Journal| request.plan(&run, journal, &mut newer);
        commit::commit(&run, Some(&mut planning))
    });
    if let Err(error) = &result
        && has_trigger
        && session::is_full(error)
    {
        // It asks the scripts of the packages for what could not be recorded.
        result = deferred::with_trigger(&run, NAME, || result);
    }
    let result = result.map(|status| match newer::compile_as_called(&run, &newer, &arguments.words()) {
        Status::Done => status,
        failed => failed,
    });
    reporter.finish();
    call.conclude(result)
}

/// Records what is wanted, and has dpkg call pyc-txn when it is done with the packages.
fn record(run: &Run<'_>, request: &Request, newer: &mut Vec<Compiler>) -> Result<Status> {
    let mut journal = run.reporter.timed("open the journal", || run.journal())?;
    let plan: Plan = run.reporter.timed("plan", || request.plan(run, &mut journal, newer))?;
    plan.problems.iter().for_each(|problem| run.reporter.failure(&format!("py3compile: {problem}")));
    if plan.is_empty() {
        return Ok(Status::Done);
    }
    let record = || run.reporter.timed("record", || Ok(journal.record(&plan.groups)?));
    let txn = deferred::with_trigger(run, NAME, record)?;
    run.reporter.detail(&format!("recorded {} for transaction {}", plan.len(), txn.0));
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../man/py3compile.1");

    fn parsed(words: &[&str]) -> Result<Arguments, ErrorKind> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        parse(&words).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_holds_together_and_is_in_the_manual() {
        Arguments::command().debug_assert();
        super::super::args::assert_documented(&Arguments::command(), MANUAL);
    }

    #[test]
    fn options_are_taken_as_the_original_takes_them() {
        let arguments = parsed(&["-fqp", "pkg", "/a", "-V", "-3.7", "--excl", "-x", "-X", "y"]).unwrap();
        assert!(arguments.force && arguments.package.as_deref() == Some("pkg"));
        assert_eq!(arguments.range, Some("-3.7".parse().unwrap()));
        assert_eq!((arguments.exclude.len(), arguments.paths.len()), (2, 1));
        let arguments = parsed(&["-v", "-q", "-p", "a", "-p", "b", "-V3.1-", "--", "-f"]).unwrap();
        assert!(!arguments.usual.verbose && !arguments.force && arguments.package.as_deref() == Some("b"));
        assert_eq!(arguments.paths, [PathBuf::from("-f")]);
    }

    #[test]
    fn what_the_original_refuses_is_refused() {
        assert_eq!(parsed(&["-X", "x", "-p", "pkg"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parsed(&["-X", "(", "/a"]).unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parsed(&["-V", "3", "/a"]).unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parsed(&["--nonsense"]).unwrap_err(), ErrorKind::UnknownArgument);
        assert_eq!(parsed(&["--version"]).unwrap_err(), ErrorKind::DisplayVersion);
    }
}
