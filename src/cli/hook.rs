//! `hook`: what maintainer scripts, dpkg, apt and the boot call, each at its moment.
//!
//! Where nothing is to be done it is done in a few milliseconds, and creates nothing.

use anyhow::{Error, Result, anyhow};

use crate::debian::dpkg;
use crate::txn::lock::Lock;

use super::args::{Compiling, Selection, When};
use super::session::{self, Incomplete, Run, Unfinished};
use super::{Status, commit};

/// Does what is due.
pub(super) fn hook(run: &Run<'_>, when: When) -> Result<Status> {
    match when {
        When::Configure | When::Triggered => everything(run),
        When::Remove | When::AfterApt | When::Boot => pending(run, run.unfinished()?),
        When::Before => recover(run),
        // Under apt this dpkg is one of several: apt's own hook comes at the end.
        When::AfterDpkg if dpkg::has_frontend() => Ok(Status::Done),
        When::AfterDpkg => {
            let unfinished = run.unfinished()?;
            if unfinished.is_pending && dpkg::will_call_us(&run.config.root) {
                return Ok(Status::Done);
            }
            pending(run, unfinished)
        }
    }
}

/// Commits what is pending, the public directories, and the private modules for which packages ask in their scripts.
fn everything(run: &Run<'_>) -> Result<Status> {
    let (selection, compiling) = (Selection::default(), Compiling::default());
    commit::commit_selected(run, &selection, &compiling, run.config.settings.enabled).map_err(with_remedy)
}

/// Says what mends a run for which there was no room, unless its transaction says so.
fn with_remedy(error: Error) -> Error {
    if !session::is_full(&error) || error.is::<Incomplete>() {
        return error;
    }
    anyhow!("{error:#}\nhint: once there is room, 'pyc-txn commit' does it")
}

/// Finishes what is left over and commits what is pending.
fn pending(run: &Run<'_>, unfinished: Unfinished) -> Result<Status> {
    // Where compiling is switched off the trigger has said so.
    if unfinished.is_pending && run.config.settings.enabled {
        let mut planning = |journal: &mut _| commit::plan_rest(run, journal);
        commit::commit(run, Some(&mut planning))
    } else if unfinished.is_left_over {
        run.with_writer(|_| Ok(Status::Done))
    } else {
        Ok(Status::Done)
    }
}

/// Finishes or rolls back what is left over. What belongs to a run that is at work just now is not.
fn recover(run: &Run<'_>) -> Result<Status> {
    if run.unfinished()?.is_left_over && !Lock::is_held(&run.config.state_dir)? {
        run.with_writer(|_| Ok(Status::Done))
    } else {
        Ok(Status::Done)
    }
}
