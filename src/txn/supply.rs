//! Where the intents come from that are compiled, and where their outcomes go meanwhile.
//!
//! Owns that memory does not grow with a transaction: its intents are read from the journal a portion at a time, and
//! the outcomes of one are written there when the next is begun.

use anyhow::Result;

use super::intent::{Batch, IntentId, Outcome, TxnId};
use super::journal::{Journal, Which};
use super::reuse::Earlier;

/// The intents of a transaction.
pub(super) struct Supply<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) txn: TxnId,
    pub(super) wanted: Wanted,
}

/// Which of them.
pub(super) enum Wanted {
    /// All that are pending.
    Pending,
    /// These, once; they have outcomes already, which stay until the caller knows that the new ones are durable.
    These(Option<Batch>),
}

impl Supply<'_> {
    /// The next portion, behind the directory `after`.
    pub(super) fn next(&mut self, after: i64) -> Result<Option<Batch>> {
        let batch = match &mut self.wanted {
            Wanted::Pending => Some(self.journal.portion(self.txn, Which::Pending, after)?),
            Wanted::These(batch) => batch.take(),
        };
        Ok(batch.filter(|batch| !batch.intents.is_empty()))
    }

    /// What there is of earlier bytecode for a portion.
    pub(super) fn earlier(&self, batch: &Batch) -> Result<Earlier> {
        Ok(Earlier {
            published: self.journal.published(self.txn, batch)?,
            retired: self.journal.retired_for(self.txn, batch)?,
        })
    }

    /// Writes the outcomes so far, and takes them out.
    pub(super) fn keep(&mut self, outcomes: &mut Vec<(IntentId, Outcome)>) -> Result<()> {
        if matches!(self.wanted, Wanted::Pending) {
            // In the order of the journal, which then appends.
            outcomes.sort_unstable_by_key(|(id, _)| *id);
            self.journal.add_outcomes(self.txn, outcomes)?;
            outcomes.clear();
        }
        Ok(())
    }
}
