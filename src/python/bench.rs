//! The workers of one thread: one of each interpreter, started when first needed and replaced when lost.
//!
//! Owns whose fault a failure is. A batch over which a worker is lost is sent again, each source alone, so that only
//! the one that is to blame is lost; and that one is sent once more, because whoever killed the worker may have had
//! other reasons. If the next one is lost too, a worker has to compile an empty source: an interpreter that cannot do
//! that is of no use for the rest of this run, like one whose workers do not start. Processes, files or memory that
//! this program is refused are nobody's fault: the thread gives its jobs back. It knows nothing of the queue.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::interpreter::unusable;
use super::pool::{Ends, Interrupted, Job, Pool};
use super::process::Broken;
use super::pycache::Level;
use super::worker::{Outcome, Request, START, Unstarted, Worker};
use crate::buffer::Buffer;

/// How long to wait before each further try of the last thread to start a worker where the kernel refuses a process: other
/// threads, which count as such, may be ending.
const WAITS: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];

/// The state of an interpreter in this run, as all threads know it.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Why no more workers of it are started.
    unusable: OnceLock<String>,
    /// Whether one of its workers has answered since the last one was lost.
    has_answered: AtomicBool,
}

/// The workers of one thread.
pub(super) struct Bench<'p, E: Ends> {
    pool: &'p Pool<'p>,
    ends: &'p E,
    /// By the pool's interpreters.
    health: &'p [Health],
    workers: Vec<Option<Worker<'p>>>,
    /// Whether there is no other thread that could do what is given back.
    is_last: bool,
}

impl<'p, E: Ends> Bench<'p, E> {
    pub(super) fn new(pool: &'p Pool<'p>, ends: &'p E, health: &'p [Health], is_last: bool) -> Self {
        let workers = pool.interpreters.iter().map(|_| None).collect();
        Self { pool, ends, health, workers, is_last }
    }

    /// Sends a batch to the worker of its interpreter, which is started first if there is none; nothing is sent if it
    /// cannot be started. A source that is alone is not kept: the largest ones are as large as all that the driver
    /// otherwise has in memory.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) fn send(&mut self, batch: &mut [Job<E::Ready>]) -> Result<()> {
        let Some(first) = batch.first() else { return Ok(()) };
        let interpreter = first.interpreter;
        if self.workers[interpreter].is_none() {
            self.workers[interpreter] = self.start(interpreter, self.pool.limit)?;
        }
        let Some(worker) = &mut self.workers[interpreter] else { return Ok(()) };
        worker.send(batch.iter().map(|job| &job.request));
        if let [alone] = batch {
            alone.request.source = Buffer::default();
        }
        Ok(())
    }

    /// The outcomes of a batch that was sent; `None`: the job is given back, because no worker could be started.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) fn receive(&mut self, batch: &mut [Job<E::Ready>]) -> Result<Vec<Option<Outcome>>> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let interpreter = first.interpreter;
        match self.answer(interpreter)? {
            None => Ok(batch.iter().map(|_| self.without_worker(interpreter)).collect()),
            Some(Ok(outcomes)) => Ok(outcomes.into_iter().map(Some).collect()),
            Some(Err(broken)) => match batch {
                [alone] => Ok(vec![self.once_more(alone, broken)?]),
                _ => self.one_by_one(batch),
            },
        }
    }

    /// Waits for the answer of an interpreter's worker; `None` without a worker. A worker that is lost is put away, and
    /// so is one that ran out of memory or files: the next may have them.
    fn answer(&mut self, interpreter: usize) -> Result<Option<Result<Vec<Outcome>, Broken>>> {
        let place = &mut self.workers[interpreter];
        let Some(worker) = place else { return Ok(None) };
        let answer = worker.receive();
        match &answer {
            Ok(outcomes) => {
                self.health[interpreter].has_answered.store(true, Ordering::Relaxed);
                if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unable(_))) {
                    *place = None;
                }
            }
            Err(Broken::Interrupted) => return Err(Interrupted.into()),
            Err(_) => *place = None,
        }
        Ok(Some(answer))
    }

    fn one_by_one(&mut self, batch: &mut [Job<E::Ready>]) -> Result<Vec<Option<Outcome>>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for alone in batch.chunks_mut(1) {
            self.send(alone)?;
            outcomes.append(&mut self.receive(alone)?);
        }
        Ok(outcomes)
    }

    /// Sends a source whose worker was lost over it alone to a new worker; its outcome. A time limit is not waited for
    /// twice.
    fn once_more(&mut self, job: &mut Job<E::Ready>, mut broken: Broken) -> Result<Option<Outcome>> {
        let may_help = !matches!(broken, Broken::TimedOut(_));
        if let Some(source) = may_help.then(|| self.ends.reread(&job.ready)).flatten() {
            job.request.source = source;
            self.send(std::slice::from_mut(job))?;
            match self.answer(job.interpreter)? {
                None => return Ok(self.without_worker(job.interpreter)),
                Some(Ok(mut outcomes)) => return Ok(outcomes.pop()),
                Some(Err(again)) => broken = again,
            }
        }
        if !self.health[job.interpreter].has_answered.swap(false, Ordering::Relaxed) {
            self.test(job.interpreter)?;
        }
        let about_interpreter = self.health[job.interpreter].unusable.get();
        Ok(Some(about_interpreter.map_or(Outcome::Lost(broken), |why| Outcome::Unusable(why.clone()))))
    }

    /// Has a new worker compile an empty source; gives the interpreter up if it cannot.
    fn test(&mut self, interpreter: usize) -> Result<()> {
        let limit = self.pool.limit.map_or(START, |limit| limit.min(START));
        let Some(mut worker) = self.start(interpreter, Some(limit))? else { return Ok(()) };
        let nothing =
            Request { filename: b"nothing".to_vec(), level: Level::default(), source: Buffer::default() };
        worker.send(std::iter::once(&nothing));
        let health = &self.health[interpreter];
        match worker.receive() {
            Ok(_) => health.has_answered.store(true, Ordering::Relaxed),
            Err(Broken::Interrupted) => return Err(Interrupted.into()),
            Err(broken) => self.give_up(interpreter, &format!("it cannot compile an empty source: {broken}")),
        }
        Ok(())
    }

    /// A new worker; `None` if there cannot be one.
    fn start(&self, interpreter: usize, limit: Option<Duration>) -> Result<Option<Worker<'p>>> {
        let Pool { interpreters, interrupt, .. } = self.pool;
        if self.health[interpreter].unusable.get().is_some() {
            return Ok(None);
        }
        let start = || Worker::start(&interpreters[interpreter], limit, interrupt);
        let mut started = start();
        for wait in WAITS {
            if !self.is_last || !matches!(started, Err(Unstarted::Refused(_))) {
                break;
            }
            std::thread::sleep(wait);
            started = start();
        }
        if interrupt.signalled() {
            return Err(Interrupted.into());
        }
        match started {
            Ok(worker) => return Ok(Some(worker)),
            Err(Unstarted::Interrupted) => return Err(Interrupted.into()),
            Err(Unstarted::Refused(_)) if !self.is_last => {}
            Err(Unstarted::Refused(why)) => {
                self.give_up(interpreter, &format!("no worker can be started: {why}"));
            }
            Err(Unstarted::Unusable(why)) => self.give_up(interpreter, &why),
        }
        Ok(None)
    }

    /// Starts no more workers of an interpreter, in any thread.
    fn give_up(&self, interpreter: usize, why: &str) {
        let path = &self.pool.interpreters[interpreter].path;
        self.health[interpreter].unusable.get_or_init(|| unusable(path, why));
    }

    /// The outcome of a job for an interpreter that has no worker here.
    fn without_worker(&self, interpreter: usize) -> Option<Outcome> {
        self.health[interpreter].unusable.get().map(|why| Outcome::Unusable(why.clone()))
    }
}
