//! Sources that are no ordinary files, or have no ordinary content; places that bytecode cannot go to.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode};

use crate::aid::{as_user, mode, names, set_mode, stamp};
use crate::oracle;
use crate::support::World;

#[test]
fn a_symlinked_source_is_compiled_under_its_own_name() {
    let world = World::new();
    let real = world.beside("real.py");
    fs::write(&real, "x = 42\n").unwrap();
    let link = world.tree().join("link.py");
    symlink(&real, &link).unwrap();
    world.commit().exits(0).says("compiled 1 ");
    let pyc = world.pyc("link.py");
    assert_eq!(oracle::value(&pyc, "x"), "42");
    assert_eq!(oracle::filename(&pyc), link.to_str().unwrap());
    assert!(!world.beside("__pycache__").exists());
    world.commit().exits(0).says("nothing to do (1 up to date)");
    fs::write(&real, "x = 43 # longer\n").unwrap();
    world.commit().exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&pyc, "x"), "43");
}

#[test]
fn what_is_named_like_a_source_and_is_none_is_passed_over() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    symlink("/no/such/file", world.tree().join("dangling.py")).unwrap();
    rustix::fs::mkfifoat(CWD, world.tree().join("fifo.py"), Mode::from_raw_mode(0o644)).unwrap();
    let _socket = UnixListener::bind(world.tree().join("socket.py")).unwrap();
    symlink("/dev/null", world.tree().join("device.py")).unwrap();
    world.write("directory.py/inner.py", "x = 1\n");
    symlink("directory.py", world.tree().join("linked_directory.py")).unwrap();
    let outcome = world.commit().exits(0).says("compiled 2 ");
    assert!(world.pyc("good.py").exists() && world.pyc("directory.py/inner.py").exists());
    assert_eq!(names(&world.tree().join("__pycache__")).len(), 1, "{}", outcome.context());
}

#[test]
fn a_dangling_symlink_is_no_failure() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    symlink("/no/such/file", world.tree().join("dangling.py")).unwrap();
    world.commit().exits(0).says("compiled 1 ");
}

#[test]
fn a_symlink_to_itself_is_one_problem_and_the_others_go_on() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    symlink("loop.py", world.tree().join("loop.py")).unwrap();
    world.commit().exits(1).says("compiled 1").says("loop.py': Too many levels of symbolic links");
    assert!(world.pyc("good.py").exists());
}

#[test]
fn a_source_that_may_not_be_read_fails_alone_and_is_tried_again() {
    let world = World::new();
    let secret = world.write("secret.py", "x = 1\n");
    world.write("good.py", "x = 1\n");
    set_mode(&secret, 0);
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    world
        .outcome(as_user(&world, &command))
        .exits(1)
        .says("compiled 1, failed 1")
        .says("tree/secret.py: Permission denied");
    set_mode(&secret, 0o644);
    world.outcome(as_user(&world, &command)).exits(0).says("compiled 1 (1 up to date)");
}

#[test]
fn a_directory_that_may_not_be_read_keeps_its_bytecode() {
    let world = World::new();
    world.write("closed/a.py", "x = 1\n");
    world.write("good.py", "x = 1\n");
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    world.outcome(as_user(&world, &command)).exits(0).says("compiled 2 ");
    let closed = world.tree().join("closed");
    set_mode(&closed, 0);
    let outcome = world.outcome(as_user(&world, &command)).exits(1).says("closed': Permission denied");
    set_mode(&closed, 0o755);
    assert!(world.pyc("closed/a.py").exists(), "{}", outcome.context());
    world.outcome(as_user(&world, &command)).exits(0).says("nothing to do (2 up to date)");
}

#[test]
fn a_directory_that_may_not_be_written_fails_with_its_sources_alone() {
    let world = World::new();
    world.write("closed/a.py", "x = 1\n");
    world.write("good.py", "x = 1\n");
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    set_mode(&world.tree().join("closed"), 0o555);
    let outcome = world.outcome(as_user(&world, &command));
    set_mode(&world.tree().join("closed"), 0o755);
    outcome
        .exits(1)
        .says("compiled 1, failed 1")
        .says("closed/a.py: cannot write to '")
        .says("closed': Permission denied");
}

#[test]
fn a_pyc_that_is_a_symlink_is_replaced_and_its_target_left_alone() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let victim = world.beside("victim");
    fs::write(&victim, "precious").unwrap();
    let before = stamp(&victim);
    fs::create_dir(world.tree().join("__pycache__")).unwrap();
    symlink(&victim, world.pyc("a.py")).unwrap();
    let outcome = world.commit().exits(0).says("compiled 1 ");
    let kind = fs::symlink_metadata(world.pyc("a.py")).unwrap().file_type();
    assert!(kind.is_file(), "{}", outcome.context());
    assert_eq!(stamp(&victim), before, "{}", outcome.context());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_pycache_that_is_a_symlink_is_not_written_through() {
    let world = World::new();
    world.write("linked/a.py", "x = 1\n");
    world.write("good.py", "x = 1\n");
    let elsewhere = world.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let cache = world.tree().join("linked/__pycache__");
    symlink(&elsewhere, &cache).unwrap();
    let complaint = format!("a.py: cannot write to '{}': Not a directory", cache.display());
    let outcome = world.commit().exits(1).says("compiled 1, failed 1").says(&complaint);
    assert!(names(&elsewhere).is_empty(), "{}", outcome.context());
    fs::remove_file(&cache).unwrap();
    world.commit().exits(0).says("compiled 1 (1 up to date)");
}

#[test]
fn a_pycache_that_is_a_file_fails_its_sources_alone() {
    let world = World::new();
    world.write("occupied/a.py", "x = 1\n");
    world.write("good.py", "x = 1\n");
    let cache = world.write("occupied/__pycache__", "a file");
    world
        .commit()
        .exits(1)
        .says("compiled 1, failed 1")
        .says(&format!("cannot write to '{}': Not a directory", cache.display()));
    assert_eq!(fs::read(cache).unwrap(), b"a file");
}

#[test]
fn nothing_is_removed_through_a_pycache_that_is_a_symlink() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    let (cache, elsewhere) = (world.tree().join("__pycache__"), world.beside("elsewhere"));
    fs::rename(&cache, &elsewhere).unwrap();
    symlink(&elsewhere, &cache).unwrap();
    world.run_on_tree(&["clean"]).says("pyc-txn: ");
    fs::remove_file(source).unwrap();
    let outcome = world.commit();
    assert_eq!(names(&elsewhere).len(), 1, "{}", outcome.context());
}

#[test]
fn content_that_python_refuses_is_a_failure_of_that_source_only() {
    let world = World::new();
    world.write("nul.py", b"x = 1\0\n");
    world.write("nuls.py", vec![0; 70_000]);
    world.write("cookie.py", "# -*- coding: no-such-coding -*-\nx = 1\n");
    world.write("encoding.py", b"x = '\xff'\n");
    world.write("nested.py", format!("x = {}1{}\n", "(".repeat(5000), ")".repeat(5000)));
    world.write("indented.py", "if 1:\n\tx = 1\n        y = 2\n");
    world.write("good.py", "x = 1\n");
    let outcome = world.commit().exits(1).says("compiled 1, failed 6");
    for (source, complaint) in [
        ("nul.py", "null bytes"),
        ("nuls.py", "null bytes"),
        ("cookie.py", "SyntaxError: "),
        ("encoding.py", "SyntaxError: "),
        ("nested.py", ": "),
        ("indented.py", ":3: TabError"),
    ] {
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        let found =
            lines.iter().any(|line| line.contains(&format!("/{source}:")) && line.contains(complaint));
        assert!(found, "{source}\n{}", outcome.context());
    }
    assert!(world.pyc("good.py").exists());
}

#[test]
fn every_content_that_python_accepts_is_compiled() {
    let world = World::new();
    world.write("empty.py", "");
    world.write("latin.py", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n");
    world.write("bom.py", b"\xef\xbb\xbfx = '\xc3\xa9'\n");
    world.write("crlf.py", "x = 1\r\nif x:\r\n    x = 2\r\n");
    world.write("no_newline.py", "x = 3");
    world.write("koi8.py", b"# coding: koi8-r\nx = '\xc1'\n");
    world.write("long_line.py", format!("x = '{}'\n", "y".repeat(1 << 20)));
    world.write("many_lines.py", "x = 1\n".repeat(20_000));
    world.write("deep.py", format!("x = {}0{}\n", "[".repeat(80), "]".repeat(80)));
    world.commit().exits(0).says("compiled 9 ");
    for (source, value) in [
        ("latin.py", r"'\xe9'"),
        ("bom.py", r"'\xe9'"),
        ("crlf.py", "2"),
        ("no_newline.py", "3"),
        ("koi8.py", r"'\u0430'"),
        ("many_lines.py", "1"),
    ] {
        assert_eq!(oracle::value(&world.pyc(source), "x"), value, "{source}");
    }
    assert_eq!(mode(&world.pyc("empty.py")), 0o644);
    world.commit().exits(0).says("nothing to do (9 up to date)");
}

#[test]
fn a_source_that_cannot_be_examined_keeps_its_bytecode() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    fs::remove_file(&source).unwrap();
    symlink("a.py", &source).unwrap();
    let outcome = world.commit().exits(1).says("Too many levels of symbolic links");
    assert!(world.pyc("a.py").exists(), "{}", outcome.context());
}
