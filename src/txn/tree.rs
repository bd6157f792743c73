//! What is in a tree: its directories, each with its sources and what stands in its `__pycache__`.
//!
//! Owns the walk: which files count as sources, and that no directory is reached through a symlink. It knows
//! nothing of what is wanted of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use walkdir::{DirEntry, WalkDir};

use crate::disk::{Identity, Quoted, cause};
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
    /// The names in its `__pycache__`.
    pub cached: Vec<OsString>,
}

/// Whether a file of this name is a source.
#[must_use]
pub fn is_source_name(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".py")
}

/// Walks the tree at `top` (without the root's prefix); each directory with sources or bytecode goes to `visit`
/// once everything below it has gone. What cannot be read is described in `problems` and left out.
///
/// # Errors
/// Those of `visit`.
pub fn walk(
    root: &Root,
    top: &Path,
    problems: &mut Vec<String>,
    visit: &mut dyn FnMut(Listing) -> Result<()>,
) -> Result<()> {
    let mut open: Vec<Listing> = Vec::new();
    let entries = WalkDir::new(root.on_disk(top)).min_depth(1).into_iter();
    open.push(Listing { directory: top.to_owned(), complete: true, ..Listing::default() });
    for entry in entries.filter_entry(|entry| !is_cache(entry)) {
        match entry {
            Ok(entry) => {
                while open.len() > entry.depth() {
                    close(root, &mut open, problems, visit)?;
                }
                take(root, &mut open, &entry, problems);
            }
            Err(error) => {
                // Which of the open directories it cut short is not always known.
                open.iter_mut().for_each(|listing| listing.complete = false);
                problems.push(describe(&error));
            }
        }
    }
    while !open.is_empty() {
        close(root, &mut open, problems, visit)?;
    }
    Ok(())
}

/// Lists the named sources of one directory only; a name that is none, or not there, is left out.
///
/// # Errors
/// A source cannot be examined.
pub fn list(root: &Root, directory: &Path, names: &[OsString]) -> io::Result<Listing> {
    let mut listing = Listing { directory: directory.to_owned(), ..Listing::default() };
    for name in names {
        if let Some(identity) = root.identity(&directory.join(name))? {
            listing.sources.insert(name.clone(), identity);
        }
    }
    listing.cached = cached(root, directory)?;
    Ok(listing)
}

fn is_cache(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() && entry.file_name() == DIRECTORY
}

/// Adds an entry to the listing of the directory it is in.
fn take(root: &Root, open: &mut Vec<Listing>, entry: &DirEntry, problems: &mut Vec<String>) {
    let Some(parent) = open.last_mut() else { return };
    if entry.file_type().is_dir() {
        let directory = parent.directory.join(entry.file_name());
        open.push(Listing { directory, complete: true, ..Listing::default() });
    } else if is_source_name(entry.file_name()) {
        match identity(root, &parent.directory, entry) {
            Ok(Some(identity)) => drop(parent.sources.insert(entry.file_name().to_owned(), identity)),
            Ok(None) => {}
            Err(error) => {
                parent.complete = false;
                problems.push(format!("cannot examine {}: {}", Quoted(entry.path()), cause(&error)));
            }
        }
    }
}

fn identity(root: &Root, directory: &Path, entry: &DirEntry) -> io::Result<Option<Identity>> {
    if entry.path_is_symlink() {
        return root.identity(&directory.join(entry.file_name()));
    }
    if !entry.file_type().is_file() {
        return Ok(None);
    }
    match entry.metadata() {
        Ok(metadata) => Ok(Some(Identity::of_metadata(&metadata))),
        Err(error) => match error.into_io_error() {
            Some(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Some(error) => Err(error),
            None => Ok(None),
        },
    }
}

fn close(
    root: &Root,
    open: &mut Vec<Listing>,
    problems: &mut Vec<String>,
    visit: &mut dyn FnMut(Listing) -> Result<()>,
) -> Result<()> {
    let Some(mut listing) = open.pop() else {
        return Ok(());
    };
    match cached(root, &listing.directory) {
        Ok(names) => listing.cached = names,
        Err(error) => {
            let path = listing.directory.join(DIRECTORY);
            problems.push(format!("cannot read {}: {}", Quoted(&path), cause(&error)));
        }
    }
    visit(listing)
}

/// The names in a directory's `__pycache__`; none where there is no such directory, or a symlink or a file in
/// its place, which is for the one who wants to write there to complain about.
fn cached(root: &Root, directory: &Path) -> io::Result<Vec<OsString>> {
    let path = root.on_disk(directory).join(DIRECTORY);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {}
        _ => return Ok(Vec::new()),
    }
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn describe(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("?"));
    let cause = error.io_error().map_or_else(|| "a loop of directories".to_owned(), cause);
    format!("cannot read {}: {cause}", Quoted(path))
}
