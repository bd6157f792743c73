//! Resolved settings: plain data, from the command line and the defaults.

use std::path::PathBuf;
use std::time::Duration;

use crate::root::Root;

/// Where the state directory is, below the root.
const SYSTEM_STATE: &str = "/var/lib/pyc-txn";

/// What every command needs to know.
#[derive(Debug)]
pub struct Config {
    /// In front of every path.
    pub root: Root,
    /// The state directory, a path on disk.
    pub state_dir: PathBuf,
    /// How many workers at a time.
    pub jobs: usize,
    /// The time limit for one source.
    pub limit: Option<Duration>,
    /// How long to wait for another pyc-txn.
    pub patience: Duration,
    /// How much to say.
    pub verbosity: Verbosity,
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
