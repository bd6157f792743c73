//! The steps that a run announced.

use std::path::Path;

/// A step: `PYC_TXN_FAULT=abort@NUMBER` stops before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub number: usize,
    pub name: String,
    pub path: String,
}

/// The names of steps that have several words; all others are one word or begin with `journal:`.
const NAMES: [&str; 13] = [
    "create directory",
    "create file",
    "write file",
    "remove file",
    "remove directory",
    "try filesystem",
    "open lock",
    "set aside",
    "change permissions",
    "change owners",
    "name file",
    "touch file",
    "sync filesystem",
];

/// Reads a trace; an absent one is empty. Threads may have written their steps in another order than they took them.
pub fn read(file: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut steps: Vec<Step> = text.lines().map(parse).collect();
    steps.sort_by_key(|step| step.number);
    steps
}

fn parse(line: &str) -> Step {
    let (number, rest) = line.split_once(' ').unwrap();
    // Paths are absolute, and no name of a step has a slash in it.
    let slash = rest.find('/').unwrap();
    let (name, path) = (rest[..slash].trim_end(), &rest[slash..]);
    assert!(
        NAMES.contains(&name) || name.starts_with("journal: ") || ["rename", "sync"].contains(&name),
        "an unknown step {name:?}: does a test have to know of it?"
    );
    Step { number: number.parse().unwrap(), name: name.to_owned(), path: path.to_owned() }
}
