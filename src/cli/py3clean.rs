//! `py3clean`: what maintainer scripts call, with the command line of Debian's program of that name.
//!
//! Needs no Python: which names are bytecode of which source and of which version is known here. In a maintainer
//! script bytecode is retired, elsewhere it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PathBufValueParser;
use clap::{CommandFactory, Parser};

use crate::cache::Cache;
use crate::config::Config;
use crate::debian::{dpkg, packages};
use crate::interrupt::Interrupt;
use crate::python::pycache::Remnant;
use crate::root::{Located, Root};
use crate::txn::plan::Plan;
use crate::txn::tree::{self, Listing};
use crate::txn::walk::{self, Walk};

use super::original::Call;
use super::py3compile::{self, Usual};
use super::report::{self, Reporter};
use super::selection;
use super::session::{self, Run};
use super::{Status, clean, deferred};

/// The name by which the program is this one.
pub(super) const NAME: &str = "py3clean";

/// What mends a call for which there was no room.
const REMEDY: &str = "once there is room, 'pyc-txn verify --repair' removes what has no source any more";

/// The original's status for a version that no bytecode can be of.
const UNKNOWN_VERSION: u8 = 4;

/// Removes the bytecode of the modules of a package, of directories, or of single ones.
///
/// In a maintainer script it is moved out of the way, and taken back at the end of the dpkg run if it is still right.
#[derive(Debug, Parser)]
#[command(name = NAME, version = concat!("(pyc-txn) ", env!("CARGO_PKG_VERSION")), max_term_width = 100)]
#[command(override_usage = "py3clean [-V VERSION] [-p PACKAGE] [DIR_OR_FILE]")]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    usual: Usual,
    /// The modules of this package; with DIR only those that are there
    #[arg(short, long, value_name = "PACKAGE", allow_hyphen_values = true)]
    package: Option<String>,
    /// Only the bytecode of this version of Python
    #[arg(short = 'V', value_name = "VERSION", allow_hyphen_values = true)]
    only: Option<String>,
    /// Directories of modules, or single ones
    #[arg(value_name = "DIR_OR_FILE", value_parser = PathBufValueParser::new())]
    paths: Vec<PathBuf>,
}

/// Which bytecode is meant.
#[derive(Debug, PartialEq, Eq)]
enum Tag {
    /// Every version's.
    Any,
    /// That of one, as `cpython-311`.
    Only(String),
    /// That of versions before 3.2, which had none in `__pycache__`.
    Ancient,
}

/// Runs the program with the arguments `words`.
pub(super) fn run(words: &[OsString]) -> ExitCode {
    let call = Call { name: NAME, words, remedy: REMEDY };
    let parsed = Arguments::try_parse_from(std::iter::once(&OsString::from(NAME)).chain(words));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && dpkg::is_maintainer_script() => {
            return call.leave_to_original("this command line is not understood");
        }
        Err(error) => report::leave(&error),
    };
    let Some(tag) = tag(arguments.only.as_deref()) else {
        let only = arguments.only.unwrap_or_default();
        report::complain(&format!("py3clean: there is no bytecode of a Python '{only}'"));
        return if dpkg::is_maintainer_script() { ExitCode::SUCCESS } else { UNKNOWN_VERSION.into() };
    };
    if arguments.package.is_none() && arguments.paths.is_empty() {
        report::result(&Arguments::command().render_usage().to_string());
        return call.status(Status::SomeFailed);
    }
    let prepared = py3compile::config(&arguments.usual, "PYCLEAN_DEBUG")
        .and_then(|config| Ok((config, session::interrupt()?)));
    match prepared {
        Ok((config, interrupt)) => perform(&call, &arguments, &tag, &config, &interrupt),
        Err(error) => call.conclude(Err(error)),
    }
}

/// What `-V` means; `None`: there is no such Python. CPython's tag since 3.2 is `cpython-` and the digits of the
/// version, so that it need not be asked, or be there.
fn tag(only: Option<&str>) -> Option<Tag> {
    let Some(only) = only else { return Some(Tag::Any) };
    let mut parts = only.strip_prefix('-').unwrap_or(only).splitn(3, '.').map(str::parse::<u8>);
    match (parts.next(), parts.next()) {
        (Some(Ok(3)), Some(Ok(minor @ 2..))) => Some(Tag::Only(format!("cpython-3{minor}"))),
        (Some(Ok(0..=3)), Some(Ok(_))) => Some(Tag::Ancient),
        _ => None,
    }
}

impl Tag {
    fn has(&self, remnant: &Remnant) -> bool {
        match self {
            Self::Any => true,
            Self::Only(tag) => remnant.tag() == tag.as_bytes(),
            Self::Ancient => false,
        }
    }
}

fn perform(
    call: &Call<'_>,
    arguments: &Arguments,
    tag: &Tag,
    config: &Config,
    interrupt: &Interrupt,
) -> ExitCode {
    let is_script = dpkg::is_maintainer_script();
    let new = if is_script { Reporter::terse } else { Reporter::new };
    let reporter = new(config.verbosity);
    let command = call.line();
    let cache = Cache::new(&config.settings.cache);
    let run = Run { config, interrupt, reporter: &reporter, cache: &cache, command: &command };
    let Plan { groups, problems, .. } =
        reporter.timed("find the bytecode", || collect(&config.root, arguments, tag));
    problems.iter().for_each(|problem| reporter.failure(&format!("py3clean: {problem}")));
    let result = super::attempt(&run, || match groups.as_slice() {
        [] => Ok(Status::Done),
        // Without the package there is nobody whom the trigger would call, to take anything back.
        groups if is_script && dpkg::knows_us(&config.root) => deferred::with_trigger(&run, NAME, || {
            run.with_retiring_writer(|writer| clean::retire(&run, writer, groups))
        }),
        groups => run.with_writer(|writer| clean::remove(&run, writer, groups)),
    });
    reporter.finish();
    let failed = !problems.is_empty();
    call.conclude(result.map(|status| if failed { Status::SomeFailed } else { status }))
}

/// The removal of the bytecode that is meant.
fn collect(root: &Root, arguments: &Arguments, tag: &Tag) -> Plan {
    let owner = arguments.package.as_deref();
    let mut removal = Removing { tag, owner, plan: Plan::default() };
    let removed = match owner {
        Some(package) => removal.add_package(root, package, &arguments.paths),
        None => {
            for path in &arguments.paths {
                if let Err(error) = removal.add_path(root, path) {
                    removal.plan.problems.push(error.to_string());
                }
            }
            Ok(())
        }
    };
    removal.plan.problems.extend(removed.err().map(|error| error.to_string()));
    removal.plan
}

/// A removal in the making. A name that is not bytecode's is another tool's.
struct Removing<'a> {
    tag: &'a Tag,
    owner: Option<&'a str>,
    plan: Plan,
}

impl Removing<'_> {
    /// Adds the modules of a package; if there are `paths`, those that are below one of them, by their names or by where
    /// they are.
    fn add_package(&mut self, root: &Root, package: &str, paths: &[PathBuf]) -> Result<()> {
        let sources = packages::sources(root, package)?;
        let mut directories = Vec::new();
        for path in paths {
            match selection::locate(root, path) {
                Ok(located) => directories.push(located),
                Err(error) => self.plan.problems.push(error.to_string()),
            }
        }
        let is_below = |source: &&Located| {
            let has = |directory: &Located| {
                source.named.starts_with(&directory.named) || source.path.starts_with(&directory.path)
            };
            paths.is_empty() || directories.iter().any(has)
        };
        let mut by_directory: BTreeMap<&Path, BTreeSet<OsString>> = BTreeMap::new();
        for source in sources.iter().filter(is_below) {
            if let (Some(directory), Some(name)) = (source.path.parent(), source.path.file_name()) {
                by_directory.entry(directory).or_default().insert(name.to_owned());
            }
        }
        by_directory.into_iter().for_each(|(directory, names)| self.add_named(root, directory, &names));
        Ok(())
    }

    fn add_path(&mut self, root: &Root, path: &Path) -> Result<()> {
        let located = selection::locate(root, path)?.path;
        if !root.on_disk(&located).is_dir() {
            if let (Some(directory), Some(name)) = (located.parent(), located.file_name())
                && tree::is_source_name(name)
            {
                self.add_named(root, directory, &BTreeSet::from([name.to_owned()]));
            }
            return Ok(());
        }
        let (tag, owner) = (self.tag, self.owner);
        let is_meant = |listing: &Listing, remnant: &Remnant| {
            tag.has(remnant) && listing.sources.contains_key(&remnant.source())
        };
        let remove = |listings| Ok(Plan::removal(listings, owner, is_meant));
        for part in Walk::begin(root, &located).visit(walk::THREADS, &mut self.plan.problems, remove)? {
            self.plan.append(part);
        }
        Ok(())
    }

    fn add_named(&mut self, root: &Root, directory: &Path, names: &BTreeSet<OsString>) {
        let is_meant =
            |_: &Listing, remnant: &Remnant| self.tag.has(remnant) && names.contains(&remnant.source());
        match tree::list(root, directory, &[], &mut self.plan.problems) {
            Ok(listing) => self.plan.remove(listing, self.owner, is_meant),
            Err(error) => self.plan.problems.push(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../man/py3clean.1");

    #[test]
    fn the_definition_holds_together_and_is_in_the_manual() {
        Arguments::command().debug_assert();
        super::super::args::assert_documented(&Arguments::command(), MANUAL);
    }

    #[test]
    fn the_tag_follows_from_the_version() {
        let only = |tag: &str| Some(Tag::Only(tag.to_owned()));
        assert_eq!(tag(Some("3.11")), only("cpython-311"));
        assert_eq!(tag(Some("3.9.2")), only("cpython-39"));
        assert_eq!(tag(Some("3.1")), Some(Tag::Ancient));
        assert_eq!(tag(Some("-3.1")), Some(Tag::Ancient));
        assert_eq!(tag(Some("2.7")), Some(Tag::Ancient));
        assert_eq!(tag(None), Some(Tag::Any));
        for unknown in ["3", "4.0", "x", "", "3.x", "3.999"] {
            assert_eq!(tag(Some(unknown)), None, "{unknown}");
        }
    }
}
