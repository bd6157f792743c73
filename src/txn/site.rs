//! The directories that a transaction compiles to.
//!
//! Owns whether each can take bytecode, and from where it gets it. Changes nothing but the staging directories.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anyhow::Result;

use super::intent::{Outcome, Share, TxnId};
use super::lock::Writer;
use super::source::unreadable;
use super::staging::Staging;
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

/// What is to be compiled, and where.
pub(super) struct Sites {
    /// By the numbers of the directories; where there can be none, the outcome of what was to go there.
    pub(super) all: HashMap<i64, Result<Site, Outcome>>,
    /// How many sources can be compiled.
    pub(super) sources: u64,
    /// Their bytes together.
    pub(super) bytes: u64,
}

/// Examines the directories of `shares` and makes the staging directories for them.
///
/// # Errors
/// The filesystem is read-only, or another failure of the medium.
pub(super) fn prepare(
    writer: &Writer<'_>,
    txn: TxnId,
    shares: Vec<Share>,
    team: &Team,
    root: &Root,
) -> Result<(Staging, Sites)> {
    let mut sites = Sites { all: HashMap::new(), sources: 0, bytes: 0 };
    let mut usable = Vec::new();
    let labels = writer.state.is_labelled();
    for share in shares {
        let number = share.directory.number;
        if let Entry::Vacant(place) = sites.all.entry(number) {
            let path = root.on_disk(&share.directory.path);
            let site = place.insert(examine(&path, labels)?);
            usable.extend(site.is_ok().then_some((number, path)));
        }
        let is_present = matches!(team.find(share.interpreter), Member::Present(_));
        if is_present && sites.all.get(&number).is_some_and(Result::is_ok) {
            sites.sources += share.sources;
            sites.bytes += share.bytes;
        }
    }
    let paths: Vec<&Path> = usable.iter().map(|(_, path)| path.as_path()).collect();
    let (staging, places) = Staging::make(writer, txn, &paths)?;
    for ((number, _), place) in usable.iter().zip(places) {
        if let Some(Ok(site)) = sites.all.get_mut(number) {
            site.place = place;
        }
    }
    Ok((staging, sites))
}

/// Examines a directory that is to take bytecode; if it cannot, the outcome of what was to go there.
fn examine(directory: &Path, labels: bool) -> Result<Result<Site, Outcome>> {
    match Dir::open(directory).and_then(|dir| site(&dir, labels)) {
        Ok(site) => Ok(Ok(site)),
        Err(error) if error.is_medium() => Err(error.into()),
        Err(error) if error.is_missing() => Ok(Err(Outcome::Vanished)),
        Err(error) => Ok(Err(unreadable(&error.to_string()))),
    }
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
