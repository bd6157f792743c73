//! What tells one state of a file from another without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

/// A temporary file that was not written to for this long is left over from a writer that was killed. No writer of bytecode,
/// ours or another program's, pauses that long within one file.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A file as `stat(2)` sees it. Two equal identities are the same bytes, as far as a filesystem can say: an
/// overwritten file has a new `mtime` or `ctime`, a replaced one a new `inode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Device number; it may change with the next boot, so it is compared within one run only.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970 (UTC).
    pub mtime: i64,
    /// Last change of the inode, nanoseconds since 1970 (UTC).
    pub ctime: i64,
}

impl Identity {
    /// The identity in an answer of `fstat(2)`.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }

    /// The identity in the standard library's metadata.
    #[must_use]
    pub fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the two are the same file unchanged, perhaps seen before and after a reboot.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        Self { device: 0, ..*self } == Self { device: 0, ..*other }
    }

    /// Whether a temporary file is left over: nothing was written to it for an hour. A younger one may belong to a writer
    /// that is at work, and so may one with a time in the future.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let written = Duration::from_nanos(self.mtime.max(0).cast_unsigned());
        now.checked_sub(written).is_some_and(|age| age >= ABANDONED)
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
