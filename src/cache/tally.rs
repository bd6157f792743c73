//! The tally: how often the cache was of use, and about how large it is.
//!
//! Owns one file, which is also the lock of who counts: text of a fixed length, written over in one go, so that a
//! reader needs no lock. What cannot be read is zero. It may be wrong: a run that was killed has not counted, and is
//! made up for by the next survey.

use std::io;
use std::time::{Duration, Instant};

use fd_lock::RwLock;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Dir};

/// The file's name in the cache.
const FILE: &str = "tally";

/// Its length in bytes.
const LENGTH: usize = 256;

/// It is for nobody else to hold.
const MODE: u32 = 0o600;

/// How often a lock that is held is asked for again.
const INTERVAL: Duration = Duration::from_millis(10);

/// Survey at least so often, in seconds: what killed runs have put in or left is found then.
const SURVEY: u64 = 24 * 3600;

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tally {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// What the entries take, in bytes: as the last survey found, with what was put in since.
    pub(super) bytes: u64,
    /// The time of the last survey, seconds since 1970 (UTC).
    surveyed: u64,
}

impl Tally {
    /// As it is now.
    pub(super) fn read(dir: &Dir) -> Self {
        dir.read_file(FILE).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Changes it, with the lock; what `work` gives. `None` if the lock could not be had within `patience`.
    ///
    /// # Errors
    /// Those of `work`, or the file cannot be written.
    pub(super) fn update<T>(
        dir: &Dir,
        patience: Duration,
        work: impl FnOnce(&mut Self) -> Result<T, disk::Error>,
    ) -> Result<Option<T>, disk::Error> {
        let path = dir.path().join(FILE);
        let mut lock = RwLock::new(disk::open_lock_file(&path, MODE)?);
        let began = Instant::now();
        let held = loop {
            match lock.try_write() {
                Ok(held) => break held,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(disk::Error::new("lock", &path, error));
                }
                Err(_) if began.elapsed() >= patience => return Ok(None),
                Err(_) => std::thread::sleep(INTERVAL),
            }
        };
        let mut tally = Self::read(dir);
        let value = work(&mut tally)?;
        disk::overwrite(&held, &path, tally.text().as_bytes())?;
        Ok(Some(value))
    }

    /// Whether it is time to look how large the cache is.
    pub(super) fn is_survey_due(&self, limit: Option<u64>) -> bool {
        let is_old = super::now().checked_sub(self.surveyed).is_none_or(|age| age >= SURVEY);
        is_old || limit.is_some_and(|limit| self.bytes > limit)
    }

    /// Notes what a survey has found.
    pub(super) fn surveyed(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.surveyed = super::now();
    }

    fn text(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{text:<width$}\n", width = LENGTH - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_tally_has_the_length_of_the_smallest() {
        let largest = Tally { hits: u64::MAX, misses: u64::MAX, bytes: u64::MAX, surveyed: u64::MAX };
        for tally in [Tally::default(), largest] {
            assert_eq!(tally.text().len(), LENGTH);
            assert_eq!(serde_json::from_str::<Tally>(&tally.text()).unwrap(), tally);
        }
    }

    #[test]
    fn a_survey_is_due_once_a_day_and_over_the_limit() {
        let mut tally = Tally::default();
        assert!(tally.is_survey_due(None));
        tally.surveyed(10);
        assert!(!tally.is_survey_due(None) && !tally.is_survey_due(Some(10)) && tally.is_survey_due(Some(9)));
        tally.surveyed = super::super::now() - SURVEY;
        assert!(tally.is_survey_due(None));
        tally.surveyed = super::super::now() + SURVEY;
        assert!(tally.is_survey_due(None));
    }
}
