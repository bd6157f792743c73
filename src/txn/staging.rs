//! Where a transaction stages: one directory on each filesystem it publishes to.
//!
//! Owns the choice of the places and their end. Number 0 is in the state directory; where files cannot be
//! renamed from there, which is tried and not guessed, a dot-named directory at the top of the tree takes its
//! place. The journal knows of that one before it exists, so no crash leaves one that nobody finds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::intent::TxnId;
use super::journal::{Journal, StagingPlace};
use super::lock::Writer;
use crate::disk::{self, Dir};

/// The directory in the state directory that holds the transactions' staging directories.
const DIRECTORY: &str = "staging";

/// What is staged is nobody else's to read or write.
const MODE: u32 = 0o700;

/// The beginning of the name of a staging directory in a tree.
const DOT_NAME: &str = ".pyc-txn-";

/// The staging directories of a transaction, open.
#[derive(Debug)]
pub struct Staging {
    places: Vec<Option<Dir>>,
}

/// What tells filesystems apart before it is tried: device and mount. Directories that agree in both can be
/// renamed between, but for quota projects, which publishing copes with.
type Class = (u32, u32, u64);

impl Staging {
    /// Makes the staging directories for a transaction that publishes to `directories` (paths on disk); says
    /// for each of these the number of its place.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn make(writer: &mut Writer<'_>, txn: TxnId, directories: &[&Path]) -> Result<(Self, Vec<usize>)> {
        let parent = writer.state.create_child(DIRECTORY, MODE)?;
        let own = parent.create_child(txn.0.to_string(), MODE)?;
        let mut staging = Self { places: vec![Some(own)] };
        let classes: Vec<Option<Class>> = directories.iter().map(|path| class(path)).collect();
        let mut numbers = HashMap::new();
        for class in &classes {
            if !numbers.contains_key(class) {
                let members = || directories.iter().zip(&classes).filter(|(_, of)| *of == class);
                let members: Vec<&Path> = members().map(|(path, _)| *path).collect();
                numbers.insert(*class, staging.find_place(writer, txn, *class, &members)?);
            }
        }
        Ok((staging, classes.iter().map(|class| numbers[class]).collect()))
    }

    /// Opens the staging directories that a transaction has made before; one that is gone stays out.
    ///
    /// # Errors
    /// One cannot be opened, or the journal cannot be read.
    pub fn open(writer: &Writer<'_>, txn: TxnId) -> Result<Self> {
        let own = writer.state.open_child(DIRECTORY).and_then(|parent| parent.open_child(txn.0.to_string()));
        let mut places = vec![present(own)?];
        for (_, place) in writer.journal.staging_places(Some(txn))? {
            places.resize_with(places.len().max(place.number + 1), || None);
            let opened = Dir::open(&place.parent).and_then(|parent| parent.open_child(&place.name));
            places[place.number] = present(opened)?.filter(is_our_own);
        }
        Ok(Self { places })
    }

    /// The directory of this number, if it is there.
    #[must_use]
    pub fn place(&self, number: usize) -> Option<&Dir> {
        self.places.get(number)?.as_ref()
    }

    /// All that are there.
    pub fn places(&self) -> impl Iterator<Item = &Dir> {
        self.places.iter().flatten()
    }

    fn find_place(
        &mut self,
        writer: &mut Writer<'_>,
        txn: TxnId,
        class: Option<Class>,
        members: &[&Path],
    ) -> Result<usize> {
        let (Some(own), Some(&first)) = (self.place(0), members.first()) else {
            return Ok(0);
        };
        if own.shares_filesystem(&Dir::open(first)?)? {
            return Ok(0);
        }
        let number = self.places.len();
        let place = StagingPlace { number, parent: top(members, class), name: dot_name(txn).into() };
        let parent = Dir::open(&place.parent)?;
        writer.journal.add_staging(txn, &place)?;
        self.places.push(Some(parent.create_child(&place.name, MODE)?));
        Ok(number)
    }
}

/// Removes the staging directories of a transaction that has ended, and the journal's notes of them.
///
/// # Errors
/// One cannot be removed; it is still noted then, and the next run removes it.
pub fn remove(writer: &mut Writer<'_>, txn: TxnId) -> Result<()> {
    let places = writer.journal.staging_places(Some(txn))?;
    for (_, place) in &places {
        match Dir::open(&place.parent) {
            // Somebody else's directory of that name is left alone.
            Ok(parent) if parent.open_child(&place.name).is_ok_and(|dir| !is_our_own(&dir)) => {}
            Ok(parent) => parent.remove_child_with_files(&place.name)?,
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !places.is_empty() {
        writer.journal.forget_staging(txn)?;
    }
    match writer.state.open_child(DIRECTORY) {
        Ok(parent) => parent.remove_child_with_files(txn.0.to_string())?,
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The transactions that have a staging directory, by what is on disk and by what the journal says.
///
/// # Errors
/// The state directory or the journal cannot be read.
pub fn found(state: &Dir, journal: &Journal) -> Result<Vec<TxnId>> {
    let mut found: Vec<TxnId> = journal.staging_places(None)?.into_iter().map(|(txn, _)| txn).collect();
    if let Some(parent) = present(state.open_child(DIRECTORY))? {
        let numbers = parent.names()?.into_iter().filter_map(|name| name.to_str()?.parse().ok());
        found.extend(numbers.map(TxnId));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn present(opened: Result<Dir, disk::Error>) -> Result<Option<Dir>> {
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A staging directory in somebody's tree may have been put there by that somebody.
fn is_our_own(dir: &Dir) -> bool {
    let us = rustix::process::geteuid().as_raw();
    dir.stat().is_ok_and(|stat| stat.st_uid == us && stat.st_mode & 0o077 == 0)
}

/// `None` where it cannot be found out: those share a class, and what is tried for one decides for all.
fn class(path: &Path) -> Option<Class> {
    let facts = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
    Some((facts.stx_dev_major, facts.stx_dev_minor, facts.stx_mnt_id))
}

/// The directory at the top of `members` that is on their filesystem.
fn top(members: &[&Path], of: Option<Class>) -> PathBuf {
    let Some(&first) = members.first() else {
        return PathBuf::from("/");
    };
    let above_all = |path: &&Path| members.iter().all(|member| member.starts_with(path));
    let common = first.ancestors().find(above_all).filter(|path| class(path) == of);
    let shallowest = members.iter().min_by_key(|member| member.components().count());
    common.or(shallowest.copied()).unwrap_or(first).to_owned()
}

/// A name that no other state directory's transaction of the same number has.
fn dot_name(txn: TxnId) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{DOT_NAME}{}-{}", txn.0, now.as_nanos())
}
