//! The states of a transaction (the same words in the journal's schema, which refuses any other way):
//!
//! ```text
//! recording ──stage──► staged ──decide──► committing ──settle──► committed
//!     └──────abandon─────┴──► rolled-back          (after decide: forward only)
//! ```

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It takes intents; nothing outside the journal and the staging directory has changed.
    Recording,
    /// Every staged file is durable; still nothing has changed outside.
    Staged,
    /// Decided: the staged files are being renamed to their targets.
    Committing,
    /// Published, and durable.
    Committed,
    /// Ended without a change outside the staging directory.
    RolledBack,
}

impl State {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Recording, "recording"),
        (Self::Staged, "staged"),
        (Self::Committing, "committing"),
        (Self::Committed, "committed"),
        (Self::RolledBack, "rolled-back"),
    ];

    /// The word for it in the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text);
        found.map(|(state, _)| *state).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A word that is no state.
#[derive(Debug)]
pub struct UnknownState(String);

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no state of a transaction", self.0)
    }
}

impl std::error::Error for UnknownState {}
