//! What can be said of one pyc: its class, and what follows from it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::python::pycache::{DIRECTORY, Remnant};
use crate::txn::intent::Action;

/// What a pyc is. The first that fits, in the order in which Python would stumble over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Published, whole, unchanged, and of its source.
    Valid,
    /// Whole and of its source, but not ours.
    Foreign,
    /// Wanted or published, and not there.
    Missing,
    /// Of another state of its source.
    Stale,
    /// No header of its interpreter's, so that Python takes no notice of it; or longer than bytecode of its source can be.
    Invalid,
    /// A good header, but not one whole code object behind it: an import fails.
    Broken,
    /// Whole, but not the bytes that were published.
    Altered,
    /// Another source's name inside (`co_filename`).
    Misnamed,
    /// Who may read the source may not read it; or the source is too large to be read.
    Unreadable,
    /// It has no source.
    Orphan,
    /// The temporary file of a writer that was interrupted.
    Leftover,
    /// For a Python that is newer than this program, which cannot judge it.
    Unknown,
}

impl Class {
    /// Every class, in the order of summaries.
    pub const ALL: [Self; 12] = [
        Self::Valid,
        Self::Foreign,
        Self::Missing,
        Self::Stale,
        Self::Invalid,
        Self::Broken,
        Self::Altered,
        Self::Misnamed,
        Self::Unreadable,
        Self::Orphan,
        Self::Leftover,
        Self::Unknown,
    ];

    /// Whether a power cut while it was written can have made it so, and Python may stumble over it.
    #[must_use]
    pub fn is_damage(self) -> bool {
        matches!(self, Self::Invalid | Self::Broken | Self::Altered)
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Foreign => "foreign",
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::Invalid => "invalid",
            Self::Broken => "broken",
            Self::Altered => "altered",
            Self::Misnamed => "misnamed",
            Self::Unreadable => "unreadable",
            Self::Orphan => "orphan",
            Self::Leftover => "leftover",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The judgement of one pyc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: Class,
    /// Why, in words; empty where the class says it all.
    pub(super) reason: String,
    /// Whether it should not stay as it is.
    pub(super) wrong: bool,
}

impl Verdict {
    /// A verdict that is as bad as its class is.
    pub(super) fn new(class: Class, reason: impl Into<String>) -> Self {
        let wrong = !matches!(class, Class::Valid | Class::Foreign | Class::Unknown);
        Self { class, reason: reason.into(), wrong }
    }

    /// One that nobody has to do anything about.
    pub(super) fn harmless(class: Class, reason: impl Into<String>) -> Self {
        Self { wrong: false, ..Self::new(class, reason) }
    }
}

/// A pyc about which there is something to say.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is.
    pub class: Class,
    /// Why; empty where the class says it all.
    pub reason: String,
    /// Whether it should not stay as it is.
    pub wrong: bool,
    /// The directory of its source, without the root's prefix.
    pub directory: PathBuf,
    /// Its name in `__pycache__`.
    pub remnant: Remnant,
    /// What mends it; `None` where it is right, or nothing can.
    pub remedy: Option<Action>,
}

impl Finding {
    /// The path of the pyc, without the root's prefix.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(DIRECTORY).join(self.remnant.name())
    }

    /// The path of its source, there or not, without the root's prefix.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.directory.join(self.remnant.source())
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many pycs are of each class.
    pub counts: BTreeMap<Class, u64>,
    /// All that are not valid, by path.
    pub list: Vec<Finding>,
    /// What could not be examined, and why.
    pub problems: Vec<String>,
}

impl Findings {
    pub(super) fn count(&mut self, class: Class, number: u64) {
        *self.counts.entry(class).or_default() += number;
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.count(finding.class, 1);
        self.list.push(finding);
    }

    pub(super) fn append(&mut self, other: Self) {
        for (class, number) in other.counts {
            self.count(class, number);
        }
        self.list.extend(other.list);
        self.problems.extend(other.problems);
    }

    /// Takes out what is wrong.
    pub(super) fn take_wrong(&mut self) -> Vec<Finding> {
        let (wrong, rest) = std::mem::take(&mut self.list).into_iter().partition(|finding| finding.wrong);
        self.list = rest;
        for finding in &wrong {
            let finding: &Finding = finding;
            *self.counts.entry(finding.class).or_default() -= 1;
        }
        wrong
    }

    /// How many are wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.list.iter().filter(|finding| finding.wrong).count()
    }

    /// Leaves out what is wrong, but no damage.
    pub fn retain_damage(&mut self) {
        self.list.retain(|finding| !finding.wrong || finding.class.is_damage());
    }

    /// How many pycs were there to be looked at.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.counts.iter().filter(|(class, _)| **class != Class::Missing).map(|(_, count)| count).sum()
    }

    pub(super) fn sort(&mut self) {
        self.list.sort_by_cached_key(Finding::path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_json() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.word());
        }
    }
}
