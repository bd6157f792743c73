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

/// How many directories a thread looks at before it takes the next ones.
const PORTION: usize = 32;

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

impl Survey {
    /// Looks at every directory of the tree `top` that is sealed under these terms, and at every source in it, on so many
    /// threads. Where nothing is sealed the tree is all broken.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn of(
        journal: Option<&Journal>,
        terms: Option<Hash>,
        top: &Path,
        root: &Root,
        threads: usize,
    ) -> Result<Self> {
        let mut survey = Self { top: top.to_owned(), terms, whole: Vec::new(), broken: Vec::new() };
        let seals = journal.zip(terms).map(|(journal, terms)| journal.seals(top, &terms)).transpose()?;
        let seals = seals.filter(|seals| seals.first().is_some_and(|(first, _)| first == top));
        let Some(seals) = seals else {
            survey.broken.extend(root.on_disk(top).is_dir().then(|| top.to_owned()));
            return Ok(survey);
        };
        let look = |seals: &[(PathBuf, Seal)]| -> Vec<bool> {
            seals.iter().map(|(directory, seal)| seal.holds(root, directory)).collect()
        };
        let held = parallel::map(seals.chunks(PORTION), threads, look);
        for ((directory, seal), holds) in seals.into_iter().zip(held.into_iter().flatten()) {
            if holds {
                survey.whole.push((directory, seal));
            } else {
                survey.add_broken(root, directory);
            }
        }
        Ok(survey)
    }

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

    /// Whether every seal holds.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// The directories that are to be looked into, and what is new below them.
    #[must_use]
    pub fn broken(&self) -> Vec<PathBuf> {
        self.broken.clone()
    }

    /// The directories that are not to be looked into because of those above them.
    #[must_use]
    pub fn seen(&self) -> HashSet<PathBuf> {
        if self.is_whole() || self.whole.is_empty() && self.broken == [&*self.top] {
            return HashSet::new();
        }
        self.whole.iter().map(|(directory, _)| directory).chain(&self.broken).cloned().collect()
    }

    /// The seals of the tree with those of the directories that were looked into; `None` if nothing is sealed.
    #[must_use]
    pub fn renew(self, looked_into: Vec<(PathBuf, Seal)>) -> Option<Seals> {
        let fresh = looked_into.iter().filter(|(_, seal)| *seal != Seal::default()).count();
        let (top, mut all) = (self.top, self.whole);
        all.extend(looked_into);
        Some(Seals { top, terms: self.terms?, all, fresh })
    }
}
