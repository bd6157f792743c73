//! A confined interpreter process and its three pipes.
//!
//! Owns sending and receiving with a deadline: no call here blocks longer, whatever the process does. What it
//! writes to stderr is kept for the error message. The process is killed and waited for when it is dropped, so
//! that the driver cannot end before its workers. It knows nothing of what the bytes mean.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::confine::{self, Rights};
use crate::buffer::Buffer;
use crate::disk::Text;
use crate::interrupt::Interrupt;

/// How much of stderr is kept, in bytes, the end of it.
const STDERR_KEPT: usize = 4096;

/// The size to ask for each pipe, in bytes: most sources and most bytecode pass with one system call.
const PIPE_SIZE: usize = 1 << 20;

/// How much of its stdout is read ahead, in bytes.
const INBOX: usize = 64 << 10;

/// A running interpreter.
#[derive(Debug)]
pub(super) struct Process<'i> {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// `None` after its end.
    stderr: Option<ChildStderr>,
    inbox: Inbox,
    complaints: Vec<u8>,
    interrupt: &'i Interrupt,
}

/// What has been read from stdout, but not asked for yet.
#[derive(Debug)]
struct Inbox {
    bytes: Vec<u8>,
    unread: Range<usize>,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Room in its stdin.
    Room,
    /// An answer from its stdout.
    Answer,
}

/// Which of the pipes have something for us.
struct Ready {
    interrupt: bool,
    stdout: bool,
    stdin: bool,
    stderr: bool,
}

impl Inbox {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.unread.end);
        self.bytes.extend_from_slice(bytes);
        self.unread.end = self.bytes.len();
    }

    /// Moves to `bytes` what fits into it; how much that is.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let length = self.unread.len().min(bytes.len());
        let from = self.unread.start;
        bytes[..length].copy_from_slice(&self.bytes[from..from + length]);
        self.unread.start += length;
        length
    }

    /// Drops as many of the bytes as there are, up to `length`; how many that is.
    fn drop_some(&mut self, length: usize) -> usize {
        let dropped = self.unread.len().min(length);
        self.unread.start += dropped;
        dropped
    }
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
pub(super) type Deadline = Option<Limit>;

/// A moment, and how long before it the wait began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    end: Instant,
    length: Duration,
}

impl Limit {
    /// The limit that ends in so long a time.
    pub(super) fn from_now(length: Duration) -> Self {
        Self { end: Instant::now() + length, length }
    }
}

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
        let mut child = confine::start(&mut confine::command(interpreter, rights, script))?;
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
        let inbox = Inbox { bytes: Vec::new(), unread: 0..0 };
        Ok(Self {
            child,
            stdin: Some(stdin),
            stdout,
            stderr: Some(stderr),
            inbox,
            complaints: Vec::new(),
            interrupt,
        })
    }

    /// Writes all parts to its stdin; together, because each write wakes it up.
    pub(super) fn send<'p>(
        &mut self,
        parts: impl Iterator<Item = &'p [u8]>,
        deadline: Deadline,
    ) -> Result<(), Broken> {
        let mut slices: Vec<IoSlice<'_>> = parts.map(IoSlice::new).collect();
        let mut rest = &mut slices[..];
        while rest.iter().any(|slice| !slice.is_empty()) {
            let Some(stdin) = &self.stdin else {
                return Err(self.ended());
            };
            match rustix::io::writev(stdin, rest) {
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(Errno::AGAIN) => self.wait(Wish::Room, deadline)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return Err(self.ended()),
                Err(errno) => return Err(Broken::Io(errno.into())),
            }
        }
        Ok(())
    }

    /// Reads `length` bytes from its stdout. What is announced costs no memory until it comes: of a large buffer only
    /// the addresses are taken in advance, and beyond the largest honest answers not even these.
    pub(super) fn receive(&mut self, length: usize, deadline: Deadline) -> Result<Buffer, Broken> {
        const ADDRESSES: usize = 128 << 20;
        const AT_FIRST: usize = 1 << 20;
        let mut bytes = Buffer::with_capacity(length.min(ADDRESSES)).map_err(Broken::Io)?;
        bytes.resize(length.min(AT_FIRST)).map_err(Broken::Io)?;
        let mut filled = self.inbox.take(&mut bytes);
        while filled < length {
            if filled == bytes.len() {
                bytes.resize(length.min(filled * 2)).map_err(Broken::Io)?;
            }
            if length - filled < INBOX {
                // Small answers come together; one system call reads them all.
                let mut inbox = std::mem::take(&mut self.inbox.bytes);
                inbox.resize(INBOX, 0);
                let read = self.read(&mut inbox, deadline)?;
                self.inbox = Inbox { bytes: inbox, unread: 0..read };
                filled += self.inbox.take(&mut bytes[filled..]);
            } else {
                filled += self.read(&mut bytes[filled..], deadline)?;
            }
        }
        Ok(bytes)
    }

    /// Reads `length` bytes from its stdout that nobody needs.
    pub(super) fn skip(&mut self, length: usize, deadline: Deadline) -> Result<(), Broken> {
        let mut left = length - self.inbox.drop_some(length);
        let mut bytes = [0; STDERR_KEPT];
        while left > 0 {
            let most = left.min(bytes.len());
            left -= self.read(&mut bytes[..most], deadline)?;
        }
        Ok(())
    }

    /// Reads what has come, one byte at least.
    fn read(&mut self, bytes: &mut [u8], deadline: Deadline) -> Result<usize, Broken> {
        loop {
            match rustix::io::read(&self.stdout, &mut *bytes) {
                Ok(0) => return Err(self.ended()),
                Ok(read) => return Ok(read),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(Wish::Answer, deadline)?,
                Err(errno) => return Err(Broken::Io(errno.into())),
            }
        }
    }

    /// Waits for `wish`. Collects stderr meanwhile, and answers while it waits to send more: a process that cannot
    /// get rid of its answers reads nothing.
    fn wait(&mut self, wish: Wish, deadline: Deadline) -> Result<(), Broken> {
        loop {
            let ready = self.poll(wish, deadline)?;
            if ready.interrupt {
                return Err(Broken::Interrupted);
            }
            if ready.stderr {
                self.collect_complaints();
            }
            match wish {
                Wish::Room if ready.stdin => return Ok(()),
                Wish::Answer if ready.stdout => return Ok(()),
                Wish::Room if ready.stdout => self.collect_answers()?,
                Wish::Room | Wish::Answer => {}
            }
        }
    }

    /// Each pipe is asked for once: what comes between two questions about the same one would get two answers.
    fn poll(&self, wish: Wish, deadline: Deadline) -> Result<Ready, Broken> {
        let (stdin, stderr) = (self.stdin.as_ref().filter(|_| wish == Wish::Room), self.stderr.as_ref());
        let interrupt = PollFd::from_borrowed_fd(self.interrupt.fd(), PollFlags::IN);
        let mut fds = vec![interrupt, PollFd::new(&self.stdout, PollFlags::IN)];
        fds.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        fds.extend(stderr.map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        poll_until(&mut fds, deadline)?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |is_asked: bool| is_asked && ready.next().unwrap_or_default();
        Ok(Ready {
            interrupt: next(true),
            stdout: next(true),
            stdin: next(stdin.is_some()),
            stderr: next(stderr.is_some()),
        })
    }

    fn collect_answers(&mut self) -> Result<(), Broken> {
        let mut answers = vec![0; INBOX];
        match rustix::io::read(&self.stdout, &mut answers) {
            Ok(0) => Err(self.ended()),
            Ok(read) => {
                self.inbox.add(&answers[..read]);
                Ok(())
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            Err(errno) => Err(Broken::Io(errno.into())),
        }
    }

    /// Takes what stderr has; false at its end.
    fn collect_complaints(&mut self) -> bool {
        let Some(stderr) = &self.stderr else { return false };
        let mut bytes = [0; STDERR_KEPT];
        match rustix::io::read(stderr, &mut bytes) {
            Ok(0) => {
                // The end of stderr alone says nothing; only the data pipe does.
                self.stderr = None;
                false
            }
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
        let patience = Limit::from_now(Duration::from_millis(500));
        if let Some(stderr) = &self.stderr {
            let mut fds = [PollFd::new(stderr, PollFlags::HUP)];
            let _ = poll_until(&mut fds, Some(patience));
            if fds[0].revents().contains(PollFlags::HUP) {
                return self.child.wait();
            }
        }
        self.child.kill()?;
        self.child.wait()
    }

    fn more_complaints(&mut self) -> io::Result<bool> {
        let Some(stderr) = &self.stderr else { return Ok(false) };
        let mut fds = [PollFd::new(stderr, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
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
        let left = deadline.map(|limit| limit.end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, timeout.as_ref()) {
            // Without a limit poll(2) ends only when there is something.
            Ok(0) => return Err(Broken::TimedOut(deadline.map_or(Duration::ZERO, |limit| limit.length))),
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
                    Some(last) => write!(f, " ({})", Text(last)),
                    None => Ok(()),
                }
            }
            Self::TimedOut(limit) => write!(f, "the worker did not answer within {} s", limit.as_secs_f64()),
            Self::Garbage(what) => write!(f, "the worker answered garbage: {}", Text(what)),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Io(cause) => write!(f, "cannot talk to the worker: {}", crate::disk::cause(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_in_vain_says_how_long_he_was_to_wait() {
        let (nobody, _held) = std::io::pipe().unwrap();
        let limit = Duration::from_millis(20);
        let waited = poll_until(&mut [PollFd::new(&nobody, PollFlags::IN)], Some(Limit::from_now(limit)));
        assert!(matches!(waited, Err(Broken::TimedOut(said)) if said == limit), "{waited:?}");
    }
}
