//! Modification times that do not fit in 64 bits of nanoseconds: before 1677 and after 2262. tmpfs takes them, as do xfs
//! and btrfs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::aid::{is_root, mount, with_mounts};
use crate::oracle;
use crate::support::{PYTHON, World, python};

/// Seconds since 1970: from the edges of what fits, from beyond them, and far away.
const TIMES: [&str; 8] = [
    "9223372036.5",
    "9223372037",
    "9999999999",
    "9999999999.9999999",
    "70000000000",
    "-9223372037",
    "-9999999999.5",
    "-60000000000",
];

/// Sets a modification time by touch(1): the standard library has none of these.
fn touch(path: &Path, time: &str) {
    let status = Command::new("touch").arg("-d").arg(format!("@{time}")).arg(path).status();
    assert!(status.unwrap().success());
}

/// Runs the test in a world whose tree is a tmpfs.
fn in_memory(test: impl Fn(&World) + Send + Sync) {
    if !is_root("times that the usual filesystem does not take") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", world.tree().to_str().unwrap()]);
        test(&world);
    });
}

#[test]
fn bytecode_of_a_source_of_any_age_has_the_header_that_python_gives() {
    in_memory(|world| {
        for time in TIMES {
            let source = world.write("a.py", "x = 1\n");
            touch(&source, time);
            let outcome = world.run_on_tree(&["commit", "-f"]).exits(0).says("compiled 1 ");
            oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
            let verified = world.run_on_tree(&["verify"]).exits(0);
            world.commit().exits(0).says("nothing to do (1 up to date)");
            oracle::imports_from_bytecode(world, PYTHON.as_ref(), &[], "a", &world.pyc("a.py"));
            assert!(verified.stdout.contains("valid 1 "), "{time}\n{}", verified.context());
        }
    });
}

#[test]
fn bytecode_that_python_wrote_for_a_source_of_any_age_is_right_and_adopted() {
    in_memory(|world| {
        for time in TIMES {
            let source = world.write("a.py", "x = 1\n");
            touch(&source, time);
            let _ = fs::remove_dir_all(world.tree().join("__pycache__"));
            let _ = fs::remove_dir_all(world.state());
            python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, doraise=True)"));
            world.run_on_tree(&["verify"]).exits(0).does_not_say("stale");
            world.commit().exits(0).says("adopted 1 ");
        }
    });
}

#[test]
fn a_source_of_any_age_that_moves_by_a_second_is_noticed() {
    in_memory(|world| {
        for (before, after) in [("9999999999", "10000000000"), ("-9999999999", "-9999999998")] {
            let source = world.write("a.py", "x = 1\n");
            touch(&source, before);
            world.run_on_tree(&["commit", "-f"]).exits(0);
            touch(&source, after);
            world.run_on_tree(&["verify"]).exits(1).says("its source has another time");
            let outcome = world.commit().exits(0).says("reused 1 ");
            oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
        }
    });
}
