//! Writing back while compiling: so that the sync at the end of staging has little left to do.
//!
//! Owns no durability: that is the one sync behind the last staged file. But an error of an early sync is an
//! error of the run, because the kernel reports it once.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::staging::Staging;
use crate::disk;

/// Sync each time so many bytes have been staged: long enough to be worth a commit of the filesystem, short
/// enough that the rest is written in a moment.
const INTERVAL: u64 = 48 << 20;

/// Is told what has been staged.
pub(super) type Progress = Sender<u64>;

/// Syncs what has been staged, every [`INTERVAL`], until everybody who reports progress is gone.
#[derive(Debug)]
pub(super) struct Flush(Receiver<u64>);

impl Flush {
    pub(super) fn new() -> (Progress, Self) {
        let (progress, staged) = channel();
        (progress, Self(staged))
    }

    /// Goes on until the last [`Progress`] is dropped.
    pub(super) fn run(self, staging: &Staging) -> Result<(), disk::Error> {
        let mut unsynced = 0;
        while let Ok(bytes) = self.0.recv() {
            unsynced += bytes + self.0.try_iter().sum::<u64>();
            if unsynced >= INTERVAL {
                let _not_yet_all = disk::sync(staging.places())?;
                unsynced = 0;
            }
        }
        Ok(())
    }
}
