//! The writer lock: who holds it may stage, publish and recover (invariant 8).
//!
//! Owns the lock file and the wait for it. `record` takes no lock.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use fd_lock::RwLock;

use super::journal::Journal;
use crate::disk::{self, Dir};

/// The lock's file name in the state directory.
const FILE: &str = "lock";

/// How often a lock that is held is asked for again.
const INTERVAL: Duration = Duration::from_millis(50);

/// The lock file, open.
#[derive(Debug)]
pub struct Lock(RwLock<File>);

/// Another pyc-txn has the lock and did not let go in time.
#[derive(Debug)]
pub struct Held(Duration);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another pyc-txn holds the lock and did not let go within {} s", self.0.as_secs())
    }
}

impl std::error::Error for Held {}

/// The permission to write: the lock, held, with what it protects.
#[derive(Debug)]
pub struct Writer<'lock> {
    _lock: &'lock mut Lock,
    /// The journal.
    pub journal: Journal,
    /// The state directory.
    pub state: Dir,
}

impl Lock {
    /// Opens the lock file in the state directory `state`; it is created if missing and never replaced.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(state: &Path) -> Result<Self> {
        Ok(Self(RwLock::new(disk::open_lock_file(&state.join(FILE), 0o644)?)))
    }

    /// Whether somebody holds it just now.
    ///
    /// # Errors
    /// What `flock(2)` says.
    pub fn is_held(state: &Path) -> io::Result<bool> {
        let file = match File::open(state.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        match RwLock::new(file).try_read() {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock, then opens the journal; `waiting` is called once if the lock cannot be had at once.
    ///
    /// # Errors
    /// [`Held`] after `patience`; what `flock(2)` says; or those of [`Journal::open`].
    pub fn acquire(&mut self, state: Dir, patience: Duration, waiting: impl FnOnce()) -> Result<Writer<'_>> {
        self.hold(patience, waiting)?;
        // Not before: whoever had the lock may have set the journal aside.
        let journal = Journal::open(state.path())?;
        Ok(Writer { _lock: self, journal, state })
    }

    /// Takes the lock alone, for as long as this value lives.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn hold(&mut self, patience: Duration, waiting: impl FnOnce()) -> Result<()> {
        let began = Instant::now();
        let mut waiting = Some(waiting);
        while !self.try_take()? {
            if began.elapsed() >= patience {
                return Err(Held(patience).into());
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn try_take(&mut self) -> io::Result<bool> {
        match self.0.try_write() {
            Ok(guard) => {
                // From here the lock lives as long as the open file: it ends with this value or the process.
                std::mem::forget(guard);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
