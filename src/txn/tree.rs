//! What is in a directory: its sources and what stands in its `__pycache__`.
//!
//! Owns which files count as sources. It knows nothing of what is wanted of them, or how directories are found.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, Dir, Identity, Kind};
use crate::python::pycache::{DIRECTORY, Remnant};
use crate::root::Root;

/// A directory as it is now.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its path, without the root's prefix.
    pub directory: PathBuf,
    /// Its sources: regular files named `*.py`, and symlinks to such.
    pub sources: BTreeMap<OsString, Identity>,
    /// Names of sources under which there is none: they stand for something else, or for a symlink that leads nowhere.
    pub vacant: Vec<OsString>,
    /// Names that were asked for and could not be examined.
    pub(super) unexamined: Vec<OsString>,
    /// Whether these are all its sources: not just those that were named, and none that could not be examined.
    pub complete: bool,
    /// The directory itself; `None` where nothing was looked for, or it could not be opened.
    pub(super) dir: Option<Dir>,
}

/// What stands in a `__pycache__`: names, and where they are.
#[derive(Debug, Default)]
pub struct Cache {
    /// Sorted.
    names: Vec<(OsString, Kind)>,
    /// `None` where there is no such directory.
    pub(super) dir: Option<Dir>,
}

/// Whether a file of this name is a source. `.py` is not: no module has that name, and its bytecode would have the
/// name of that of `py.py`.
#[must_use]
pub fn is_source_name(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".py").is_some_and(|stem| !stem.is_empty())
}

/// Lists the named sources of one directory only; a name that is none, or not there, is left out. A source that cannot be
/// examined is described in `problems`.
///
/// # Errors
/// The directory cannot be opened.
pub fn list(
    root: &Root,
    directory: &Path,
    names: &[OsString],
    problems: &mut Vec<String>,
) -> Result<Listing, disk::Error> {
    let mut listing = Listing { directory: directory.to_owned(), ..Listing::default() };
    let dir = match Dir::open(&root.on_disk(directory)) {
        Err(error) if error.is_missing() => return Ok(listing),
        dir => dir?,
    };
    for name in names {
        match examine(root, directory, &dir, name) {
            Ok(Some(identity)) => drop(listing.sources.insert(name.clone(), identity)),
            Ok(None) => {}
            Err(error) => {
                listing.unexamined.push(name.clone());
                problems.push(error.to_string());
            }
        }
    }
    listing.dir = Some(dir);
    Ok(listing)
}

impl Listing {
    /// Whether it is known that a source is not there; `asked` are those that were looked for.
    pub(super) fn misses(&self, source: &OsString, asked: &[OsString]) -> bool {
        let is_known = self.complete || asked.contains(source) && !self.unexamined.contains(source);
        is_known && !self.sources.contains_key(source)
    }

    /// Opens the directory and examines the sources `names` in it: relative to the directory, which spares the way to
    /// it for every file. What cannot be examined is described in `problems`, and then the listing is not complete.
    pub(super) fn fill(&mut self, root: &Root, names: Vec<OsString>, problems: &mut Vec<String>) {
        let mut describe = |error: disk::Error| {
            self.complete = false;
            problems.push(error.to_string());
        };
        let dir = match Dir::open(&root.on_disk(&self.directory)) {
            Ok(dir) => dir,
            Err(error) => return describe(error),
        };
        for name in names {
            match examine(root, &self.directory, &dir, &name) {
                Ok(Some(identity)) => drop(self.sources.insert(name, identity)),
                Ok(None) => self.vacant.push(name),
                Err(error) => describe(error),
            }
        }
        self.dir = Some(dir);
    }

    /// Reads the directory's `__pycache__`; empty where there is no such directory, or a symlink or a file in its
    /// place, which is for the one who wants to write there to complain about.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn cache(&self) -> Result<Cache, disk::Error> {
        let Some(dir) = &self.dir else { return Ok(Cache::default()) };
        let cache = match dir.open_child(DIRECTORY) {
            Err(error) if error.is_no_such_directory() => return Ok(Cache::default()),
            cache => cache?,
        };
        Ok(Cache { names: cache.entries()?, dir: Some(cache) })
    }
}

impl Cache {
    /// The names in it, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &OsString> {
        self.names.iter().map(|(name, _)| name)
    }

    /// The bytecode in it, in the order of the names. A temporary file is among it once it is left over.
    pub(super) fn remnants(&self) -> impl Iterator<Item = Remnant> {
        let parsed = self.names().filter_map(|name| Remnant::parse(name));
        parsed.filter(|remnant| !self.is_being_written(remnant))
    }

    /// Whether a writer may be at work in it: it has a temporary file that is not left over.
    pub(super) fn has_writer(&self) -> bool {
        let mut parsed = self.names().filter_map(|name| Remnant::parse(name));
        parsed.any(|remnant| self.is_being_written(&remnant))
    }

    /// Whether it is a temporary file that may be somebody's who is writing it just now.
    pub(super) fn is_being_written(&self, remnant: &Remnant) -> bool {
        let is_left = || self.identity(remnant.name()).is_some_and(|found| found.is_abandoned());
        remnant.is_temporary() && !is_left()
    }

    /// Whether something of this name stands in it, and what.
    #[must_use]
    pub fn kind(&self, name: &OsStr) -> Option<Kind> {
        let found = self.names.binary_search_by(|(other, _)| other.as_os_str().cmp(name));
        found.ok().map(|index| self.names[index].1)
    }

    /// The identity of the regular file `name`; `None` where there is no such file, or it cannot be examined.
    pub(super) fn identity(&self, name: &OsStr) -> Option<Identity> {
        match self.dir.as_ref()?.examine(name) {
            Ok(Some((Kind::File, identity))) => Some(identity),
            _ => None,
        }
    }
}

/// The identity of a source, through a symlink; `None` for what is none, or is gone.
pub(super) fn examine(
    root: &Root,
    directory: &Path,
    dir: &Dir,
    name: &OsStr,
) -> Result<Option<Identity>, disk::Error> {
    match dir.examine(name)? {
        Some((Kind::File, identity)) => Ok(Some(identity)),
        Some((Kind::Symlink, _)) => {
            let path = directory.join(name);
            root.identity(&path).map_err(|error| disk::Error::new("examine", &path, error))
        }
        _ => Ok(None),
    }
}
