//! The directories that a transaction compiles to.
//!
//! Owns whether each can take bytecode, and from where it gets it. Changes nothing but the staging directories.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::intent::{Outcome, Share, TxnId};
use super::lock::Writer;
use super::source::unreadable;
use super::staging::{Choice, Staging};
use super::team::{Member, Team};
use crate::disk::{self, Dir};
use crate::python::pycache::DIRECTORY;
use crate::root::Root;

/// What is known of a directory that can take bytecode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// Whether it has a `__pycache__`.
    pub(super) has_cache: bool,
    /// The permissions of its `__pycache__` if that is staged as a whole.
    pub(super) whole: Option<u32>,
    /// Whether a file created there gets more from the directory than its place.
    pub(super) passes_on: bool,
    /// The number of its staging directory.
    pub(super) place: usize,
}

/// By the numbers of the directories; where there can be none, the outcome of what was to go there.
pub(super) type ByNumber = HashMap<i64, Result<Site, Outcome>>;

/// What is to be compiled, and where.
pub(super) struct Sites {
    pub(super) all: ByNumber,
    /// How many sources can be compiled.
    pub(super) sources: u64,
    /// Their bytes together.
    pub(super) bytes: u64,
}

/// Examines the directories of `shares` and makes the staging directories for them. A directory that cannot take
/// bytecode is the outcome of its intents. Directories that are out of reach are left out, and their intents stay pending.
///
/// # Errors
/// The state directory cannot be written, a disk is full, or a medium has failed and no other directory is left.
pub(super) fn prepare(
    writer: &Writer<'_>,
    txn: TxnId,
    shares: Vec<Share>,
    team: &Team,
    root: &Root,
) -> Result<(Staging, Sites)> {
    let mut examined = Examined::default();
    let labels = writer.state.is_labelled();
    for share in shares.iter().filter(|share| !share.directory.is_out_of_reach(root)) {
        examined.add(share.directory.number, root.on_disk(&share.directory.path), labels);
    }
    let (staging, all) = examined.stage(writer, txn)?;
    let mut sites = Sites { all, sources: 0, bytes: 0 };
    for share in shares {
        let is_present = matches!(team.find(share.interpreter), Member::Present(_));
        if is_present && sites.all.get(&share.directory.number).is_some_and(Result::is_ok) {
            sites.sources += share.sources;
            sites.bytes += share.bytes;
        }
    }
    Ok((staging, sites))
}

/// The directories of a transaction, by their numbers.
#[derive(Default)]
struct Examined {
    usable: Vec<(i64, PathBuf, Site)>,
    barred: HashMap<i64, Arc<disk::Error>>,
    seen: HashSet<i64>,
}

impl Examined {
    fn add(&mut self, number: i64, path: PathBuf, labels: bool) {
        if !self.seen.insert(number) {
            return;
        }
        match Dir::open(&path).and_then(|dir| site(&dir, labels)) {
            Ok(site) => self.usable.push((number, path, site)),
            Err(error) => drop(self.barred.insert(number, Arc::new(error))),
        }
    }

    /// Makes the staging directories.
    fn stage(mut self, writer: &Writer<'_>, txn: TxnId) -> Result<(Staging, ByNumber)> {
        let paths: Vec<&Path> = self.usable.iter().map(|(_, path, _)| path.as_path()).collect();
        let (staging, choices) = Staging::make(writer, txn, &paths)?;
        let mut all = ByNumber::new();
        for ((number, _, site), choice) in self.usable.into_iter().zip(choices) {
            match choice {
                Choice::Place(place) => drop(all.insert(number, Ok(Site { place, ..site }))),
                Choice::Barred(error) => drop(self.barred.insert(number, error)),
            }
        }
        let medium = self.barred.values().find(|error| error.is_medium());
        if let Some(error) = medium.filter(|_| all.is_empty()) {
            return Err(anyhow::Error::msg(error.to_string()));
        }
        all.extend(self.barred.iter().map(|(number, error)| (*number, Err(outcome(error)))));
        Ok((staging, all))
    }
}

/// The outcome of what was to go to a directory that cannot take it.
fn outcome(error: &disk::Error) -> Outcome {
    if error.is_missing() { Outcome::Vanished } else { unreadable(&error.to_string()) }
}

fn site(dir: &Dir, labels: bool) -> Result<Site, disk::Error> {
    let has_cache = dir.writable_child(DIRECTORY)?;
    let passes_on =
        if has_cache { dir.open_child(DIRECTORY)?.passes_on(labels)? } else { dir.passes_on(labels)? };
    // A directory that is created elsewhere and renamed lacks what it would inherit: group, ACL, and the bit that passes the
    // group on.
    let is_whole = !has_cache && !passes_on && !dir.sets_group()?;
    let whole = if is_whole { Some(dir.mode_of_child()?) } else { None };
    Ok(Site { has_cache, whole, passes_on, place: 0 })
}
