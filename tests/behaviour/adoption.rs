//! Bytecode that something else wrote: taken over where it is beyond doubt, else compiled.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use crate::aid::{Damage, NOBODY, is_root, let_the_clock_tick, set_mode, set_mtime, stamp};
use crate::oracle;
use crate::support::{PYTHON, World, python};

/// A world whose only source has bytecode that `py_compile` wrote.
fn written_by_py_compile() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let_the_clock_tick(&world, &source);
    py_compile(&format!("{source:?}, doraise=True"));
    let pyc = world.pyc("a.py");
    assert!(pyc.exists());
    // As after any installer that does not run with a strange umask.
    set_mode(&pyc, 0o644);
    (world, source, pyc)
}

fn py_compile(arguments: &str) {
    let program = format!(
        "import py_compile; T, C, U = list(py_compile.PycInvalidationMode)
mode = py_compile.PycInvalidationMode
py_compile.compile({arguments}{})",
        if arguments.contains("invalidation_mode") { "" } else { ", invalidation_mode=mode.TIMESTAMP" }
    );
    python::run(PYTHON, &program);
}

/// The bytecode is compiled, and is then what `py_compile` writes.
#[track_caller]
fn is_compiled(world: &World, source: PathBuf) {
    let outcome = world.commit().exits(0).says("compiled 1 ").does_not_say("adopted");
    oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn what_py_compile_wrote_is_taken_over() {
    let (world, _, pyc) = written_by_py_compile();
    let before = stamp(&pyc);
    let outcome = world.commit().exits(0).says("adopted 1 ").does_not_say("compiled");
    assert_eq!(stamp(&pyc), before, "{}", outcome.context());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn what_compileall_wrote_is_taken_over() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let source = world.write("package/b.py", "'Docs.'\ndef f(): return {1, 2, 3}\n");
    let_the_clock_tick(&world, &source);
    let program = format!(
        "import compileall, sys
for level in 0, 1, 2: assert compileall.compile_dir({:?}, quiet=2, optimize=level)",
        world.tree()
    );
    python::run(PYTHON, &program);
    let levels = ["commit", "-O", "0", "-O", "1", "-O", "2"];
    let outcome = world.run_on_tree(&levels).exits(0).says("adopted 6 ").does_not_say("compiled");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM ledger"), 6, "{}", outcome.context());
}

#[test]
fn hash_based_bytecode_is_taken_over_where_it_is_asked_for() {
    let (world, source, pyc) = written_by_py_compile();
    py_compile(&format!("{source:?}, doraise=True, invalidation_mode=mode.CHECKED_HASH"));
    set_mode(&pyc, 0o644);
    let checked = ["commit", "--invalidation", "checked-hash"];
    world.run_on_tree(&checked).exits(0).says("adopted 1 ").does_not_say("compiled");
    // What is new is not made of it: nobody knows which release compiled it.
    is_compiled(&world, source);
}

#[test]
fn damaged_bytecode_is_not_taken_over() {
    let damages: [Damage; 7] = [
        |whole| whole[..whole.len() - 1].to_vec(),
        |whole| whole[..16].to_vec(),
        |whole| whole[..7].to_vec(),
        |_| Vec::new(),
        |whole| [whole, &[0]].concat(),
        |whole| [whole, whole].concat(),
        |whole| [&whole[..16], &vec![0; whole.len() - 16]].concat(),
    ];
    for damage in damages {
        let (world, source, pyc) = written_by_py_compile();
        let whole = fs::read(&pyc).unwrap();
        fs::write(&pyc, damage(&whole)).unwrap();
        is_compiled(&world, source);
    }
}

#[test]
fn bytecode_with_another_header_is_not_taken_over() {
    for (at, bits) in [(0, 1), (4, 2), (8, 1), (12, 1)] {
        let (world, source, pyc) = written_by_py_compile();
        let mut bytes = fs::read(&pyc).unwrap();
        bytes[at] ^= bits;
        fs::write(&pyc, bytes).unwrap();
        is_compiled(&world, source);
    }
}

#[test]
fn bytecode_with_another_file_name_inside_is_not_taken_over() {
    let (world, source, pyc) = written_by_py_compile();
    py_compile(&format!("{source:?}, dfile='/build/a.py', doraise=True"));
    set_mode(&pyc, 0o644);
    is_compiled(&world, source);
}

#[test]
fn bytecode_that_is_no_code_is_not_taken_over() {
    let (world, source, pyc) = written_by_py_compile();
    let header = fs::read(&pyc).unwrap()[..16].to_vec();
    fs::write(&pyc, [&header[..], b"N"].concat()).unwrap();
    is_compiled(&world, source);
}

#[test]
fn bytecode_older_than_its_source_is_not_taken_over_though_time_and_size_agree() {
    let (world, source, pyc) = written_by_py_compile();
    set_mtime(&source, 1_600_000_000, 0);
    py_compile(&format!("{source:?}, doraise=True"));
    set_mode(&pyc, 0o644);
    // An installer that clamps times puts another content in its place.
    let other = world.write("other", "x = 2\n");
    set_mtime(&other, 1_600_000_000, 0);
    fs::rename(other, &source).unwrap();
    is_compiled(&world, source);
    assert_eq!(oracle::value(&pyc, "x"), "2");
}

#[test]
fn bytecode_with_other_permissions_is_not_taken_over() {
    for mode in [0o600, 0o666, 0o755, 0o4644] {
        let (world, source, pyc) = written_by_py_compile();
        set_mode(&pyc, mode);
        is_compiled(&world, source);
        assert_eq!(crate::aid::mode(&pyc), 0o644);
    }
}

#[test]
fn bytecode_of_a_stranger_is_not_taken_over() {
    if !is_root("files of other users") {
        return;
    }
    let (world, source, pyc) = written_by_py_compile();
    chown(&pyc, Some(NOBODY), None).unwrap();
    is_compiled(&world, source);
}

#[test]
fn bytecode_of_the_sources_owner_is_taken_over() {
    if !is_root("files of other users") {
        return;
    }
    let (world, source, pyc) = written_by_py_compile();
    chown(&source, Some(NOBODY), None).unwrap();
    let_the_clock_tick(&world, &source);
    chown(&pyc, Some(NOBODY), None).unwrap();
    world.commit().exits(0).says("adopted 1 ").does_not_say("compiled");
}

#[test]
fn bytecode_that_is_a_symlink_to_good_bytecode_is_not_taken_over() {
    let (world, source, pyc) = written_by_py_compile();
    let elsewhere = world.beside("elsewhere.pyc");
    fs::rename(&pyc, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &pyc).unwrap();
    is_compiled(&world, source);
    assert!(fs::symlink_metadata(&pyc).unwrap().is_file());
}

#[test]
fn force_takes_nothing_over() {
    let (world, ..) = written_by_py_compile();
    world.run_on_tree(&["commit", "-f"]).exits(0).says("compiled 1 ").does_not_say("adopted");
}
