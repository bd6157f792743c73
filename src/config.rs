//! Resolved settings: plain data, from the command line, the environment, the configuration file and the defaults,
//! the first that has a word on the matter.

pub mod file;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::python::header::Invalidation;
use crate::python::pattern::Pattern;
use crate::python::pycache::Level;
use crate::root::Root;

/// Where the state directory is, below the root.
const SYSTEM_STATE: &str = "/var/lib/pyc-txn";

/// The environment's off switch: any value but the empty one and `0`, which switches on what the file has
/// switched off.
const SUSPEND: &str = "PYC_TXN_SUSPEND";

/// Where the cache is, instead of what the file says; the empty value and `0`: nowhere.
const CACHE: &str = "PYC_TXN_CACHE";

/// What every command needs to know.
#[derive(Debug)]
pub struct Config {
    /// In front of every path.
    pub root: Root,
    /// The state directory, a path on disk.
    pub state_dir: PathBuf,
    /// Whether the state directory may be created: not in somebody's payload, of which it would become a part, unless it
    /// was asked for.
    pub creates_state: bool,
    /// How, and whether, to compile.
    pub settings: Settings,
    /// How long to wait for another pyc-txn.
    pub patience: Duration,
    /// How much to say.
    pub verbosity: Verbosity,
}

/// What the configuration file can say.
#[derive(Debug)]
pub struct Settings {
    /// Whether to compile; else what is wanted is recorded only.
    pub enabled: bool,
    /// The optimization levels, each once; none at all for no bytecode.
    pub optimize: Vec<Level>,
    /// How Python is to check the bytecode.
    pub invalidation: Invalidation,
    /// How many workers at a time; `None`: one for each processor.
    pub jobs: Option<NonZeroUsize>,
    /// The time limit for one source.
    pub timeout: Option<Duration>,
    /// The length of the largest source that is read, in bytes; `None`: whatever can be compiled.
    pub largest: Option<u64>,
    /// Sources in whose paths one of these occurs are not compiled.
    pub exclude: Vec<Pattern>,
    /// Whether `py3compile` in a maintainer script leaves the work to the trigger.
    pub defer: bool,
    /// What is kept of the history.
    pub history: History,
    /// The shared bytecode cache.
    pub cache: CachePlace,
    /// Whether everything is verified and repaired once a week.
    pub weekly: bool,
}

/// Where the shared bytecode cache is, and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CachePlace {
    /// Its directory, an absolute path; `None`: there is no cache.
    pub path: Option<PathBuf>,
    /// Its limit in millions of bytes; 0: none.
    pub megabytes: u64,
}

impl CachePlace {
    /// Its limit in bytes.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        (self.megabytes > 0).then(|| self.megabytes.saturating_mul(1_000_000))
    }
}

impl Default for CachePlace {
    fn default() -> Self {
        Self { path: None, megabytes: 1000 }
    }
}

/// Which transactions that have ended are kept: the young ones, and the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Those that ended within so many days; 0: all.
    pub days: u32,
    /// Of the others so many, the latest.
    pub transactions: u32,
}

impl History {
    /// The rule that forgets nothing.
    pub const FOR_EVER: Self = Self { days: 0, transactions: 0 };
}

impl Default for History {
    fn default() -> Self {
        Self { days: 90, transactions: 100 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            optimize: vec![Level::default()],
            invalidation: Invalidation::Timestamp,
            jobs: None,
            timeout: Some(Duration::from_secs(300)),
            largest: Some(32_000_000),
            exclude: Vec::new(),
            defer: true,
            history: History::default(),
            cache: CachePlace::default(),
            weekly: true,
        }
    }
}

impl Settings {
    /// How many interpreters to run at a time. To count the processors takes the kernel some 0.1 ms, and who only
    /// records need not know.
    #[must_use]
    pub fn jobs(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.jobs.map_or_else(all, NonZeroUsize::get)
    }

    /// Applies what the environment says.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        if let Some(suspend) = std::env::var_os(SUSPEND).filter(|value| !value.is_empty()) {
            self.enabled = suspend == "0";
        }
        if let Some(path) = std::env::var_os(CACHE).map(PathBuf::from) {
            let is_off = path.as_os_str().is_empty() || path.as_os_str() == "0";
            self.cache.path = (!is_off).then(|| std::path::absolute(&path).unwrap_or(path));
        }
        self
    }
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// The result, too.
    Normal,
    /// How it came about, too.
    Verbose,
}

/// Whether the root is an installed system, and no payload that is packed or copied as it is: dpkg or an earlier run has
/// its state there.
#[must_use]
pub fn is_installed(root: &Root) -> bool {
    ["/var/lib/dpkg", SYSTEM_STATE].iter().any(|state| root.on_disk(state.as_ref()).is_dir())
}

/// The state directory where none is named: the system's for root and for another root, else the user's own
/// (XDG Base Directory Specification).
#[must_use]
pub fn default_state_dir(root: &Root) -> PathBuf {
    if rustix::process::geteuid().is_root() || !root.is_host() {
        return root.on_disk(SYSTEM_STATE.as_ref());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").unwrap_or_else(|| PathBuf::from("/")).join(".local/state");
    absolute("XDG_STATE_HOME").unwrap_or_else(home).join("pyc-txn")
}
