//! What is compiled again and what is not.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::aid::{Damage, is_root, let_the_clock_tick, mount, set_mtime, stamp, with_mounts};
use crate::oracle;
use crate::support::{PYTHON, World};

const UP_TO_DATE: &str = "nothing to do (1 up to date)";

/// A world with one source that is compiled: its path and that of its bytecode.
fn compiled() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    set_mtime(&source, 1_600_000_000, 5);
    world.commit().exits(0).says("compiled 1 ");
    let pyc = world.pyc("a.py");
    (world, source, pyc)
}

#[test]
fn an_unchanged_tree_is_left_as_it_is() {
    let (world, _, pyc) = compiled();
    let before = stamp(&pyc);
    world.commit().exits(0).says(UP_TO_DATE);
    assert_eq!(stamp(&pyc), before);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), 1);
}

/// Access times of the sources and the bytecode of a tree.
fn access_times(world: &World) -> Vec<(String, i64, i64)> {
    let times = |name: &String| {
        let path = world.tree().join(name);
        let facts = fs::metadata(&path).unwrap();
        facts.is_file().then(|| (name.clone(), facts.atime(), facts.atime_nsec()))
    };
    world.tree_files().iter().filter_map(times).collect()
}

#[test]
fn an_unchanged_tree_is_not_read() {
    if !is_root("access times") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        mount(&["-t", "tmpfs", "-o", "strictatime,mode=755", "none", world.tree().to_str().unwrap()]);
        world.write("a.py", "x = 1\n");
        world.write("package/b.py", "y = 2\n");
        world.run_on_tree(&["commit", "-O", "0", "-O", "1"]).exits(0).says("compiled 4 ");
        let before = access_times(&world);
        assert_eq!(before.len(), 6);
        // Access times come from the same clock; the last file that was read was read before this one was made.
        let_the_clock_tick(&world, &world.write("behind", ""));
        fs::remove_file(world.tree().join("behind")).unwrap();
        let outcome = world.run_on_tree(&["commit", "-O", "0", "-O", "1"]).exits(0).says("nothing to do");
        assert_eq!(access_times(&world), before, "{}", outcome.context());
        fs::read(world.tree().join("a.py")).unwrap();
        assert_ne!(access_times(&world), before, "access times are not kept here");
    });
}

#[test]
fn a_source_with_new_content_is_compiled() {
    let (world, source, pyc) = compiled();
    fs::write(source, "x = 'new'\n").unwrap();
    world.commit().exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&pyc, "x"), "'new'");
}

#[test]
fn a_touched_source_has_its_new_time_in_its_bytecode() {
    let (world, source, pyc) = compiled();
    set_mtime(&source, 1_700_000_000, 0);
    let outcome = world.commit().exits(0);
    assert_eq!(oracle::header_mtime(&pyc), 1_700_000_000, "{}", outcome.context());
    oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
    world.commit().exits(0).says(UP_TO_DATE);
}

#[test]
fn a_source_that_is_touched_within_its_second_needs_no_compiler() {
    let (world, source, pyc) = compiled();
    let before = stamp(&pyc);
    set_mtime(&source, 1_600_000_000, 6);
    let outcome = world.commit().exits(0).does_not_say("compiled");
    assert_eq!(stamp(&pyc), before, "{}", outcome.context());
    world.commit().exits(0).says(UP_TO_DATE);
}

#[test]
fn a_source_with_the_same_size_and_time_and_other_content_is_compiled() {
    // By replacing it, as dpkg does, and in place.
    for replace in [true, false] {
        let (world, source, pyc) = compiled();
        if replace {
            let other = world.write("other", "x = 2\n");
            set_mtime(&other, 1_600_000_000, 5);
            fs::rename(other, &source).unwrap();
        } else {
            fs::write(&source, "x = 2\n").unwrap();
            set_mtime(&source, 1_600_000_000, 5);
        }
        world.commit().exits(0).says("compiled 1 ");
        assert_eq!(oracle::value(&pyc, "x"), "2", "replaced: {replace}");
    }
}

#[test]
fn times_outside_the_32_bits_of_a_header_are_as_python_has_them() {
    for seconds in [0, 1, (1 << 31) + 5, (1 << 32) - 1] {
        let world = World::new();
        let source = world.write("a.py", "x = 1\n");
        set_mtime(&source, seconds, 999_999_999);
        let outcome = world.commit().exits(0).says("compiled 1 ");
        oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
        world.commit().exits(0).says(UP_TO_DATE);
    }
}

#[test]
fn bytecode_that_is_gone_is_made_again() {
    let (world, _, pyc) = compiled();
    fs::remove_file(&pyc).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&pyc, "x"), "1");
    fs::remove_dir_all(world.tree().join("__pycache__")).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    assert!(pyc.exists());
}

#[test]
fn bytecode_that_was_damaged_is_made_again() {
    let damages: [Damage; 5] = [
        |whole| whole[..whole.len() - 1].to_vec(),
        |whole| whole[..16].to_vec(),
        |_| Vec::new(),
        |whole| [&whole[..16], &vec![0; whole.len() - 16]].concat(),
        |whole| [whole, b"N"].concat(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let (world, _, pyc) = compiled();
        let whole = fs::read(&pyc).unwrap();
        fs::write(&pyc, damage(&whole)).unwrap();
        let outcome = world.commit().exits(0).says("compiled 1 ");
        assert_eq!(fs::read(&pyc).unwrap(), whole, "damage {number}\n{}", outcome.context());
    }
}

#[test]
fn bytecode_that_was_replaced_by_that_of_another_content_is_made_again() {
    let (world, source, pyc) = compiled();
    let other = World::new();
    let foreign = other.write("a.py", "x = 2\n");
    set_mtime(&foreign, 1_600_000_000, 5);
    // Whole, with the right header and the right file name inside.
    let program = format!(
        "import py_compile; py_compile.compile({foreign:?}, {pyc:?}, {source:?}, True,
         invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)"
    );
    crate::support::python::run(PYTHON, &program);
    let outcome = world.commit().exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&pyc, "x"), "1", "{}", outcome.context());
}

#[test]
fn bytecode_that_was_written_again_with_the_same_content_is_taken_as_it_is() {
    let (world, _, pyc) = compiled();
    let bytes = fs::read(&pyc).unwrap();
    fs::remove_file(&pyc).unwrap();
    fs::write(&pyc, bytes).unwrap();
    let before = stamp(&pyc);
    let outcome = world.commit().exits(0).says("adopted 1 ");
    assert_eq!(stamp(&pyc), before, "{}", outcome.context());
    world.commit().exits(0).says(UP_TO_DATE);
}

#[test]
fn levels_are_compiled_once() {
    let (world, ..) = compiled();
    let levels = ["commit", "-O", "1", "-O", "2"];
    world.run_on_tree(&levels).exits(0).says("compiled 2 ");
    world.run_on_tree(&levels).exits(0).says("nothing to do (2 up to date)");
    world.commit().exits(0).says(UP_TO_DATE);
}

#[test]
fn force_compiles_what_is_current() {
    let (world, _, pyc) = compiled();
    let (before, bytes) = (stamp(&pyc), fs::read(&pyc).unwrap());
    world.run_on_tree(&["commit", "-f"]).exits(0).says("compiled 1 ");
    assert_ne!(stamp(&pyc), before);
    assert_eq!(fs::read(&pyc).unwrap(), bytes);
}

#[test]
fn a_large_source_is_compiled_once_like_a_small_one() {
    let world = World::new();
    let lines: String = (0..60_000).map(|n| format!("n{n} = ({n}, 'text {n}')\n")).collect();
    let source = world.write("large.py", lines);
    world.write("small.py", "x = 1\n");
    let outcome = world.commit().exits(0).says("compiled 2 ");
    oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
    assert!(File::open(world.pyc("large.py")).unwrap().metadata().unwrap().len() > 1 << 20);
    world.commit().exits(0).says("nothing to do (2 up to date)");
}
