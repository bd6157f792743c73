//! The pool: a pull queue, and threads that each keep an interpreter busy.
//!
//! Owns who compiles what and when; the order of the queue is the caller's (largest first). Each thread has at
//! most one worker of every interpreter, started when first needed and replaced when lost. Sources go to it in
//! batches: a large one alone, small ones together, because to wake up a process costs as much as to compile a
//! small source. While a worker compiles a batch, its thread reads the next; while it compiles that, the thread
//! finishes the last one; so neither waits for the other. A thread that can have no worker, for want of processes or
//! files, gives its jobs back and ends; in the end the calling thread does them. `bench` knows what becomes of a source
//! whose worker is lost. The pool knows nothing of where sources come from or where code goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::bench::{Bench, Health};
use super::interpreter::Interpreter;
use super::worker::{Outcome, Request};
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

    /// Reads the source of a job again, over which a worker was lost; `None` if it is not the same any more.
    fn reread(&self, ready: &Self::Ready) -> Option<Buffer>;
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

/// What the threads of a run share.
struct Shared<'a, E: Ends> {
    ends: &'a E,
    /// By the pool's interpreters.
    health: Vec<Health>,
    /// Whether no more jobs are taken.
    stopped: AtomicBool,
    first_error: Mutex<Option<anyhow::Error>>,
    /// Jobs of threads that could have no worker.
    given_back: Mutex<Vec<Job<E::Ready>>>,
}

impl Pool<'_> {
    /// Runs until the queue is empty. Every worker has ended when this returns.
    ///
    /// # Errors
    /// The first error of either end; [`Interrupted`].
    pub fn run<E: Ends>(&self, ends: &E) -> Result<()> {
        let shared = Shared {
            ends,
            health: self.interpreters.iter().map(|_| Health::default()).collect(),
            stopped: AtomicBool::new(false),
            first_error: Mutex::default(),
            given_back: Mutex::default(),
        };
        let drive = || {
            if let Err(error) = self.drive(&shared, Vec::new(), false) {
                // The others are then interrupted because of the first; theirs is no news.
                lock(&shared.first_error).get_or_insert(error);
                shared.stopped.store(true, Ordering::SeqCst);
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
        if let Some(error) = lock(&shared.first_error).take() {
            return Err(error);
        }
        let left = std::mem::take(&mut *lock(&shared.given_back));
        if left.is_empty() { Ok(()) } else { self.drive(&shared, left, true) }
    }

    /// One thread's part: `first` these jobs, then those of the queue. `is_last`: there is no thread after this one.
    fn drive<E: Ends>(&self, shared: &Shared<'_, E>, first: Vec<Job<E::Ready>>, is_last: bool) -> Result<()> {
        let mut bench = Bench::new(self, shared.ends, &shared.health, is_last);
        let mut supply = Supply { shared, first, next: None, is_closed: false };
        let mut current = supply.batch()?;
        bench.send(&mut current)?;
        while !current.is_empty() {
            let mut following = supply.batch()?;
            let outcomes = bench.receive(&mut current)?;
            bench.send(&mut following)?;
            for (job, outcome) in current.into_iter().zip(outcomes) {
                match outcome {
                    Some(outcome) => shared.ends.finish(job.ready, outcome)?,
                    None => supply.give_back(job),
                }
            }
            current = following;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's end of the queue.
struct Supply<'a, E: Ends> {
    shared: &'a Shared<'a, E>,
    /// Jobs that come before those of the queue, the last one first.
    first: Vec<Job<E::Ready>>,
    /// The job that did not fit into the last batch.
    next: Option<Job<E::Ready>>,
    /// Whether this thread takes no more jobs.
    is_closed: bool,
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
        if self.is_closed || self.shared.stopped.load(Ordering::SeqCst) {
            return Ok(None);
        }
        match self.next.take().or_else(|| self.first.pop()) {
            Some(job) => Ok(Some(job)),
            None => self.shared.ends.next(),
        }
    }

    /// Leaves a job to the thread that comes last, and takes no more.
    fn give_back(&mut self, job: Job<E::Ready>) {
        self.is_closed = true;
        let mut given_back = lock(&self.shared.given_back);
        given_back.extend(self.next.take());
        given_back.push(job);
    }
}
