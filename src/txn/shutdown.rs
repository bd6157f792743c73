//! The mark of a clean shutdown, a file in the state directory: the last act of a shutdown makes it, the first act of the
//! next start removes it. Where it is missing the power went, or the kernel did, and what nobody had synced may be torn.
//!
//! Owns only the mark. What there is to do without it is not known here.

use crate::disk::{self, Dir};

/// The file.
const MARK: &str = "clean-shutdown";

/// Nobody else's to read or write, as all in the state directory.
const MODE: u32 = 0o600;

/// Makes the mark, after everything that was written before, on whatever filesystem.
///
/// # Errors
/// It cannot be written or made durable.
pub fn mark(state: &Dir) -> Result<(), disk::Error> {
    disk::sync_all();
    state.remove_file(MARK)?;
    state.create_file(MARK, MODE, &[])?;
    let _durable = disk::sync()?;
    Ok(())
}

/// Removes the mark, durably; says whether there was one.
///
/// # Errors
/// It cannot be removed.
pub fn take_mark(state: &Dir) -> Result<bool, disk::Error> {
    let was_clean = state.remove_file(MARK)?;
    if was_clean {
        let _durable = disk::sync()?;
    }
    Ok(was_clean)
}
