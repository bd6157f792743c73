//! An independent judge: gpep517's `verify-pyc`, from PyPI, knows four classes, and agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Report, verify};
use crate::aid::{set_mtime, skipped};
use crate::support::{PYTHON, World};

/// Its words, and ours for the same.
const CLASSES: [(&str, &str); 4] =
    [("missing", "missing"), ("invalid", "invalid"), ("mismatched", "stale"), ("stray", "orphan")];

/// Arguments: the directory that is a root, that of the modules in it. (Its command line takes a prefix, and what
/// that means differs between Pythons.)
const ASK: &str = "
import pathlib, sys
from gpep517.qa import qa_verify_pyc
root, modules = map(pathlib.Path, sys.argv[1:])
for kind, entries in qa_verify_pyc(root, [modules]).items():
    for entry in entries: print(kind, entry[0])
";

/// The Python of an environment that has gpep517, made once for a build directory.
fn judge() -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gpep517");
    let python = environment.join("bin/python3");
    let has_it = || {
        Command::new(&python).args(["-c", "import gpep517.qa"]).output().is_ok_and(|run| run.status.success())
    };
    if !has_it() {
        let _ = Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&environment).output();
        let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "gpep517"];
        let _ = Command::new(&python).args(install).output();
    }
    has_it().then_some(python)
}

fn wreck(world: &World) {
    for name in ["right", "gone", "magic", "flags", "cut", "older", "longer", "stray", "hash", "unchecked"] {
        let source = world.write(format!("{name}.py"), "x = 1\n");
        set_mtime(&source, 1_600_000_000, 0);
    }
    let levels = ["commit", "-O", "0", "-O", "1", "-O", "2"];
    world.run_on_tree(&levels).exits(0);
    for (name, mode) in [("hash.py", "checked-hash"), ("unchecked.py", "unchecked-hash")] {
        let source = world.tree().join(name);
        let mut command = world.command(&[&levels[..], &["--invalidation", mode]].concat());
        world.outcome({
            command.arg(&source);
            command
        });
        fs::write(source, "x = 2\n").unwrap();
    }
    fs::remove_file(world.pyc("gone.py")).unwrap();
    for (name, at, byte) in [("magic", 0, 0), ("flags", 4, 8)] {
        let pyc = world.pyc(format!("{name}.py"));
        let mut bytes = fs::read(&pyc).unwrap();
        bytes[at] = byte;
        fs::write(pyc, bytes).unwrap();
    }
    let cut = fs::read(world.pyc("cut.py")).unwrap();
    fs::write(world.pyc("cut.py"), &cut[..9]).unwrap();
    set_mtime(&world.tree().join("older.py"), 1_500_000_000, 0);
    set_mtime(&world.write("longer.py", "x = 12345\n"), 1_600_000_000, 0);
    fs::remove_file(world.tree().join("stray.py")).unwrap();
}

#[test]
fn gpep517_agrees_on_every_class_that_it_knows() {
    let Some(python) = judge() else {
        return skipped("asking gpep517 (needs python3-venv, and PyPI)");
    };
    let world = World::new();
    wreck(&world);
    let tree = world.tree();
    let output = Command::new(python).args(["-c", ASK, "/"]).arg(&tree).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let theirs = String::from_utf8(output.stdout).unwrap();
    let mut judged: BTreeMap<PathBuf, BTreeSet<&str>> = BTreeMap::new();
    for (kind, path) in theirs.lines().map(|line| line.split_once(' ').unwrap()) {
        let (_, ours) = CLASSES.iter().find(|(word, _)| *word == kind).unwrap();
        judged.entry(path.into()).or_default().insert(ours);
    }
    let outcome = verify(&world, &["--python", PYTHON, "-O", "0", "-O", "1", "-O", "2"]).exits(1);
    let ours = Report::of(&outcome).classes();
    let judged: BTreeMap<PathBuf, String> =
        judged.into_iter().map(|(path, words)| (path, Vec::from_iter(words).join(" "))).collect();
    assert_eq!(ours, judged, "{}", outcome.context());
    let found: BTreeSet<&String> = ours.values().collect();
    assert_eq!(found.len(), CLASSES.len(), "a class was not tried: {found:?}");
}
