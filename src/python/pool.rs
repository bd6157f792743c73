//! The pool: a pull queue, and threads that each keep an interpreter busy.
//!
//! Owns who compiles what and when; the order of the queue is the caller's (largest first). Each thread has at
//! most one worker of every interpreter, started when first needed and replaced when lost. Sources go to it in
//! batches: a large one alone, small ones together, because to wake up a process costs as much as to compile a
//! small source. While a worker compiles a batch, its thread reads the next; while it compiles that, the thread
//! finishes the last one; so neither waits for the other. A batch over which a worker is lost is sent again, each
//! source alone, so that only the one that is to blame is lost. It knows nothing of where sources come from or
//! where code goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::interpreter::Interpreter;
use super::process::Broken;
use super::worker::{Outcome, Request, Worker};
use crate::buffer::Buffer;
use crate::interrupt::Interrupt;
use crate::parallel;

/// The most sources in a batch, in bytes together: about 10 ms of compiling. A batch is for one interpreter, so
/// sources that are smaller are best queued by interpreter.
pub const BATCH: usize = 32 << 10;

/// The most sources in a batch; there are thousands that are empty.
const MOST: usize = 64;

/// How to run the pool.
#[derive(Debug)]
pub struct Pool<'a> {
    /// Who compiles; [`Job::interpreter`] is an index into this.
    pub interpreters: &'a [Interpreter],
    /// How many threads, each with a busy worker.
    pub threads: usize,
    /// The time limit for one source, from sending it to the end of the answer.
    pub limit: Option<Duration>,
    /// What ends it early.
    pub interrupt: &'a Interrupt,
}

/// A request and what its sender needs to remember of it.
#[derive(Debug)]
pub struct Job<R> {
    /// An index into the pool's interpreters.
    pub interpreter: usize,
    /// What to compile.
    pub request: Request,
    /// The sender's own.
    pub ready: R,
}

/// What stands at both ends of the pool.
pub trait Ends: Sync {
    /// What is remembered of a job while it is compiled.
    type Ready: Send;

    /// The next job; `None` when there are no more.
    ///
    /// # Errors
    /// Any error ends the whole run.
    fn next(&self) -> Result<Option<Job<Self::Ready>>>;

    /// Takes the outcome of a job.
    ///
    /// # Errors
    /// Any error ends the whole run.
    fn finish(&self, ready: Self::Ready, outcome: Outcome) -> Result<()>;
}

/// The run was ended by the interrupt.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Pool<'_> {
    /// Runs until the queue is empty. Every worker has ended when this returns.
    ///
    /// # Errors
    /// The first error of either end; a worker that cannot be started; [`Interrupted`].
    pub fn run(&self, ends: &impl Ends) -> Result<()> {
        let first_error = Mutex::new(None);
        let stopped = AtomicBool::new(false);
        let drive = || {
            if let Err(error) = self.drive(ends, &stopped) {
                // The others are then interrupted because of the first; theirs is no news.
                first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                stopped.store(true, Ordering::SeqCst);
                self.interrupt.wake();
            }
        };
        std::thread::scope(|scope| {
            // Where threads are refused there are fewer. One is the caller's.
            let others =
                (1..self.threads).map_while(|_| parallel::spawn_scoped(scope, (), |()| drive()).ok());
            let _running: Vec<_> = others.collect();
            drive();
        });
        match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// One thread's part.
    fn drive<E: Ends>(&self, ends: &E, stopped: &AtomicBool) -> Result<()> {
        let mut workers: Vec<Option<Worker<'_>>> = self.interpreters.iter().map(|_| None).collect();
        let mut supply = Supply { ends, stopped, next: None };
        let mut current = supply.batch()?;
        self.send(&mut workers, &mut current)?;
        while !current.is_empty() {
            let mut following = supply.batch()?;
            let outcomes = self.receive(&mut workers, &mut current)?;
            self.send(&mut workers, &mut following)?;
            for (job, outcome) in current.into_iter().zip(outcomes) {
                ends.finish(job.ready, outcome)?;
            }
            current = following;
        }
        Ok(())
    }

    /// Sends a batch to this thread's worker, which is started first if there is none. A source that is alone is
    /// not needed after that; the largest ones are as large as all that the driver otherwise has in memory.
    fn send<'s, R>(&'s self, workers: &mut [Option<Worker<'s>>], batch: &mut [Job<R>]) -> Result<()> {
        let Some(first) = batch.first() else { return Ok(()) };
        let interpreter = first.interpreter;
        let worker = match &mut workers[interpreter] {
            Some(worker) => worker,
            place => place.insert(self.start(interpreter)?),
        };
        worker.send(batch.iter().map(|job| &job.request));
        if let [alone] = batch {
            alone.request.source = Buffer::default();
        }
        Ok(())
    }

    /// The outcomes of a batch that was sent.
    fn receive<'s, R>(
        &'s self,
        workers: &mut [Option<Worker<'s>>],
        batch: &mut [Job<R>],
    ) -> Result<Vec<Outcome>> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let place = &mut workers[first.interpreter];
        let Some(worker) = place else { unreachable!("a batch was sent to it") };
        match worker.receive() {
            Ok(outcomes) => Ok(outcomes),
            Err(Broken::Interrupted) => Err(Interrupted.into()),
            Err(broken) => {
                *place = None;
                if batch.len() == 1 {
                    return Ok(vec![Outcome::Lost(broken)]);
                }
                let mut outcomes = Vec::with_capacity(batch.len());
                for alone in batch.chunks_mut(1) {
                    self.send(workers, alone)?;
                    outcomes.append(&mut self.receive(workers, alone)?);
                }
                Ok(outcomes)
            }
        }
    }

    fn start(&self, interpreter: usize) -> Result<Worker<'_>> {
        let started = Worker::start(&self.interpreters[interpreter], self.limit, self.interrupt);
        if self.interrupt.signalled() { Err(Interrupted.into()) } else { started }
    }
}

/// One thread's end of the queue.
struct Supply<'a, E: Ends> {
    ends: &'a E,
    stopped: &'a AtomicBool,
    /// The job that did not fit into the last batch.
    next: Option<Job<E::Ready>>,
}

impl<E: Ends> Supply<'_, E> {
    /// The next batch, for one interpreter; empty when there are no more jobs.
    fn batch(&mut self) -> Result<Vec<Job<E::Ready>>> {
        let mut batch: Vec<Job<E::Ready>> = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.next()? {
            let fits = |first: &Job<E::Ready>| {
                first.interpreter == job.interpreter && bytes + job.request.source.len() <= BATCH
            };
            if batch.len() == MOST || !batch.first().is_none_or(fits) {
                self.next = Some(job);
                break;
            }
            bytes += job.request.source.len();
            batch.push(job);
        }
        Ok(batch)
    }

    fn next(&mut self) -> Result<Option<Job<E::Ready>>> {
        if self.stopped.load(Ordering::SeqCst) {
            return Ok(None);
        }
        match self.next.take() {
            Some(job) => Ok(Some(job)),
            None => self.ends.next(),
        }
    }
}
