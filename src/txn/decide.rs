//! Decide: the durable journal write after which a transaction only goes forward.
//!
//! `staged` → `committing`. Before it every source is compared with what was compiled: one that changed is
//! compiled again, one that vanished is dropped (invariant 4).

use std::collections::HashSet;
use std::time::Instant;

use anyhow::Result;

use super::evidence::Unchanged;
use super::intent::{Action, Batch, Intent, IntentId, Made, Outcome, TxnId};
use super::journal::Which;
use super::lock::Writer;
use super::publish::Committing;
use super::source::unreadable;
use super::stage::{Setting, Staged, compile};
use super::staging::{self, StagedFiles, Staging};
use super::supply::Wanted;
use super::tree;
use crate::disk::{self, Dir, Identity};
use crate::python::pool::Interrupted;
use crate::root::Root;

/// How often sources that change are compiled again before they are left out.
const ROUNDS: usize = 5;

/// What the comparison found.
#[derive(Default)]
struct Comparison {
    /// Intents whose source is another one now, or whose staged file is not there.
    changed: Batch,
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
        let mut comparison = self.compare_all(writer, setting.root)?;
        let mut outcomes = Vec::new();
        let mut round = 0;
        let unchanged = loop {
            outcomes.append(&mut comparison.gone);
            let mut batch = std::mem::take(&mut comparison.changed);
            if batch.intents.is_empty() {
                break Unchanged::after_comparison();
            }
            round += 1;
            if round > ROUNDS {
                outcomes.extend(give_up(&batch));
                break Unchanged::after_comparison();
            }
            let again = self.compile_again(writer, &batch, setting)?;
            batch.intents.retain_mut(|intent| refresh(intent, &again));
            outcomes.extend(again);
            comparison.add(&Staging::open(writer, self.0)?, &batch, setting.root)?;
        };
        if setting.interrupt.signalled() {
            return Err(Interrupted.into());
        }
        writer.journal.mark_committing(self.0, &outcomes, &unchanged)?;
        setting.observer.phase("compare and decide", began.elapsed());
        Ok(Committing::decided(self.0))
    }

    fn compare_all(&self, writer: &Writer<'_>, root: &Root) -> Result<Comparison> {
        let staging = Staging::open(writer, self.0)?;
        let mut comparison = Comparison::default();
        let mut after = 0;
        loop {
            let batch = writer.journal.portion(self.0, Which::Compiled, after)?;
            if batch.intents.is_empty() {
                return Ok(comparison);
            }
            after = batch.last();
            comparison.add(&staging, &batch, root)?;
        }
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
                staging::remove_file(place, batch.directories[intent.directory].number, intent)?;
            }
        }
        // What is compiled again is durable before the decision, as everything else.
        let wanted = Wanted::These(Some(batch.clone()));
        let (mut outcomes, _durable) = compile(writer, self.0, (batch.shares(), wanted), setting)?;
        // What has none could not be compiled just now; what was staged of it is gone.
        let has_one: HashSet<IntentId> = outcomes.iter().map(|(id, _)| *id).collect();
        let others = batch.intents.iter().map(|intent| intent.id).filter(|id| !has_one.contains(id));
        outcomes.extend(others.map(|id| (id, Outcome::OutOfReach)));
        Ok(outcomes)
    }
}

impl Comparison {
    /// Compares the intents of a portion.
    fn add(&mut self, staging: &Staging, batch: &Batch, root: &Root) -> Result<()> {
        for intents in batch.by_directory() {
            let directory = &batch.directories[intents[0].directory];
            if directory.is_out_of_reach(root) {
                self.gone.extend(intents.iter().map(|intent| (intent.id, Outcome::OutOfReach)));
                continue;
            }
            let staged = StagedFiles::find(staging, directory.number, intents)?;
            let dir = match Dir::open(&root.on_disk(&directory.path)) {
                Ok(dir) => dir,
                Err(error) => {
                    self.gone.extend(intents.iter().map(|intent| (intent.id, lost(&error))));
                    continue;
                }
            };
            for intent in intents {
                let Action::Compile(compile) = &intent.action else { continue };
                match tree::examine(root, &directory.path, &dir, &compile.source()) {
                    Ok(Some(now)) if is_unchanged(&staged, intent, &now) => {}
                    Ok(Some(now)) => {
                        let mut intent = intent.clone();
                        if let Action::Compile(compile) = &mut intent.action {
                            compile.seen = now.into();
                        }
                        self.changed.push(batch, intent);
                    }
                    Ok(None) => self.gone.push((intent.id, Outcome::Vanished)),
                    Err(error) => self.gone.push((intent.id, lost(&error))),
                }
            }
        }
        Ok(())
    }
}

/// The outcome of an intent whose source, or the directory of it, cannot be examined any more.
fn lost(error: &disk::Error) -> Outcome {
    if error.is_missing() { Outcome::Vanished } else { unreadable(&error.to_string()) }
}

/// Whether an intent was made from the source that is there now, and its staged file is there; what was adopted has
/// none.
fn is_unchanged(staged: &StagedFiles<'_>, intent: &Intent, now: &Identity) -> bool {
    let Some(made) = intent.made.as_ref().filter(|made| made.source == *now) else { return false };
    made.staged_in.is_none() || staged.has(intent)
}

/// Brings an intent up to what compiling it again gave; false if it has nothing staged any more.
fn refresh(intent: &mut Intent, outcomes: &[(IntentId, Outcome)]) -> bool {
    let outcome = outcomes.iter().find(|(id, _)| *id == intent.id).map(|(_, outcome)| outcome);
    intent.made = match outcome {
        Some(Outcome::Compiled(facts, place)) => Some(Made { source: facts.source, staged_in: Some(*place) }),
        Some(Outcome::Adopted(facts)) => Some(Made { source: facts.source, staged_in: None }),
        _ => None,
    };
    intent.made.is_some()
}

fn give_up(batch: &Batch) -> Vec<(IntentId, Outcome)> {
    let give_up = |intent: &Intent| (intent.id, unreadable("it changes faster than it is compiled"));
    batch.intents.iter().map(give_up).collect()
}
