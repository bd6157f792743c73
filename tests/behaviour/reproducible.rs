//! The bytes of bytecode depend on the source, its name and the interpreter, and on nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use pyc_txn::python::marshal::{self, Format};

use crate::aid;
use crate::support::{PYTHON, World, python};

/// Sources of the standard library of at most so many bytes are taken.
const LARGEST: u64 = 20_000;

type Bytecode = BTreeMap<PathBuf, Vec<u8>>;

/// A world with a few hundred sources of the standard library.
fn library() -> World {
    let world = World::new();
    let top = PathBuf::from(python::run(PYTHON, "import os; print(os.path.dirname(os.__file__), end='')"));
    let mut count = 0;
    for part in ["", "asyncio", "email", "json", "importlib", "encodings", "unittest", "xml/dom"] {
        for entry in fs::read_dir(top.join(part)).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            let is_source = path.extension().is_some_and(|extension| extension == "py");
            if is_source && entry.metadata().unwrap().len() <= LARGEST {
                world.write(path.strip_prefix(&top).unwrap(), fs::read(&path).unwrap());
                count += 1;
            }
        }
    }
    // What has most that could differ.
    world.write("sets.py", "def f(x): return x in {None, 'a b', 'ab', ..., (1, 'a b'), 2.5, '.'}\ng = 'a', {x in {'ab', 'a b'}}\n");
    world.write("classes.py", "class A:\n  class B:\n    class Ä:\n      x = 'A.B', '.', ''\n");
    assert!(count > 200, "{count} sources in {}", top.display());
    world
}

/// All bytecode of the tree.
fn bytecode(world: &World) -> Bytecode {
    let files = world.tree_files().into_iter().filter(|name| name.ends_with(".pyc"));
    files.map(|name| (PathBuf::from(&name), fs::read(world.tree().join(name)).unwrap())).collect()
}

/// Commits the tree anew, as a change of the command wants it; the bytecode.
fn committed(world: &World, change: impl FnOnce(&mut Command)) -> Bytecode {
    let mut command = world.command(&["commit", "-f"]);
    change(&mut command);
    world.outcome(command).exits(0);
    bytecode(world)
}

#[track_caller]
fn is_same(one: &Bytecode, other: &Bytecode) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        assert_eq!(bytes, &other[name], "{}", name.display());
    }
}

fn canonical(mut pyc: Vec<u8>) -> Vec<u8> {
    let minor = python::version()[2..].parse().unwrap();
    let length = marshal::canonicalize(&mut pyc[16..], Format::of(3, minor).unwrap()).unwrap().bytes().len();
    pyc.truncate(16 + length);
    pyc
}

#[test]
fn bytecode_is_the_same_whoever_compiles_it_with_what_and_where() {
    let world = library();
    let tree = world.tree();
    let first = committed(&world, |command| {
        command.args(["-j", "1"]).arg(&tree);
    });
    let abroad = committed(&world, |command| {
        command.args(["-j", "5"]).arg(&tree).current_dir("/").env_clear();
        let variables = [("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Asia/Kathmandu"), ("HOME", "/nowhere")];
        command.envs(variables).env("PYTHONHASHSEED", "4711").env("SOURCE_DATE_EPOCH", "0");
    });
    is_same(&first, &abroad);
    // Every directory for itself: other workers see other sources, in another order.
    for directory in
        fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        committed(&world, |command| {
            command.arg(directory);
        });
    }
    is_same(&first, &bytecode(&world));
    let mut command = world.command(&["commit", "-f", "-j", "2"]);
    command.arg(&tree);
    world.outcome(aid::as_user(&world, &command)).exits(0);
    is_same(&first, &bytecode(&world));
}

#[test]
fn what_compileall_writes_is_the_same_when_canonical() {
    let world = library();
    let ours = committed(&world, |command| {
        command.arg(world.tree());
    });
    for seed in ["0", "4711"] {
        let mut compileall = Command::new(PYTHON);
        compileall.args(["-m", "compileall", "-q", "-f"]).arg(world.tree());
        compileall.env_remove("SOURCE_DATE_EPOCH").env("PYTHONHASHSEED", seed);
        assert!(compileall.status().unwrap().success());
        let theirs: Bytecode =
            bytecode(&world).into_iter().map(|(name, pyc)| (name, canonical(pyc))).collect();
        is_same(&ours, &theirs);
    }
}

#[test]
fn bytecode_that_was_taken_over_is_not_used_again() {
    let world = World::new();
    let source = world.write("a.py", "def f(x): return x in {'c', 'a b', None}\ndef g(x): return x, '.'\n");
    python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, doraise=True)"));
    world.commit().exits(0).says("adopted 1 ");
    let theirs = fs::read(world.pyc("a.py")).unwrap();
    set_mtime(&source);
    // Nobody knows which release compiled it, and with which arithmetic.
    world.commit().exits(0).says("compiled 1 ").does_not_say("reused");
    let ours = fs::read(world.pyc("a.py")).unwrap();
    assert_ne!(ours[16..], theirs[16..]);
    let compiled = committed(&world, |command| {
        command.arg(world.tree());
    });
    assert_eq!(compiled.values().next(), Some(&ours));
}

fn set_mtime(source: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(source).unwrap().set_modified(time).unwrap();
}

/// A shell script that is [`PYTHON`] in an environment that `change` changes.
fn in_environment(world: &World, name: &str, change: &str) -> String {
    let path = world.beside(name);
    fs::write(&path, format!("#!/bin/sh\n{change}\nexec {PYTHON} \"$@\"\n")).unwrap();
    aid::set_mode(&path, 0o755);
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_the_compiler_computes_does_not_depend_on_the_processor() {
    let what = "a processor with another one's arithmetic";
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !information.split_whitespace().any(|word| word == "fma") {
        return aid::skipped(&format!("{what} (this one has no fused multiply-add)"));
    }
    let world = World::new();
    // Each power has other last digits with and without fused multiply-add.
    world.write("a.py", "x = 12.22048875379535 ** 9.217207324420734\ny = (3.3 + 1.7j) ** (2.9 + 0.3j)\n");
    let compiled = |python: &str| {
        world.run_on_tree(&["commit", "-f", "--python", python]).exits(0).says("compiled 1 ");
        bytecode(&world)
    };
    let without = in_environment(&world, "without", "export GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-FMA4");
    let with = in_environment(&world, "with", "unset GLIBC_TUNABLES");
    let (without, with) = (compiled(&without), compiled(&with));
    if without == with {
        return aid::skipped(&format!("{what} (this C library has one arithmetic for all)"));
    }
    is_same(&without, &compiled(PYTHON));
}
