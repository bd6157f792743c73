//! What is seen in one directory, and what tells it from what was seen there before.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::record::Print;
use crate::disk::{self, Dir, Identity, Kind};
use crate::python::pycache::DIRECTORY;

/// How long a directory must have been left alone. Of two changes within one tick of the filesystem's clock the second
/// does not show: 10 ms for most, 2 s for the coarsest.
const REST: Duration = Duration::from_secs(3);

/// What is seen in one directory.
pub(super) struct Look {
    bytes: Vec<u8>,
    pub(super) has_cache: bool,
    /// When the last name changed in one of the directories: nanoseconds since 1970 (UTC).
    changed: i64,
}

impl Look {
    /// Looks at the directory at `path` on disk, which is opened as `dir` if there is something in it to look at, and at
    /// its `__pycache__`.
    pub(super) fn into(dir: Option<&Dir>, path: &Path) -> Option<Self> {
        let mut look = Self { bytes: Vec::with_capacity(512), has_cache: false, changed: i64::MIN };
        let examined = |examined: Result<Option<(Kind, Identity)>, disk::Error>| {
            let found = examined.ok()?.filter(|(kind, _)| *kind == Kind::Directory);
            Some(found.map(|(_, identity)| identity))
        };
        let Some(dir) = dir else {
            look.add_directory(&examined(disk::examine(path))??);
            return Some(look);
        };
        look.add_directory(&Identity::of(&dir.stat().ok()?));
        if let Some(cache) = examined(dir.examine(DIRECTORY))? {
            look.add_directory(&cache);
            look.has_cache = true;
        }
        Some(look)
    }

    /// A directory's size says nothing, its times all: every change of a name in it changes them.
    fn add_directory(&mut self, Identity { inode, mtime, ctime, .. }: &Identity) {
        self.changed = self.changed.max(*mtime).max(*ctime);
        self.add([inode.to_le_bytes(), mtime.to_le_bytes(), ctime.to_le_bytes()]);
    }

    /// `None`: a name that stands for no source just now.
    pub(super) fn add_source(&mut self, source: Option<Identity>) {
        self.bytes.push(u8::from(source.is_some()));
        let Identity { inode, size, mtime, ctime, .. } = source.unwrap_or_default();
        self.add([inode.to_le_bytes(), size.to_le_bytes(), mtime.to_le_bytes(), ctime.to_le_bytes()]);
    }

    fn add<const N: usize>(&mut self, words: [[u8; 8]; N]) {
        self.bytes.extend_from_slice(words.as_flattened());
    }

    /// Whether every change of a name since `began` would show.
    pub(super) fn is_rested(&self, began: SystemTime) -> bool {
        let rested = began.checked_sub(REST);
        let rested = rested.and_then(|rested| rested.duration_since(SystemTime::UNIX_EPOCH).ok());
        let rested = rested.and_then(|rested| i64::try_from(rested.as_nanos()).ok());
        rested.is_some_and(|rested| self.changed < rested)
    }

    pub(super) fn print(&self) -> Print {
        let mut print = Print::default();
        print.copy_from_slice(&blake3::hash(&self.bytes).as_bytes()[..size_of::<Print>()]);
        print
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Identity = Identity { device: 1, inode: 2, size: 3, mtime: 4, ctime: 5 };

    fn look() -> Look {
        Look { bytes: Vec::new(), has_cache: false, changed: 0 }
    }

    #[test]
    fn what_has_just_changed_is_not_sealed() {
        let began = SystemTime::now();
        let now = i64::try_from(began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let rest = i64::try_from(REST.as_nanos()).unwrap();
        let is_rested = |mtime, ctime| {
            let mut look = look();
            look.add_directory(&Identity { mtime, ctime, ..ONE });
            look.add_directory(&ONE);
            look.is_rested(began)
        };
        assert!(is_rested(now - rest - 1, 0));
        assert!(!is_rested(now, 0) && !is_rested(0, now) && !is_rested(now + rest, 0));
    }

    #[test]
    fn every_part_of_an_identity_is_in_the_print() {
        let print = |source: Option<Identity>, directory: Identity| {
            let mut look = look();
            look.add_directory(&directory);
            look.add_source(source);
            look.add_source(Some(ONE));
            look.print()
        };
        let change = |change: fn(&mut Identity)| {
            let mut identity = ONE;
            change(&mut identity);
            identity
        };
        let [inode, size, mtime, ctime, device] = [
            change(|one| one.inode = 9),
            change(|one| one.size = 9),
            change(|one| one.mtime = 9),
            change(|one| one.ctime = 9),
            change(|one| one.device = 9),
        ];
        let same = print(Some(ONE), ONE);
        for source in [Some(inode), Some(size), Some(mtime), Some(ctime), None] {
            assert_ne!(print(source, ONE), same, "{source:?}");
        }
        for directory in [inode, mtime, ctime] {
            assert_ne!(print(Some(ONE), directory), same, "{directory:?}");
        }
        // The number of a device can be another one after the next boot.
        assert_eq!(print(Some(device), device), same);
    }
}
