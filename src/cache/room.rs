//! Room: what the cache takes on disk, and who goes when it is too much.
//!
//! Owns the look at all entries, and removing them. Others may read, write and remove at the same time: what is
//! gone meanwhile is gone, and what is removed under a reader it still has.

use super::entry::Key;
use crate::disk::{self, Dir, Identity, Kind};

type Result<T> = std::result::Result<T, disk::Error>;

/// How the names of entries begin that are being written.
pub(super) const NEW: &str = "new-";

/// The bytes that filesystems give to files at a time.
const BLOCK: u64 = 4096;

/// A cache that is too large is brought down to so many of ten parts of its limit, so that the next run does not have
/// to look for room again.
const TENTHS: u64 = 9;

/// What a file of this length takes on disk, in bytes.
pub(super) fn on_disk(length: u64) -> u64 {
    length.next_multiple_of(BLOCK)
}

/// Everything in a cache.
#[derive(Debug, Default)]
pub(super) struct Survey {
    entries: Vec<Found>,
    /// Temporary files: their paths in the cache.
    unfinished: Vec<(String, Identity)>,
}

#[derive(Debug)]
struct Found {
    key: Key,
    bytes: u64,
    /// When it was used last, about: nanoseconds since 1970.
    used: i64,
}

impl Survey {
    /// Looks at everything.
    pub(super) fn of(dir: &Dir) -> Result<Self> {
        let mut survey = Self::default();
        for shard in shards() {
            let files = match dir.open_child(&shard) {
                Err(error) if error.is_missing() => continue,
                opened => opened?,
            };
            for name in files.names()? {
                let Some((Kind::File, identity)) = files.examine(&name)? else { continue };
                let Some(name) = name.to_str() else { continue };
                if let Some(key) = Key::at(&shard, name) {
                    survey.entries.push(Found { key, bytes: on_disk(identity.size), used: identity.mtime });
                } else if name.starts_with(NEW) {
                    survey.unfinished.push((format!("{shard}/{name}"), identity));
                }
            }
        }
        Ok(survey)
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What they take on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|found| found.bytes).sum()
    }

    /// Removes what killed writers have left.
    pub(super) fn remove_leftovers(&mut self, dir: &Dir) -> Result<()> {
        for (path, identity) in self.unfinished.drain(..) {
            if identity.is_abandoned() {
                dir.remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Where the entries take more than the limit, removes those that have not been used for the longest time.
    pub(super) fn evict(&mut self, dir: &Dir, limit: Option<u64>) -> Result<()> {
        let mut bytes = self.bytes();
        let Some(limit) = limit.filter(|limit| bytes > *limit) else { return Ok(()) };
        self.entries.sort_unstable_by_key(|found| std::cmp::Reverse(found.used));
        while bytes > limit / 10 * TENTHS
            && let Some(oldest) = self.entries.pop()
        {
            dir.remove_file(oldest.key.path())?;
            bytes -= oldest.bytes;
        }
        Ok(())
    }

    /// Removes everything; how many entries there were.
    pub(super) fn clear(self, dir: &Dir) -> Result<u64> {
        let entries = self.entries();
        for path in self.entries.into_iter().map(|found| found.key.path()) {
            dir.remove_file(path)?;
        }
        for (path, _) in self.unfinished {
            dir.remove_file(path)?;
        }
        for shard in shards() {
            // Somebody may be putting an entry into it.
            dir.remove_empty_child(shard)?;
        }
        Ok(entries)
    }
}

/// The names of the directories that may have entries.
fn shards() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|byte| format!("{byte:02x}"))
}
