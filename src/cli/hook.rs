//! `hook`: what maintainer scripts, dpkg, apt and the boot call, each at its moment.
//!
//! Where nothing is to be done it is done in a few milliseconds, and creates nothing.

use anyhow::{Error, Result, anyhow};

use crate::debian::{dpkg, systemd};
use crate::disk::{self, Dir};
use crate::txn::lock::Lock;
use crate::txn::shutdown;
use crate::txn::verify::Depth;

use super::args::{Compiling, Selection, When};
use super::session::{self, Incomplete, Run, Unfinished};
use super::verify::{self, Manner};
use super::{Status, commit};

/// Does what is due.
pub(super) fn hook(run: &Run<'_>, when: When) -> Result<Status> {
    match when {
        When::Configure | When::Triggered => everything(run),
        When::Remove | When::AfterApt => pending(run, run.unfinished()?),
        When::Boot => boot(run),
        When::Shutdown => shut_down(run),
        When::Weekly => weekly(run),
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

/// At boot. Without the mark of a clean shutdown, bytecode is first of all looked at and mended: other services wait for
/// that, but not for the commit of what is pending. If it fails, systemd is not told that the unit is up: then it makes
/// no mark at the end of this boot, and the next boot looks again.
fn boot(run: &Run<'_>) -> Result<Status> {
    if !was_clean(run)? {
        verify::mend_after_power_cut(run)?;
    }
    systemd::notify_ready();
    pending(run, run.unfinished()?)
}

/// Takes the mark of a clean shutdown away; whether there was one.
fn was_clean(run: &Run<'_>) -> Result<bool> {
    match run.config.state_dir.canonicalize() {
        Ok(path) => Ok(shutdown::take_mark(&Dir::open(&path)?)?),
        // There is no state directory yet. Any other problem is reported by the step that needs it.
        Err(_) => Ok(false),
    }
}

fn shut_down(run: &Run<'_>) -> Result<Status> {
    shutdown::mark(&disk::create_state_dir(&run.config.state_dir)?)?;
    Ok(Status::Done)
}

/// Verifies and repairs, if the administrator wants that.
fn weekly(run: &Run<'_>) -> Result<Status> {
    if !run.config.settings.weekly {
        return Ok(Status::Done);
    }
    let manner = Manner { repair: true, depth: Depth::Content, json: false };
    verify::verify(run, &Selection::default(), Compiling::default(), manner)
}

/// Commits what is pending, the public directories, the standard libraries, and the private modules for which packages
/// ask in their scripts.
fn everything(run: &Run<'_>) -> Result<Status> {
    // A mark from before, of a unit that somebody stopped by hand, says nothing of what dpkg has just written.
    was_clean(run)?;
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
