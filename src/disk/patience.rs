//! Patience with the table of open files: the other threads of this run soon close theirs.
//!
//! Owns how long to wait. A run that has waited in vain once does not wait again: its limit is too low for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;

/// How long to wait before each further attempt.
const WAITS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
];

static IS_EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// Opens a file by `attempt`, several times if this process or the system has too many open files.
///
/// # Errors
/// That of the last attempt.
pub fn patiently<T>(mut attempt: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for wait in WAITS {
        match attempt() {
            Err(Errno::MFILE | Errno::NFILE) if !IS_EXHAUSTED.load(Ordering::Relaxed) => {
                std::thread::sleep(wait);
            }
            opened => return opened,
        }
    }
    let last = attempt();
    if let Err(Errno::MFILE | Errno::NFILE) = last {
        IS_EXHAUSTED.store(true, Ordering::Relaxed);
    }
    last
}
