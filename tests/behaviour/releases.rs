//! Compilers that share a magic number: Python loads the code of one with the other, but code is found again only by the
//! compiler that would give the same.

use std::fs;
use std::path::PathBuf;

use crate::aid::{self, set_mtime, skipped};
use crate::cache::{Shared, TIME, commit, interpreter, system};
use crate::installation::Installation;
use crate::support::{Outcome, World, python};

/// What makes another release of [`crate::support::PYTHON`].
const NEXT_RELEASE: &str = "sys.hexversion += 0x100";

/// What makes one for another architecture.
const OTHER_ARCHITECTURE: &str = "sys.implementation._multiarch = 'other-linux-gnu'";

/// What makes one that does not say what it was built for, with pointers of 64 and of 32 bits: it may run on the same kernel.
const UNSAID: [&str; 2] = [
    "del sys.implementation._multiarch; sys.maxsize = 2**63 - 1",
    "del sys.implementation._multiarch; sys.maxsize = 2**31 - 1",
];

const OTHERS: [&str; 4] = [NEXT_RELEASE, OTHER_ARCHITECTURE, UNSAID[0], UNSAID[1]];

/// Commits the tree with this interpreter.
fn commit_with(world: &World, interpreter: &str) -> Outcome {
    world.run_on_tree(&["commit", "--python", interpreter])
}

#[test]
fn the_code_that_another_compiler_put_into_the_cache_is_not_taken() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n")];
    shared.commit(&system(&sources), &[]).exits(0).says("compiled 1 ");
    for other in OTHERS {
        let (first, second) = (system(&sources), system(&sources));
        let outcome = shared.commit(&first, &["--python", &interpreter(&first, other)]);
        outcome.exits(0).says("compiled 1 ").does_not_say("reused");
        shared.commit(&second, &["--python", &interpreter(&second, other)]).exits(0).says("reused 1 ");
    }
    shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ");
    assert_eq!(shared.json("entries"), 1 + OTHERS.len());
}

#[test]
fn after_a_change_of_the_compiler_what_is_in_place_stays_and_what_is_new_is_compiled() {
    for other in OTHERS {
        let world = World::new();
        let source = world.write("a.py", "x = 1\n");
        commit_with(&world, &interpreter(&world, "")).exits(0).says("compiled 1 ");
        let other = interpreter(&world, other);
        commit_with(&world, &other).exits(0).says("nothing to do (1 up to date)");
        set_mtime(&source, TIME, 0);
        commit_with(&world, &other).exits(0).says("compiled 1 ").does_not_say("reused");
        set_mtime(&source, TIME + 1, 0);
        commit_with(&world, &other).exits(0).says("reused 1 ");
        // The one before is another one, too.
        set_mtime(&source, TIME + 2, 0);
        commit_with(&world, &interpreter(&world, "")).exits(0).says("compiled 1 ");
    }
}

#[test]
fn what_another_compiler_refused_is_tried_again() {
    let world = World::new();
    world.write("a.py", "= =\n");
    let transactions = || world.query::<i64>("SELECT count(*) FROM transactions");
    for (statement, expected) in [("", 1), ("", 1), (NEXT_RELEASE, 2), (NEXT_RELEASE, 2)] {
        let outcome = commit_with(&world, &interpreter(&world, statement)).exits(1).says("SyntaxError");
        assert_eq!(transactions(), expected, "{}", outcome.context());
    }
}

#[test]
fn bytecode_is_known_by_who_compiled_it_not_by_who_was_to() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    for (time, expected) in [(TIME, "compiled 1 "), (TIME + 1, "reused 1 ")] {
        set_mtime(&source, time, 0);
        world.run_on_tree(&["record", "--python", &interpreter(&world, "")]).exits(0);
        interpreter(&world, NEXT_RELEASE);
        world.run(&["commit", &aid::nothing(&world)]).exits(0).says(expected);
    }
}

#[test]
fn what_another_compiler_made_is_not_taken_back_after_an_upgrade() {
    for is_other in [false, true] {
        let system = Installation::with_programs();
        system.install("pkg", &["a.py"]);
        system.call("pyc-txn", &["hook", "configure"]).exits(0);
        system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
        if is_other {
            // It was there before, and another binary.
            let journal = system.world.journal();
            journal.execute("UPDATE interpreters SET release = '030000f0', inode = 1", []).unwrap();
        }
        let expected = if is_other { "compiled 1 " } else { "reused 1 " };
        system.call("pyc-txn", &["hook", "configure"]).exits(0).says(expected);
    }
}

/// Two releases of one Python on this machine that have the same magic number.
fn pair() -> Option<[PathBuf; 2]> {
    let ask = "import sys, importlib.util as u; print(u.MAGIC_NUMBER.hex(), '%x' % sys.hexversion, end='')";
    let asked = |path: PathBuf| {
        let answer = python::run(path.to_str().unwrap(), ask);
        let (magic, release) = answer.split_once(' ').unwrap();
        (magic.to_owned(), release.to_owned(), path)
    };
    let all: Vec<_> = python::every().into_iter().map(asked).collect();
    let is_pair = |(one, other): &(&(String, String, PathBuf), &(String, String, PathBuf))| {
        one.0 == other.0 && one.1 < other.1
    };
    let mut pairs = all.iter().flat_map(|one| all.iter().map(move |other| (one, other)));
    pairs.find(is_pair).map(|(one, other)| [one.2.clone(), other.2.clone()])
}

#[test]
fn two_releases_that_share_a_cache_each_have_their_own_code() {
    let Some(pair) = pair() else {
        return skipped("two releases with one magic number (there are none on this machine)");
    };
    // CPython 3.11.2 and 3.11.7 compile this differently.
    let sources = [("a.py", "def f(a, b):\n    x, x = a, b\n    return x\n")];
    let shared = Shared::new();
    let mut all = Vec::new();
    for python in &pair {
        let options = ["--python", python.to_str().unwrap()];
        let (alone, together) = (system(&sources), system(&sources));
        alone.outcome(commit(&alone, &options)).exits(0).says("compiled 1 ");
        shared.commit(&together, &options).exits(0).says("compiled 1 ").does_not_say("reused");
        let pyc = |world: &World| {
            let names = aid::names(&world.tree().join("__pycache__"));
            fs::read(world.tree().join("__pycache__").join(&names[0])).unwrap()
        };
        assert!(pyc(&alone) == pyc(&together), "{}", python.display());
        all.push(pyc(&alone));
    }
    let [one, other] = &pair;
    if one.ends_with("python3.11") && other.ends_with("python3.11") && all[0] == all[1] {
        skipped("code that differs (these two releases of 3.11 compile it alike)");
    }
}
