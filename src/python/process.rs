//! A confined interpreter process and its three pipes.
//!
//! Owns sending and receiving with a deadline: no call here blocks longer, whatever the process does. What it
//! writes to stderr is kept for the error message. The process is killed and waited for when it is dropped, so
//! that the driver cannot end before its workers. It knows nothing of what the bytes mean.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::confine::{self, Rights};
use crate::buffer::Buffer;
use crate::interrupt::Interrupt;

/// How much of stderr is kept, in bytes, the end of it.
const STDERR_KEPT: usize = 4096;

/// The size to ask for each pipe, in bytes: most sources and most bytecode pass with one system call.
const PIPE_SIZE: usize = 1 << 20;

/// A running interpreter.
#[derive(Debug)]
pub(super) struct Process<'i> {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    complaints: Vec<u8>,
    interrupt: &'i Interrupt,
}

/// Why a process is of no use any more.
#[derive(Debug)]
pub enum Broken {
    /// It ended; with what it wrote to stderr.
    Ended(ExitStatus, String),
    /// It did not answer in time.
    TimedOut(Duration),
    /// It answered what no worker answers.
    Garbage(String),
    /// This run is to end.
    Interrupted,
    /// A system call of ours failed.
    Io(io::Error),
}

/// The end of somebody's patience; `None` waits for ever.
pub(super) type Deadline = Option<Instant>;

impl<'i> Process<'i> {
    /// Starts `interpreter` with `script`.
    ///
    /// # Errors
    /// What `fork(2)` and `execve(2)` say.
    pub(super) fn start(
        interpreter: &Path,
        rights: Rights,
        script: &str,
        interrupt: &'i Interrupt,
    ) -> io::Result<Self> {
        let mut child = confine::command(interpreter, rights, script).spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            unreachable!("all three are piped")
        };
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        for fd in [stdin.as_fd(), stdout.as_fd()] {
            // Refused above /proc/sys/fs/pipe-max-size and above the user's share: then it is slower.
            let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_SIZE);
        }
        Ok(Self { child, stdin: Some(stdin), stdout, stderr, complaints: Vec::new(), interrupt })
    }

    /// Writes all of `head` and `body` to its stdin; together, because each write wakes it up.
    pub(super) fn send(&mut self, head: &[u8], body: &[u8], deadline: Deadline) -> Result<(), Broken> {
        let mut slices = [IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut slices[..];
        while rest.iter().any(|slice| !slice.is_empty()) {
            let Some(stdin) = &self.stdin else {
                return Err(self.ended());
            };
            match rustix::io::writev(stdin, rest) {
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return Err(self.ended()),
                Err(errno) => return Err(Broken::Io(errno.into())),
            }
        }
        Ok(())
    }

    /// Reads `length` bytes from its stdout. What is announced costs no memory until it comes: the zeroed pages
    /// of a large allocation are the kernel's until they are written to; and beyond the largest honest answers
    /// not even addresses are given away in advance.
    pub(super) fn receive(&mut self, length: usize, deadline: Deadline) -> Result<Buffer, Broken> {
        const AT_FIRST: usize = 128 << 20;
        let mut bytes = Buffer::new(length.min(AT_FIRST));
        let mut filled = 0;
        while filled < length {
            if filled == bytes.len() {
                bytes.resize(length.min(filled * 2));
            }
            match rustix::io::read(&self.stdout, &mut bytes[filled..]) {
                Ok(0) => return Err(self.ended()),
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(errno) => return Err(Broken::Io(errno.into())),
            }
        }
        Ok(bytes)
    }

    /// Waits until the pipe for `events` is ready; collects stderr meanwhile.
    fn wait(&mut self, events: PollFlags, deadline: Deadline) -> Result<(), Broken> {
        loop {
            let (ready, complained, interrupted) = self.poll(events, deadline)?;
            if interrupted {
                return Err(Broken::Interrupted);
            }
            if complained && !self.collect_complaints() && !ready {
                // The end of stderr alone says nothing; only the data pipe does.
                return self.wait_quietly(events, deadline);
            }
            if ready {
                return Ok(());
            }
        }
    }

    fn wait_quietly(&self, events: PollFlags, deadline: Deadline) -> Result<(), Broken> {
        let interrupt = self.interrupt.fd();
        let mut fds = [self.data_fd(events), PollFd::from_borrowed_fd(interrupt, PollFlags::IN)];
        poll_until(&mut fds, deadline)?;
        if fds[1].revents().is_empty() { Ok(()) } else { Err(Broken::Interrupted) }
    }

    fn poll(&self, events: PollFlags, deadline: Deadline) -> Result<(bool, bool, bool), Broken> {
        let mut fds = [
            self.data_fd(events),
            PollFd::new(&self.stderr, PollFlags::IN),
            PollFd::from_borrowed_fd(self.interrupt.fd(), PollFlags::IN),
        ];
        poll_until(&mut fds, deadline)?;
        let [data, stderr, interrupt] = fds.map(|fd| !fd.revents().is_empty());
        Ok((data, stderr, interrupt))
    }

    fn data_fd(&self, events: PollFlags) -> PollFd<'_> {
        let fd: BorrowedFd<'_> = match &self.stdin {
            Some(stdin) if events == PollFlags::OUT => stdin.as_fd(),
            _ => self.stdout.as_fd(),
        };
        PollFd::from_borrowed_fd(fd, events)
    }

    /// Takes what stderr has; false at its end.
    fn collect_complaints(&mut self) -> bool {
        let mut bytes = [0; STDERR_KEPT];
        match rustix::io::read(&self.stderr, &mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.complaints.extend_from_slice(&bytes[..read]);
                let surplus = self.complaints.len().saturating_sub(STDERR_KEPT);
                self.complaints.drain(..surplus);
                true
            }
            Err(_) => true,
        }
    }

    /// The process closed a pipe: ends it for good and says how it went.
    fn ended(&mut self) -> Broken {
        self.stdin = None;
        // It may have closed its stdout without ending; its time is over in any case.
        let status = match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => self.end_soon(),
        };
        while let Ok(true) = self.more_complaints() {}
        match status {
            Ok(status) => Broken::Ended(status, String::from_utf8_lossy(&self.complaints).trim().to_owned()),
            Err(cause) => Broken::Io(cause),
        }
    }

    /// Gives the process a moment to end by itself, which tells more than the signal we would send.
    fn end_soon(&mut self) -> io::Result<ExitStatus> {
        let patience = Instant::now() + Duration::from_millis(500);
        let mut fds = [PollFd::new(&self.stderr, PollFlags::HUP)];
        let _ = poll_until(&mut fds, Some(patience));
        if fds[0].revents().contains(PollFlags::HUP) {
            return self.child.wait();
        }
        self.child.kill()?;
        self.child.wait()
    }

    fn more_complaints(&mut self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.stderr, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default()))?;
        let readable = fds[0].revents().contains(PollFlags::IN);
        Ok(readable && self.collect_complaints())
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It has nothing to save: it holds no file and no lock. Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn poll_until(fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<(), Broken> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, timeout.as_ref()) {
            Ok(0) => return Err(Broken::TimedOut(Duration::ZERO)),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Broken::Io(errno.into())),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status, complaints) => {
                match (status.signal(), status.code()) {
                    (Some(signal), _) => write!(f, "the worker was killed by signal {signal}")?,
                    (_, Some(code)) => write!(f, "the worker exited with status {code}")?,
                    _ => write!(f, "the worker ended")?,
                }
                match complaints.lines().last() {
                    Some(last) => write!(f, " ({last})"),
                    None => Ok(()),
                }
            }
            Self::TimedOut(limit) => write!(f, "the worker did not answer within {} s", limit.as_secs_f64()),
            Self::Garbage(what) => write!(f, "the worker answered garbage: {what}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Io(cause) => write!(f, "cannot talk to the worker: {}", crate::disk::cause(cause)),
        }
    }
}
