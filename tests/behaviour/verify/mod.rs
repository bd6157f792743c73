//! `verify`: every class found, what is wrong mended, and nothing else touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::aid::let_the_clock_tick;
use crate::support::{Outcome, PYTHON, World, python};

mod classes;
mod judge;
mod repair;
mod scope;
mod table;

/// The words for what is wrong, and the three for what is not.
const WORDS: [&str; 12] = [
    "valid",
    "foreign",
    "missing",
    "stale",
    "invalid",
    "broken",
    "altered",
    "misnamed",
    "unreadable",
    "orphan",
    "leftover",
    "unknown",
];

/// What `--json` says.
struct Report(Value);

impl Report {
    #[track_caller]
    fn of(outcome: &Outcome) -> Self {
        let report = serde_json::from_str(&outcome.stdout);
        Self(report.unwrap_or_else(|error| panic!("{error}\n{}", outcome.context())))
    }

    fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("{key} in {}", self.0))
    }

    /// How many are of a class.
    fn count(&self, class: &str) -> u64 {
        self.0["counts"][class].as_u64().unwrap_or_else(|| panic!("{class} in {}", self.0))
    }

    /// The classes of what there is something to say about, by path.
    fn classes(&self) -> BTreeMap<PathBuf, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings = self.0["findings"].as_array().unwrap();
        findings.iter().map(|each| (text(&each["path"]).into(), text(&each["class"]))).collect()
    }
}

/// A world whose sources `a` and `b` are published.
fn published() -> World {
    let world = World::new();
    world.write("a.py", "x = 1\ndef f(y): return [y, 'text', 1.5]\n");
    world.write("b.py", "x = 2\n");
    world.commit().exits(0);
    world
}

/// A world whose sources `a` and `b` have bytecode of `py_compile`, and which pyc-txn does not know.
fn compiled_elsewhere() -> World {
    let world = World::new();
    for name in ["a", "b"] {
        let source = world.write(format!("{name}.py"), format!("x = '{name}'\n"));
        let_the_clock_tick(&world, &source);
        python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, doraise=True)"));
        crate::aid::set_mode(&world.pyc(format!("{name}.py")), 0o644);
    }
    world
}

/// Verifies the tree with `--json` and more.
fn verify(world: &World, more: &[&str]) -> Outcome {
    world.run_on_tree(&[&["verify", "--json"], more].concat())
}

/// Demands that of everything in the tree one pyc is of this class, and all else is right.
#[track_caller]
fn finds(world: &World, pyc: &Path, class: &str) -> Outcome {
    let outcome = verify(world, &[]);
    let report = Report::of(&outcome);
    let mut classes = report.classes();
    classes.retain(|_, class| class != "foreign");
    let expected = BTreeMap::from([(pyc.to_owned(), class.to_owned())]);
    assert_eq!(classes, expected, "{}", outcome.context());
    outcome
}

/// Demands that a repair mends what is wrong, and leaves nothing to say.
#[track_caller]
fn is_repaired(world: &World, wrong: u64) -> Outcome {
    let outcome = verify(world, &["--repair"]).exits(0);
    let report = Report::of(&outcome);
    assert_eq!((report.number("repaired"), report.number("wrong")), (wrong, 0), "{}", outcome.context());
    let after = verify(world, &[]).exits(0);
    let report = Report::of(&after);
    assert_eq!(
        report.number("checked"),
        report.count("valid") + report.count("foreign"),
        "{}",
        after.context()
    );
    outcome
}
