//! Names of bytecode files (PEP 3147, PEP 488).
//!
//! Owns the rule that leads from a source's name to its target's, and back. A [`Target`] can only be made by
//! [`Target::of`], a [`Remnant`] only by parsing, and what writes or removes demands one of them, so no other
//! name can be touched in a `__pycache__` directory. It knows nothing of what is in the files.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The directory beside the sources that holds their bytecode (PEP 3147).
pub const DIRECTORY: &str = "__pycache__";

/// The longest file name, in bytes, that Linux filesystems take (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// An optimization level: 0, 1 (`-O`, no assertions) or 2 (`-OO`, no docstrings either).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Level(u8);

impl Level {
    /// Every level, the lowest first.
    pub const ALL: [Self; 3] = [Self(0), Self(1), Self(2)];

    /// The level with this number, if there is one.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number <= 2).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of the `.pyc` that a source should have, in the `__pycache__` directory beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    name: Box<OsStr>,
    /// The length of the source's name without its extension.
    stem: u8,
}

/// A source whose target would have a name longer than a filesystem takes.
#[derive(Debug, PartialEq, Eq)]
pub struct NameTooLong;

impl Target {
    /// The target of the source file `source` (a name, not a path) for an interpreter's cache tag: as
    /// `importlib.util.cache_from_source` names it.
    ///
    /// # Errors
    /// [`NameTooLong`]: Python cannot cache such a source either.
    pub fn of(source: &OsStr, tag: &str, level: Level) -> Result<Self, NameTooLong> {
        let stem = stem(source);
        let mut name = stem.to_vec();
        name.push(b'.');
        name.extend_from_slice(tag.as_bytes());
        if level.0 > 0 {
            name.extend_from_slice(format!(".opt-{level}").as_bytes());
        }
        name.extend_from_slice(b".pyc");
        match u8::try_from(stem.len()) {
            Ok(stem) if name.len() <= LONGEST_NAME => {
                Ok(Self { name: OsString::from_vec(name).into(), stem })
            }
            _ => Err(NameTooLong),
        }
    }

    /// The target that `remnant` is, with its source and its level; `None` where it is a temporary file, or has a level that
    /// we do not compile.
    #[must_use]
    pub fn in_place(remnant: &Remnant) -> Option<(Self, OsString, Level)> {
        let source = remnant.source();
        let tag = std::str::from_utf8(remnant.tag()).ok()?;
        let targets =
            (0..=2).filter_map(|level| Some((Self::of(&source, tag, Level(level)).ok()?, Level(level))));
        let (target, level) = targets.into_iter().find(|(target, _)| *target.name == *remnant.name)?;
        Some((target, source, level))
    }

    /// The file name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The name of its source, `STEM.py` as all sources are named.
    #[must_use]
    pub fn source(&self) -> OsString {
        source_of(&self.name, self.stem)
    }
}

/// The source of bytecode with this name, whose first `stem` bytes are the source's: `STEM.py`, as all are named.
fn source_of(name: &OsStr, stem: u8) -> OsString {
    let mut source = name.as_bytes()[..usize::from(stem)].to_vec();
    source.extend_from_slice(b".py");
    OsString::from_vec(source)
}

/// A name without its last extension, or the extension where nothing stands before it (`.py` is `py`), as
/// `cache_from_source` has it.
fn stem(source: &OsStr) -> &[u8] {
    let name = source.as_bytes();
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(0) => &name[1..],
        Some(dot) => &name[..dot],
        None => name,
    }
}

/// A file in a `__pycache__` directory that is bytecode, or was to become bytecode, of some source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remnant {
    name: Box<OsStr>,
    /// The length of the source's name without its extension.
    stem: u8,
    /// Where the tag ends, which begins behind the dot behind that.
    tag_end: u8,
    temporary: bool,
}

impl Remnant {
    /// Reads `name` as `STEM.TAG[.opt-LEVEL].pyc`, or the same with `.DIGITS` behind it, which is the temporary file
    /// that `importlib` writes first. Anything else belongs to somebody else: pytest's
    /// `x.cpython-311-pytest-7.2.1.pyc`, numba's `.nbi`, and whatever people put there.
    #[must_use]
    pub fn parse(name: &OsStr) -> Option<Self> {
        let text = name.as_bytes();
        let (base, temporary) = match text.strip_suffix(b".pyc") {
            Some(base) => (base, false),
            None => (without_digits(text)?, true),
        };
        let base = without_level(base);
        let dot = base.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
        let (stem, tag_end) = (u8::try_from(dot).ok()?, u8::try_from(base.len()).ok()?);
        is_cache_tag(&base[dot + 1..]).then(|| Self { name: name.into(), stem, tag_end, temporary })
    }

    /// The file name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The name of the source it belongs to.
    #[must_use]
    pub fn source(&self) -> OsString {
        source_of(&self.name, self.stem)
    }

    /// The cache tag in the name, as `cpython-311`.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        &self.name.as_bytes()[usize::from(self.stem) + 1..usize::from(self.tag_end)]
    }

    /// Whether it has the name of a temporary file. Its writer is at work, or was killed.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

/// `BASE` of `BASE.pyc.DIGITS`.
fn without_digits(text: &[u8]) -> Option<&[u8]> {
    let dot = text.iter().rposition(|&byte| byte == b'.')?;
    let digits = &text[dot + 1..];
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if all_digits { text[..dot].strip_suffix(b".pyc") } else { None }
}

/// `BASE` of `BASE.opt-LEVEL`, or all of it. PEP 488 allows any alphanumeric level.
fn without_level(base: &[u8]) -> &[u8] {
    let Some(dot) = base.iter().rposition(|&byte| byte == b'.') else {
        return base;
    };
    match base[dot + 1..].strip_prefix(b"opt-") {
        Some(level) if !level.is_empty() && level.iter().all(u8::is_ascii_alphanumeric) => &base[..dot],
        _ => base,
    }
}

/// Whether this can be a `sys.implementation.cache_tag`: letters, then a version (`cpython-311`,
/// `cpython-313t`, `pypy310`, `graalpy240-311`).
fn is_cache_tag(tag: &[u8]) -> bool {
    let letters = tag.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let rest = &tag[letters..];
    letters > 0
        && rest.iter().any(u8::is_ascii_digit)
        && rest.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !rest.windows(2).any(|pair| pair[0] == b'-' && pair[1].is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(source: &[u8], level: u8) -> Vec<u8> {
        let level = Level::new(level).unwrap();
        let target = Target::of(OsStr::from_bytes(source), "cpython-311", level).unwrap();
        target.name().as_bytes().to_vec()
    }

    fn source_of(name: &str) -> Option<OsString> {
        Remnant::parse(OsStr::new(name)).map(|remnant| remnant.source())
    }

    #[test]
    fn targets_are_named_as_cache_from_source_names_them() {
        assert_eq!(target(b"foo.py", 0), b"foo.cpython-311.pyc");
        assert_eq!(target(b"foo.bar.py", 1), b"foo.bar.cpython-311.opt-1.pyc");
        assert_eq!(target(b"a[1].py", 2), b"a[1].cpython-311.opt-2.pyc");
        assert_eq!(target(b".py", 0), b"py.cpython-311.pyc");
        assert_eq!(target(b"\xff\n.py", 0), b"\xff\n.cpython-311.pyc");
    }

    #[test]
    fn a_target_knows_its_source() {
        for source in ["a.py", "a.b.py", ".a.py", "a.opt-1.py", "a.cpython-311.py"] {
            for level in [Level(0), Level(1)] {
                let target = Target::of(OsStr::new(source), "cpython-311", level).unwrap();
                assert_eq!(target.source(), source);
            }
        }
    }

    #[test]
    fn a_target_longer_than_a_name_can_be_is_refused() {
        let source = format!("{}.py", "x".repeat(255 - ".cpython-311.pyc".len()));
        assert!(Target::of(OsStr::new(&source), "cpython-311", Level(0)).is_ok());
        assert_eq!(Target::of(OsStr::new(&source), "cpython-311", Level(1)), Err(NameTooLong));
    }

    #[test]
    fn bytecode_leads_back_to_its_own_source_only() {
        assert_eq!(source_of("foo.bar.cpython-311.pyc").unwrap(), "foo.bar.py");
        assert_eq!(source_of("foo.cpython-311.opt-2.pyc").unwrap(), "foo.py");
        assert_eq!(source_of("foo.pypy310.pyc").unwrap(), "foo.py");
        assert_eq!(source_of("foo.cpython-313t.pyc").unwrap(), "foo.py");
        let temporary = Remnant::parse(OsStr::new("a.cpython-311.opt-1.pyc.140221")).unwrap();
        assert!(temporary.is_temporary());
        assert_eq!((temporary.source(), temporary.tag()), ("a.py".into(), &b"cpython-311"[..]));
    }

    #[test]
    fn other_tools_files_are_not_taken_for_bytecode() {
        for name in [
            "test_x.cpython-311-pytest-7.2.1.pyc",
            "test_x.cpython-311-pytest-8.pyc",
            "kernel.add-12.py311.1.nbc",
            "kernel.add-12.py311.nbi",
            "foo.pyc",
            ".cpython-311.pyc",
            "foo.cpython-311.pyc.12x",
            "foo.cpython-311.pyc.",
            "foo.cpython-311.pyo",
            "README",
        ] {
            assert_eq!(source_of(name), None, "{name}");
        }
    }
}
