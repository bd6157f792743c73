//! What a tree holds, and how it differs from what it should hold.

use std::collections::{BTreeMap, BTreeSet};

/// What is in the tree: every name, and for the bytecode what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub files: BTreeSet<String>,
    pub bytecode: BTreeMap<String, String>,
}

/// Demands that the tree holds what is expected, `what` being the word for that.
#[track_caller]
pub fn assert_same(now: &Contents, expected: &Contents, what: &str, context: &str) {
    if now == expected {
        return;
    }
    let mut differences = Vec::new();
    for name in now.files.symmetric_difference(&expected.files) {
        let has = if now.files.contains(name) { "is too much" } else { "is missing" };
        differences.push(format!("{name} {has}"));
    }
    for (target, what) in &now.bytecode {
        match expected.bytecode.get(target) {
            Some(expected) if expected != what => {
                differences.push(format!("{target} holds {what}, not {expected}"));
            }
            _ => {}
        }
    }
    panic!("the tree is not {what}:\n{}\n{context}", differences.join("\n"));
}
