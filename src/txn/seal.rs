//! Seals: what spares a look at every pyc of a directory in which nothing has changed.
//!
//! Owns when a `__pycache__` can be taken to be as it was. POSIX has every change of a name in a directory mark its
//! times, so one whose times are the same has the files it had. What is written to a file in place marks only the file;
//! nobody who makes bytecode does so, and damage is for `verify` to find.

use std::time::{Duration, SystemTime};

use crate::disk::Identity;

/// How long a directory must have been left alone. Of two changes within one tick of the filesystem's clock the second
/// does not show: 10 ms for most, 2 s for the coarsest.
const REST: Duration = Duration::from_secs(3);

/// A `__pycache__` as it was before everything that is published in it was seen to be in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Its inode number.
    pub inode: u64,
    /// Nanoseconds since 1970 (UTC).
    pub mtime: i64,
    /// Nanoseconds since 1970 (UTC).
    pub ctime: i64,
}

impl Seal {
    /// The seal of a directory with this identity.
    #[must_use]
    pub fn of(directory: &Identity) -> Self {
        Self { inode: directory.inode, mtime: directory.mtime, ctime: directory.ctime }
    }

    /// Whether from now on every change would break it.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        let rested = SystemTime::now().checked_sub(REST);
        let rested = rested.and_then(|rested| rested.duration_since(SystemTime::UNIX_EPOCH).ok());
        let rested = rested.and_then(|rested| i64::try_from(rested.as_nanos()).ok());
        rested.is_some_and(|rested| self.mtime.max(self.ctime) < rested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_just_changed_is_not_sealed() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let (now, rest) = (i64::try_from(now).unwrap(), i64::try_from(REST.as_nanos()).unwrap());
        let seal = |mtime, ctime| Seal { inode: 1, mtime, ctime };
        assert!(seal(now - rest - 1, 0).is_tight());
        assert!(!seal(now, 0).is_tight() && !seal(0, now).is_tight() && !seal(now + rest, 0).is_tight());
    }
}
