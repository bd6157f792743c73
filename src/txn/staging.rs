//! Where a transaction stages: one directory on each filesystem it publishes to.
//!
//! Owns the choice of the places and their end. Number 0 is in the state directory; where files cannot be
//! renamed from there, which is tried and not guessed, a dot-named directory at the top of the tree takes its
//! place. A note in number 0 says where, durably, before that directory exists, and stays until its removal is
//! durable: no crash leaves one that nobody finds, not even one that costs the journal. A directory in a tree that
//! cannot be removed, because its filesystem is read-only by now, keeps its note, and every later run tries again.

mod files;

pub(super) use files::{Spot, StagedFiles, remove_file};

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Result, bail};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::intent::TxnId;
use super::lock::Writer;
use super::observer::Observer;
use crate::disk::{self, Dir, Kind, Mounts, Quoted};

/// The directory in the state directory that holds the transactions' staging directories.
const DIRECTORY: &str = "staging";

/// What is staged is nobody else's to read or write.
const MODE: u32 = 0o700;

/// The beginning of the name of a staging directory in a tree.
const DOT_NAME: &str = ".pyc-txn-";

/// The beginning of the name of a directory that has nothing but notes: of places that could not be removed.
const LEFT: &str = "left-";

/// The beginning of the name of a note.
const NOTE: &str = "place-";

/// The staging directories of a transaction, open.
#[derive(Debug)]
pub struct Staging {
    places: Vec<Option<Dir>>,
}

/// What tells filesystems apart before it is tried: device and mount. Directories that agree in both can be
/// renamed between, but for quota projects, which publishing copes with.
type Class = (u32, u32, u64);

/// From where a directory gets its staged files.
#[derive(Debug, Clone)]
pub enum Choice {
    /// From the staging directory of this number.
    Place(usize),
    /// There is none on its filesystem, and none can be made.
    Barred(Arc<disk::Error>),
}

/// A staging directory in a tree: the directory it stands in, and its name there.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    name: OsString,
    /// The mount point of its filesystem, if that is known.
    mount: Option<PathBuf>,
}

impl Place {
    /// The name of the note about the place of this number.
    fn note(number: usize) -> String {
        format!("{NOTE}{number}")
    }

    /// Writes down the place, durably.
    fn announce(&self, own: &Dir, number: usize) -> Result<()> {
        let (parent, name) = (self.parent.as_os_str().as_bytes(), self.name.as_bytes());
        let mount = self.mount.as_ref().map_or(&b""[..], |mount| mount.as_os_str().as_bytes());
        own.remove_file(Self::note(number))?;
        own.create_file(Self::note(number), 0o600, &[parent, b"\0", name, b"\0", mount])?;
        let _durable = disk::sync()?;
        Ok(())
    }

    /// The places that are noted in `own`, with their numbers: from 1 on, as they were made, each looked for by its
    /// name, because there are as many others as there are staged files. A note that is not whole is that of a
    /// directory that was not made yet.
    fn noted(own: &Dir) -> Result<Vec<(usize, Self)>> {
        let mut places = Vec::new();
        for number in 1.. {
            let Some(note) = present(own.read_file(Self::note(number)))? else { break };
            let parts: Vec<&[u8]> = note.split(|&byte| byte == 0).collect();
            if let [parent, name, ref more @ ..] = parts[..]
                && name.starts_with(DOT_NAME.as_bytes())
            {
                let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
                // Earlier versions did not note the mount point.
                let mount = more.first().filter(|mount| !mount.is_empty()).map(|mount| path(mount));
                let name = OsStr::from_bytes(name).to_owned();
                places.push((number, Self { parent: path(parent), name, mount }));
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

    /// Removes it, durably: its note is on another filesystem, and a power cut could take back this removal and not the
    /// note's. One that is gone may have been removed by a run that was killed before its sync.
    fn remove(&self) -> Result<()> {
        if let Some(mount) = self.mount.as_ref().filter(|_| self.is_out_of_reach()) {
            bail!("nothing is mounted on {}", Quoted(mount));
        }
        if self.open()?.is_some() {
            Dir::open(&self.parent)?.remove_child_with_all(&self.name)?;
        }
        if let Some(parent) = present(Dir::open(&self.parent))? {
            parent.note()?;
            let _durable = disk::sync()?;
        }
        Ok(())
    }

    fn is_out_of_reach(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| !disk::is_mounted(mount))
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

impl Staging {
    /// Makes the staging directories for a transaction that publishes to `directories` (paths on disk); says
    /// for each of these which one is its own.
    ///
    /// # Errors
    /// The state directory cannot be written, or a disk is full.
    pub fn make(writer: &Writer<'_>, txn: TxnId, directories: &[&Path]) -> Result<(Self, Vec<Choice>)> {
        let parent = writer.state.create_child(DIRECTORY, MODE)?;
        parent.create_child(txn.0.to_string(), MODE)?;
        // Sources that changed are compiled again: what was staged before stays where it is.
        let mut staging = Self::open(writer, txn)?;
        let classes: Vec<Option<Class>> = directories.iter().map(|path| class(path)).collect();
        let mut choices = HashMap::new();
        for class in &classes {
            if !choices.contains_key(class) {
                let members = || directories.iter().zip(&classes).filter(|(_, of)| *of == class);
                let members: Vec<&Path> = members().map(|(path, _)| *path).collect();
                choices.insert(*class, staging.choose(txn, *class, &members)?);
            }
        }
        Ok((staging, classes.iter().map(|class| choices[class].clone()).collect()))
    }

    /// Opens the staging directories that a transaction has made before; one in a tree that is gone or cannot be opened
    /// stays out.
    ///
    /// # Errors
    /// The one in the state directory cannot be opened.
    pub fn open(writer: &Writer<'_>, txn: TxnId) -> Result<Self> {
        let Some(own) = open_own(&writer.state, txn)? else { return Ok(Self { places: Vec::new() }) };
        let noted = Place::noted(&own)?;
        let mut places = vec![Some(own)];
        for (number, place) in noted {
            places.resize_with(places.len().max(number + 1), || None);
            places[number] = place.open().unwrap_or_default();
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

    /// Chooses the place for directories of one class: one that is there, else a new one in their tree.
    fn choose(&mut self, txn: TxnId, class: Option<Class>, members: &[&Path]) -> Result<Choice> {
        // One may have gone since it was examined; that is the outcome of its intents, later.
        let mut opened = members.iter().map(|member| Dir::open(member));
        let first = match opened.find_map(Result::ok) {
            Some(first) => first,
            None => return Choice::unless_full(Dir::open(members.first().unwrap_or(&Path::new("/"))).err()),
        };
        for (number, place) in self.places.iter().enumerate() {
            if let Some(place) = place
                && place.shares_filesystem(&first)?
            {
                return Ok(Choice::Place(number));
            }
        }
        self.make_in_tree(txn, class, members)
    }

    /// Makes a place in the tree: at its top, or where the shallowest directory is.
    fn make_in_tree(&mut self, txn: TxnId, class: Option<Class>, members: &[&Path]) -> Result<Choice> {
        let mut failure = None;
        for parent in tops(members, class) {
            let Some(own) = self.place(0) else { break };
            let number = self.places.len();
            let mount = Mounts::below(Path::new("/")).point(&parent).map(Path::to_owned);
            let place = Place { parent, name: unique_name(DOT_NAME, txn).into(), mount };
            place.announce(own, number)?;
            let made = Dir::open(&place.parent).and_then(|parent| parent.create_child(&place.name, MODE));
            match made {
                Ok(dir) => {
                    self.places.push(Some(dir));
                    return Ok(Choice::Place(number));
                }
                Err(error) => failure = Some(error),
            }
        }
        Choice::unless_full(failure)
    }
}

impl Choice {
    /// What follows from the failure to make a place.
    fn unless_full(failure: Option<disk::Error>) -> Result<Self> {
        match failure {
            Some(error) if error.is_full() => Err(error.into()),
            Some(error) => Ok(Self::Barred(Arc::new(error))),
            None => Ok(Self::Place(0)),
        }
    }
}

/// Removes the staging directories of a transaction that has ended; the one with the notes goes last. One in a tree that
/// cannot be removed stays noted; see [`remove_left`].
///
/// # Errors
/// The state directory cannot be read or written; the next run removes the rest then.
pub fn remove(writer: &Writer<'_>, txn: TxnId, observer: &dyn Observer) -> Result<()> {
    let Some(own) = open_own(&writer.state, txn)? else { return Ok(()) };
    let parent = writer.state.open_child(DIRECTORY)?;
    let mut stays = false;
    for (_, place) in Place::noted(&own)? {
        if let Err(error) = place.remove() {
            observer
                .note(&format!("{error}; {} stays until a later run can remove it", Quoted(&place.path())));
            stays = true;
        }
    }
    if !stays {
        return Ok(parent.remove_child_with_all(txn.0.to_string())?);
    }
    for (name, kind) in own.entries()? {
        match kind {
            Kind::Directory => own.remove_child_with_all(name)?,
            _ if name.as_bytes().starts_with(NOTE.as_bytes()) => {}
            _ => drop(own.remove_file(name)?),
        }
    }
    parent.rename(txn.0.to_string(), &parent, unique_name(LEFT, txn))?;
    Ok(())
}

/// Removes staging directories in trees that earlier runs could not remove, as far as that can be done now.
///
/// # Errors
/// The state directory cannot be read or written.
pub fn remove_left(writer: &Writer<'_>) -> Result<()> {
    let Some(parent) = present(writer.state.open_child(DIRECTORY))? else { return Ok(()) };
    for name in left_names(&parent)? {
        let places = Place::noted(&parent.open_child(&name)?)?;
        let removed: Vec<bool> = places.iter().map(|(_, place)| place.remove().is_ok()).collect();
        if removed.into_iter().all(|removed| removed) {
            parent.remove_child_with_all(name)?;
        }
    }
    Ok(())
}

/// Staging directories in trees that could not be removed so far.
///
/// # Errors
/// The state directory cannot be read.
pub fn left(state: &Dir) -> Result<Vec<PathBuf>> {
    let Some(parent) = present(state.open_child(DIRECTORY))? else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    for name in left_names(&parent)? {
        let places = Place::noted(&parent.open_child(&name)?)?;
        // Of several the others may have been removed meanwhile.
        let is_left = |place: &Place| place.is_out_of_reach() || !matches!(place.open(), Ok(None));
        left.extend(places.into_iter().filter(|(_, place)| is_left(place)).map(|(_, place)| place.path()));
    }
    Ok(left)
}

fn left_names(parent: &Dir) -> Result<Vec<OsString>> {
    let mut names = parent.names()?;
    names.retain(|name| name.as_bytes().starts_with(LEFT.as_bytes()));
    Ok(names)
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

/// Directories for a place, the best first: the one at the top of `members` that is on their filesystem, and the
/// shallowest of them.
fn tops(members: &[&Path], of: Option<Class>) -> Vec<PathBuf> {
    let above_all = |path: &&Path| members.iter().all(|member| member.starts_with(path));
    let common = members.first().and_then(|first| first.ancestors().find(above_all));
    let common = common.filter(|path| class(path) == of);
    let shallowest = members.iter().copied().min_by_key(|member| member.components().count());
    let mut tops: Vec<PathBuf> = common.into_iter().chain(shallowest).map(Path::to_owned).collect();
    tops.dedup();
    tops
}

/// A name that no other state directory's transaction of the same number has.
fn unique_name(beginning: &str, txn: TxnId) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{beginning}{}-{}", txn.0, now.as_nanos())
}
