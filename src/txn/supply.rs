//! Where the intents come from that are compiled, and where their outcomes go meanwhile.
//!
//! Owns that memory does not grow with a transaction: its intents are read from the journal a portion at a time, and
//! the outcomes of one are written there while the next is compiled. It has a thread of its own, and a portion ready
//! when the one before comes to its end, so that no worker waits for the journal.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::intent::{Batch, IntentId, Outcome, TxnId};
use super::journal::{Journal, Which};
use super::reuse::Earlier;

/// A portion of a transaction's intents, with what there is of earlier bytecode for them.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) batch: Batch,
    pub(super) earlier: Earlier,
}

/// What became of intents, as far as it is not in the journal.
#[derive(Default)]
pub(super) struct Outcomes(Mutex<Vec<(IntentId, Outcome)>>);

impl Outcomes {
    pub(super) fn add(&self, id: IntentId, outcome: Outcome) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, outcome));
    }

    /// Takes them out, in the order of the journal, which then appends.
    pub(super) fn take(&self) -> Vec<(IntentId, Outcome)> {
        let mut outcomes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        outcomes.sort_unstable_by_key(|(id, _)| *id);
        outcomes
    }
}

/// The intents of a transaction.
pub(super) struct Supply<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) txn: TxnId,
    pub(super) wanted: Wanted,
    pub(super) outcomes: &'a Outcomes,
    /// The last directory whose intents have been taken; at first 0.
    pub(super) after: i64,
}

/// Where those who compile take portions from.
pub(super) enum Intake<'a> {
    /// A thread of its own, which has the next one ready.
    Thread(Receiver<Portion>),
    /// The supply itself, where no thread is to be had: whoever takes a portion reads it from the journal.
    Own(Supply<'a>),
}

impl Intake<'_> {
    /// The next portion; `None` where there are no more, or the thread has failed, which says why when it is joined.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub(super) fn take(&mut self) -> Result<Option<Portion>> {
        match self {
            Self::Thread(portions) => Ok(portions.recv().ok()),
            Self::Own(supply) => {
                let is_first = supply.after == 0;
                let portion = supply.next()?;
                if portion.is_some() && !is_first {
                    supply.keep()?;
                }
                Ok(portion)
            }
        }
    }
}

/// Which of them.
pub(super) enum Wanted {
    /// All that are pending.
    Pending,
    /// These, once; they have outcomes already, which stay until the caller knows that the new ones are durable.
    These(Option<Batch>),
}

/// The two ends of what [`Supply::run`] hands over; a portion is taken before another one waits there.
pub(super) fn hand_over() -> (SyncSender<Portion>, Receiver<Portion>) {
    sync_channel(0)
}

impl Supply<'_> {
    /// Hands over all portions, one after the other, until there are no more or nobody takes them.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    #[expect(clippy::needless_pass_by_value, reason = "its end is the end of the queue")]
    pub(super) fn run(mut self, taker: SyncSender<Portion>) -> Result<()> {
        let mut is_first = true;
        while let Some(portion) = self.next()? {
            if taker.send(portion).is_err() {
                break;
            }
            // With the end of the only portion comes the end of staging, which writes the outcomes anyway.
            if !is_first {
                self.keep()?;
            }
            is_first = false;
        }
        Ok(())
    }

    /// The next portion, behind the last one.
    fn next(&mut self) -> Result<Option<Portion>> {
        let batch = match &mut self.wanted {
            Wanted::Pending => Some(self.journal.portion(self.txn, Which::Pending, self.after)?),
            Wanted::These(batch) => batch.take(),
        };
        let Some(batch) = batch.filter(|batch| !batch.intents.is_empty()) else { return Ok(None) };
        self.after = batch.last();
        let published = self.journal.published(self.txn, &batch)?;
        let retired = self.journal.retired_for(self.txn, &batch)?;
        Ok(Some(Portion { batch, earlier: Earlier { published, retired } }))
    }

    /// Writes the outcomes so far.
    fn keep(&mut self) -> Result<()> {
        if matches!(self.wanted, Wanted::Pending) {
            self.journal.add_outcomes(self.txn, &self.outcomes.take())?;
        }
        Ok(())
    }
}
