//! Recover: finish what was decided, drop what was not, remove what is left over.
//!
//! Owns the answer to every state a run can have been stopped in:
//!
//! | state | on disk | what is done |
//! |---|---|---|
//! | recording | perhaps staged files | they are removed; the intents are pending, also those with an outcome |
//! | staged | staged files, durable | rolled back: they are removed, the intents are pending again |
//! | staged, held | the same | nothing: `pyc-txn stage` meant it so |
//! | committing | some files staged, some in place | published and settled; for a filesystem that is not mounted: pending again |
//! | committing, held | retired files moved aside, some perhaps not | the same, unless more is to be retired |
//! | committed, rolled-back | perhaps staged files | they are removed |

use anyhow::Result;

use super::intent::TxnId;
use super::lock::Writer;
use super::observer::Observer;
use super::publish::Committing;
use super::retired;
use super::staging;
use super::state::State;
use crate::interrupt::Interrupt;
use crate::root::Root;

/// What was left, and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It was decided, and is finished.
    Finished(TxnId),
    /// It was retiring, and is settled.
    Retired(TxnId),
    /// It was not decided, and is rolled back.
    RolledBack(TxnId),
    /// Its staging directory was left.
    Swept(TxnId),
}

/// What becomes of a transaction that is retiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retiring {
    /// It is settled.
    Ends,
    /// It stays as it is: more is to be retired.
    GoesOn,
}

/// Recovers everything.
///
/// # Errors
/// A failure of the medium; the next run goes on where this one stopped.
pub fn recover(
    writer: &mut Writer<'_>,
    root: &Root,
    retiring: Retiring,
    interrupt: &Interrupt,
    observer: &dyn Observer,
) -> Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for (txn, state, held) in writer.journal.unfinished()? {
        match state {
            // With or without a staging directory: a power cut can keep what the journal wrote and take back what was
            // made before. Whoever only retires compiles nothing.
            State::Recording if retiring == Retiring::Ends && writer.journal.has_outcomes(txn)? => {
                writer.journal.forget_outcomes(txn)?;
            }
            State::Committing if held && retiring == Retiring::GoesOn => {}
            State::Committing => {
                Committing::found(txn)
                    .publish(writer, root, interrupt, observer)?
                    .settle(writer, observer)?;
                recovered.push(if held { Recovered::Retired(txn) } else { Recovered::Finished(txn) });
            }
            State::Staged if !held => {
                roll_back(writer, txn, "it was interrupted before it was decided", observer)?;
                recovered.push(Recovered::RolledBack(txn));
            }
            _ => {}
        }
    }
    retired::sweep(writer)?;
    for txn in staging::found(&writer.state)? {
        // One that is staged is held.
        if writer.journal.state(txn)? == Some(State::Staged) {
            continue;
        }
        staging::remove(writer, txn, observer)?;
        recovered.push(Recovered::Swept(txn));
    }
    staging::remove_left(writer)?;
    Ok(recovered)
}

/// Rolls back a transaction that is not decided: its intents are pending again, its staged files go. Of any
/// other transaction this leaves everything as it is. Says in which state it is now.
///
/// # Errors
/// The journal or the staging directory cannot be written; [`recover`] does it then.
pub fn roll_back(
    writer: &mut Writer<'_>,
    txn: TxnId,
    reason: &str,
    observer: &dyn Observer,
) -> Result<Option<State>> {
    if let Some(State::Recording | State::Staged) = writer.journal.state(txn)? {
        writer.journal.abandon(txn, reason)?;
        staging::remove(writer, txn, observer)?;
    }
    Ok(writer.journal.state(txn)?)
}
