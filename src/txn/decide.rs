//! Decide: the durable journal write after which a transaction only goes forward.
//!
//! `staged` → `committing`. Before it every source is compared with what was compiled: one that changed is
//! compiled again, one that vanished is dropped (invariant 4).

use std::time::Instant;

use anyhow::Result;

use super::evidence::Unchanged;
use super::intent::{Action, Batch, Intent, IntentId, Outcome, TxnId};
use super::journal::Which;
use super::lock::Writer;
use super::publish::Committing;
use super::source::unreadable;
use super::stage::{Setting, Staged, compile};
use super::staging::Staging;
use crate::python::pool::Interrupted;
use crate::root::Root;

/// How often sources that change are compiled again before they are left out.
const ROUNDS: usize = 5;

/// What the comparison found.
#[derive(Default)]
struct Comparison {
    /// Intents whose source is another one now, or whose staged file is not there.
    changed: Vec<Intent>,
    gone: Vec<(IntentId, Outcome)>,
}

impl Staged {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.0
    }

    /// Compares and decides.
    ///
    /// # Errors
    /// As [`super::stage::Recording::stage`]; if the last write fails, only the journal knows whether it is
    /// decided.
    pub fn decide(self, writer: &mut Writer<'_>, setting: &Setting<'_>) -> Result<Committing> {
        let began = Instant::now();
        let mut batch = writer.journal.intents(self.0, Which::Compiled)?;
        let mut outcomes = Vec::new();
        let mut round = 0;
        let unchanged = loop {
            let comparison = self.compare(writer, &batch, setting.root)?;
            outcomes.extend(comparison.gone);
            if comparison.changed.is_empty() {
                break Unchanged::after_comparison();
            }
            round += 1;
            batch.intents = comparison.changed;
            if round > ROUNDS {
                outcomes.extend(give_up(&batch));
                break Unchanged::after_comparison();
            }
            let again = self.compile_again(writer, &batch, setting)?;
            batch.intents.retain_mut(|intent| refresh(intent, &again));
            outcomes.extend(again);
        };
        if setting.interrupt.signalled() {
            return Err(Interrupted.into());
        }
        writer.journal.mark_committing(self.0, &outcomes, &unchanged)?;
        setting.observer.phase("compare and decide", began.elapsed());
        Ok(Committing::decided(self.0))
    }

    fn compare(&self, writer: &Writer<'_>, batch: &Batch, root: &Root) -> Result<Comparison> {
        let staging = Staging::open(writer, self.0)?;
        let mut comparison = Comparison::default();
        for intent in &batch.intents {
            let Action::Compile(compile) = &intent.action else {
                continue;
            };
            match root.identity(&batch.path(intent)) {
                Ok(Some(now)) if now == compile.seen && is_staged(&staging, intent) => {}
                Ok(Some(now)) => {
                    let mut changed = intent.clone();
                    if let Action::Compile(compile) = &mut changed.action {
                        compile.seen = now;
                    }
                    comparison.changed.push(changed);
                }
                Ok(None) => comparison.gone.push((intent.id, Outcome::Vanished)),
                Err(error) => {
                    let outcome = unreadable(&compile.seen, &crate::disk::cause(&error));
                    comparison.gone.push((intent.id, outcome));
                }
            }
        }
        Ok(comparison)
    }

    fn compile_again(
        &self,
        writer: &mut Writer<'_>,
        batch: &Batch,
        setting: &Setting<'_>,
    ) -> Result<Vec<(IntentId, Outcome)>> {
        let staging = Staging::open(writer, self.0)?;
        for intent in &batch.intents {
            for place in staging.places() {
                place.remove_file(intent.id.0.to_string())?;
            }
        }
        // What is compiled again is durable before the decision, as everything else.
        let (outcomes, _durable) = compile(writer, self.0, batch, setting)?;
        Ok(outcomes)
    }
}

/// Whether an intent's staged file is there; an adopted pyc has none.
fn is_staged(staging: &Staging, intent: &Intent) -> bool {
    match intent.staged_in {
        Some(number) => staging.place(number).is_some_and(|place| place.has_file(intent.id.0.to_string())),
        None => true,
    }
}

/// Brings an intent up to what compiling it again gave; false if it has nothing staged any more.
fn refresh(intent: &mut Intent, outcomes: &[(IntentId, Outcome)]) -> bool {
    let outcome = outcomes.iter().find(|(id, _)| *id == intent.id).map(|(_, outcome)| outcome);
    let (facts, place) = match outcome {
        Some(Outcome::Compiled(facts, place)) => (facts, Some(*place)),
        Some(Outcome::Adopted(facts)) => (facts, None),
        _ => return false,
    };
    if let Action::Compile(compile) = &mut intent.action {
        compile.seen = facts.source;
    }
    intent.staged_in = place;
    true
}

fn give_up(batch: &Batch) -> Vec<(IntentId, Outcome)> {
    let give_up = |intent: &Intent| {
        let Action::Compile(compile) = &intent.action else {
            return (intent.id, Outcome::Removed);
        };
        (intent.id, unreadable(&compile.seen, "it changes faster than it is compiled"))
    };
    batch.intents.iter().map(give_up).collect()
}
