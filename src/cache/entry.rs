//! An entry: what it is found by, and how its file proves that it is whole and the right one.
//!
//! ```text
//! seal, 32 bytes | length of the warnings, 4 bytes, the lowest first | warnings | code
//! ```
//!
//! The seal is a BLAKE3 hash, keyed with the entry's key, of the code's own hash and the warnings: it fits neither
//! other bytes nor another key.

use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use super::trust;
use crate::buffer::Buffer;
use crate::python::header::may_be_pyc_of;

/// What separates these keys from all other hashes. The number goes up when the same source is to give other bytes
/// than before: with the canonical form, the worker's way to compile, or this file's format. Entries of before are
/// then used no more, and evicted.
const CONTEXT: &str = "pyc-txn shared bytecode cache 2";

/// The bytes before the warnings.
const HEAD: usize = 32 + 4;

/// The longest warnings that are read, in bytes. They are bounded when a worker gives them.
const WARNINGS: u64 = 1 << 20;

/// Everything that code depends on.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The BLAKE3 hash of the source.
    pub source_hash: &'a [u8; 32],
    /// The file name inside the code.
    pub filename: &'a [u8],
    /// The magic number of the interpreter's bytecode.
    pub magic: [u8; 4],
    /// The interpreter's cache tag: implementations may have the same magic number.
    pub cache_tag: &'a str,
    /// The release of the interpreter: several have one magic number, and compile differently.
    pub release: &'a str,
    /// What it was built for: the compiler computes floats.
    pub architecture: &'a str,
    /// The optimization level.
    pub level: u8,
}

/// What an entry is found by: a hash of its [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Code from the cache.
#[derive(Debug)]
pub struct Entry {
    bytes: Buffer,
    /// Where in them the code begins.
    start: usize,
    /// The BLAKE3 hash of the code.
    pub code_hash: [u8; 32],
    /// What its compiler warned of.
    pub warnings: String,
}

impl Key {
    /// The key of what has this origin.
    #[must_use]
    pub fn of(origin: &Origin<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(origin.source_hash).update(&origin.magic).update(&[origin.level]);
        for part in [origin.cache_tag, origin.release, origin.architecture]
            .map(str::as_bytes)
            .into_iter()
            .chain([origin.filename])
        {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The directory of its entry.
    pub(super) fn shard(&self) -> String {
        format!("{:02x}", self.0[0])
    }

    /// The path of its entry in the cache.
    pub(super) fn path(&self) -> String {
        let name = blake3::Hash::from_bytes(self.0).to_hex();
        format!("{}/{}", &name[..2], &name[2..])
    }

    /// The key whose entry has this path.
    pub(super) fn at(shard: &str, name: &str) -> Option<Self> {
        let hash = blake3::Hash::from_hex([shard, name].concat()).ok()?;
        // There is one way to write it only.
        Some(Self(*hash.as_bytes())).filter(|key| key.path() == format!("{shard}/{name}"))
    }

    /// What stands before the warnings in the entry of this key.
    pub(super) fn seal(&self, code_hash: &[u8; 32], warnings: &str) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..32].copy_from_slice(self.hash(code_hash, warnings.as_bytes()).as_bytes());
        // What is too long for it would give a seal that does not fit, and be a miss.
        head[32..].copy_from_slice(&u32::try_from(warnings.len()).unwrap_or_default().to_le_bytes());
        head
    }

    fn hash(&self, code_hash: &[u8; 32], warnings: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.0).update(code_hash).update(warnings).finalize()
    }
}

impl Entry {
    /// The entry in the bytes of its file, if they are what was sealed under this key.
    fn unseal(bytes: Buffer, key: &Key) -> Option<Self> {
        let (seal, rest) = bytes.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (warnings, code) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let code_hash = *blake3::hash(code).as_bytes();
        if key.hash(&code_hash, warnings) != *seal {
            return None;
        }
        let warnings = String::from_utf8(warnings.to_vec()).ok()?;
        Some(Self { start: HEAD + warnings.len(), bytes, code_hash, warnings })
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The entry of this key in an open file, for a source of so many bytes, and when it was used last; `None` if there is a
/// doubt.
pub(super) fn read(file: &mut File, key: &Key, source_size: u64) -> Option<(Entry, SystemTime)> {
    let metadata = file.metadata().ok()?;
    let is_plausible = may_be_pyc_of(metadata.len().saturating_sub(WARNINGS), source_size);
    if !metadata.is_file() || !trust::is_ours_alone(&metadata) || !is_plausible {
        return None;
    }
    let mut bytes = Buffer::new(usize::try_from(metadata.len()).ok()?).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some((Entry::unseal(bytes, key)?, metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin<'a>(source_hash: &'a [u8; 32], filename: &'a str, cache_tag: &'a str) -> Origin<'a> {
        Origin {
            source_hash,
            filename: filename.as_bytes(),
            magic: *b"\xa7\x0d\x0d\x0a",
            cache_tag,
            release: "030b02f0",
            architecture: "x86_64-linux-gnu",
            level: 0,
        }
    }

    #[test]
    fn every_part_of_the_origin_makes_another_key() {
        let plain = || origin(&[1; 32], "/a.py", "cpython-311");
        let origins = [
            plain(),
            Origin { source_hash: &[2; 32], ..plain() },
            Origin { filename: b"/b.py", ..plain() },
            Origin { magic: *b"\xa8\x0d\x0d\x0a", ..plain() },
            Origin { cache_tag: "cpython-312", ..plain() },
            Origin { release: "030b07f0", ..plain() },
            Origin { architecture: "i386-linux-gnu", ..plain() },
            Origin { level: 1, ..plain() },
            origin(&[1; 32], "1/a.py", "cpython-31"),
        ];
        let keys: std::collections::BTreeSet<String> =
            origins.iter().map(|origin| Key::of(origin).path()).collect();
        assert_eq!(keys.len(), origins.len());
        assert_eq!(Key::of(&plain()), Key::of(&plain()));
    }

    #[test]
    fn a_path_leads_back_to_its_key() {
        let key = Key::of(&origin(&[1; 32], "/a.py", "cpython-311"));
        let path = key.path();
        let (shard, name) = path.split_once('/').unwrap();
        assert_eq!(shard, key.shard());
        assert_eq!(Key::at(shard, name), Some(key));
        for (shard, name) in [(shard, &name[1..]), ("zz", name), (&path[..1], name), ("AB", name)] {
            assert_eq!(Key::at(shard, name), None, "{shard}/{name}");
        }
    }

    fn unsealed(bytes: &[u8], key: &Key) -> Option<Entry> {
        let mut buffer = Buffer::new(bytes.len()).unwrap();
        buffer.copy_from_slice(bytes);
        Entry::unseal(buffer, key)
    }

    #[test]
    fn what_was_sealed_comes_out_and_nothing_else_does() {
        let key = Key::of(&origin(&[1; 32], "/a.py", "cpython-311"));
        for (code, warnings) in [(&b"code"[..], "1\tdo not"), (b"code", ""), (b"", "")] {
            let seal = key.seal(blake3::hash(code).as_bytes(), warnings);
            let bytes = [&seal[..], warnings.as_bytes(), code].concat();
            let entry = unsealed(&bytes, &key).unwrap();
            assert_eq!((entry.code(), entry.warnings.as_str()), (code, warnings));
            assert_eq!(entry.code_hash, *blake3::hash(code).as_bytes());
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut other = bytes.clone();
                    other[place] ^= 1 << bit;
                    assert!(unsealed(&other, &key).is_none(), "bit {bit} of byte {place}");
                }
                assert!(unsealed(&bytes[..place], &key).is_none(), "cut off at {place}");
            }
            assert!(unsealed(&[&bytes[..], b"x"].concat(), &key).is_none());
            let other = Key::of(&origin(&[2; 32], "/a.py", "cpython-311"));
            assert!(unsealed(&bytes, &other).is_none(), "under another key");
        }
    }
}
