//! Replaced bytecode, freed beside the renames.
//!
//! A rename over a file frees that file's blocks before it returns, with both directories locked; where the filesystem is
//! mounted with `discard` and has no journal, it waits for the disk to do it. 1,997 renames took 2.8 s of a commit of
//! 3.3 s there, and take 0.3 s if other threads let go of the old files (`tests/benchmark/touched`).
//!
//! Owns the threads and how many files may wait for them. Whoever replaces a file holds on to it before, and hands it
//! over; nothing depends on when it is freed.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::disk;

/// The most threads: they wait for the disk, not for a processor.
const THREADS: usize = 8;

/// So many files are handed over at a time: to wake up a thread costs as much as to free one.
const TOGETHER: usize = 8;

/// Frees what it is given. All of it is freed when this is dropped.
#[derive(Debug)]
pub(super) struct Freeing {
    /// What is not handed over yet.
    gathered: Vec<OwnedFd>,
    /// `None` only while this is being dropped.
    waiting: Option<Sender<Vec<OwnedFd>>>,
    taken: Arc<Mutex<Receiver<Vec<OwnedFd>>>>,
    /// How many files wait or are being freed.
    count: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Freeing {
    pub(super) fn new() -> Self {
        let (waiting, taken) = channel();
        let (taken, count) = (Arc::new(Mutex::new(taken)), Arc::default());
        Self { gathered: Vec::new(), waiting: Some(waiting), taken, count, threads: Vec::new() }
    }

    /// Takes a file that nothing names any more.
    pub(super) fn add(&mut self, replaced: OwnedFd) {
        self.gathered.push(replaced);
        // A few files are not worth a thread.
        if self.gathered.len() < TOGETHER.min(disk::spare_descriptors()) {
            return;
        }
        let files = std::mem::take(&mut self.gathered);
        if self.threads.len() < THREADS {
            let (taken, count) = (Arc::clone(&self.taken), Arc::clone(&self.count));
            // Where there can be none, it is done here.
            self.threads.extend(Builder::new().spawn(move || free(&taken, &count)).ok());
        }
        let is_room = self.count.load(Ordering::Relaxed) + files.len() <= disk::spare_descriptors();
        if is_room
            && !self.threads.is_empty()
            && let Some(waiting) = &self.waiting
        {
            self.count.fetch_add(files.len(), Ordering::Relaxed);
            // Whatever comes back is dropped, and so freed here.
            let _ = waiting.send(files);
        }
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        self.waiting = None;
        for thread in self.threads.drain(..) {
            // A thread that only closes files does not panic.
            let _ = thread.join();
        }
    }
}

fn free(taken: &Mutex<Receiver<Vec<OwnedFd>>>, count: &AtomicUsize) {
    let take = || taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(files) = take() {
        for file in files {
            drop(file);
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
