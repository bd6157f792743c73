//! One worker: a confined interpreter that compiles what it is sent.
//!
//! Owns the frames of `worker.py` and the distrust towards what comes back. It knows nothing of files: sources
//! come as bytes, code goes as bytes.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::io::Errno;

use super::header;
use super::interpreter::{Interpreter, UNKNOWN_FORMAT};
use super::marshal::{self, Format};
use super::process::{Broken, Deadline, Limit, Process};
use super::pycache::Level;
use crate::buffer::Buffer;
use crate::disk::{Text, cause};
use crate::interrupt::Interrupt;

const SCRIPT: &str = include_str!("worker.py");
const HELLO: &[u8] = b"pyc-txn worker 1\n";

/// How long a worker may take to start.
pub(super) const START: Duration = Duration::from_secs(60);

/// How long a batch of several sources may take, in any case thousand times as long as it takes.
const BATCH_LIMIT: Duration = Duration::from_secs(10);

/// The longest answer that is believed, in bytes: marshal's lengths have 31 bits.
const LONGEST: u32 = i32::MAX as u32;

/// The longest refusal that is believed, in bytes: `worker.py` cuts off its messages far below.
const LONGEST_REFUSAL: u32 = 64 << 10;

/// The longest warnings of a source that are believed, in bytes.
const LONGEST_WARNINGS: u32 = 4 << 20;

/// How many warnings of a source are kept, as in `worker.py`.
const MOST_WARNINGS: usize = 100;

/// What a worker is asked to compile.
#[derive(Debug)]
pub struct Request {
    /// The file name inside the bytecode.
    pub filename: Vec<u8>,
    /// The optimization level.
    pub level: Level,
    /// The source's bytes, in whatever encoding it declares.
    pub source: Buffer,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Marshalled code, structurally whole, with the right file name inside, in its canonical form.
    Code {
        /// The code, without a header.
        code: Buffer,
        /// SyntaxWarnings, `LINE\tMESSAGE` a line each, and where there were too many at last `and N more`.
        warnings: String,
    },
    /// The compiler refused the source, and will do so again.
    Refused {
        /// The line of the error, 0 where there is none.
        line: u32,
        /// The class of the exception and what it says.
        message: String,
    },
    /// The worker was lost over it, and so was the next one; the reason.
    Lost(Broken),
    /// The worker had not what it takes (memory, files), which another run may have. The exception.
    Unable(String),
    /// There is no worker: the interpreter cannot be used in this run. What [`super::interpreter::unusable`] says.
    Unusable(String),
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// This run is to end.
    Interrupted,
    /// This program was refused a process, memory or files, which says nothing about the interpreter; the cause.
    Refused(String),
    /// The interpreter is of no use; the reason.
    Unusable(String),
}

/// A worker that has shaken hands.
#[derive(Debug)]
pub(super) struct Worker<'i> {
    process: Process<'i>,
    format: Format,
    limit: Option<Duration>,
    sent: Option<Sent>,
}

/// A batch under way.
#[derive(Debug)]
struct Sent {
    /// The file name of each source, and its length in bytes.
    sources: Vec<(Vec<u8>, u64)>,
    deadline: Deadline,
    result: Result<(), Broken>,
}

impl<'i> Worker<'i> {
    /// Starts one and waits for its greeting. One that is killed meanwhile is started once more: whoever did that may
    /// have had other reasons.
    ///
    /// # Errors
    /// It cannot be started, or greets as another interpreter than `interpreter`.
    pub(super) fn start(
        interpreter: &Interpreter,
        limit: Option<Duration>,
        interrupt: &'i Interrupt,
    ) -> Result<Self, Unstarted> {
        let Some(format) = interpreter.format() else {
            return Err(Unstarted::Unusable(UNKNOWN_FORMAT.into()));
        };
        let mut greeted = greet(interpreter, interrupt)?;
        if matches!(&greeted, Err(Broken::Ended(status, _)) if status.signal().is_some()) {
            greeted = greet(interpreter, interrupt)?;
        }
        let unusable = |why: &dyn std::fmt::Display| {
            Unstarted::Unusable(format!("it cannot be started as a worker: {why}"))
        };
        match greeted {
            Ok((process, magic)) if magic == interpreter.dialect.magic => {
                Ok(Self { process, format, limit, sent: None })
            }
            Ok(_) => Err(unusable(&"its magic number is another one than it said before")),
            Err(Broken::Interrupted) => Err(Unstarted::Interrupted),
            Err(Broken::TimedOut(_)) => Err(unusable(&Broken::TimedOut(START))),
            Err(broken) => Err(unusable(&broken)),
        }
    }

    /// Sends a batch. Whether that worked is said by [`Worker::receive`]. All of it has the time limit of one
    /// source, and no more than [`BATCH_LIMIT`] if it is more than one: it can be sent again.
    pub(super) fn send<'r>(&mut self, batch: impl ExactSizeIterator<Item = &'r Request> + Clone) {
        let most = if batch.len() > 1 { Some(BATCH_LIMIT) } else { None };
        let limit = self.limit.into_iter().chain(most).min();
        let deadline = limit.map(Limit::from_now);
        let result = self.try_send(batch.clone(), deadline);
        let sources = batch.map(|request| (request.filename.clone(), request.source.len() as u64)).collect();
        self.sent = Some(Sent { sources, deadline, result });
    }

    fn try_send<'r>(
        &mut self,
        batch: impl ExactSizeIterator<Item = &'r Request> + Clone,
        deadline: Deadline,
    ) -> Result<(), Broken> {
        let mut heads = Vec::with_capacity(batch.len());
        for (request, left) in batch.clone().zip((0..batch.len()).rev()) {
            heads.push(head(request, left > 0)?);
        }
        let parts = heads.iter().zip(batch).flat_map(|(head, request)| [&head[..], &request.source[..]]);
        self.process.send(parts, deadline)
    }

    /// Waits for the outcomes of the batch that was sent, in its order.
    ///
    /// # Errors
    /// The worker was lost over it; it is of no use any more.
    pub(super) fn receive(&mut self) -> Result<Vec<Outcome>, Broken> {
        let Some(sent) = self.sent.take() else {
            return Err(Broken::Garbage("it was not asked".into()));
        };
        let read = |(filename, length): (Vec<u8>, u64)| self.read_answer(&filename, length, sent.deadline);
        sent.result.and_then(|()| sent.sources.into_iter().map(read).collect())
    }

    /// Reads the answer for a source of `source` bytes.
    fn read_answer(&mut self, filename: &[u8], source: u64, deadline: Deadline) -> Result<Outcome, Broken> {
        let head = self.process.receive(12, deadline)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (status, length, warnings) = (word(0), word(4), word(8));
        let longest = if status == 0 { LONGEST } else { LONGEST_REFUSAL };
        if status > 2 || length > longest || warnings > LONGEST_WARNINGS {
            let what = format!("a frame that is none ({status:#x}, {length:#x}, {warnings:#x})");
            return Err(Broken::Garbage(what));
        }
        if status == 0 && !header::may_be_pyc_of(u64::from(length), source) {
            self.process.skip(length as usize + warnings as usize, deadline)?;
            return Ok(too_long(length));
        }
        let mut payload = self.process.receive(length as usize, deadline)?;
        let warnings = self.process.receive(warnings as usize, deadline)?;
        match status {
            0 => {}
            1 => return read_refusal(&payload),
            _ => return Ok(Outcome::Unable(Text(&String::from_utf8_lossy(&payload)).to_string())),
        }
        self.accept(&mut payload, filename)?;
        Ok(Outcome::Code { code: payload, warnings: read_warnings(&warnings) })
    }

    /// What a worker that compiled the last source, or thousands before it, returns for a source is not the same
    /// bytes; from here on it is.
    fn accept(&self, code: &mut Buffer, filename: &[u8]) -> Result<(), Broken> {
        let whole = marshal::canonicalize(code, self.format).map_err(|malformed| match malformed.reason {
            marshal::Reason::NoMemory => Broken::Io(Errno::NOMEM.into()),
            _ => Broken::Garbage(malformed.to_string()),
        })?;
        if *whole.filename() != *filename {
            return Err(Broken::Garbage("code of another file".into()));
        }
        let length = whole.bytes().len();
        code.truncate(length);
        Ok(())
    }
}

/// Starts an interpreter as a worker; the magic number with which it greets.
fn greet<'i>(
    interpreter: &Interpreter,
    interrupt: &'i Interrupt,
) -> Result<Result<(Process<'i>, Vec<u8>), Broken>, Unstarted> {
    let started = Process::start(&interpreter.path, interpreter.rights, SCRIPT, interrupt);
    let mut process = started.map_err(|error| Unstarted::Refused(cause(&error)))?;
    let greeting = process.receive(HELLO.len() + 4, Some(Limit::from_now(START)));
    Ok(greeting.and_then(|greeting| match greeting.strip_prefix(HELLO) {
        Some(magic) => Ok((process, magic.to_vec())),
        None => Err(Broken::Garbage("it does not greet as a worker does".into())),
    }))
}

/// What goes before a source. With `more` the answer may be kept back until the rest of the batch is answered.
fn head(request: &Request, more: bool) -> Result<Vec<u8>, Broken> {
    let mut head = Vec::with_capacity(16 + request.filename.len());
    for length in [request.filename.len(), request.source.len()] {
        let length = u32::try_from(length).map_err(|_| Broken::Garbage("a source over 4 GiB".into()))?;
        head.extend_from_slice(&length.to_le_bytes());
    }
    head.extend_from_slice(&u32::from(request.level.number()).to_le_bytes());
    head.extend_from_slice(&u32::from(more).to_le_bytes());
    head.extend_from_slice(&request.filename);
    Ok(head)
}

fn read_refusal(payload: &[u8]) -> Result<Outcome, Broken> {
    let text = String::from_utf8_lossy(payload);
    let (line, message) =
        text.split_once('\n').ok_or_else(|| Broken::Garbage("a refusal without a line".into()))?;
    let line = line.parse().map_err(|_| Broken::Garbage("a refusal without a line".into()))?;
    Ok(Outcome::Refused { line, message: Text(message).to_string() })
}

/// The outcome of a source whose bytecode nobody would believe: each level of nested `finally` doubles it.
fn too_long(length: u32) -> Outcome {
    let message = format!("its bytecode has {length} bytes, more than any honest source of its size gives");
    Outcome::Refused { line: 0, message }
}

/// The warnings in an answer, each in one line and none too long.
fn read_warnings(bytes: &[u8]) -> String {
    let mut lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let mut kept = String::new();
    for line in lines.by_ref().take(MOST_WARNINGS) {
        let line = String::from_utf8_lossy(line);
        let (number, message) = line.split_once('\t').unwrap_or(("0", &line));
        kept.push_str(&format!("{}\t{}\n", Text(number), Text(message)));
    }
    let surplus = match lines.next().map(String::from_utf8_lossy) {
        None => return kept,
        Some(last) => surplus(&last).unwrap_or(1) + lines.count() as u64,
    };
    kept.push_str(&format!("and {surplus} more\n"));
    kept
}

/// How many warnings the line `and N more` stands for.
fn surplus(line: &str) -> Option<u64> {
    line.strip_prefix("and ")?.strip_suffix(" more")?.parse().ok()
}

/// How many warnings there were, by the text that [`Outcome::Code`] has of them.
#[must_use]
pub fn count_warnings(warnings: &str) -> u64 {
    warnings.lines().map(|line| surplus(line).unwrap_or(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_warnings_the_first_are_kept_and_all_are_counted() {
        let lines = |count: usize| -> String { (1..=count).map(|n| format!("{n}\tfoo\x1b[2J\n")).collect() };
        for (text, count) in [
            (String::new(), 0),
            (lines(100), 100),
            (lines(101), 101),
            (lines(100) + "and 20 more\n", 120),
            (lines(100) + "and 20 more\n" + &lines(5), 125),
        ] {
            let kept = read_warnings(text.as_bytes());
            assert_eq!(count_warnings(&kept), count);
            assert!(kept.lines().count() <= MOST_WARNINGS + 1 && !kept.contains('\x1b'), "{kept}");
        }
        assert_eq!(read_warnings(b"7\tuse\rless\n"), "7\tuse\\rless\n");
    }
}
