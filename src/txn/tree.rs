//! What is in a tree: its directories, each with its sources and what stands in its `__pycache__`.
//!
//! Owns the walk: which files count as sources, and that no directory is reached through a symlink. It knows
//! nothing of what is wanted of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Result;
use walkdir::WalkDir;

use crate::disk::{self, Dir, Identity, Kind, Quoted, cause};
use crate::python::pycache::DIRECTORY;
use crate::root::Root;

/// How many directories may be read ahead of their examination.
const AHEAD: usize = 256;

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

/// A directory whose entries have been read, but not examined.
struct Entries {
    directory: PathBuf,
    /// Those that are named as sources.
    names: Vec<OsString>,
    /// Whether these are all.
    complete: bool,
    /// Whether there is a `__pycache__`.
    has_cache: bool,
}

/// Whether a file of this name is a source. `.py` is not: no module has that name, and its bytecode would have the
/// name of that of `py.py`.
#[must_use]
pub fn is_source_name(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".py").is_some_and(|stem| !stem.is_empty())
}

/// Walks the tree at `top` (without the root's prefix); `visit` gets its directories, each after everything below
/// it. What cannot be read is described in `problems` and left out. One thread reads the directories, the caller's
/// examines the files: each is about half of the work.
///
/// # Errors
/// Those of `visit`.
pub fn walk<T>(
    root: &Root,
    top: &Path,
    problems: &mut Vec<String>,
    visit: impl FnOnce(&mut dyn Iterator<Item = Listing>) -> Result<T>,
) -> Result<T> {
    let mut unexamined = Vec::new();
    let visited = std::thread::scope(|scope| {
        let (found, directories) = sync_channel(AHEAD);
        let reader = scope.spawn(move || read(root, top, &found));
        let visited =
            visit(&mut directories.into_iter().map(|entries| examine_all(root, entries, &mut unexamined)));
        problems.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        visited
    });
    problems.append(&mut unexamined);
    visited
}

/// Reads the directories of a tree until nobody takes them any more; what could not be read.
fn read(root: &Root, top: &Path, found: &SyncSender<Entries>) -> Vec<String> {
    let begin = |directory| Entries { directory, names: Vec::new(), complete: true, has_cache: false };
    let mut open = vec![begin(top.to_owned())];
    let mut problems = Vec::new();
    let mut walk = WalkDir::new(root.on_disk(top)).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
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
            if found.send(done).is_err() {
                return problems;
            }
        }
        let Some(parent) = open.last_mut() else { continue };
        if !entry.file_type().is_dir() {
            parent.names.extend(is_source_name(entry.file_name()).then(|| entry.file_name().to_owned()));
        } else if entry.file_name() == DIRECTORY {
            parent.has_cache = true;
            walk.skip_current_dir();
        } else {
            let directory = parent.directory.join(entry.file_name());
            open.push(begin(directory));
        }
    }
    for done in open.drain(..).rev() {
        let _ = found.send(done);
    }
    problems
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

/// Examines what was found: relative to the directory, which spares the way to it for every file.
fn examine_all(root: &Root, entries: Entries, problems: &mut Vec<String>) -> Listing {
    let Entries { directory, names, complete, has_cache } = entries;
    let mut listing = Listing { directory, complete, ..Listing::default() };
    if names.is_empty() && !has_cache {
        return listing;
    }
    if let Err(error) = listing.fill(root, names, has_cache, problems) {
        listing.complete = false;
        problems.push(error.to_string());
    }
    listing
}

impl Listing {
    fn fill(
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

fn describe(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("?"));
    let cause = error.io_error().map_or_else(|| "a loop of directories".to_owned(), cause);
    format!("cannot read {}: {cause}", Quoted(path))
}
