//! Where a transaction stages: one directory on each filesystem it publishes to.
//!
//! Owns the choice of the places and their end. Number 0 is in the state directory; where files cannot be
//! renamed from there, which is tried and not guessed, a dot-named directory at the top of the tree takes its
//! place. A note in number 0 says where, durably, before that directory exists: no crash leaves one that nobody
//! finds, not even one that costs the journal.

mod files;

pub(super) use files::{Spot, StagedFiles, remove_file};

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::intent::TxnId;
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

/// A staging directory in a tree: the directory it stands in, and its name there.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    name: OsString,
}

impl Place {
    /// The name of the note about the place of this number.
    fn note(number: usize) -> String {
        format!("place-{number}")
    }

    /// Writes down the place, durably.
    fn announce(&self, own: &Dir, number: usize) -> Result<()> {
        let (parent, name) = (self.parent.as_os_str().as_bytes(), self.name.as_bytes());
        own.remove_file(Self::note(number))?;
        own.create_file(Self::note(number), 0o600, &[parent, b"\0", name])?;
        let _durable = disk::sync()?;
        Ok(())
    }

    /// The places that are noted in `own`, with their numbers: from 1 on, as they were made, each looked for by its
    /// name, because there are as many others as there are staged files. A note that is not whole is that of a
    /// directory that was not made yet.
    fn noted(own: &Dir) -> Result<Vec<(usize, Self)>> {
        let mut places = Vec::new();
        for number in 1.. {
            let Some((note, _)) = present(own.read_file(Self::note(number)))? else { break };
            let parts: Vec<&[u8]> = note.split(|&byte| byte == 0).collect();
            if let [parent, name] = parts[..]
                && name.starts_with(DOT_NAME.as_bytes())
            {
                let parent = PathBuf::from(OsStr::from_bytes(parent));
                places.push((number, Self { parent, name: OsStr::from_bytes(name).to_owned() }));
            }
        }
        Ok(places)
    }

    /// Opens it, if it is there and our own: in somebody's tree that somebody may have put one there.
    fn open(&self) -> Result<Option<Dir>> {
        let opened = Dir::open(&self.parent).and_then(|parent| parent.open_child(&self.name));
        let us = rustix::process::geteuid().as_raw();
        let is_our_own =
            |dir: &Dir| dir.stat().is_ok_and(|stat| stat.st_uid == us && stat.st_mode & 0o077 == 0);
        Ok(present(opened)?.filter(is_our_own))
    }

    fn remove(&self) -> Result<()> {
        if self.open()?.is_some() {
            Dir::open(&self.parent)?.remove_child_with_all(&self.name)?;
        }
        Ok(())
    }
}

impl Staging {
    /// Makes the staging directories for a transaction that publishes to `directories` (paths on disk); says
    /// for each of these the number of its place.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn make(writer: &Writer<'_>, txn: TxnId, directories: &[&Path]) -> Result<(Self, Vec<usize>)> {
        let parent = writer.state.create_child(DIRECTORY, MODE)?;
        parent.create_child(txn.0.to_string(), MODE)?;
        // Sources that changed are compiled again: what was staged before stays where it is.
        let mut staging = Self::open(writer, txn)?;
        let classes: Vec<Option<Class>> = directories.iter().map(|path| class(path)).collect();
        let mut numbers = HashMap::new();
        for class in &classes {
            if !numbers.contains_key(class) {
                let members = || directories.iter().zip(&classes).filter(|(_, of)| *of == class);
                let members: Vec<&Path> = members().map(|(path, _)| *path).collect();
                numbers.insert(*class, staging.find_place(txn, *class, &members)?);
            }
        }
        Ok((staging, classes.iter().map(|class| numbers[class]).collect()))
    }

    /// Opens the staging directories that a transaction has made before; one that is gone stays out.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(writer: &Writer<'_>, txn: TxnId) -> Result<Self> {
        let Some(own) = open_own(&writer.state, txn)? else { return Ok(Self { places: Vec::new() }) };
        let noted = Place::noted(&own)?;
        let mut places = vec![Some(own)];
        for (number, place) in noted {
            places.resize_with(places.len().max(number + 1), || None);
            places[number] = place.open()?;
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

    fn find_place(&mut self, txn: TxnId, class: Option<Class>, members: &[&Path]) -> Result<usize> {
        let (Some(own), Some(&first)) = (self.place(0), members.first()) else { return Ok(0) };
        let first = Dir::open(first)?;
        for (number, place) in self.places.iter().enumerate() {
            if let Some(place) = place
                && place.shares_filesystem(&first)?
            {
                return Ok(number);
            }
        }
        let number = self.places.len();
        let place = Place { parent: top(members, class), name: dot_name(txn).into() };
        let parent = Dir::open(&place.parent)?;
        place.announce(own, number)?;
        self.places.push(Some(parent.create_child(&place.name, MODE)?));
        Ok(number)
    }
}

/// Removes the staging directories of a transaction that has ended; the one with the notes goes last.
///
/// # Errors
/// One cannot be removed; it is still noted then, and the next run removes it.
pub fn remove(writer: &Writer<'_>, txn: TxnId) -> Result<()> {
    let Some(own) = open_own(&writer.state, txn)? else { return Ok(()) };
    for (_, place) in Place::noted(&own)? {
        place.remove()?;
    }
    Ok(writer.state.open_child(DIRECTORY)?.remove_child_with_all(txn.0.to_string())?)
}

/// The transactions that have a staging directory.
///
/// # Errors
/// The state directory cannot be read.
pub fn found(state: &Dir) -> Result<Vec<TxnId>> {
    let Some(parent) = present(state.open_child(DIRECTORY))? else { return Ok(Vec::new()) };
    let numbers = parent.names()?.into_iter().filter_map(|name| name.to_str()?.parse().ok());
    let mut found: Vec<TxnId> = numbers.map(TxnId).collect();
    found.sort_unstable();
    Ok(found)
}

fn open_own(state: &Dir, txn: TxnId) -> Result<Option<Dir>> {
    Ok(present(state.open_child(DIRECTORY).and_then(|parent| parent.open_child(txn.0.to_string())))?)
}

/// What was found, if it is there.
fn present<T>(found: Result<T, disk::Error>) -> Result<Option<T>, disk::Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
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
