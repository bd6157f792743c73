//! What tells one state of a file from another without reading it.
//!
//! Owns how a time of a file is kept in one number, which the journal has had from the beginning: nanoseconds, as far as
//! they fit. tmpfs, xfs and btrfs take times that do not: before and after [`RANGE`] a time is kept as whole
//! seconds. Two times in one second are the same there; the order is right everywhere.

use std::fs::Metadata;
use std::ops::RangeInclusive;
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
    /// Last change of the content: nanoseconds since 1970 (UTC), and outside of the years 1684 to 2255 what [`seconds`]
    /// makes seconds of.
    pub mtime: i64,
    /// Last change of the inode; as `mtime`.
    pub ctime: i64,
}

/// The seconds since 1970 whose times are kept in nanoseconds. Beside them there is room for 200 million billion others.
const RANGE: RangeInclusive<i64> = -9_000_000_000..=8_999_999_999;

const SECOND: i64 = 1_000_000_000;

impl Identity {
    /// The identity in an answer of `fstat(2)`.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            mtime: number(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime: number(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }

    /// The identity in the standard library's metadata.
    #[must_use]
    pub fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: number(metadata.mtime(), metadata.mtime_nsec()),
            ctime: number(metadata.ctime(), metadata.ctime_nsec()),
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

/// A time as an [`Identity`] has it.
fn number(seconds: i64, nanoseconds: i64) -> i64 {
    if RANGE.contains(&seconds) {
        return seconds * SECOND + nanoseconds;
    }
    let edge = if seconds < 0 { *RANGE.start() } else { *RANGE.end() + 1 };
    (edge * SECOND).saturating_add(rounded(seconds, nanoseconds).saturating_sub(edge))
}

/// The seconds of a time that an [`Identity`] has, whole: `int(os.stat(path).st_mtime)` in Python, which rounds twice.
#[must_use]
pub fn seconds(number: i64) -> i64 {
    let (seconds, nanoseconds) = (number.div_euclid(SECOND), number.rem_euclid(SECOND));
    if RANGE.contains(&seconds) {
        return rounded(seconds, nanoseconds);
    }
    let edge = if seconds < 0 { *RANGE.start() } else { *RANGE.end() + 1 };
    edge + (number - edge * SECOND)
}

/// The double that is nearest to a time, without its fraction. In the last 120 ns of a second that is the next second.
#[expect(clippy::cast_possible_truncation, reason = "truncating is what Python's int does")]
#[expect(clippy::cast_precision_loss, reason = "the loss is the point")]
fn rounded(seconds: i64, nanoseconds: i64) -> i64 {
    (seconds as f64 + 1e-9 * nanoseconds as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of `int(os.stat(path).st_mtime)`.
    #[test]
    fn seconds_are_rounded_as_python_rounds_them() {
        for (time, expected) in [
            ((1_700_000_000, 999_999_880), 1_700_000_000),
            ((1_700_000_000, 999_999_881), 1_700_000_001),
            ((1, 999_999_999), 1),
            ((2_147_483_653, 999_999_999), 2_147_483_654),
            ((-1, 500_000_000), 0),
            ((-2, 500_000_000), -1),
            ((-9_000_000_000, 1), -9_000_000_000),
            ((8_999_999_999, 999_999_999), 9_000_000_000),
            ((9_999_999_999, 5), 9_999_999_999),
            ((9_999_999_999, 999_999_999), 10_000_000_000),
            ((-9_999_999_999, 500_000_000), -9_999_999_998),
            ((1 << 54 | 1, 0), 1 << 54),
        ] {
            assert_eq!(seconds(number(time.0, time.1)), expected, "{time:?}");
        }
    }

    #[test]
    fn times_keep_their_order_and_differ_by_a_second_everywhere() {
        let edges = [-(1 << 52), *RANGE.start(), 0, *RANGE.end() + 1, 9_223_372_036, 1 << 52];
        let around = edges.iter().flat_map(|edge| (-2..=2).map(move |by| edge + by));
        let mut before = (i64::MIN, i64::MIN);
        for second in around {
            let (first, last) = (number(second, 0), number(second, 999_999_999));
            assert!(before.0 < first && before.1 <= first && first <= last, "{second}");
            before = (first, last);
        }
        assert!(before.0 < number(i64::MAX, 0) && number(i64::MIN, 0) < number(-(1 << 53), 0));
    }
}
