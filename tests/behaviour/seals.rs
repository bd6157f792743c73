//! Directories in which nothing has changed: their bytecode is not looked at one by one.

use std::fs;
use std::path::PathBuf;

use crate::aid::{has_program, let_the_clock_go_on, set_mtime, through};
use crate::oracle;
use crate::support::{PYTHON, World};

/// As many directories as make it worth while.
const DIRECTORIES: usize = 130;

/// For how many seconds they have to be left alone.
const REST: i64 = 3;

/// A world whose tree is compiled and sealed, which takes some seconds of rest; one of its sources.
fn sealed() -> (World, PathBuf) {
    let world = World::new();
    for number in 0..DIRECTORIES {
        world.write(format!("p{number}/a.py"), "x = 1\n");
        world.write(format!("p{number}/b.py"), "y = 1\n");
    }
    world.commit().exits(0).says("compiled 260 ");
    let last = (0..DIRECTORIES).map(|number| world.tree().join(format!("p{number}/__pycache__")));
    let last = last.max_by_key(|cache| fs::metadata(cache).unwrap().modified().unwrap()).unwrap();
    let_the_clock_go_on(&world, &last, REST);
    world.run_on_tree(&["commit", "-v"]).exits(0).says(&format!("sealed {DIRECTORIES} directories"));
    world.run_on_tree(&["commit", "-v"]).exits(0).says("(260 up to date)").does_not_say("sealed");
    let source = world.tree().join("p7/a.py");
    (world, source)
}

#[test]
fn whatever_changes_is_seen_in_a_sealed_tree() {
    let (world, source) = sealed();
    let pyc = world.pyc(&source);
    let is_right = || {
        let outcome = world.commit().exits(0).says("nothing to do (260 up to date)");
        oracle::is_what_py_compile_writes(
            PYTHON.as_ref(),
            "timestamp",
            0,
            std::slice::from_ref(&source),
            outcome.context(),
        );
    };
    // A source in place, with the size and the time that it had.
    let before = fs::metadata(&source).unwrap().modified().unwrap();
    fs::write(&source, "x = 2\n").unwrap();
    fs::File::options().write(true).open(&source).unwrap().set_modified(before).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    is_right();
    // A source in place, with another time.
    set_mtime(&source, 1_000_000_000, 0);
    world.commit().exits(0).says("reused 1 ");
    is_right();
    // A source that comes, one that goes.
    let other = source.with_file_name("c.py");
    fs::write(&other, "z = 1\n").unwrap();
    world.commit().exits(0).says("compiled 1 ");
    fs::remove_file(&other).unwrap();
    world.commit().exits(0).says("removed 1 ");
    is_right();
    // In another directory, which is still sealed: a pyc that is gone, one that is replaced, a leftover.
    let other = world.tree().join("p8/a.py");
    let pyc_of_other = world.pyc(&other);
    fs::remove_file(&pyc_of_other).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    let third = world.pyc(world.tree().join("p9/a.py"));
    let whole = fs::read(&third).unwrap();
    fs::write(third.with_extension("new"), &whole[..whole.len() / 2]).unwrap();
    fs::rename(third.with_extension("new"), &third).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    assert_eq!(fs::read(&third).unwrap(), whole);
    let leftover = world.pyc(world.tree().join("p10/a.py")).with_extension("pyc.123456");
    fs::write(&leftover, "").unwrap();
    world.commit().exits(0).says("removed 1 ");
    assert!(!leftover.exists() && pyc.exists());
    is_right();
}

#[test]
fn one_system_call_a_source_and_none_a_pyc() {
    if !has_program("strace", "counting system calls") {
        return;
    }
    let (world, _) = sealed();
    let trace = world.beside("trace");
    let calls = "trace=openat,openat2,newfstatat,statx";
    let wrapper = ["strace", "-f", "-qq", "-e", calls, "-o", trace.to_str().unwrap()];
    let commit = world.command(&["commit", world.tree().to_str().unwrap()]);
    world.outcome(through(&wrapper, &commit)).exits(0).says("(260 up to date)");
    let text = fs::read_to_string(&trace).unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(".py\""), 2 * DIRECTORIES, "a look at each source");
    assert_eq!(count(".pyc\""), 0);
    assert_eq!(count("\"__pycache__\""), DIRECTORIES, "a look at each seal");
}

#[test]
fn verify_looks_at_every_pyc_of_a_sealed_tree() {
    let (world, source) = sealed();
    let pyc = world.pyc(&source);
    let whole = fs::read(&pyc).unwrap();
    fs::write(&pyc, &whole[..whole.len() - 1]).unwrap();
    world.commit().exits(0).says("nothing to do");
    world.run_on_tree(&["verify", "--quick"]).exits(1).says("altered");
    world.run_on_tree(&["verify", "--repair"]).exits(0).says("repaired");
    assert_eq!(fs::read(&pyc).unwrap(), whole);
}
