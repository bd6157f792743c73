//! The walk through a tree.
//!
//! Owns how directories are found, that none is reached through a symlink, and who does what at the same time: one
//! thread finds the directories, others look into them. They hand each other many directories at a time, because to
//! wake up a thread costs more than to look into one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::io::Errno;
use walkdir::WalkDir;

use super::seal::Survey;
use super::tree::{Listing, is_source_name};
use crate::disk::{Quoted, cause};
use crate::parallel;
use crate::python::pycache::DIRECTORY;
use crate::root::Root;

/// How many directories are handed over at a time.
const PORTION: usize = 32;

/// How many portions may be found ahead: while the ledger is being read, the walk goes on.
const AHEAD: usize = 96;

/// How many threads look into directories where nothing more is asked of them; one finds them in about the same time.
pub const THREADS: usize = 2;

/// A directory whose entries have been read.
struct Found {
    directory: PathBuf,
    /// Those that are named as sources.
    names: Vec<OsString>,
    /// Whether these are all.
    complete: bool,
    /// Whether there is a `__pycache__`.
    has_cache: bool,
}

/// Trees whose directories are being found.
pub struct Walk {
    root: Root,
    portions: Box<dyn Iterator<Item = Vec<Found>> + Send>,
    finder: Finding,
}

/// Who finds the directories.
enum Finding {
    /// A thread, whose result is what could not be read.
    Thread(JoinHandle<Vec<String>>),
    /// Nobody any more: no thread was to be had, so they have been found before anybody looks into them. What could not
    /// be read.
    Done(Vec<String>),
}

/// What is to be found.
struct Search {
    root: Root,
    tops: Vec<PathBuf>,
    /// What need not be found.
    seen: HashSet<PathBuf>,
}

impl Search {
    /// Finds all directories; `taker` is given some at a time. What could not be read.
    fn run(self, taker: impl FnMut(Vec<Found>) -> Result<(), Unwanted>) -> Vec<String> {
        let Self { root, tops, seen } = self;
        let portions = Portions { taker, portion: Vec::new() };
        let (problems, put_off) = (Vec::new(), Vec::new());
        let mut finder = Finder { portions, seen, problems, put_off, is_second: false };
        // Whether anybody takes the last ones makes no difference any more.
        let _ = finder.find_all(tops.into_iter().map(|top| (root.on_disk(&top), top)));
        finder.problems
    }
}

impl Walk {
    /// Begins to find the directories of the tree at `top` (without the root's prefix).
    #[must_use]
    pub fn begin(root: &Root, top: &Path) -> Self {
        Self::around(root, vec![top.to_owned()], HashSet::new())
    }

    /// Begins to find the directories of a tree whose seals do not hold, and what is new below them.
    #[must_use]
    pub fn unsealed(root: &Root, survey: &Survey) -> Self {
        Self::around(root, survey.broken(), survey.seen())
    }

    /// Begins to find the directories of the trees at `tops`, but for those below the tops that have been `seen`, and
    /// what is below these.
    fn around(root: &Root, tops: Vec<PathBuf>, seen: HashSet<PathBuf>) -> Self {
        let root = root.clone();
        let search = Search { root: root.clone(), tops, seen };
        let (sender, received) = sync_channel(AHEAD);
        let find = |(search, sender): (Search, SyncSender<Vec<Found>>)| {
            search.run(|portion| sender.send(portion).map_err(|_| Unwanted))
        };
        match parallel::spawn((search, sender), find) {
            Ok(finder) => {
                Self { root, portions: Box::new(received.into_iter()), finder: Finding::Thread(finder) }
            }
            Err((search, _)) => {
                let mut portions = Vec::new();
                let problems = search.run(|portion| {
                    portions.push(portion);
                    Ok(())
                });
                Self { root, portions: Box::new(portions.into_iter()), finder: Finding::Done(problems) }
            }
        }
    }

    /// Looks into every directory, on so many threads. `visit` is given some directories at a time; they come in the
    /// order in which they were found, which is each after everything below it. What cannot be read is described in
    /// `problems` and left out.
    ///
    /// # Errors
    /// The first one of `visit`.
    pub fn visit<T: Send>(
        self,
        threads: usize,
        problems: &mut Vec<String>,
        visit: impl Fn(Vec<Listing>) -> anyhow::Result<T> + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let Self { root, portions, finder } = self;
        let look = |portion: Vec<Found>| {
            let mut problems = Vec::new();
            let fill = |Found { directory, names, complete, has_cache }| {
                let mut listing = Listing { directory, complete, ..Listing::default() };
                if has_cache || !names.is_empty() {
                    listing.fill(&root, names, &mut problems);
                }
                listing
            };
            let listings = portion.into_iter().map(fill).collect();
            (visit(listings), problems)
        };
        let looked = parallel::map(portions, threads, look);
        problems.extend(match finder {
            Finding::Thread(finder) => parallel::joined(finder.join()),
            Finding::Done(problems) => problems,
        });
        let gather = |(result, mut unread)| {
            problems.append(&mut unread);
            result
        };
        looked.into_iter().map(gather).collect()
    }
}

/// The finder's end: gathers directories into portions.
struct Portions<T> {
    taker: T,
    portion: Vec<Found>,
}

/// Nobody takes them any more.
struct Unwanted;

impl<T: FnMut(Vec<Found>) -> Result<(), Unwanted>> Portions<T> {
    fn add(&mut self, found: Found) -> Result<(), Unwanted> {
        self.portion.push(found);
        if self.portion.len() < PORTION { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Unwanted> {
        (self.taker)(std::mem::take(&mut self.portion))
    }
}

/// Finds directories.
struct Finder<T> {
    portions: Portions<T>,
    /// What need not be found.
    seen: HashSet<PathBuf>,
    /// What could not be read.
    problems: Vec<String>,
    /// Directories for which too many files were open, on disk and without the root's prefix.
    put_off: Vec<(PathBuf, PathBuf)>,
    /// Whether these are being read.
    is_second: bool,
}

impl<T: FnMut(Vec<Found>) -> Result<(), Unwanted>> Finder<T> {
    /// Finds the directories of all trees, which are given on disk and without the root's prefix.
    fn find_all(&mut self, tops: impl Iterator<Item = (PathBuf, PathBuf)>) -> Result<(), Unwanted> {
        for (on_disk, top) in tops {
            self.find(&on_disk, top)?;
        }
        self.is_second = true;
        for (on_disk, directory) in std::mem::take(&mut self.put_off) {
            self.find(&on_disk, directory)?;
        }
        self.portions.hand_over()
    }

    /// Finds the directories of the tree `top`, which is at `on_disk`.
    fn find(&mut self, on_disk: &Path, top: PathBuf) -> Result<(), Unwanted> {
        let begin = |directory| Found { directory, names: Vec::new(), complete: true, has_cache: false };
        let mut open = vec![begin(top)];
        let mut walk = WalkDir::new(on_disk).follow_root_links(false).min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.cut_short(&error, &mut open);
                    continue;
                }
            };
            open.drain(entry.depth()..).rev().try_for_each(|done| self.portions.add(done))?;
            let Some(parent) = open.last_mut() else { continue };
            if !entry.file_type().is_dir() {
                parent.names.extend(is_source_name(entry.file_name()).then(|| entry.file_name().to_owned()));
            } else if entry.file_name() == DIRECTORY {
                parent.has_cache = true;
                walk.skip_current_dir();
            } else {
                let directory = parent.directory.join(entry.file_name());
                if self.seen.contains(&directory) {
                    walk.skip_current_dir();
                } else {
                    open.push(begin(directory));
                }
            }
        }
        open.into_iter().rev().try_for_each(|done| self.portions.add(done))
    }

    /// Notes that a directory cannot be read, or not to its end. One for which too many files are open is put off.
    fn cut_short(&mut self, error: &walkdir::Error, open: &mut Vec<Found>) {
        let (depth, name) = (error.depth(), error.path().and_then(Path::file_name));
        let is_own = |found: &Found| depth == 0 || (name.is_some() && found.directory.file_name() == name);
        // What is wrong with an entry is wrong with the directory that it is in.
        let place = if open.get(depth).is_some_and(is_own) { depth } else { depth.saturating_sub(1) };
        let is_exhausted = error.io_error().is_some_and(is_exhausted);
        if let (true, Some(path)) = (is_exhausted && !self.is_second && place == depth, error.path()) {
            self.put_off.extend(open.drain(place..).map(|found| (path.to_owned(), found.directory)));
            return;
        }
        match open.get_mut(place) {
            Some(found) => found.complete = false,
            None => open.iter_mut().for_each(|found| found.complete = false),
        }
        self.problems.push(describe(error));
    }
}

/// Whether too many files are open just now.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

fn describe(error: &walkdir::Error) -> String {
    let path = error.path().unwrap_or(Path::new("?"));
    let cause = error.io_error().map_or_else(|| "a loop of directories".to_owned(), cause);
    format!("cannot read {}: {cause}", Quoted(path))
}
