//! The judgement of one pyc: what is read of it, and what follows.
//!
//! Owns the order of the questions. Changes nothing, and knows nothing of other pycs.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::case::{Case, Readers};
use super::class::{Class, Finding, Verdict};
use crate::buffer::Buffer;
use crate::disk::{Dir, Escaped, Identity, Kind, cause};
use crate::python::header::Invalidation;
use crate::python::interpreter::Interpreter;
use crate::python::marshal;
use crate::root::Root;
use crate::txn::adopt::pyc_mode;
use crate::txn::intent::Hash;
use crate::txn::journal::LedgerEntry;
use crate::txn::source::{self, Source};
use crate::txn::tree::{Cache, Listing};

/// Who may read a file.
const READ: u32 = 0o444;

/// Who may look into a directory.
const ENTER: u32 = 0o555;

/// Judges pycs.
pub(super) struct Judge<'a> {
    pub(super) root: &'a Root,
    pub(super) readers: &'a Readers,
    /// Whether nothing is read: then a pyc is what its metadata say.
    pub(super) quick: bool,
}

/// A pyc that is larger is read in parts of this length, in bytes, for as long as it may be what was published: memory
/// that is used for the first time costs more than to hash it.
const PART: usize = 1 << 20;

/// A pyc as it was read.
struct Pyc {
    /// All of it; of what is known to be published the header will do.
    bytes: Buffer,
    /// Whether the code is the one that was published, if that is known.
    published: OnceCell<bool>,
    identity: Identity,
    /// Permission bits.
    mode: u32,
}

/// A source, and a pyc of one of its states.
struct Pair<'a> {
    path: PathBuf,
    /// As the listing has it.
    seen: Identity,
    case: &'a Case,
    interpreter: &'a Interpreter,
    pyc: Pyc,
}

impl Judge<'_> {
    /// Judges all cases of a directory; of a valid one there is nothing to say.
    pub(super) fn cases(
        &self,
        listing: &Listing,
        cache: &Cache,
        cases: &[Case],
        mut each: impl FnMut(Class, Option<Finding>),
    ) {
        // A quick look reads nothing.
        let is_closed = !self.quick && is_closed(listing, cache);
        for case in cases {
            let mut verdict = self.case(&listing.directory, cache, case);
            if is_closed && !verdict.wrong && case.pyc.is_some() {
                verdict = Verdict::new(Class::Unreadable, "others may not look into its directory");
            }
            let Verdict { class, reason, wrong } = verdict;
            let is_loadable = match class {
                Class::Invalid | Class::Broken | Class::Leftover => false,
                Class::Orphan => !wrong,
                _ => true,
            };
            let finding = (class != Class::Valid).then(|| Finding {
                class,
                reason,
                wrong,
                directory: listing.directory.clone(),
                remnant: case.remnant.clone(),
                remedy: if wrong { case.remedy(self.readers, is_loadable) } else { None },
            });
            each(class, finding);
        }
    }

    fn case(&self, directory: &Path, cache: &Cache, case: &Case) -> Verdict {
        match case.pyc {
            None if case.entry.is_some() => {
                return Verdict::new(Class::Missing, "it was published and is gone");
            }
            None => return Verdict::new(Class::Missing, "its source has not been compiled"),
            _ if case.remnant.is_temporary() => {
                return Verdict::new(Class::Leftover, "its writer was interrupted");
            }
            Some(Kind::File) => {}
            Some(_) => return Verdict::new(Class::Invalid, "it is not a regular file"),
        }
        let reader = case.reader.map(|reader| &self.readers.all[reader].interpreter);
        match (case.source, reader) {
            (None, reader) => self.orphan(case, cache, reader),
            (Some(_), None) if case.entry.is_some() => {
                Verdict::harmless(Class::Valid, "its interpreter is gone")
            }
            (Some(_), None) => Verdict::new(Class::Foreign, "no interpreter that is known here reads it"),
            (Some(source), Some(_)) if self.quick => by_metadata(case, cache, &source),
            (Some(source), Some(interpreter)) => match read(cache, case, interpreter) {
                Ok(pyc) => {
                    let path = directory.join(case.remnant.source());
                    self.whole(&Pair { path, seen: source, case, interpreter, pyc })
                }
                Err(verdict) => verdict,
            },
        }
    }

    /// A pyc without a source: Python takes no notice of it. If it is somebody else's, and whole, it may be all that
    /// is left of what was compiled, and stays.
    fn orphan(&self, case: &Case, cache: &Cache, reader: Option<&Interpreter>) -> Verdict {
        if case.entry.is_some() {
            return Verdict::new(Class::Orphan, "its source is gone");
        }
        let is_whole = |interpreter: &Interpreter, pyc: &Pyc| {
            interpreter.dialect.mode(&pyc.bytes).is_ok() && filename_in(interpreter, pyc).is_ok()
        };
        let reader = reader.filter(|_| !self.quick);
        match reader.map(|interpreter| (interpreter, read(cache, case, interpreter))) {
            Some((interpreter, Ok(pyc))) if !is_whole(interpreter, &pyc) => {
                Verdict::new(Class::Orphan, "it has no source, and it is damaged")
            }
            _ => Verdict::harmless(Class::Orphan, "it has no source; it is not ours, and Python ignores it"),
        }
    }

    /// A pyc that was read, and has a source.
    fn whole(&self, pair: &Pair<'_>) -> Verdict {
        self.header(pair).or_else(|| self.code(pair)).or_else(|| self.permissions(pair)).unwrap_or_else(
            || match pair.case.entry.as_ref().filter(|entry| pair.is_published(entry)) {
                Some(_) => Verdict::new(Class::Valid, ""),
                None => Verdict::new(Class::Foreign, "it is valid, but not ours"),
            },
        )
    }

    /// What Python finds wrong with the header.
    fn header(&self, pair: &Pair<'_>) -> Option<Verdict> {
        let dialect = &pair.interpreter.dialect;
        let mode = match dialect.mode(&pair.pyc.bytes) {
            Ok(mode) => mode,
            Err(invalid) => return Some(Verdict::new(Class::Invalid, invalid.to_string())),
        };
        let has = |header: &[u8]| pair.pyc.bytes.starts_with(header);
        if mode == Invalidation::Timestamp {
            let fits = has(dialect.header(mode, &pair.seen, &[]).as_bytes());
            return (!fits).then(|| Verdict::new(Class::Stale, "its source has another time or size"));
        }
        let source = self.source(pair)?;
        let fits = has(dialect.header(mode, &source.identity, &source.bytes).as_bytes());
        (!fits).then(|| Verdict::new(Class::Stale, "its source has another hash"))
    }

    /// What is wrong with the code: in itself, by the ledger, by the name inside. Bytes that have the hash of what was
    /// published were found whole then.
    fn code(&self, pair: &Pair<'_>) -> Option<Verdict> {
        let entry = pair.case.entry.as_ref();
        if let Some(entry) = entry.filter(|entry| pair.is_published(entry)) {
            let is_other = self.source_hash(pair, entry) != entry.source_hash;
            return is_other.then(|| Verdict::new(Class::Stale, "its source has other content"));
        }
        let filename = match filename_in(pair.interpreter, &pair.pyc) {
            Ok(filename) => filename,
            Err(verdict) => return Some(verdict),
        };
        entry.and_then(|entry| self.by_ledger(pair, entry)).or_else(|| {
            let other = filename.filter(|filename| *filename != pair.path.as_os_str().as_bytes())?;
            let other = PathBuf::from(OsString::from_vec(other));
            Some(Verdict::new(Class::Misnamed, format!("the file name inside is {}", Escaped(&other))))
        })
    }

    /// What the ledger has against a whole pyc that is not the one that was published, though its header is right:
    /// somebody's damage, unless the source has changed since. Then Python itself may have compiled it again.
    fn by_ledger(&self, pair: &Pair<'_>, entry: &LedgerEntry) -> Option<Verdict> {
        let source_hash = self.source_hash(pair, entry);
        let dialect = &pair.interpreter.dialect;
        let header = |identity: &Identity| dialect.header(Invalidation::Timestamp, identity, &[]);
        let had_no_cause = header(&pair.seen) == header(&entry.identity);
        if source_hash == entry.source_hash {
            return had_no_cause
                .then(|| Verdict::new(Class::Altered, "these are not the bytes that were published"));
        }
        (had_no_cause && pair.pyc.identity.ctime <= pair.seen.ctime)
            .then(|| Verdict::new(Class::Stale, "its source has other content"))
    }

    /// The hash of the source; it is read only if it is not the file that was compiled. One that cannot be read counts
    /// as unchanged.
    fn source_hash(&self, pair: &Pair<'_>, entry: &LedgerEntry) -> Hash {
        if entry.identity.same_content(&pair.seen) {
            return entry.source_hash;
        }
        self.source(pair).map_or(entry.source_hash, |source| *blake3::hash(&source.bytes).as_bytes())
    }

    fn source(&self, pair: &Pair<'_>) -> Option<Source> {
        source::read_at(self.root, &pair.path).ok()?.ok()
    }

    /// Whether those who may read the source may not read the pyc.
    fn permissions(&self, pair: &Pair<'_>) -> Option<Verdict> {
        if pair.pyc.mode & READ == READ {
            return None;
        }
        let source = self.root.open(&pair.path).and_then(|file| file.metadata()).ok()?;
        let (is, should) = (pair.pyc.mode, pyc_mode(source.mode() & 0o7777));
        let lacking = should & READ & !is;
        (lacking != 0).then(|| {
            Verdict::new(Class::Unreadable, format!("its permissions are {is:04o} instead of {should:04o}"))
        })
    }
}

impl Pair<'_> {
    /// Whether the code is the one that was published.
    fn is_published(&self, entry: &LedgerEntry) -> bool {
        *self.pyc.published.get_or_init(|| {
            let code = &self.pyc.bytes[self.interpreter.dialect.header_length()..];
            *blake3::hash(code).as_bytes() == entry.code_hash
        })
    }
}

/// What `--quick` can say.
fn by_metadata(case: &Case, cache: &Cache, source: &Identity) -> Verdict {
    let Some(entry) = &case.entry else { return Verdict::new(Class::Foreign, "it is not ours") };
    let Some(pyc) = cache.identity(case.remnant.name()) else {
        return Verdict::new(Class::Missing, "it is gone");
    };
    match (entry.is_in_place(&pyc), entry.identity.same_content(source)) {
        (true, true) => Verdict::new(Class::Valid, ""),
        (true, false) => Verdict::new(Class::Stale, "its source has been replaced or changed"),
        (false, true) => Verdict::new(Class::Altered, "it is not the file that was published"),
        (false, false) if pyc.mtime >= source.ctime => {
            Verdict::new(Class::Foreign, "it was written anew after its source")
        }
        (false, false) => Verdict::new(Class::Stale, "its source has been replaced or changed"),
    }
}

/// The file name in the code behind the header; `None` for an interpreter whose code we cannot read.
fn filename_in(interpreter: &Interpreter, pyc: &Pyc) -> Result<Option<Vec<u8>>, Verdict> {
    let Some(format) = interpreter.format() else { return Ok(None) };
    let code = &pyc.bytes[interpreter.dialect.header_length()..];
    match marshal::check(code, format) {
        Ok(code) => Ok(Some(code.filename().into_owned())),
        Err(malformed) => Err(Verdict::new(Class::Broken, malformed.to_string())),
    }
}

/// Whether others may look into the directory, but not into its `__pycache__`.
fn is_closed(listing: &Listing, cache: &Cache) -> bool {
    let mode = |dir: &Option<Dir>| dir.as_ref().and_then(|dir| dir.stat().ok()).map(|stat| stat.st_mode);
    let modes = mode(&listing.dir).zip(mode(&cache.dir));
    modes.is_some_and(|(above, own)| above & ENTER & !own != 0)
}

fn read(cache: &Cache, case: &Case, interpreter: &Interpreter) -> Result<Pyc, Verdict> {
    let Some(dir) = &cache.dir else { return Err(Verdict::new(Class::Missing, "it is gone")) };
    let name = case.remnant.name();
    try_read(dir, name, interpreter, case.entry.as_ref()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Verdict::new(Class::Missing, "it is gone"),
        io::ErrorKind::UnexpectedEof => Verdict::new(Class::Broken, "it changes while it is read"),
        _ => Verdict::new(Class::Unreadable, cause(&error)),
    })
}

fn try_read(
    dir: &Dir,
    name: &OsStr,
    interpreter: &Interpreter,
    entry: Option<&LedgerEntry>,
) -> io::Result<Pyc> {
    let mut file = dir.open_file(name)?;
    let stat = rustix::fs::fstat(&file)?;
    let (identity, mode) = (Identity::of(&stat), stat.st_mode & 0o7777);
    if let Some(entry) = entry.filter(|_| identity.size > PART as u64) {
        let (header, hash) = read_in_parts(&mut file, interpreter.dialect.header_length())?;
        if hash == entry.code_hash {
            return Ok(Pyc { bytes: header, published: OnceCell::from(true), identity, mode });
        }
        file.rewind()?;
    }
    let mut bytes = Buffer::new(usize::try_from(identity.size).map_err(io::Error::other)?);
    file.read_exact(&mut bytes)?;
    Ok(Pyc { bytes, published: OnceCell::new(), identity, mode })
}

/// The header of a pyc, and the hash of the code behind it.
fn read_in_parts(file: &mut File, header_length: usize) -> io::Result<(Buffer, Hash)> {
    let mut header = Buffer::new(header_length);
    file.read_exact(&mut header)?;
    let (mut part, mut hasher) = (Buffer::new(PART), blake3::Hasher::new());
    loop {
        match file.read(&mut part)? {
            0 => return Ok((header, *hasher.finalize().as_bytes())),
            read => drop(hasher.update(&part[..read])),
        }
    }
}
