//! One worker: a confined interpreter that compiles what it is sent.
//!
//! Owns the frames of `worker.py` and the distrust towards what comes back. It knows nothing of files: sources
//! come as bytes, code goes as bytes.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::interpreter::{Interpreter, UNKNOWN_FORMAT};
use super::marshal::{self, Format};
use super::process::{Broken, Deadline, Process};
use super::pycache::Level;
use crate::buffer::Buffer;
use crate::disk::cause;
use crate::interrupt::Interrupt;

const SCRIPT: &str = include_str!("worker.py");
const HELLO: &[u8] = b"pyc-txn worker 1\n";

/// How long a worker may take to start.
pub(super) const START: Duration = Duration::from_secs(60);

/// How long a batch of several sources may take, in any case thousand times as long as it takes.
const BATCH_LIMIT: Duration = Duration::from_secs(10);

/// The longest answer that is believed, in bytes: marshal's lengths have 31 bits.
const LONGEST: u32 = i32::MAX as u32;

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
        /// SyntaxWarnings, `LINE\tMESSAGE` a line each.
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
    filenames: Vec<Vec<u8>>,
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
        let deadline = limit.map(|limit| Instant::now() + limit);
        let result = self.try_send(batch.clone(), deadline);
        let filenames = batch.map(|request| request.filename.clone()).collect();
        self.sent = Some(Sent { filenames, deadline, result });
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
        let limit = self.limit.unwrap_or_default();
        let read = |filename: Vec<u8>| self.read_answer(&filename, sent.deadline);
        let outcomes = sent.result.and_then(|()| sent.filenames.into_iter().map(read).collect());
        outcomes.map_err(|broken| match broken {
            Broken::TimedOut(_) => Broken::TimedOut(limit),
            broken => broken,
        })
    }

    fn read_answer(&mut self, filename: &[u8], deadline: Deadline) -> Result<Outcome, Broken> {
        let head = self.process.receive(12, deadline)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (status, length, warnings) = (word(0), word(4), word(8));
        if status > 2 || length > LONGEST || warnings > LONGEST {
            let what = format!("a frame that is none ({status:#x}, {length:#x}, {warnings:#x})");
            return Err(Broken::Garbage(what));
        }
        let mut payload = self.process.receive(length as usize, deadline)?;
        let warnings = self.process.receive(warnings as usize, deadline)?;
        match status {
            0 => {}
            1 => return read_refusal(&payload),
            _ => return Ok(Outcome::Unable(String::from_utf8_lossy(&payload).into_owned())),
        }
        self.accept(&mut payload, filename)?;
        Ok(Outcome::Code { code: payload, warnings: String::from_utf8_lossy(&warnings).into_owned() })
    }

    /// What a worker that compiled the last source, or thousands before it, returns for a source is not the same
    /// bytes; from here on it is.
    fn accept(&self, code: &mut Buffer, filename: &[u8]) -> Result<(), Broken> {
        let whole = marshal::canonicalize(code, self.format)
            .map_err(|malformed| Broken::Garbage(malformed.to_string()))?;
        if *whole.filename() != *filename {
            return Err(Broken::Garbage("code of another file".into()));
        }
        let length = whole.bytes().len();
        code.resize(length);
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
    let greeting = process.receive(HELLO.len() + 4, Some(Instant::now() + START));
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
    Ok(Outcome::Refused { line, message: message.to_owned() })
}
