//! Reach: what is pending for filesystems that are not mounted just now.
//!
//! Owns whether the open transaction has anything that can be done. A directory is out of reach while its filesystem is
//! not mounted: nothing is concluded from what is missing there, and its intents stay pending. Nobody waits for them: a
//! transaction goes on without them, also after its decision, because every file that stands there is whole, and they are
//! compiled once the filesystem is back.

use std::path::PathBuf;

use anyhow::Result;

use super::intent::TxnId;
use super::journal::Journal;
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
    let mut mounts = journal.mounts_of_pending(txn)?;
    mounts.retain(|(mount, _)| root.is_out_of_reach(Some(mount)));
    Ok(mounts.into_iter().map(|(mount, intents)| Waiting { mount, intents }).collect())
}

/// Whether the open transaction `txn` has anything that is in reach.
///
/// # Errors
/// The journal cannot be read.
pub fn has_any(journal: &Journal, root: &Root, txn: TxnId) -> Result<bool> {
    if journal.has_pending_on_root(txn)? {
        return Ok(true);
    }
    let mounts = journal.mounts_of_pending(txn)?;
    Ok(mounts.is_empty() || mounts.iter().any(|(mount, _)| !root.is_out_of_reach(Some(mount))))
}
