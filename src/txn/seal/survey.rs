//! What of a tree has to be looked into: what is not sealed, or not as it was when it was.
//!
//! Changes nothing. Knows nothing of what is to be done there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Seal, Seals};
use crate::disk::Dir;
use crate::parallel;
use crate::root::Root;
use crate::txn::intent::Hash;
use crate::txn::journal::Journal;
use crate::txn::tree::Listing;

/// How many directories a thread looks at before it takes the next ones.
const PORTION: usize = 32;

/// From how many directories on it costs less to write seals than to look into the directories the next time: some 5 ms
/// beside 40 µs for each.
const WORTH_A_WRITE: usize = 128;

/// The same in targets, where a directory has many: to look at one and at what the ledger has of it costs some 10 µs. A
/// standard library has 50 directories and 670 targets.
const TARGETS_WORTH_A_WRITE: usize = 512;

/// What was found of a tree that may be sealed.
#[derive(Debug)]
pub struct Survey {
    top: PathBuf,
    /// `None`: nothing is sealed.
    terms: Option<Hash>,
    /// The seals that hold.
    whole: Vec<(PathBuf, Seal)>,
    /// The other directories, as far as they are there.
    broken: Vec<PathBuf>,
}

/// Which tree is surveyed, and how.
#[derive(Debug, Clone, Copy)]
pub struct Surveyor<'a> {
    /// Where seals are; `None` where there is no journal yet.
    pub journal: Option<&'a Journal>,
    /// The terms under which they count; `None`: none does.
    pub terms: Option<Hash>,
    /// Where the paths are.
    pub root: &'a Root,
    /// How many threads look.
    pub threads: usize,
}

impl Surveyor<'_> {
    /// Looks at every sealed directory of the tree `top`, and at every source in it. Where nothing is sealed the tree is
    /// all broken.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn survey(&self, top: &Path) -> Result<Survey> {
        let root = self.root;
        let holds = |(directory, seal): &(PathBuf, Seal)| seal.look_again(root, directory).is_some();
        let look = |seals: &[_]| (seals.iter().map(holds).collect(), ());
        Ok(self.look_at(top, look)?.0)
    }

    /// The same; and has `visit` look into the directories whose seals hold, some at a time, without those in which there
    /// is nothing to look at.
    ///
    /// # Errors
    /// The journal cannot be read; and the first one of `visit`.
    pub fn visit<T: Send>(
        &self,
        top: &Path,
        visit: impl Fn(Vec<Listing>) -> Result<T> + Sync,
    ) -> Result<(Survey, Vec<T>)> {
        let root = self.root;
        let look = |seals: &[(PathBuf, Seal)]| {
            let mut listings = Vec::with_capacity(seals.len());
            let mut holds = |(directory, seal): &(PathBuf, Seal)| {
                let seen = seal.look_again(root, directory);
                let holds = seen.is_some();
                let seen = seen.filter(|seen| seen.dir.is_some());
                listings.extend(seen.map(|seen| seen.into_listing(directory)));
                holds
            };
            let held = seals.iter().map(&mut holds).collect();
            (held, visit(listings))
        };
        let (survey, visited) = self.look_at(top, look)?;
        Ok((survey, visited.into_iter().collect::<Result<_>>()?))
    }

    /// Has `look` say of portions of the seals whether they hold.
    fn look_at<T: Send>(
        &self,
        top: &Path,
        look: impl Fn(&[(PathBuf, Seal)]) -> (Vec<bool>, T) + Sync,
    ) -> Result<(Survey, Vec<T>)> {
        let Self { journal, terms, root, threads } = *self;
        let mut survey = Survey { top: top.to_owned(), terms, whole: Vec::new(), broken: Vec::new() };
        let seals = journal.zip(terms).map(|(journal, terms)| journal.seals(top, &terms)).transpose()?;
        let seals = seals.filter(|seals| seals.first().is_some_and(|(first, _)| first == top));
        let Some(seals) = seals else {
            survey.broken.extend(root.on_disk(top).is_dir().then(|| top.to_owned()));
            return Ok((survey, Vec::new()));
        };
        let looked = parallel::map(seals.chunks(PORTION), threads, look);
        let (held, results): (Vec<Vec<bool>>, Vec<T>) = looked.into_iter().unzip();
        for ((directory, seal), holds) in seals.into_iter().zip(held.into_iter().flatten()) {
            if holds {
                survey.whole.push((directory, seal));
            } else {
                survey.add_broken(root, directory);
            }
        }
        Ok((survey, results))
    }
}

impl Survey {
    /// Adds a directory whose seal does not hold. One that is gone, or has become something else, is in none of those
    /// above it.
    fn add_broken(&mut self, root: &Root, directory: PathBuf) {
        match Dir::open(&root.on_disk(&directory)) {
            Err(error) if error.is_no_such_directory() => {}
            _ => self.broken.push(directory),
        }
    }

    /// Leaves to be looked into, too, what has more in it than what is right.
    #[must_use]
    pub fn but_alone(mut self) -> Self {
        let (whole, others) = self.whole.into_iter().partition(|(_, seal)| seal.is_alone());
        let others: Vec<(PathBuf, Seal)> = others;
        self.whole = whole;
        self.broken.extend(others.into_iter().map(|(directory, _)| directory));
        self
    }

    /// How many targets are right in the directories whose seals hold.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.whole.iter().map(|(_, seal)| u64::from(seal.current())).sum()
    }

    /// Whether the tree is there and every seal holds.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.whole.is_empty() && self.broken.is_empty()
    }

    /// The directories that are to be looked into, and what is new below them.
    #[must_use]
    pub fn broken(&self) -> Vec<PathBuf> {
        self.broken.clone()
    }

    /// The directories that are not to be looked into because of those above them.
    #[must_use]
    pub fn seen(&self) -> HashSet<PathBuf> {
        if self.is_whole() {
            return HashSet::new();
        }
        self.whole.iter().map(|(directory, _)| directory).chain(&self.broken).cloned().collect()
    }

    /// The seals of the tree with those of the directories that were looked into; `None` if nothing is sealed, or it is
    /// not worth to be written: there is little that is new, or something is to be done in most of them.
    #[must_use]
    pub fn renew(self, looked_into: Vec<(PathBuf, Seal)>) -> Option<Seals> {
        let fresh = looked_into.iter().filter(|(_, seal)| *seal != Seal::default()).count();
        let targets: usize = looked_into.iter().map(|(_, seal)| seal.current() as usize).sum();
        let is_much = fresh >= WORTH_A_WRITE || targets >= TARGETS_WORTH_A_WRITE;
        if !is_much || fresh < looked_into.len() - fresh {
            return None;
        }
        let (top, mut all) = (self.top, self.whole);
        all.extend(looked_into);
        Some(Seals { top, terms: self.terms?, all, fresh })
    }
}
