//! The staged files of one directory of sources.
//!
//! Owns where they are in their staging directory. Where there is no `__pycache__` yet, it is staged as a whole, under the
//! number of the directory, with every file under its target's name in it: one rename publishes it, and a small directory
//! takes a file in less time than one of thousands. Elsewhere a file is under the number of its intent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Staging, present};
use crate::disk::{self, Dir, Identity, Manner, Renamed};
use crate::python::pycache::DIRECTORY;
use crate::txn::intent::Intent;

/// The name of the `__pycache__` of the directory of this number.
fn whole_name(directory: i64) -> String {
    format!("cache-{directory}")
}

/// The name of a file that is alone.
fn alone_name(intent: &Intent) -> String {
    intent.id.0.to_string()
}

/// The name of a file in the `__pycache__` that is staged as a whole.
fn name_in_whole(intent: &Intent, directory: i64) -> PathBuf {
    Path::new(&whole_name(directory)).join(intent.action.target())
}

/// Where the staged files of one directory go.
pub(in crate::txn) struct Spot<'s> {
    /// The staging directory.
    pub(in crate::txn) place: &'s Dir,
    /// The number of the directory.
    pub(in crate::txn) directory: i64,
    /// The permissions of its `__pycache__` if that is staged as a whole.
    pub(in crate::txn) whole: Option<u32>,
}

impl Spot<'_> {
    /// Writes the staged file of an intent, in this manner.
    ///
    /// # Errors
    /// It cannot be written.
    pub(in crate::txn) fn write(
        &self,
        intent: &Intent,
        manner: &Manner<'_>,
        parts: &[&[u8]],
    ) -> Result<Identity, disk::Error> {
        let name = self.name(intent);
        match self.place.create_file_as(&name, manner, parts) {
            Err(error) if error.is_missing() && self.make_whole()? => {
                self.place.create_file_as(&name, manner, parts)
            }
            written => written,
        }
    }

    /// Makes the file `path` below `from` the staged file of an intent; what it is on disk then. `None` if it is on another
    /// filesystem, or not there any more.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub(in crate::txn) fn take(
        &self,
        (from, path): (&Dir, &Path),
        intent: &Intent,
    ) -> Result<Option<Identity>, disk::Error> {
        let name = self.name(intent);
        let renamed = match from.rename(path, self.place, &name)? {
            Renamed::Gone if self.make_whole()? => from.rename(path, self.place, &name)?,
            renamed => renamed,
        };
        let moved = if renamed == Renamed::Moved { self.place.examine(name)? } else { None };
        Ok(moved.map(|(_, identity)| identity))
    }

    fn name(&self, intent: &Intent) -> PathBuf {
        match self.whole {
            Some(_) => name_in_whole(intent, self.directory),
            None => alone_name(intent).into(),
        }
    }

    /// Makes the directory that is staged as a whole, if there is to be one: for the first file it is missing.
    fn make_whole(&self) -> Result<bool, disk::Error> {
        let Some(mode) = self.whole else { return Ok(false) };
        self.place.create_child(whole_name(self.directory), mode)?;
        Ok(true)
    }
}

/// Removes the staged file of an intent, wherever it is.
///
/// # Errors
/// It cannot be removed.
pub(in crate::txn) fn remove_file(place: &Dir, directory: i64, intent: &Intent) -> Result<(), disk::Error> {
    place.remove_file(name_in_whole(intent, directory))?;
    place.remove_file(alone_name(intent)).map(drop)
}

/// What is staged of some intents of one directory.
pub(in crate::txn) struct StagedFiles<'s> {
    staging: &'s Staging,
    directory: i64,
    /// By the numbers of the places that were looked into; `None` where there is none.
    wholes: BTreeMap<usize, Option<Whole>>,
}

/// A `__pycache__` that is staged as a whole, and the names in it, sorted.
struct Whole {
    dir: Dir,
    names: Vec<OsString>,
}

impl<'s> StagedFiles<'s> {
    /// Looks for what is staged of `intents`, all of the directory of this number.
    ///
    /// # Errors
    /// A staging directory cannot be read.
    pub(in crate::txn) fn find(
        staging: &'s Staging,
        directory: i64,
        intents: &[Intent],
    ) -> Result<Self, disk::Error> {
        let mut wholes = BTreeMap::new();
        for number in intents.iter().filter_map(place_of) {
            if let (Entry::Vacant(vacant), Some(place)) = (wholes.entry(number), staging.place(number)) {
                let dir = present(place.open_child(whole_name(directory)))?;
                vacant.insert(dir.map(|dir| Ok(Whole { names: dir.names()?, dir })).transpose()?);
            }
        }
        Ok(Self { staging, directory, wholes })
    }

    /// Whether the staged file of an intent is there.
    pub(in crate::txn) fn has(&self, intent: &Intent) -> bool {
        let is_alone = |place: &Dir| place.has_file(alone_name(intent));
        self.whole_of(intent).is_some()
            || place_of(intent).and_then(|number| self.staging.place(number)).is_some_and(is_alone)
    }

    /// Where the staged file of an intent is, or was: the directory, and its name there. `None` if it has none.
    pub(in crate::txn) fn find_file(&self, intent: &Intent) -> Option<(&Dir, OsString)> {
        match self.whole_of(intent) {
            Some(whole) => Some((&whole.dir, intent.action.target().to_owned())),
            None => Some((self.staging.place(place_of(intent)?)?, alone_name(intent).into())),
        }
    }

    /// Renames what is staged as a whole to the `__pycache__` in `dir`, where there is none; says whether it did. It does
    /// not if anything else is in it than what is to be published of `intents`, which are all that change something
    /// in the directory.
    ///
    /// # Errors
    /// A failure of the medium.
    pub(in crate::txn) fn publish_whole(&self, dir: &Dir, intents: &[Intent]) -> Result<bool, disk::Error> {
        let is_in = |number| intents.iter().all(|intent| place_of(intent) == Some(number));
        let targets = || {
            let mut targets: Vec<&OsStr> = intents.iter().map(|intent| intent.action.target()).collect();
            targets.sort_unstable();
            targets
        };
        for (&number, whole) in &self.wholes {
            if let Some(whole) = whole
                && is_in(number)
                && whole.names == targets()
                && let Some(place) = self.staging.place(number)
            {
                return place.move_child(whole_name(self.directory), dir, DIRECTORY);
            }
        }
        Ok(false)
    }

    /// The whole that has the staged file of an intent.
    fn whole_of(&self, intent: &Intent) -> Option<&Whole> {
        let target = intent.action.target();
        let has = |whole: &&Whole| whole.names.binary_search_by(|name| name.as_os_str().cmp(target)).is_ok();
        self.wholes.get(&place_of(intent)?)?.as_ref().filter(has)
    }
}

/// The number of the place that has the staged file of an intent.
fn place_of(intent: &Intent) -> Option<usize> {
    intent.made.as_ref()?.staged_in
}
