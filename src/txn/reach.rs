//! Reach: what is pending for filesystems that are not mounted just now.
//!
//! Owns whether the open transaction has anything that can be done. A directory is out of reach while its filesystem is
//! not mounted: nothing is concluded from files that are missing there, and its intents stay pending, as do those of an
//! interpreter whose filesystem is not mounted. Nobody waits for them: a transaction goes on without them, also after its
//! decision. That is sound because every file that stands there is whole, the old one or the new one; the rest is compiled
//! once the filesystem is back. A transaction that stayed `committing` instead would keep every other from its decision.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::intent::TxnId;
use super::journal::{Journal, PendingElsewhere};
use crate::disk;
use crate::root::Root;

/// Pending intents that wait for a filesystem.
#[derive(Debug)]
pub struct Waiting {
    /// Where that is to be mounted, without the root's prefix.
    pub mount: PathBuf,
    /// How many they are.
    pub intents: u64,
}

/// What of the open transaction waits for filesystems.
///
/// # Errors
/// The journal cannot be read.
pub fn waiting(journal: &Journal, root: &Root) -> Result<Vec<Waiting>> {
    let Some(txn) = journal.recording()? else { return Ok(Vec::new()) };
    let mut waiting = BTreeMap::new();
    for pending in journal.mounts_of_pending(txn)? {
        if let Some(mount) = missing(&pending, root) {
            *waiting.entry(mount).or_default() += pending.intents;
        }
    }
    Ok(waiting.into_iter().map(|(mount, intents)| Waiting { mount, intents }).collect())
}

/// The mount point of a filesystem that they need and that is not mounted.
fn missing(pending: &PendingElsewhere, root: &Root) -> Option<PathBuf> {
    let directory = pending.directory.clone().filter(|mount| root.is_out_of_reach(Some(mount)));
    directory.or_else(|| pending.interpreter.clone().filter(|mount| !disk::is_mounted(mount)))
}

/// Whether the open transaction `txn` has anything that is in reach.
///
/// # Errors
/// The journal cannot be read.
pub fn has_any(journal: &Journal, root: &Root, txn: TxnId) -> Result<bool> {
    if journal.has_pending_on_root(txn)? {
        return Ok(true);
    }
    let elsewhere = journal.mounts_of_pending(txn)?;
    Ok(elsewhere.is_empty() || elsewhere.iter().any(|pending| missing(pending, root).is_none()))
}
