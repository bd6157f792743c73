//! Directories in which nothing has changed: their bytecode is not looked at one by one.

use std::fs;
use std::path::PathBuf;

use crate::aid::{has_program, let_the_clock_go_on, set_mtime, through};
use crate::oracle;
use crate::support::{PYTHON, World, make_older, write_leftover};

/// As many directories as make it worth while.
const DIRECTORIES: usize = 130;

/// For how many seconds they have to be left alone.
const REST: i64 = 3;

/// A world with a tree of as many directories, two sources in each.
fn tree() -> World {
    let world = World::new();
    for number in 0..DIRECTORIES {
        world.write(format!("p{number}/a.py"), "x = 1\n");
        world.write(format!("p{number}/b.py"), "y = 1\n");
    }
    world
}

/// A world whose tree is compiled and sealed, which takes some seconds of rest; one of its sources.
fn sealed() -> (World, PathBuf) {
    let world = tree();
    seal(&world, 2 * DIRECTORIES, 0);
    let source = world.tree().join("p7/a.py");
    (world, source)
}

/// Compiles the `sources` of the world's tree, with this exit status, and lets it be sealed.
fn seal(world: &World, sources: usize, status: i32) {
    world.commit().exits(status).says(&format!("compiled {sources}"));
    rest(world);
    // They, and the one above them; not one in which a source is refused.
    let number = DIRECTORIES + usize::from(status == 0);
    world.run_on_tree(&["commit", "-v"]).exits(status).says(&format!("sealed {number} directories"));
    let right = format!("({sources} up to date)");
    world.run_on_tree(&["commit", "-v"]).exits(status).says(&right).does_not_say("sealed");
}

/// Waits until every directory of bytecode has been left alone for long enough.
fn rest(world: &World) {
    let last = (0..DIRECTORIES).map(|number| world.tree().join(format!("p{number}/__pycache__")));
    let last = last.max_by_key(|cache| fs::metadata(cache).unwrap().modified().unwrap()).unwrap();
    let_the_clock_go_on(world, &last, REST);
}

#[test]
fn a_directory_that_may_change_once_more_without_a_trace_is_not_sealed() {
    let world = tree();
    world.commit().exits(0).says("compiled 260");
    rest(&world);
    // The clock has not reached its time.
    set_mtime(&world.tree().join("p7/__pycache__"), 4_000_000_000, 0);
    let sealed = format!("sealed {DIRECTORIES} directories");
    world.run_on_tree(&["commit", "-v"]).exits(0).says(&sealed).says("(260 up to date)");
}

#[test]
fn a_directory_with_a_writer_at_work_is_not_sealed() {
    let world = tree();
    world.commit().exits(0).says("compiled 260");
    let temporary = world.pyc("p7/a.py").with_extension("pyc.140221");
    fs::write(&temporary, "half").unwrap();
    rest(&world);
    let sealed = format!("sealed {DIRECTORIES} directories");
    world.run_on_tree(&["commit", "-v"]).exits(0).says(&sealed).says("(260 up to date)");
    // It was killed: nothing in the directory changes any more.
    make_older(&temporary);
    let outcome = world.commit().exits(0).says("removed 1");
    assert!(!temporary.exists(), "{}", outcome.context());
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
    write_leftover(&leftover);
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
    let calls = "trace=openat,openat2,newfstatat,statx,getdents64";
    let wrapper = ["strace", "-f", "-qq", "-y", "-e", calls, "-o", trace.to_str().unwrap()];
    let commit = world.command(&["commit", world.tree().to_str().unwrap()]);
    world.outcome(through(&wrapper, &commit)).exits(0).says("(260 up to date)");
    let text = fs::read_to_string(&trace).unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(".py\""), 2 * DIRECTORIES, "a look at each source");
    assert_eq!(count(".pyc\""), 0);
    assert_eq!(count("\"__pycache__\""), DIRECTORIES, "a look at the times of each");
    let tree = world.tree();
    let is_read = |line: &&str| line.contains("getdents64(") && line.contains(tree.to_str().unwrap());
    assert_eq!(text.lines().find(is_read), None, "no directory is read");
}

#[test]
fn verify_looks_at_every_pyc_of_a_sealed_tree_unless_it_is_quick() {
    let (world, source) = sealed();
    let pyc = world.pyc(&source);
    let whole = fs::read(&pyc).unwrap();
    fs::write(&pyc, &whole[..whole.len() - 1]).unwrap();
    world.commit().exits(0).says("nothing to do");
    let quick = ["verify", "--quick", "--python", PYTHON, "-f"];
    world.run_on_tree(&quick[..4]).exits(0).says("valid 260 in");
    world.run_on_tree(&quick).exits(1).says("altered").says("valid 259,");
    world.run_on_tree(&["verify", "--repair", "--python", PYTHON]).exits(0).says("repaired 1");
    assert_eq!(fs::read(&pyc).unwrap(), whole);
}

#[test]
fn a_quick_look_at_a_sealed_tree_finds_whatever_changes_a_name_or_a_source() {
    let world = tree();
    let source = world.tree().join("p7/a.py");
    // Beside what is right, in directories that are sealed all the same: bytecode of nothing, and what was published at
    // another level and is gone.
    let orphan = world.pyc(source.with_file_name("gone.py"));
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "").unwrap();
    let optimized = world.tree().join("p8/a.py");
    world.run(&["commit", "-O", "1", optimized.to_str().unwrap()]).exits(0).says("compiled 1 ");
    fs::remove_file(world.pyc(&optimized).with_extension("opt-1.pyc")).unwrap();
    seal(&world, 2 * DIRECTORIES, 0);
    let quick = |class: &str, count: usize| {
        let outcome = world.run_on_tree(&["verify", "--quick", "-v", "--python", PYTHON]);
        outcome.says(&format!("{class} {count}")).says("valid ")
    };
    quick("orphan", 1).exits(1).says("missing 1");
    fs::remove_file(&orphan).unwrap();
    world.run(&["commit", "-O", "1", optimized.to_str().unwrap()]).exits(0).says("compiled 1 ");
    // A source that is another one, one that comes, one that goes; a pyc that goes.
    fs::write(&source, "x = 3\n").unwrap();
    quick("stale", 1).exits(1);
    world.commit().exits(0);
    let new = source.with_file_name("c.py");
    fs::write(&new, "z = 1\n").unwrap();
    quick("missing", 1).exits(1);
    fs::remove_file(&new).unwrap();
    fs::rename(&source, source.with_extension("txt")).unwrap();
    quick("orphan", 1).exits(1);
    fs::rename(source.with_extension("txt"), &source).unwrap();
    fs::remove_file(world.pyc(world.tree().join("p9/a.py"))).unwrap();
    quick("missing", 1).exits(1);
}

#[test]
fn a_sealed_tree_is_looked_into_again_under_other_terms() {
    let (world, _) = sealed();
    world.run_on_tree(&["commit", "-O", "1"]).exits(0).says("compiled 260 ");
    world.run_on_tree(&["commit", "-f"]).exits(0).says("compiled 260 ");
    let excluding = world.beside("excluding.conf");
    fs::write(&excluding, "exclude = ['/p7/']\n").unwrap();
    world
        .run_on_tree(&["--config", excluding.to_str().unwrap(), "commit"])
        .exits(0)
        .says("nothing to do (258 up to date)");
}

#[test]
fn a_source_that_is_refused_is_said_in_a_sealed_tree_too() {
    let world = tree();
    let bad = world.write("p7/bad.py", "x =\n");
    let bad = bad.to_str().unwrap();
    seal(&world, 2 * DIRECTORIES, 1);
    world.commit().exits(1).says(bad);
    world.write("p7/bad.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ").does_not_say(bad);
}

#[test]
fn directories_that_come_and_go_are_found_in_a_sealed_tree() {
    let (world, source) = sealed();
    // New ones, two levels deep, in one that is sealed.
    world.write("p7/new/deeper/a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    world.commit().exits(0).says("nothing to do (261 up to date)");
    fs::rename(source.with_file_name("new"), world.tree().join("moved")).unwrap();
    world.commit().exits(0);
    world.commit().exits(0).says("nothing to do (261 up to date)");
    // One that is gone without anybody having removed the bytecode; one that is a symlink elsewhere now.
    fs::remove_dir_all(world.tree().join("moved")).unwrap();
    let elsewhere = world.beside("elsewhere");
    fs::rename(world.tree().join("p8"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, world.tree().join("p8")).unwrap();
    world.commit().exits(0);
    world.commit().exits(0).says("nothing to do (258 up to date)");
    assert!(world.pyc(elsewhere.join("a.py")).exists(), "nobody is led out of the tree");
}

#[test]
fn a_symlink_that_leads_somewhere_again_is_a_source_in_a_sealed_tree() {
    let world = World::new();
    let aim = world.beside("aim.py");
    for number in 0..DIRECTORIES {
        let link = world.write(format!("p{number}/a.py"), "x = 1\n").with_file_name("b.py");
        std::os::unix::fs::symlink(&aim, link).unwrap();
    }
    seal(&world, DIRECTORIES, 0);
    fs::write(&aim, "y = 1\n").unwrap();
    world.commit().exits(0).says(&format!("compiled {DIRECTORIES} "));
    fs::write(&aim, "y = 22\n").unwrap();
    world.commit().exits(0).says(&format!("compiled {DIRECTORIES} "));
}
