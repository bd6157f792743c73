//! Bytecode that goes, and what stays beside it.

use std::fs;
use std::path::Path;

use crate::aid::{names, set_mtime, snapshot};
use crate::support::{PYTHON, World, make_older, python, write_leftover};

/// Files of other tools, as they are found in `__pycache__` directories.
const FOREIGN: [&str; 6] = [
    "a.cpython-311-pytest-7.2.1.pyc",
    "a.kernel-12.py311.nbi",
    "a.kernel-12.py311.1.nbc",
    "README",
    "a.pyc",
    "a.cpython-311.pyo",
];

fn write_foreign(directory: &Path) {
    let cache = directory.join("__pycache__");
    fs::create_dir_all(&cache).unwrap();
    for name in FOREIGN {
        fs::write(cache.join(name), "not ours").unwrap();
    }
}

#[track_caller]
fn only_foreign_is_left(directory: &Path, context: &str) {
    let mut expected = FOREIGN.map(str::to_owned);
    expected.sort();
    assert_eq!(names(&directory.join("__pycache__")), expected, "{context}");
}

#[test]
fn bytecode_goes_with_its_source_and_the_empty_pycache_with_it() {
    let world = World::new();
    let source = world.write("gone/a.py", "x = 1\n");
    world.write("kept/b.py", "y = 2\n");
    world.run_on_tree(&["commit", "-O", "0", "-O", "1"]).exits(0).says("compiled 4 ");
    fs::remove_file(source).unwrap();
    let outcome = world.commit().exits(0).says("removed 2 (1 up to date)");
    assert!(names(&world.tree().join("gone")).is_empty(), "{}", outcome.context());
    assert!(world.pyc("kept/b.py").exists());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn the_other_sources_of_a_directory_keep_theirs() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("b.py", "y = 2\n");
    world.commit().exits(0).says("compiled 2 ");
    fs::remove_file(source).unwrap();
    let outcome = world.commit().exits(0).says("removed 1 (1 up to date)");
    assert!(!world.pyc("a.py").exists() && world.pyc("b.py").exists(), "{}", outcome.context());
}

#[test]
fn a_source_that_is_named_after_it_was_removed_loses_its_bytecode() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let other = world.write("b.py", "y = 2\n");
    world.commit().exits(0);
    fs::remove_file(&source).unwrap();
    fs::remove_file(other).unwrap();
    let outcome = world.run(&["commit", source.to_str().unwrap()]).exits(0).says("removed 1");
    assert!(!world.pyc("a.py").exists() && world.pyc("b.py").exists(), "{}", outcome.context());
}

#[test]
fn other_tools_files_stay_when_a_source_goes() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    write_foreign(&world.tree());
    world.commit().exits(0).says("compiled 1 ");
    fs::remove_file(source).unwrap();
    let outcome = world.commit().exits(0).says("removed 1");
    only_foreign_is_left(&world.tree(), outcome.context());
}

#[test]
fn bytecode_that_nobody_published_here_is_left_alone_by_a_commit() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let stray = world.write("__pycache__/stray.cpython-311.pyc", "whose?");
    let older = world.write("__pycache__/a.cpython-27.pyc", "whose?");
    world.commit().exits(0).says("compiled 1 ");
    assert!(stray.exists() && older.exists());
}

#[test]
fn what_interrupted_writers_left_of_a_source_goes_and_of_others_stays() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    let cache = world.tree().join("__pycache__");
    let (ours, others) = (
        ["a.cpython-311.pyc.140221", "a.cpython-311.opt-1.pyc.7", "a.pypy39.pyc.99"],
        ["other.cpython-311.pyc.140221", "a.cpython-311.pyc.x", "a.txt.5"],
    );
    for name in ours.iter().chain(&others) {
        write_leftover(&cache.join(name));
    }
    let outcome = world.commit().exits(0).says("removed 3 (1 up to date)");
    let left = names(&cache);
    assert!(others.iter().all(|name| left.contains(&(*name).to_owned())), "{}", outcome.context());
    assert_eq!(left.len(), others.len() + 1, "{}", outcome.context());
}

#[test]
fn the_temporary_file_of_a_writer_that_may_be_at_work_is_left_to_it() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    // As CPython does it: another name first, then a rename.
    let pyc = world.pyc("a.py");
    let temporary = pyc.with_extension("pyc.140221");
    let write = || fs::copy(&pyc, &temporary).unwrap();
    let goes_on = |context: &str| {
        assert!(temporary.exists(), "{context}");
        fs::rename(&temporary, &pyc).unwrap();
    };
    write();
    goes_on(world.commit().exits(0).says("nothing to do").context());
    write();
    goes_on(world.run_on_tree(&["verify"]).exits(0).does_not_say("leftover").context());
    write();
    goes_on(world.run_on_tree(&["verify", "--repair"]).exits(0).context());
    write();
    goes_on(world.run_on_tree(&["clean"]).exits(0).says("removed 1").context());
    // One that says that it is from the future is not old.
    write();
    set_mtime(&temporary, 4_000_000_000, 0);
    goes_on(world.commit().exits(0).context());
    write();
    make_older(&temporary);
    let outcome = world.commit().exits(0).says("removed 1");
    assert!(!temporary.exists(), "{}", outcome.context());
}

#[test]
fn a_directory_that_is_removed_with_everything_is_forgotten() {
    let world = World::new();
    world.write("package/sub/a.py", "x = 1\n");
    world.write("b.py", "y = 2\n");
    world.commit().exits(0).says("compiled 2 ");
    fs::remove_dir_all(world.tree().join("package")).unwrap();
    let outcome = world.commit().exits(0);
    let left: i64 = world.query("SELECT count(*) FROM ledger");
    assert_eq!(left, 1, "{}", outcome.context());
    assert!(!world.tree().join("package").exists(), "{}", outcome.context());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn a_tree_that_is_removed_is_forgotten_when_it_is_named() {
    let world = World::new();
    world.write("package/a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    fs::remove_dir_all(world.tree().join("package")).unwrap();
    let package = world.tree().join("package");
    let outcome = world.run(&["commit", package.to_str().unwrap()]).exits(0);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM ledger"), 0, "{}", outcome.context());
}

#[test]
fn cleaning_a_tree_removes_the_bytecode_of_all_interpreters_and_levels() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("package/b.py", "y = 2\n");
    write_foreign(&world.tree());
    world.run_on_tree(&["commit", "-O", "0", "-O", "1", "-O", "2"]).exits(0).says("compiled 6 ");
    for name in ["a.cpython-38.pyc", "a.pypy39.opt-1.pyc", "a.cpython-311.pyc.1234"] {
        write_leftover(&world.tree().join("__pycache__").join(name));
    }
    let outcome = world.run_on_tree(&["clean"]).exits(0).says("removed 9");
    only_foreign_is_left(&world.tree(), outcome.context());
    assert_eq!(names(&world.tree().join("package")), ["b.py"], "{}", outcome.context());
    world.run_on_tree(&["clean"]).exits(0).says("nothing to remove");
    world.commit().exits(0).says("compiled 2 ");
}

#[test]
fn cleaning_a_file_removes_only_its_bytecode() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("b.py", "y = 2\n");
    world.write("a/c.py", "z = 3\n");
    world.commit().exits(0).says("compiled 3 ");
    world.run(&["clean", source.to_str().unwrap()]).exits(0).says("removed 1");
    assert!(!world.pyc("a.py").exists());
    assert!(world.pyc("b.py").exists() && world.pyc("a/c.py").exists());
}

#[test]
fn cleaning_for_one_interpreter_leaves_the_others_bytecode() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let other = world.write("__pycache__/a.cpython-27.pyc", "x");
    world.run_on_tree(&["commit", "-O", "0", "-O", "2"]).exits(0).says("compiled 2 ");
    let outcome = world.run_on_tree(&["clean", "--python", PYTHON]).exits(0).says("removed 2");
    assert!(other.exists() && !world.pyc("a.py").exists(), "{}", outcome.context());
    let tag = python::cache_tag();
    assert_eq!(names(&world.tree().join("__pycache__")), ["a.cpython-27.pyc"], "{tag}");
}

#[test]
fn cleaning_removes_the_bytecode_of_sources_that_are_gone() {
    let world = World::new();
    let source = world.write("package/a.py", "x = 1\n");
    world.commit().exits(0);
    fs::remove_file(source).unwrap();
    world.run_on_tree(&["clean"]).exits(0).says("removed 1");
    assert!(names(&world.tree().join("package")).is_empty());
}

#[test]
fn a_dry_clean_changes_nothing() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    let (tree, state) = (snapshot(&world.tree()), snapshot(&world.state()));
    world
        .run_on_tree(&["clean", "--dry-run"])
        .exits(0)
        .says(&format!("remove {}", world.pyc("a.py").display()));
    assert!(snapshot(&world.tree()) == tree && snapshot(&world.state()) == state);
}

#[test]
fn cleaning_forgets_what_was_recorded_for_the_same_targets() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("b.py", "y = 2\n");
    world.commit().exits(0);
    fs::write(&source, "x = 'new'\n").unwrap();
    fs::write(world.tree().join("b.py"), "y = 'new'\n").unwrap();
    world.run_on_tree(&["record"]).exits(0).says("recorded 2");
    world.run(&["clean", source.to_str().unwrap()]).exits(0).says("removed 1");
    let outcome = world.run(&["commit", world.tree().join("b.py").to_str().unwrap()]).exits(0);
    assert!(!world.pyc("a.py").exists() && world.pyc("b.py").exists(), "{}", outcome.context());
}
