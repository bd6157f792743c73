//! Evidence that a step of the protocol was taken: each can be made in one place only, and the journal demands
//! it for the write that claims the step (see also [`crate::disk::Durable`]).

use super::intent::{IntentId, Outcome};

/// Every source still has the identity it was compiled from (invariant 4).
#[derive(Debug)]
#[must_use]
pub struct Unchanged(());

impl Unchanged {
    /// Made by the comparison of identities in [`super::decide`].
    pub(super) fn after_comparison() -> Self {
        Self(())
    }
}

/// Every staged file is under its target's name, except those that are named.
#[derive(Debug)]
#[must_use]
pub struct Placed {
    exceptions: Vec<(IntentId, Outcome)>,
    remains: Vec<(IntentId, String)>,
}

impl Placed {
    /// Made by the renames in [`super::publish`].
    pub(super) fn except(exceptions: Vec<(IntentId, Outcome)>, remains: Vec<(IntentId, String)>) -> Self {
        Self { exceptions, remains }
    }

    /// Intents whose place was gone or barred, and what became of them.
    #[must_use]
    pub fn exceptions(&self) -> &[(IntentId, Outcome)] {
        &self.exceptions
    }

    /// Removals after which an empty `__pycache__` is left, and why it could not be removed.
    #[must_use]
    pub fn remains(&self) -> &[(IntentId, String)] {
        &self.remains
    }
}
