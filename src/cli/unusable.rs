//! Failures that are about an interpreter and not about a source: they are told together.

use std::collections::BTreeMap;

use crate::python::interpreter::is_about_interpreter;

/// Interpreters that could not be used, and how many sources each had: said once, however many that are.
#[derive(Debug, Default)]
pub(super) struct Unusable(BTreeMap<String, u64>);

impl Unusable {
    /// Counts a failure, if its message is about an interpreter.
    pub(super) fn counts(&mut self, message: &str) -> bool {
        let is_about = is_about_interpreter(message);
        if is_about {
            *self.0.entry(message.to_owned()).or_default() += 1;
        }
        is_about
    }

    /// Whether some failure has this message.
    pub(super) fn has(&self, message: &str) -> bool {
        self.0.contains_key(message)
    }

    /// A line for each.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(message, number)| {
            let what = if *number == 1 { "1 source is" } else { &format!("{number} sources are") };
            format!("{message}; {what} not compiled with it")
        })
    }
}
