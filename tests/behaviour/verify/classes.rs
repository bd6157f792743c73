//! Every class has its word, and what Python itself writes is none of the bad ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::{Report, WORDS, compiled_elsewhere, finds, is_repaired, published, verify};
use crate::aid::{let_the_clock_tick, set_mode, set_mtime};
use crate::oracle;
use crate::support::{PYTHON, World, python, write_leftover};

fn beside(pyc: PathBuf, suffix: &str) -> PathBuf {
    let mut name = pyc.into_os_string();
    name.push(suffix);
    name.into()
}

#[test]
fn what_was_published_is_valid_and_what_others_wrote_is_foreign() {
    let world = published();
    let report = Report::of(&verify(&world, &[]).exits(0));
    assert_eq!((report.number("checked"), report.count("valid")), (2, 2));
    for word in WORDS {
        report.count(word);
    }
    let world = compiled_elsewhere();
    let report = Report::of(&verify(&world, &[]).exits(0));
    assert_eq!((report.number("checked"), report.count("foreign")), (2, 2));
    assert!(!world.state().exists(), "nothing is written");
}

#[test]
fn what_is_not_there_is_missing_if_a_commit_would_make_it() {
    let world = published();
    fs::remove_file(world.pyc("a.py")).unwrap();
    finds(&world, &world.pyc("a.py"), "missing").exits(1).says("it was published and is gone");
    is_repaired(&world, 1);
    world.write("c.py", "x = 3\n");
    finds(&world, &world.pyc("c.py"), "missing").exits(1).says("its source has not been compiled");
    is_repaired(&world, 1);
    // What the compiler refuses has none.
    world.write("d.py", "x = (\n");
    world.commit().exits(1);
    verify(&world, &[]).exits(0);
}

#[test]
fn bytecode_of_a_source_that_changed_is_stale() {
    let world = published();
    let source = world.write("a.py", "x = 'something else'\n");
    set_mtime(&source, 1_500_000_000, 0);
    finds(&world, &world.pyc("a.py"), "stale").exits(1).says("its source has another time and size\"");
    is_repaired(&world, 1);
    set_mtime(&source, 1_600_000_000, 0);
    finds(&world, &world.pyc("a.py"), "stale").exits(1).says("its source has another time\"");
    is_repaired(&world, 1);
    world.write("a.py", "x = 'of another length'\n");
    set_mtime(&source, 1_600_000_000, 0);
    finds(&world, &world.pyc("a.py"), "stale").exits(1).says("its source has another size\"");
    is_repaired(&world, 1);
}

#[test]
fn hash_based_bytecode_is_stale_by_the_hash_and_keeps_its_mode() {
    for mode in ["checked-hash", "unchecked-hash"] {
        let world = World::new();
        let source = world.write("a.py", "x = 1\n");
        world.run_on_tree(&["commit", "--invalidation", mode]).exits(0);
        set_mtime(&source, 1_500_000_000, 0);
        assert_eq!(Report::of(&verify(&world, &[]).exits(0)).count("valid"), 1, "{mode}");
        fs::write(&source, "x = 2\n").unwrap();
        finds(&world, &world.pyc("a.py"), "stale").exits(1).says("another hash");
        is_repaired(&world, 1);
        assert_ne!(fs::read(world.pyc("a.py")).unwrap()[4], 0, "{mode}");
    }
}

#[test]
fn another_magic_number_or_unknown_flags_are_invalid() {
    for (at, byte) in [(0, 1), (2, 0), (4, 2), (4, 4), (7, 1)] {
        let world = published();
        let mut bytes = fs::read(world.pyc("a.py")).unwrap();
        bytes[at] = byte;
        fs::write(world.pyc("a.py"), bytes).unwrap();
        finds(&world, &world.pyc("a.py"), "invalid").exits(1);
        is_repaired(&world, 1);
    }
}

#[test]
fn a_symlink_in_the_place_of_a_pyc_is_invalid() {
    let world = published();
    let elsewhere = world.beside("elsewhere.pyc");
    fs::rename(world.pyc("a.py"), &elsewhere).unwrap();
    symlink(&elsewhere, world.pyc("a.py")).unwrap();
    finds(&world, &world.pyc("a.py"), "invalid").exits(1).says("not a regular file");
    is_repaired(&world, 1);
    assert!(elsewhere.exists());
}

#[test]
fn another_file_name_inside_is_found() {
    let world = compiled_elsewhere();
    let source = world.tree().join("a.py");
    let program =
        format!("import py_compile; py_compile.compile({source:?}, dfile='/build/a.py', doraise=True)");
    python::run(PYTHON, &program);
    set_mode(&world.pyc("a.py"), 0o644);
    finds(&world, &world.pyc("a.py"), "misnamed").exits(1).says("/build/a.py");
    is_repaired(&world, 1);
    assert_eq!(oracle::filename(&world.pyc("a.py")), source.to_str().unwrap());
}

#[test]
fn what_others_may_not_read_though_they_may_read_the_source_is_unreadable() {
    let world = published();
    set_mode(&world.pyc("a.py"), 0o600);
    finds(&world, &world.pyc("a.py"), "unreadable").exits(1).says("0600 instead of 0644");
    is_repaired(&world, 1);
    set_mode(&world.tree().join("b.py"), 0o600);
    set_mode(&world.pyc("b.py"), 0o600);
    verify(&world, &[]).exits(0);
}

#[test]
fn a_cache_directory_that_others_may_not_look_into_is_opened() {
    let world = published();
    let cache = world.tree().join("__pycache__");
    set_mode(&cache, 0o700);
    let report = Report::of(&verify(&world, &[]).exits(1));
    assert_eq!(report.count("unreadable"), 2);
    is_repaired(&world, 2);
    assert_eq!(crate::aid::mode(&cache), 0o755);
}

#[test]
fn ours_without_a_source_is_an_orphan_and_goes() {
    let world = published();
    fs::remove_file(world.tree().join("a.py")).unwrap();
    finds(&world, &world.pyc("a.py"), "orphan").exits(1).says("its source is gone");
    is_repaired(&world, 1);
    assert!(!world.pyc("a.py").exists());
}

#[test]
fn somebody_elses_orphan_stays_if_it_is_whole_and_goes_if_it_is_damaged() {
    let world = compiled_elsewhere();
    for name in ["a.py", "b.py"] {
        fs::remove_file(world.tree().join(name)).unwrap();
    }
    fs::write(world.pyc("b.py"), "garbage of more than 16 bytes").unwrap();
    let report = Report::of(&verify(&world, &[]).exits(1));
    assert_eq!((report.count("orphan"), report.number("wrong")), (2, 1));
    verify(&world, &["--repair"]).exits(0);
    assert!(world.pyc("a.py").exists() && !world.pyc("b.py").exists());
    let report = Report::of(&verify(&world, &[]).exits(0));
    assert_eq!((report.count("orphan"), report.number("wrong")), (1, 0));
}

#[test]
fn what_an_interrupted_writer_left_is_found_and_goes() {
    let world = published();
    let left = beside(world.pyc("a.py"), ".140235");
    write_leftover(&left);
    let others = world.tree().join("__pycache__/a.cpython-311-pytest-7.2.1.pyc");
    fs::write(&others, "pytest's").unwrap();
    finds(&world, &left, "leftover").exits(1);
    is_repaired(&world, 1);
    assert!(!left.exists() && others.exists());
}

#[test]
fn bytecode_of_a_python_that_is_not_here_is_foreign_and_stays() {
    let world = published();
    let other = world.tree().join("__pycache__/a.cpython-36.pyc");
    fs::write(&other, "who knows").unwrap();
    let report = Report::of(&verify(&world, &["--repair"]).exits(0));
    assert_eq!((report.count("valid"), report.count("foreign")), (2, 1));
    assert!(other.exists());
}

/// Root's Python compiles what has changed as soon as it imports it, whatever the ledger says.
#[test]
fn what_python_wrote_anew_after_a_change_is_foreign() {
    let world = published();
    let source = world.write("a.py", "x = 'changed'\n");
    let_the_clock_tick(&world, &source);
    python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, doraise=True)"));
    set_mode(&world.pyc("a.py"), 0o644);
    let report = Report::of(&verify(&world, &[]).exits(0));
    assert_eq!((report.count("valid"), report.count("foreign")), (1, 1));
}
