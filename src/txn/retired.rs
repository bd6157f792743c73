//! Retired bytecode: published files that wait outside the tree until dpkg is done with their package.
//!
//! Owns the directory `retired` in the state directory. What is in there is worth nothing without its row in the
//! journal, and what the row says is checked by hash before it is used: so nothing here need be durable. A power
//! cut that loses a file costs its compilation, as does a rollback of a transaction that took it out (see `reuse`); one that takes back its way out of the tree leaves a whole pyc there.
//!
//! All that is retired in a dpkg run is one transaction. Each `py3clean` decides what it adds to it, in a durable write,
//! and moves the files. It neither syncs nor settles: the transaction stays `committing`, held for the next package,
//! until somebody takes the lock for anything else, as a rule the commit at the end of the dpkg run. That one looks for
//! what was not moved (a file that is in here has been), makes the moves durable, and settles all of it at once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::intent::{Action, Compile, Group, IntentId, InterpreterId, Stamp};
use super::journal::Journal;
use super::lock::Writer;
use crate::disk::{self, Dir, Kind, Renamed};
use crate::python::pycache::{Remnant, Target};
use crate::root::Root;

/// The directory in the state directory.
const DIRECTORY: &str = "retired";

/// What is in there is nobody else's to read or write.
const MODE: u32 = 0o700;

/// Opens the directory, which is made if need be.
///
/// # Errors
/// It cannot be made or opened.
pub(super) fn open(writer: &Writer<'_>) -> Result<Dir, disk::Error> {
    writer.state.create_child(DIRECTORY, MODE)
}

/// Moves a file out of `cache`. One that is on another filesystem goes: it costs less to compile it again than to
/// copy it while dpkg waits. Anything but a regular file was not published; it is removed as any clean removes it.
///
/// # Errors
/// It cannot be moved or removed.
pub(super) fn keep(retired: &Dir, id: IntentId, cache: &Dir, remnant: &Remnant) -> Result<(), disk::Error> {
    if !matches!(cache.examine(remnant.name())?, Some((Kind::File, _))) {
        return cache.remove_file(remnant.name()).map(drop);
    }
    match cache.rename(remnant.name(), retired, id.0.to_string())? {
        Renamed::Moved | Renamed::Gone => Ok(()),
        Renamed::OtherFilesystem => cache.remove_file(remnant.name()).map(drop),
    }
}

/// Whether the file of a retired pyc is there.
pub(super) fn has(retired: &Dir, id: IntentId) -> bool {
    retired.has_file(id.0.to_string())
}

/// Where the file of a retired pyc is in the state directory, if it is there.
pub(super) fn path(id: IntentId) -> PathBuf {
    Path::new(DIRECTORY).join(id.0.to_string())
}

/// Removes what is in the directory while nothing is retired: what a run left that was interrupted between the
/// journal and the files. While something is, the whole directory is still to go, in [`drop_all`]; nobody need read it
/// for each package that dpkg works on.
///
/// # Errors
/// The journal or the directory cannot be read, or a file not be removed.
pub fn sweep(writer: &Writer<'_>) -> Result<()> {
    if writer.journal.has_retired()? {
        return Ok(());
    }
    let directory = match writer.state.open_child(DIRECTORY) {
        Err(error) if error.is_missing() => return Ok(()),
        directory => directory?,
    };
    for (name, kind) in directory.entries()? {
        // A directory can have taken the place of a file while it was moved here.
        match kind {
            Kind::Directory => directory.remove_child_with_all(name)?,
            _ => drop(directory.remove_file(name)?),
        }
    }
    Ok(())
}

/// Whether there is something for [`sweep`].
///
/// # Errors
/// The journal or the directory cannot be read.
pub fn is_left(journal: &Journal, state: &Dir) -> Result<bool> {
    if journal.has_retired()? {
        return Ok(false);
    }
    match state.open_child(DIRECTORY) {
        Err(error) if error.is_missing() => Ok(false),
        directory => Ok(!directory?.names()?.is_empty()),
    }
}

/// The intents that put back what is retired and right: whose source is there, and admitted for its interpreter in its
/// directory. What a pending intent wants anyway is left to that one.
///
/// # Errors
/// The journal cannot be read.
pub fn take_back(
    journal: &Journal,
    root: &Root,
    admits: impl Fn(&Path, &OsStr, InterpreterId) -> bool,
) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for retired in journal.retired_and_not_wanted()? {
        let Some((target, source, level)) = Target::in_place(&retired.remnant) else { continue };
        if !admits(&retired.directory, &source, retired.interpreter) {
            continue;
        }
        let seen = match root.identity(&retired.directory.join(&source)) {
            Ok(Some(seen)) => seen.into(),
            // Whether its source is there will be seen once its filesystem is.
            _ if root.is_out_of_reach(retired.mount.as_deref()) => Stamp::default(),
            _ => continue,
        };
        let (interpreter, mode, force) = (retired.interpreter, retired.mode, false);
        let compile = Compile { target, interpreter, level, mode, force, seen };
        let actions = vec![Action::Compile(compile)];
        groups.push(Group { directory: retired.directory, owner: retired.owner, actions });
    }
    Ok(groups)
}

/// Ends the time of everything that is retired.
///
/// # Errors
/// The journal cannot be written, or a file not be removed; the next run does that then.
pub fn drop_all(writer: &mut Writer<'_>) -> Result<()> {
    if writer.journal.has_retired()? {
        writer.journal.forget_retired()?;
        sweep(writer)?;
    }
    Ok(())
}
