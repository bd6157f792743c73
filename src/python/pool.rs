//! The pool: a pull queue, and threads that each keep an interpreter busy.
//!
//! Owns who compiles what and when; the order of the queue is the caller's (largest first). Each thread has at
//! most one worker of every interpreter, started when first needed and replaced when lost. While a worker
//! compiles, its thread reads the next source; while it compiles that, the thread finishes the last one; so
//! neither waits for the other. It knows nothing of where sources come from or where code goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::interpreter::Interpreter;
use super::process::Broken;
use super::worker::{Outcome, Request, Worker};
use crate::buffer::Buffer;
use crate::interrupt::Interrupt;

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
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    if let Err(error) = self.drive(ends, &stopped) {
                        // The others are then interrupted because of the first; theirs is no news.
                        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        stopped.store(true, Ordering::SeqCst);
                        self.interrupt.wake();
                    }
                });
            }
        });
        match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// One thread's part.
    fn drive<E: Ends>(&self, ends: &E, stopped: &AtomicBool) -> Result<()> {
        let mut workers: Vec<Option<Worker<'_>>> = self.interpreters.iter().map(|_| None).collect();
        let next = || {
            if stopped.load(Ordering::SeqCst) { Ok(None) } else { ends.next() }
        };
        let mut current = next()?;
        if let Some(job) = &mut current {
            self.send(&mut workers, job)?;
        }
        while let Some(job) = current {
            let mut following = next()?;
            let outcome = self.receive(&mut workers, job.interpreter)?;
            if let Some(job) = &mut following {
                self.send(&mut workers, job)?;
            }
            ends.finish(job.ready, outcome)?;
            current = following;
        }
        Ok(())
    }

    /// Sends a job to this thread's worker, which is started first if there is none. The source is not needed
    /// after that; the largest ones are as large as all that the driver otherwise has in memory.
    fn send<'s, R>(&'s self, workers: &mut [Option<Worker<'s>>], job: &mut Job<R>) -> Result<()> {
        let place = &mut workers[job.interpreter];
        let worker = match place {
            Some(worker) => worker,
            None => place.insert(self.start(job.interpreter)?),
        };
        worker.send(&job.request);
        job.request.source = Buffer::default();
        Ok(())
    }

    fn receive(&self, workers: &mut [Option<Worker<'_>>], interpreter: usize) -> Result<Outcome> {
        let place = &mut workers[interpreter];
        let Some(worker) = place else { unreachable!("a job was sent to it") };
        let outcome = worker.receive();
        match outcome {
            Outcome::Lost(Broken::Interrupted) => Err(Interrupted.into()),
            Outcome::Lost(_) => {
                *place = None;
                Ok(outcome)
            }
            outcome => Ok(outcome),
        }
    }

    fn start(&self, interpreter: usize) -> Result<Worker<'_>> {
        let started = Worker::start(&self.interpreters[interpreter], self.limit, self.interrupt);
        if self.interrupt.signalled() { Err(Interrupted.into()) } else { started }
    }
}
