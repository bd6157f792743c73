//! SIGINT and SIGTERM, and how they reach a thread that waits for a pipe; and the signals that must not have the effect
//! that this process would else have inherited.
//!
//! Owns one pipe that is written to once and never read: whoever polls it beside its own file descriptors wakes
//! up, however many there are. It knows nothing of what is interrupted.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// The wish to end this run, from a signal or from inside.
#[derive(Debug)]
pub struct Interrupt {
    wake: UnixStream,
    woken: OwnedFd,
    signalled: Arc<AtomicBool>,
    first_seen: OnceLock<Instant>,
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on. And two signals to no other end than that they are caught, which
    /// programs that are started do not inherit: SIGXFSZ, so that a limit of file sizes is the error of the write
    /// (`EFBIG`) and not the end of this process, and SIGCHLD, which a caller may have ignored: then nobody could wait
    /// for what he has started.
    ///
    /// # Errors
    /// Too many open files.
    pub fn install() -> io::Result<Self> {
        for signal in [SIGXFSZ, SIGCHLD] {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(Self { wake, woken: woken.into(), signalled, first_seen: OnceLock::new() })
    }

    /// Whether a signal asked this run to end.
    #[must_use]
    pub fn signalled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst)
    }

    /// Whether a signal came and `patience` has passed since that was first asked.
    #[must_use]
    pub fn signalled_for(&self, patience: Duration) -> bool {
        self.signalled() && self.first_seen.get_or_init(Instant::now).elapsed() > patience
    }

    /// Wakes whoever polls, without a signal: the run has failed elsewhere.
    pub fn wake(&self) {
        // A full pipe is awake already.
        let _ = (&self.wake).write(&[0]);
    }

    /// Becomes readable, for good, once somebody wants this run to end.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
