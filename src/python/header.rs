//! The header of a `.pyc` file, and what makes it current (PEP 552; PEP 3147 before Python 3.7).
//!
//! Owns the 16 bytes (12 before 3.7) in front of the marshalled code; knows nothing of the code.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::{SipHasher13, SipHasher24};

use crate::disk::{Identity, seconds};

/// How Python finds out whether a pyc is still right (PEP 552).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalidation {
    /// By the source's modification time and size.
    #[default]
    Timestamp,
    /// By a hash of the source, which Python checks on import.
    CheckedHash,
    /// By a hash of the source, which Python believes without a look.
    UncheckedHash,
}

impl Invalidation {
    /// The flag word of the header.
    fn flags(self) -> u32 {
        match self {
            Self::Timestamp => 0b00,
            Self::UncheckedHash => 0b01,
            Self::CheckedHash => 0b11,
        }
    }
}

/// A header as it is written in front of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 16],
    length: usize,
}

/// What is wrong with a header, so that Python takes no notice of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The file ends in it.
    CutOff,
    /// Another version of Python wrote it, or no Python.
    Magic,
    /// Flags that no Python writes.
    Flags,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CutOff => "its header is cut off",
            Self::Magic => "its magic number is not its interpreter's",
            Self::Flags => "its header has unknown flags",
        })
    }
}

/// What of an interpreter decides over the header: its version and its magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Major and minor version.
    pub version: (u8, u8),
    /// `importlib.util.MAGIC_NUMBER`.
    pub magic: [u8; 4],
}

impl Dialect {
    /// The header of the bytecode of `source`, whose identity is `identity`.
    #[must_use]
    pub fn header(&self, mode: Invalidation, identity: &Identity, source: &[u8]) -> Header {
        let mut words = vec![self.magic];
        // Python 3.6 knows no flags, so it has one mode.
        if self.has_flags() {
            words.push(mode.flags().to_le_bytes());
        }
        if mode == Invalidation::Timestamp || !self.has_flags() {
            words.extend(stamp(identity));
        } else {
            let hash = self.source_hash(source).to_le_bytes();
            words.extend([[hash[0], hash[1], hash[2], hash[3]], [hash[4], hash[5], hash[6], hash[7]]]);
        }
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(&words) {
            place.copy_from_slice(word);
        }
        Header { bytes, length: words.len() * 4 }
    }

    /// What of time and size is another one in the header that `bytes` begin with, of a timestamp's mode, than that of
    /// a source; `None`: nothing.
    #[must_use]
    pub fn difference(&self, bytes: &[u8], source: &Identity) -> Option<&'static str> {
        let (words, _) = bytes.get(..self.header_length()).unwrap_or_default().as_chunks::<4>();
        let [.., time, size] = words else { return Some("time and size") };
        let expected = stamp(source);
        match (*time == expected[0], *size == expected[1]) {
            (true, true) => None,
            (false, true) => Some("time"),
            (true, false) => Some("size"),
            (false, false) => Some("time and size"),
        }
    }

    /// The mode of bytecode that begins with `bytes`.
    ///
    /// # Errors
    /// No header of this interpreter's. Flags 2, "checked, but by no hash", are refused too: Python takes them for a
    /// timestamp's, but no Python writes them.
    pub fn mode(&self, bytes: &[u8]) -> Result<Invalidation, Invalid> {
        let header = bytes.get(..self.header_length()).ok_or(Invalid::CutOff)?;
        let (words, _) = header.as_chunks::<4>();
        if words[0] != self.magic {
            return Err(Invalid::Magic);
        }
        if !self.has_flags() {
            return Ok(Invalidation::Timestamp);
        }
        let flags = u32::from_le_bytes(words[1]);
        let modes = [Invalidation::Timestamp, Invalidation::CheckedHash, Invalidation::UncheckedHash];
        modes.into_iter().find(|mode| mode.flags() == flags).ok_or(Invalid::Flags)
    }

    /// How many bytes stand in front of the code.
    #[must_use]
    pub fn header_length(&self) -> usize {
        if self.has_flags() { 16 } else { 12 }
    }

    fn has_flags(&self) -> bool {
        self.version >= (3, 7)
    }

    /// `importlib.util.source_hash`: SipHash of the source, keyed with the raw magic number. CPython changed
    /// from SipHash-2-4 to SipHash-1-3 with 3.11.
    fn source_hash(&self, source: &[u8]) -> u64 {
        let key = u64::from(u32::from_le_bytes(self.magic));
        if self.version >= (3, 11) {
            let mut hasher = SipHasher13::new_with_keys(key, 0);
            hasher.write(source);
            hasher.finish()
        } else {
            let mut hasher = SipHasher24::new_with_keys(key, 0);
            hasher.write(source);
            hasher.finish()
        }
    }
}

impl Header {
    /// The bytes to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Time and size of a source as a header has them: of each the low 32 bits.
fn stamp(identity: &Identity) -> [[u8; 4]; 2] {
    let time = low_word(seconds(identity.mtime).cast_unsigned());
    [time.to_le_bytes(), low_word(identity.size).to_le_bytes()]
}

#[expect(clippy::cast_possible_truncation, reason = "PEP 552: the low 32 bits")]
fn low_word(number: u64) -> u32 {
    number as u32
}

/// Whether a file of `length` bytes can be the bytecode of a source of `source` bytes. Python's compilers stay far below:
/// of 11,786 pycs over 20 kB in six Pythons and their packages the longest has 6.3 times the bytes of its source, and a
/// list of lambdas 14 times. What is longer need not be read, and a sparse file of any length costs its maker nothing.
#[must_use]
pub fn may_be_pyc_of(length: u64, source: u64) -> bool {
    length <= source.saturating_mul(64).saturating_add(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] = b"x = 1\n";
    const IDENTITY: Identity =
        Identity { device: 1, inode: 2, size: 6, mtime: 1_700_000_000_900_000_000, ctime: 0 };

    fn header(version: (u8, u8), magic: [u8; 4], mode: Invalidation) -> Vec<u8> {
        Dialect { version, magic }.header(mode, &IDENTITY, SOURCE).as_bytes().to_vec()
    }

    #[test]
    fn a_timestamp_header_has_magic_flags_mtime_and_size() {
        let expected = b"\xa7\x0d\x0d\x0a\0\0\0\0\x00\xf1\x53\x65\x06\0\0\0";
        assert_eq!(header((3, 11), *b"\xa7\x0d\x0d\x0a", Invalidation::Timestamp), expected);
    }

    #[test]
    fn a_time_before_1970_has_the_low_bits_of_its_twos_complement() {
        let time = |mtime| stamp(&Identity { mtime, ..IDENTITY })[0];
        assert_eq!(time(-1_500_000_000), [0xff; 4]);
        assert_eq!(time(-500_000_000), [0; 4]);
    }

    #[test]
    fn python_3_6_has_no_flags() {
        let expected = b"\x33\x0d\x0d\x0a\x00\xf1\x53\x65\x06\0\0\0";
        assert_eq!(header((3, 6), *b"\x33\x0d\x0d\x0a", Invalidation::CheckedHash), expected);
    }

    /// The hashes are those of `importlib.util.source_hash(b"x = 1\n")` of Python 3.10 and 3.11.
    #[test]
    fn a_hash_header_has_the_hash_that_python_computes() {
        let new = header((3, 11), *b"\xa7\x0d\x0d\x0a", Invalidation::CheckedHash);
        assert_eq!(new[..8], *b"\xa7\x0d\x0d\x0a\x03\0\0\0");
        assert_eq!(new[8..], HASH_3_11);
        let old = header((3, 10), *b"\x6f\x0d\x0d\x0a", Invalidation::UncheckedHash);
        assert_eq!(old[..8], *b"\x6f\x0d\x0d\x0a\x01\0\0\0");
        assert_eq!(old[8..], HASH_3_10);
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for version in [(3, 6), (3, 11)] {
            let dialect = Dialect { version, magic: *b"\xa7\x0d\x0d\x0a" };
            for mode in [Invalidation::Timestamp, Invalidation::CheckedHash, Invalidation::UncheckedHash] {
                let bytes = header(version, dialect.magic, mode);
                let expected = if dialect.has_flags() { mode } else { Invalidation::Timestamp };
                assert_eq!(dialect.mode(&bytes), Ok(expected));
                assert_eq!(dialect.mode(&bytes[..bytes.len() - 1]), Err(Invalid::CutOff));
            }
        }
        let dialect = Dialect { version: (3, 11), magic: *b"\xa7\x0d\x0d\x0a" };
        let mut bytes = header((3, 11), dialect.magic, Invalidation::Timestamp);
        bytes[4] = 2;
        assert_eq!(dialect.mode(&bytes), Err(Invalid::Flags));
        bytes[0] = 0;
        assert_eq!(dialect.mode(&bytes), Err(Invalid::Magic));
    }

    const HASH_3_11: [u8; 8] = [76, 3, 114, 170, 147, 247, 82, 82];
    const HASH_3_10: [u8; 8] = [217, 74, 173, 226, 140, 140, 190, 191];
}
