//! The walk through a tree.
//!
//! Owns how directories are found, that none is reached through a symlink, and who does what at the same time: one
//! thread reads the directories, others examine the files in them, the caller's gets the listings in order. They hand
//! each other many directories at a time, because to wake up a thread costs more than to examine one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use walkdir::WalkDir;

use super::tree::{Listing, is_source_name};
use crate::disk::{Quoted, cause};
use crate::python::pycache::DIRECTORY;
use crate::root::Root;

/// How many directories are handed over at a time.
const PORTION: usize = 32;

/// How many portions may be read ahead: while the ledger is being read, the walk goes on.
const AHEAD: usize = 64;

/// How many threads examine files; that is about two thirds of the work.
const EXAMINERS: usize = 2;

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

/// Something with its place in the order.
type Numbered<T> = (usize, T);

/// Walks the tree at `top` (without the root's prefix); `visit` gets its directories, each after everything below
/// it. What cannot be read is described in `problems` and left out.
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
        let (examined, portions) = sync_channel(AHEAD);
        let reader = scope.spawn(move || read(root, top, Portions { found, number: 0, portion: Vec::new() }));
        // Owned by the examiners alone: when they end, nobody waits to hand them more.
        let directories = Arc::new(Mutex::new(directories));
        for _ in 0..EXAMINERS {
            let (directories, examined) = (Arc::clone(&directories), examined.clone());
            scope.spawn(move || examine(root, &directories, &examined));
        }
        drop((directories, examined));
        let listings =
            InOrder { portions, early: BTreeMap::new(), next: 0 }.flat_map(|(listings, mut problems)| {
                unexamined.append(&mut problems);
                listings
            });
        let visited = visit(&mut { listings });
        problems.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        visited
    });
    problems.append(&mut unexamined);
    visited
}

/// The reader's end: gathers directories into portions.
struct Portions {
    found: SyncSender<Numbered<Vec<Entries>>>,
    number: usize,
    portion: Vec<Entries>,
}

/// Nobody takes them any more.
struct Unwanted;

impl Portions {
    fn add(&mut self, entries: Entries) -> Result<(), Unwanted> {
        self.portion.push(entries);
        if self.portion.len() < PORTION { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Unwanted> {
        self.number += 1;
        self.found.send((self.number - 1, std::mem::take(&mut self.portion))).map_err(|_| Unwanted)
    }
}

/// Reads the directories of a tree; what could not be read.
fn read(root: &Root, top: &Path, mut portions: Portions) -> Vec<String> {
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
            if portions.add(done).is_err() {
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
    // Whether anybody takes the last ones makes no difference any more.
    let _ = open.into_iter().rev().try_for_each(|done| portions.add(done));
    let _ = portions.hand_over();
    problems
}

/// Listings, and what could not be examined.
type Examined = (Vec<Listing>, Vec<String>);

/// Examines portions until there are no more, or nobody takes them.
fn examine(
    root: &Root,
    directories: &Mutex<Receiver<Numbered<Vec<Entries>>>>,
    examined: &SyncSender<Numbered<Examined>>,
) {
    loop {
        let portion = directories.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, portion)) = portion else { return };
        let mut problems = Vec::new();
        let list = |Entries { directory, names, complete, has_cache }| {
            let mut listing = Listing { directory, complete, ..Listing::default() };
            listing.fill(root, names, has_cache, &mut problems);
            listing
        };
        let listings = portion.into_iter().map(list).collect();
        if examined.send((number, (listings, problems))).is_err() {
            return;
        }
    }
}

/// Portions in the order of their numbers.
struct InOrder<T> {
    portions: Receiver<Numbered<T>>,
    /// Those that came before their turn.
    early: BTreeMap<usize, T>,
    next: usize,
}

impl<T> Iterator for InOrder<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while !self.early.contains_key(&self.next) {
            let (number, portion) = self.portions.recv().ok()?;
            self.early.insert(number, portion);
        }
        self.next += 1;
        self.early.remove(&(self.next - 1))
    }
}

fn describe(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("?"));
    let cause = error.io_error().map_or_else(|| "a loop of directories".to_owned(), cause);
    format!("cannot read {}: {cause}", Quoted(path))
}
