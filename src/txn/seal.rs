//! Seals: what spares a look into a directory in which nothing has changed.
//!
//! Owns what breaks a seal. POSIX has every change of a name in a directory mark its times, so one whose times are the same has the names that it had: its sources and directories need not be
//! found again, and its bytecode is in place. What is written to a file in place marks only the file. So every source is
//! looked at, but no pyc: nobody who makes bytecode writes like that, and damage is for `verify` to find.

mod look;
mod record;
mod survey;

pub use record::{read, write};
pub use survey::{Survey, Surveyor};

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::intent::Hash;
use super::tree::{self, Listing};
use crate::disk::{Dir, Identity};
use crate::root::Root;
use look::Look;
use record::Record;

/// A directory of a tree, as it was when all that was wanted in it was seen to be in place. The default never holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seal(Box<[u8]>);

/// The seals of a tree, and what they rest on.
#[derive(Debug)]
pub struct Seals {
    /// The directory at its top, without the root's prefix.
    pub top: PathBuf,
    /// What was wished for ([`super::plan::Wishes::terms`]).
    pub terms: Hash,
    /// By directory, without the root's prefix: every one, also with a seal that never holds.
    pub all: Vec<(PathBuf, Seal)>,
    /// How many of them can hold and are new.
    pub fresh: usize,
}

impl Seal {
    /// Seals a directory that was listed after `began`, and of which `current` targets are right, those of all its
    /// sources that are wanted; `is_alone`: nothing else is in its `__pycache__`. `None` where a change since then might
    /// not show.
    pub(super) fn of(
        listing: &Listing,
        root: &Root,
        began: SystemTime,
        (current, is_alone): (u64, bool),
    ) -> Option<Self> {
        let mut look = Look::into(listing.dir.as_ref(), &root.on_disk(&listing.directory))?;
        if !listing.complete || !look.is_rested(began) {
            return None;
        }
        listing.sources.values().for_each(|source| look.add_source(Some(*source)));
        listing.vacant.iter().for_each(|_| look.add_source(None));
        let stems = listing.sources.keys().chain(&listing.vacant).map(|name| record::stem(name)).collect();
        let (has_cache, current) = (look.has_cache, u32::try_from(current).ok()?);
        Some(Record { print: look.print(), current, has_cache, is_alone, stems }.encode())
    }

    /// What is in the directory, if it is as it was.
    fn look_again(&self, root: &Root, directory: &Path) -> Option<Seen<'_>> {
        let sealed = Record::decode(self)?;
        let path = root.on_disk(directory);
        let is_bare = sealed.stems.is_empty() && !sealed.has_cache;
        let dir = if is_bare { None } else { Some(Dir::open(&path).ok()?) };
        let mut look = Look::into(dir.as_ref(), &path)?;
        let mut sources = Vec::with_capacity(sealed.stems.len());
        for (dir, stem) in dir.iter().flat_map(|dir| sealed.stems.iter().map(move |stem| (dir, stem))) {
            let source = tree::examine(root, directory, dir, &record::name(stem)).ok()?;
            look.add_source(source);
            sources.push(source);
        }
        (look.print() == sealed.print).then_some(Seen { dir, stems: sealed.stems, sources })
    }

    /// How many targets in it are right.
    #[must_use]
    pub fn current(&self) -> u32 {
        Record::decode(self).map_or(0, |sealed| sealed.current)
    }

    /// Whether its `__pycache__` has nothing but those.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        Record::decode(self).is_some_and(|sealed| sealed.is_alone)
    }
}

/// A directory that is as it was when it was sealed.
struct Seen<'a> {
    dir: Option<Dir>,
    stems: Vec<&'a [u8]>,
    /// In the same order; `None`: there is none.
    sources: Vec<Option<Identity>>,
}

impl Seen<'_> {
    fn into_listing(self, directory: &Path) -> Listing {
        let (directory, dir, complete) = (directory.to_owned(), self.dir, true);
        let mut listing = Listing { directory, dir, complete, ..Listing::default() };
        for (stem, source) in self.stems.into_iter().zip(self.sources) {
            match source {
                Some(identity) => drop(listing.sources.insert(record::name(stem), identity)),
                None => listing.vacant.push(record::name(stem)),
            }
        }
        listing
    }
}
