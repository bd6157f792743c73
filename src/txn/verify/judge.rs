//! The judgement of one pyc: what is read of it, and what follows.
//!
//! Owns the order of the questions. Changes nothing, and knows nothing of other pycs.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Depth;
use super::case::{Case, Readers};
use super::class::{Class, Finding, Verdict};
use crate::buffer::Buffer;
use crate::disk::{Dir, Escaped, Identity, Kind, cause};
use crate::python::header::{Invalidation, may_be_pyc_of};
use crate::python::interpreter::Interpreter;
use crate::python::marshal;
use crate::root::Root;
use crate::txn::audience::Audience;
use crate::txn::intent::Hash;
use crate::txn::journal::LedgerEntry;
use crate::txn::source::{self, Largest, Source};
use crate::txn::tree::{Cache, Listing};

/// Who may look into a directory.
const ENTER: u32 = 0o555;

/// Judges pycs.
pub(super) struct Judge<'a> {
    pub(super) root: &'a Root,
    pub(super) readers: &'a Readers,
    /// How closely; a pyc that is not read is what its metadata say.
    pub(super) depth: Depth,
    /// Which sources are read.
    pub(super) largest: Largest,
}

/// A pyc that is larger is read in parts of this length, in bytes, for as long as it may be what was published: memory
/// that is used for the first time costs more than to hash it.
const PART: usize = 1 << 20;

/// The longest pyc without a source that is read, in bytes. Which of the longer ones are whole is not known; Python
/// ignores them.
const LONGEST_ORPHAN: u64 = 128 << 20;

/// A pyc as it was read.
struct Pyc {
    /// All of it; of what is known to be published the header will do.
    bytes: Buffer,
    /// Whether the code is the one that was published, if that is known.
    published: OnceCell<bool>,
    identity: Identity,
    audience: Audience,
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
        let is_closed = self.depth == Depth::Content && is_closed(listing, cache);
        for case in cases {
            let mut verdict = self.case(&listing.directory, cache, case);
            let is_judged = !verdict.wrong && verdict.class != Class::Unknown;
            if is_closed && is_judged && case.pyc.is_some() {
                verdict = Verdict::new(Class::Unreadable, "others may not look into its directory");
            }
            if !case.admitted && verdict.class == Class::Stale {
                // Python takes no notice of it, and no commit makes it anew.
                verdict.wrong = false;
            }
            let is_too_large = case.source.is_some_and(|source| self.refusal(&source).is_some());
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
                remedy: if wrong { case.remedy(self.readers, is_loadable, is_too_large) } else { None },
            });
            each(class, finding);
        }
    }

    /// Why a source is not read, if it is not.
    fn refusal(&self, source: &Identity) -> Option<String> {
        self.largest.refusal(source.size).map(|larger| format!("its source is {larger}"))
    }

    fn case(&self, directory: &Path, cache: &Cache, case: &Case) -> Verdict {
        if case.pyc.is_none()
            && let Some(refusal) = case.source.and_then(|source| self.refusal(&source))
        {
            return Verdict::harmless(Class::Unreadable, refusal);
        }
        let reader = case.reader.map(|reader| &self.readers.all[reader].interpreter);
        match case.pyc {
            None if case.entry.is_some() => {
                return Verdict::new(Class::Missing, "it was published and is gone");
            }
            None => return Verdict::new(Class::Missing, "its source has not been compiled"),
            _ if case.remnant.is_temporary() => {
                return Verdict::new(Class::Leftover, "its writer was interrupted");
            }
            Some(_) if case.source.is_some() && reader.is_some_and(|reader| reader.format().is_none()) => {
                return Verdict::new(Class::Unknown, "its Python is newer than this pyc-txn");
            }
            Some(Kind::File) => {}
            Some(_) => return Verdict::new(Class::Invalid, "it is not a regular file"),
        }
        match (case.source, reader) {
            (None, reader) => self.orphan(case, cache, reader),
            (Some(_), None) if case.entry.is_some() => {
                Verdict::harmless(Class::Valid, "its interpreter is gone")
            }
            (Some(_), None) => Verdict::new(Class::Foreign, "no interpreter that is known here reads it"),
            (Some(source), Some(_)) if self.goes_by_metadata(case, cache) => {
                by_metadata(case, cache, &source)
            }
            (Some(source), Some(interpreter)) => match read(cache, case, interpreter) {
                Ok(pyc) => {
                    let path = directory.join(case.remnant.source());
                    self.whole(&Pair { path, seen: source, case, interpreter, pyc })
                }
                Err(verdict) => verdict,
            },
        }
    }

    fn goes_by_metadata(&self, case: &Case, cache: &Cache) -> bool {
        match self.depth {
            Depth::Metadata => true,
            Depth::Unsettled => case.entry.as_ref().is_some_and(|entry| {
                cache.identity(case.remnant.name()).is_some_and(|pyc| entry.is_in_place(&pyc))
            }),
            Depth::Content => false,
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
        let is_read = |reader: &&Interpreter| self.depth != Depth::Metadata && reader.format().is_some();
        let reader = reader.filter(is_read);
        match reader.map(|interpreter| (interpreter, read(cache, case, interpreter))) {
            Some((interpreter, Ok(pyc))) if !is_whole(interpreter, &pyc) => {
                Verdict::new(Class::Orphan, "it has no source, and it is damaged")
            }
            _ => Verdict::harmless(Class::Orphan, "it has no source; it is not ours, and Python ignores it"),
        }
    }

    /// A pyc that was read, and has a source.
    fn whole(&self, pair: &Pair<'_>) -> Verdict {
        self.header(pair).or_else(|| self.code(pair)).or_else(|| self.audience(pair)).unwrap_or_else(|| {
            match pair.case.entry.as_ref().filter(|entry| pair.is_published(entry)) {
                Some(_) => Verdict::new(Class::Valid, ""),
                None => Verdict::new(Class::Foreign, "it is valid, but not ours"),
            }
        })
    }

    /// What Python finds wrong with the header.
    fn header(&self, pair: &Pair<'_>) -> Option<Verdict> {
        let dialect = &pair.interpreter.dialect;
        let mode = match dialect.mode(&pair.pyc.bytes) {
            Ok(mode) => mode,
            Err(invalid) => return Some(Verdict::new(Class::Invalid, invalid.to_string())),
        };
        if mode == Invalidation::Timestamp {
            let other = dialect.difference(&pair.pyc.bytes, &pair.seen)?;
            return Some(Verdict::new(Class::Stale, format!("its source has another {other}")));
        }
        if let Some(refusal) = self.refusal(&pair.seen) {
            return Some(Verdict::harmless(Class::Unreadable, refusal));
        }
        let source = self.source(pair)?;
        let header = dialect.header(mode, &source.identity, &source.bytes);
        let fits = pair.pyc.bytes.starts_with(header.as_bytes());
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
        source::read_at(self.root, &pair.path, self.largest).ok()
    }

    /// Whether others may read the pyc than may read the source.
    fn audience(&self, pair: &Pair<'_>) -> Option<Verdict> {
        let of_open = || {
            let source = self.root.open(&pair.path).ok()?;
            Audience::of(&source, &source.metadata().ok()?).ok()
        };
        let source = Audience::everybody(&self.root.metadata(&pair.path).ok()?).or_else(of_open)?;
        let misfit = source.misfit(&pair.pyc.audience)?;
        Some(Verdict::new(Class::Unreadable, misfit))
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

/// What metadata can say.
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
        Err(malformed) if malformed.reason == marshal::Reason::NoMemory => {
            Err(Verdict::new(Class::Unreadable, malformed.reason.to_string()))
        }
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
    try_read(dir, case, interpreter).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Verdict::new(Class::Missing, "it is gone"),
        io::ErrorKind::UnexpectedEof => Verdict::new(Class::Broken, "it changes while it is read"),
        // Not `Broken`: Python may well run out of memory over it before it finds that out.
        io::ErrorKind::FileTooLarge => {
            Verdict::new(Class::Invalid, "it is longer than bytecode of its source can be")
        }
        _ => Verdict::new(Class::Unreadable, cause(&error)),
    })
}

fn try_read(dir: &Dir, case: &Case, interpreter: &Interpreter) -> io::Result<Pyc> {
    let mut file = dir.open_file(case.remnant.name())?;
    let metadata = file.metadata()?;
    let (identity, audience) = (Identity::of_metadata(&metadata), Audience::of(&file, &metadata)?);
    let is_plausible = case
        .source
        .map_or(identity.size <= LONGEST_ORPHAN, |source| may_be_pyc_of(identity.size, source.size));
    if !is_plausible {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    if let Some(entry) = case.entry.as_ref().filter(|_| identity.size > PART as u64) {
        let (header, hash) = read_in_parts(&mut file, interpreter.dialect.header_length())?;
        if hash == entry.code_hash {
            return Ok(Pyc { bytes: header, published: OnceCell::from(true), identity, audience });
        }
        file.rewind()?;
    }
    let mut bytes = Buffer::new(usize::try_from(identity.size).map_err(io::Error::other)?)?;
    file.read_exact(&mut bytes)?;
    Ok(Pyc { bytes, published: OnceCell::new(), identity, audience })
}

/// The header of a pyc, and the hash of the code behind it.
fn read_in_parts(file: &mut File, header_length: usize) -> io::Result<(Buffer, Hash)> {
    let mut header = Buffer::new(header_length)?;
    file.read_exact(&mut header)?;
    let (mut part, mut hasher) = (Buffer::new(PART)?, blake3::Hasher::new());
    loop {
        match file.read(&mut part)? {
            0 => return Ok((header, *hasher.finalize().as_bytes())),
            read => drop(hasher.update(&part[..read])),
        }
    }
}
