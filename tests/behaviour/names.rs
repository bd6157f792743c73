//! Names that are no ordinary names.

use std::fs;
use std::path::PathBuf;

use crate::aid::name;
use crate::oracle;
use crate::support::{World, python};

/// The path of the bytecode that [`crate::support::PYTHON`] has for a source, whose stem is given.
fn cached(world: &World, stem: &[u8]) -> PathBuf {
    let file = [stem, b".", python::cache_tag().as_bytes(), b".pyc"].concat();
    world.tree().join("__pycache__").join(name(&file))
}

#[test]
fn any_bytes_that_a_file_name_can_have_are_compiled() {
    let world = World::new();
    let stems: [&[u8]; 8] = [
        b"new\nline",
        b"not\xff\xfeutf8",
        b"-f",
        b"a[1]",
        b"*",
        b"with space",
        "caf\u{e9}".as_bytes(),
        b"a.b.c",
    ];
    for stem in stems {
        world.write(name(&[stem, b".py"].concat()), "x = 1\n");
    }
    let outcome = world.commit().exits(0).says("compiled 8 ");
    for stem in stems {
        let pyc = cached(&world, stem);
        assert!(pyc.exists(), "{pyc:?}\n{}", outcome.context());
        let inside = oracle::filename(&pyc);
        let file = [stem, b".py"].concat().escape_ascii().to_string();
        assert!(inside.ends_with(&format!("/tree/{file}")), "{inside:?} is not of {file:?}");
    }
    world.commit().exits(0).says("nothing to do (8 up to date)");
}

#[test]
fn a_directory_may_be_named_with_any_bytes() {
    let world = World::new();
    let directory = world.tree().join(name(b"\xffdir\n.py"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.py"), "x = 1\n").unwrap();
    world.commit().exits(0).says("compiled 1 ");
    world.commit().exits(0).says("nothing to do (1 up to date)");
    fs::remove_dir_all(&directory).unwrap();
    world.commit().exits(0).says("removed 1");
}

#[test]
fn a_message_stays_on_one_line_whatever_the_name() {
    let world = World::new();
    world.write(name(b"bad\n\xff.py"), "= =\n");
    let outcome = world.commit().exits(1).says(r"tree/bad\n\xff.py:1: SyntaxError");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
}

#[test]
fn a_file_named_dot_py_is_no_source() {
    let world = World::new();
    let nameless = world.write(".py", "x = 1\n");
    let other = world.write("py.py", "x = 2\n");
    world.commit().exits(0).says("compiled 1 ");
    assert_eq!(oracle::filename(&cached(&world, b"py")), other.to_str().unwrap());
    world.commit().exits(0).says("nothing to do (1 up to date)");
    world.run(&["commit", nameless.to_str().unwrap()]).exits(1).says("is no Python source and no directory");
}

#[test]
fn a_source_whose_bytecode_would_have_too_long_a_name_fails_alone() {
    let world = World::new();
    let long = format!("{}.py", "x".repeat(252));
    world.write(&long, "x = 1\n");
    world.write("good.py", "x = 1\n");
    world
        .commit()
        .exits(1)
        .says("compiled 1, failed 1")
        .says(&format!("{long}: the name of its bytecode would be too long"));
    assert!(world.pyc("good.py").exists());
    world.commit().exits(1).says("failed 1 (1 up to date)");
}

#[test]
fn a_name_that_is_too_long_only_with_a_level_fails_at_that_level_only() {
    let world = World::new();
    let room = 255 - ".pyc".len() - python::cache_tag().len() - 1;
    let source = world.write(format!("{}.py", "x".repeat(room)), "x = 1\n");
    world.run_on_tree(&["commit", "-O", "0", "-O", "1"]).exits(1).says("compiled 1, failed 1");
    assert!(world.pyc(source).exists());
}

#[test]
fn a_name_with_a_leading_dash_can_be_given_after_two_dashes() {
    let world = World::new();
    world.write("-f.py", "x = 1\n");
    world.write("other.py", "x = 1\n");
    let mut command = world.command(&["commit"]);
    command.args(["--", "-f.py"]).current_dir(world.tree());
    world.outcome(command).exits(0).says("compiled 1 ");
    assert!(world.pyc("-f.py").exists() && !world.pyc("other.py").exists());
}

#[test]
fn cleaning_one_source_leaves_those_with_similar_names() {
    for (one, other) in [
        ("foo.py", "foo.bar.py"),
        ("foo.bar.py", "foo.py"),
        ("a[1].py", "a1.py"),
        ("a.py", "aa.py"),
        ("?.py", "b.py"),
    ] {
        let world = World::new();
        let source = world.write(one, "x = 1\n");
        world.write(other, "x = 1\n");
        world.run_on_tree(&["commit", "-O", "0", "-O", "2"]).exits(0).says("compiled 4 ");
        let outcome = world.run(&["clean", source.to_str().unwrap()]).exits(0).says("removed 2");
        assert!(!world.pyc(one).exists(), "{one}\n{}", outcome.context());
        assert!(world.pyc(other).exists(), "{one} and {other}\n{}", outcome.context());
        world.commit().exits(0).says("compiled 1 (1 up to date)");
    }
}

#[test]
fn a_source_in_a_deeply_nested_directory_is_compiled() {
    let world = World::new();
    let path = format!("{}a.py", "a_directory_with_a_name/".repeat(100));
    world.write(&path, "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    assert!(world.pyc(&path).exists());
}
