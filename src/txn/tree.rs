//! What is in a directory: its sources and what stands in its `__pycache__`.
//!
//! Owns which files count as sources. It knows nothing of what is wanted of them, or how directories are found.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, Dir, Identity, Kind};
use crate::python::pycache::DIRECTORY;
use crate::root::Root;

/// A directory as it is now.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its path, without the root's prefix.
    pub directory: PathBuf,
    /// Its sources: regular files named `*.py`, and symlinks to such.
    pub sources: BTreeMap<OsString, Identity>,
    /// Whether these are all its sources: not just those that were named, and none that could not be examined.
    pub complete: bool,
    /// What stands in its `__pycache__`; no identity for what is no regular file.
    pub cached: BTreeMap<OsString, Option<Identity>>,
}

/// Whether a file of this name is a source. `.py` is not: no module has that name, and its bytecode would have the
/// name of that of `py.py`.
#[must_use]
pub fn is_source_name(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".py").is_some_and(|stem| !stem.is_empty())
}

/// Lists the named sources of one directory only; a name that is none, or not there, is left out.
///
/// # Errors
/// The directory, or a source in it, cannot be examined.
pub fn list(root: &Root, directory: &Path, names: &[OsString]) -> Result<Listing, disk::Error> {
    let mut listing = Listing { directory: directory.to_owned(), ..Listing::default() };
    let dir = match Dir::open(&root.on_disk(directory)) {
        Err(error) if error.is_missing() => return Ok(listing),
        dir => dir?,
    };
    for name in names {
        if let Some(identity) = examine(root, directory, &dir, name)? {
            listing.sources.insert(name.clone(), identity);
        }
    }
    listing.cached = cached(&dir)?;
    Ok(listing)
}

impl Listing {
    /// Examines the sources `names` of a directory, and with `has_cache` what stands in its `__pycache__`: relative
    /// to the directory, which spares the way to it for every file. What cannot be examined is described in
    /// `problems`, and then the listing is not complete.
    pub(super) fn fill(
        &mut self,
        root: &Root,
        names: Vec<OsString>,
        has_cache: bool,
        problems: &mut Vec<String>,
    ) {
        if names.is_empty() && !has_cache {
            return;
        }
        if let Err(error) = self.try_fill(root, names, has_cache, problems) {
            self.complete = false;
            problems.push(error.to_string());
        }
    }

    fn try_fill(
        &mut self,
        root: &Root,
        names: Vec<OsString>,
        has_cache: bool,
        problems: &mut Vec<String>,
    ) -> Result<(), disk::Error> {
        let dir = Dir::open(&root.on_disk(&self.directory))?;
        for name in names {
            match examine(root, &self.directory, &dir, &name) {
                Ok(Some(identity)) => drop(self.sources.insert(name, identity)),
                Ok(None) => {}
                Err(error) => {
                    self.complete = false;
                    problems.push(error.to_string());
                }
            }
        }
        if has_cache {
            self.cached = cached(&dir)?;
        }
        Ok(())
    }
}

/// The identity of a source, through a symlink; `None` for what is none, or is gone.
fn examine(root: &Root, directory: &Path, dir: &Dir, name: &OsStr) -> Result<Option<Identity>, disk::Error> {
    match dir.examine(name)? {
        Some((Kind::File, identity)) => Ok(Some(identity)),
        Some((Kind::Symlink, _)) => {
            let path = directory.join(name);
            root.identity(&path).map_err(|error| disk::Error::new("examine", &path, error))
        }
        _ => Ok(None),
    }
}

/// What stands in a directory's `__pycache__`; nothing where there is no such directory, or a symlink or a file
/// in its place, which is for the one who wants to write there to complain about.
fn cached(dir: &Dir) -> Result<BTreeMap<OsString, Option<Identity>>, disk::Error> {
    let cache = match dir.open_child(DIRECTORY) {
        Err(error) if error.is_missing() || error.is_no_directory() => return Ok(BTreeMap::new()),
        cache => cache?,
    };
    let identity = |(name, kind, identity)| (name, (kind == Kind::File).then_some(identity));
    Ok(cache.examine_all()?.into_iter().map(identity).collect())
}
