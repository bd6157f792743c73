//! How seals are written down.
//!
//! Owns the bytes: of one seal, and of those of a tree, which follow each other by path, each path without what it has in
//! common with the one before. Names and paths end with a NUL, numbers are little endian. What cannot be read is no seal.
//! It knows nothing of disks.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::Seal;

/// The beginning of a hash.
pub(super) type Print = [u8; 16];

/// What every source's name ends with, and no name here.
const ENDING: &[u8] = b".py";

/// What is in a seal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Of the directory, and of everything in it that is looked at.
    pub(super) print: Print,
    pub(super) current: u32,
    pub(super) has_cache: bool,
    pub(super) is_alone: bool,
    /// All that are named as sources, without their ending.
    pub(super) stems: Vec<&'a [u8]>,
}

const HOLDS: u8 = 1;
const HAS_CACHE: u8 = 2;
const IS_ALONE: u8 = 4;

/// The name of the source with this stem.
pub(super) fn name(stem: &[u8]) -> OsString {
    OsString::from_vec([stem, ENDING].concat())
}

/// The stem of the source of this name.
pub(super) fn stem(name: &OsStr) -> &[u8] {
    let name = name.as_bytes();
    name.strip_suffix(ENDING).unwrap_or(name)
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self) -> Seal {
        let flag = |bit, is_set| if is_set { bit } else { 0 };
        let mut bytes = vec![HOLDS | flag(HAS_CACHE, self.has_cache) | flag(IS_ALONE, self.is_alone)];
        bytes.extend_from_slice(&self.print);
        bytes.extend_from_slice(&self.current.to_le_bytes());
        for stem in &self.stems {
            bytes.extend_from_slice(stem);
            bytes.push(0);
        }
        bytes.push(0);
        Seal(bytes.into())
    }

    /// `None` for a seal that never holds.
    pub(super) fn decode(Seal(bytes): &'a Seal) -> Option<Self> {
        Reader(bytes).record()?
    }
}

/// Writes the seals of a tree, which it sorts by path.
#[must_use]
pub fn write(seals: &mut [(PathBuf, Seal)]) -> Vec<u8> {
    seals.sort_unstable_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    let mut bytes = Vec::new();
    let mut before = OsStr::new("");
    for (directory, Seal(seal)) in &*seals {
        let path = directory.as_os_str();
        let pairs = before.as_bytes().iter().zip(path.as_bytes());
        let shared = pairs.take_while(|(one, other)| one == other).count();
        let shared = u16::try_from(shared).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&shared.to_le_bytes());
        bytes.extend_from_slice(&path.as_bytes()[shared.into()..]);
        bytes.push(0);
        bytes.extend_from_slice(if seal.is_empty() { &[0] } else { seal });
        before = path;
    }
    bytes
}

/// Reads the seals of a tree; `None` for what is none.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Vec<(PathBuf, Seal)>> {
    let mut bytes = Reader(bytes);
    let mut seals: Vec<(PathBuf, Seal)> = Vec::new();
    let mut path: Vec<u8> = Vec::new();
    while !bytes.0.is_empty() {
        let shared = u16::from_le_bytes(bytes.array()?).into();
        path.truncate((shared <= path.len()).then_some(shared)?);
        path.extend_from_slice(bytes.text()?);
        let all = bytes.0;
        let seal = match bytes.record()? {
            Some(_) => Seal(all[..all.len() - bytes.0.len()].into()),
            None => Seal::default(),
        };
        seals.push((OsString::from_vec(path.clone()).into(), seal));
    }
    Some(seals)
}

/// What has not been read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// What stands before the next NUL.
    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// `Some(None)`: a seal that never holds.
    #[expect(clippy::option_option, reason = "what cannot be read is another thing than what does not hold")]
    fn record(&mut self) -> Option<Option<Record<'a>>> {
        let [flags] = self.array()?;
        if flags & HOLDS == 0 {
            return Some(None);
        }
        let (print, current) = (self.array()?, u32::from_le_bytes(self.array()?));
        let mut stems = Vec::with_capacity(16);
        loop {
            match self.text()? {
                b"" => break,
                stem => stems.push(stem),
            }
        }
        let (has_cache, is_alone) = (flags & HAS_CACHE != 0, flags & IS_ALONE != 0);
        Some(Some(Record { print, current, has_cache, is_alone, stems }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stems: &[&'static str]) -> Record<'static> {
        let stems = stems.iter().map(|stem| stem.as_bytes()).collect();
        Record { print: [7; 16], current: 3, has_cache: true, is_alone: false, stems }
    }

    fn some() -> Vec<(PathBuf, Seal)> {
        let empty = Record { has_cache: false, is_alone: true, ..record(&[]) };
        vec![
            ("/a".into(), empty.encode()),
            ("/a/b".into(), record(&["x", "y\n"]).encode()),
            ("/a/bc/d".into(), Seal::default()),
            ("/b".into(), record(&["z"]).encode()),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let mut seals = some();
        seals.reverse();
        let bytes = write(&mut seals);
        assert_eq!(read(&bytes), Some(some()));
        assert_eq!(Record::decode(&seals[1].1), Some(record(&["x", "y\n"])));
        assert_eq!(Record::decode(&seals[2].1), None);
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let bytes = write(&mut some());
        let whole: Vec<usize> = (0..bytes.len()).filter(|&end| read(&bytes[..end]).is_some()).collect();
        // Only between two seals does it look whole.
        assert_eq!(whole.len(), some().len(), "{whole:?}");
    }

    #[test]
    fn a_source_is_found_again_by_its_stem() {
        for source in ["a.py", ".a.py", "a.py.py"] {
            assert_eq!(name(stem(OsStr::new(source))), source);
        }
    }
}
