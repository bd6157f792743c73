//! What is in a tree: its directories, each with its sources and what stands in its `__pycache__`.
//!
//! Owns the walk: which files count as sources, and that no directory is reached through a symlink. It knows
//! nothing of what is wanted of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use walkdir::{DirEntry, WalkDir};

use crate::disk::{self, Dir, Identity, Kind, Quoted, cause};
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

/// A directory whose entries are being walked.
struct Open {
    directory: PathBuf,
    names: Vec<OsString>,
    complete: bool,
}

/// Whether a file of this name is a source. `.py` is not: no module has that name, and its bytecode would have the
/// name of that of `py.py`.
#[must_use]
pub fn is_source_name(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".py").is_some_and(|stem| !stem.is_empty())
}

/// Walks the tree at `top` (without the root's prefix); each directory goes to `visit` once everything below it
/// has gone. What cannot be read is described in `problems` and left out.
///
/// # Errors
/// Those of `visit`.
pub fn walk(
    root: &Root,
    top: &Path,
    problems: &mut Vec<String>,
    visit: &mut dyn FnMut(Listing) -> Result<()>,
) -> Result<()> {
    let begin = |directory| Open { directory, names: Vec::new(), complete: true };
    let mut open = vec![begin(top.to_owned())];
    let entries = WalkDir::new(root.on_disk(top)).min_depth(1).into_iter();
    for entry in entries.filter_entry(|entry| !is_cache(entry)) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                // Which of the open directories it cut short is not always known.
                open.iter_mut().for_each(|directory| directory.complete = false);
                problems.push(describe(&error));
                continue;
            }
        };
        for done in open.drain(entry.depth()..).rev() {
            visit(done.list(root, problems))?;
        }
        let Some(parent) = open.last_mut() else { continue };
        if entry.file_type().is_dir() {
            let directory = parent.directory.join(entry.file_name());
            open.push(begin(directory));
        } else if is_source_name(entry.file_name()) {
            parent.names.push(entry.file_name().to_owned());
        }
    }
    for done in open.drain(..).rev() {
        visit(done.list(root, problems))?;
    }
    Ok(())
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

impl Open {
    /// Examines what was found: relative to the directory, which spares the way to it for every file.
    fn list(self, root: &Root, problems: &mut Vec<String>) -> Listing {
        let Self { directory, names, complete } = self;
        let mut listing = Listing { directory, complete, ..Listing::default() };
        if let Err(error) = listing.fill(root, names, problems) {
            listing.complete = false;
            problems.push(error.to_string());
        }
        listing
    }
}

impl Listing {
    fn fill(
        &mut self,
        root: &Root,
        names: Vec<OsString>,
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
        self.cached = cached(&dir)?;
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
    let identify = |name: OsString| {
        let examined = cache.examine(&name)?;
        Ok((name, examined.filter(|(kind, _)| *kind == Kind::File).map(|(_, identity)| identity)))
    };
    cache.names()?.into_iter().map(identify).collect()
}

fn is_cache(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() && entry.file_name() == DIRECTORY
}

fn describe(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("?"));
    let cause = error.io_error().map_or_else(|| "a loop of directories".to_owned(), cause);
    format!("cannot read {}: {cause}", Quoted(path))
}
