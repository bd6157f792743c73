//! What is compiled is what the interpreter itself would have written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::aid::{executions, skipped};
use crate::oracle::{self, imports_from_bytecode, is_what_py_compile_writes};
use crate::support::{PYTHON, World, python};

/// In the syntax of Python 3.6.
const PACKAGE: &[(&str, &str)] = &[
    ("package/__init__.py", ""),
    (
        "package/constants.py",
        "\"\"\"A docstring.\"\"\"\n\
         numbers = 0, -1, 2**31, 2**64, 10**40, -10**40, 0.0, -0.0, 1e308, 1e-320, float('nan'), 3j, 1.5+2j\n\
         texts = '', 'plain', 'caf\\xe9', '\\u20ac', '\\U0001f40d', '\\ud800', 'x' * 5, b'', b'\\xff\\x00'\n\
         others = None, True, False, ..., (), ((),), ((1, 'two'), (3.0, b'four'))\n\
         found = 1 in {1, 2, 3} or 'b' in {'a', 'b', 'c', 'd', 'e'}\n\
         long = 'abcdefghij' * 3000\n",
    ),
    (
        "package/functions.py",
        "'''Docs.'''\n\
         import sys as system\n\
         from . import constants\n\
         def outer(a, b=2, *args, c, d=4, **rest) -> int:\n\
         \u{20}   'Doc of outer.'\n\
         \u{20}   assert a, 'never'\n\
         \u{20}   def inner():\n\
         \u{20}       nonlocal a\n\
         \u{20}       a += 1\n\
         \u{20}       return a, b, (lambda x=a: [y for y in range(x) if y % 2])\n\
         \u{20}   return inner\n\
         async def coroutine(things):\n\
         \u{20}   async with things as t:\n\
         \u{20}       return [x async for x in t]\n\
         def generator():\n\
         \u{20}   try:\n\
         \u{20}       yield from range(3)\n\
         \u{20}   except (ValueError, TypeError) as error:\n\
         \u{20}       raise KeyError from error\n\
         \u{20}   finally:\n\
         \u{20}       del system.nothing\n\
         if __debug__:\n\
         \u{20}   debug = f'{constants.found!r:>10} {1 + 1}'\n",
    ),
    (
        "package/classes.py",
        "class Meta(type):\n\
         \u{20}   'Doc of Meta.'\n\
         class Class(metaclass=Meta):\n\
         \u{20}   field: int = 1\n\
         \u{20}   __slots__ = ('a', 'b')\n\
         \u{20}   def method(self):\n\
         \u{20}       'Doc of method.'\n\
         \u{20}       return super().method, __class__, self.__private\n\
         \u{20}   @property\n\
         \u{20}   def value(self): return {k: v for k, v in {}.items()}\n",
    ),
];

fn write_package(world: &World) -> Vec<PathBuf> {
    let mut sources: Vec<PathBuf> =
        PACKAGE.iter().map(|(name, content)| world.write(name, content)).collect();
    sources.push(world.write("package/latin.py", b"# coding: latin-1\nx = '\xe9'\n"));
    let many: String = (0..3000).map(|n| format!("name{n} = {n}, 'text{n}'\n\n")).collect();
    sources.push(world.write("package/many.py", many));
    sources
}

/// Every Python that this machine has; says which versions it has not.
fn pythons() -> Vec<(u8, PathBuf)> {
    let found = python::all();
    let missing: Vec<String> = (6..=14)
        .filter(|minor| found.iter().all(|(have, _)| have != minor))
        .map(|minor| format!("3.{minor}"))
        .collect();
    if !missing.is_empty() {
        skipped(&format!("compiling with Python {} (not installed)", missing.join(", ")));
    }
    found
}

fn cached(source: &Path, tag: &str, level: u8) -> PathBuf {
    let stem = source.file_stem().unwrap().to_str().unwrap();
    let level = if level == 0 { String::new() } else { format!(".opt-{level}") };
    let name = format!("{stem}.{tag}{level}.pyc");
    source.parent().unwrap().join("__pycache__").join(name)
}

#[test]
fn one_transaction_compiles_for_every_interpreter_at_every_level_as_each_would_itself() {
    let world = World::new();
    let sources = write_package(&world);
    let pythons = pythons();
    let mut command = world.command(&["commit", "-O", "0", "-O", "1", "-O", "2", "--python", PYTHON]);
    for (_, python) in &pythons {
        command.arg("--python").arg(python);
    }
    command.arg(world.tree());
    let versions = pythons.iter().filter(|(_, python)| python.to_str() != Some(PYTHON)).count();
    let outcome = world.outcome(command).exits(0);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), 1);
    let compiled: i64 = world.query("SELECT count(*) FROM intents WHERE outcome = 'compiled'");
    let expected = versions * sources.len() * 3;
    assert_eq!(usize::try_from(compiled).unwrap(), expected, "{}", outcome.context());
    for (minor, python) in &pythons {
        let tag = format!("cpython-3{minor}");
        for level in 0..=2 {
            is_what_py_compile_writes(python, "timestamp", level, &sources, outcome.context());
            let flags: &[&str] = [&[][..], &["-O"], &["-OO"]][usize::from(level)];
            let pyc = cached(&sources[2], &tag, level);
            imports_from_bytecode(&world, python, flags, "package.functions", &pyc);
        }
    }
}

#[test]
fn hash_based_bytecode_is_what_each_interpreter_writes() {
    for mode in ["checked-hash", "unchecked-hash"] {
        let world = World::new();
        let sources = write_package(&world);
        let pythons: Vec<_> = pythons().into_iter().filter(|(minor, _)| *minor >= 7).collect();
        let mut command = world.command(&["commit", "--invalidation", mode, "--python", PYTHON]);
        for (_, python) in &pythons {
            command.arg("--python").arg(python);
        }
        command.arg(world.tree());
        let outcome = world.outcome(command).exits(0);
        for (minor, python) in &pythons {
            is_what_py_compile_writes(python, mode, 0, &sources, outcome.context());
            let pyc = cached(&sources[2], &format!("cpython-3{minor}"), 0);
            imports_from_bytecode(&world, python, &[], "package.functions", &pyc);
        }
        world.run_on_tree(&["commit", "--invalidation", mode]).exits(0).says("nothing to do");
    }
}

#[test]
fn another_invalidation_mode_needs_another_header() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    let outcome = world.run_on_tree(&["commit", "--invalidation", "checked-hash"]).exits(0).says("reused 1 ");
    is_what_py_compile_writes(PYTHON.as_ref(), "checked-hash", 0, &[source], outcome.context());
}

#[test]
fn the_levels_differ_as_they_should() {
    let world = World::new();
    let source = world.write("a.py", "def f(): 'Docs.'\nx = __debug__, f.__doc__\n");
    world.run_on_tree(&["commit", "-O", "0", "-O", "1", "-O", "2"]).exits(0).says("compiled 3 ");
    for (level, value) in [(0, "(True, 'Docs.')"), (1, "(False, 'Docs.')"), (2, "(False, None)")] {
        let pyc = cached(&source, python::cache_tag(), level);
        assert_eq!(oracle::value(&pyc, "x"), value, "-O {level}");
    }
}

#[test]
fn the_same_source_gives_the_same_bytes_whatever_else_is_compiled() {
    let world = World::new();
    // Before Python 3.11 sets of strings come out in an order that depends on the hash seed.
    let sets = "def f(x): return x in {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'}\n";
    let source = world.write("a.py", PACKAGE[2].1.to_owned() + sets);
    let pythons = pythons();
    let commit = |more: &[&str]| {
        let mut command = world.command(&[&["commit", "--python", PYTHON], more].concat());
        for (_, python) in &pythons {
            command.arg("--python").arg(python);
        }
        command.arg(world.tree());
        world.outcome(command).exits(0)
    };
    let codes = || -> Vec<Vec<u8>> {
        let pycs = pythons.iter().map(|(minor, _)| cached(&source, &format!("cpython-3{minor}"), 0));
        pycs.map(|pyc| fs::read(pyc).unwrap()).collect()
    };
    commit(&[]);
    let first = codes();
    // Again at the same path, in other processes, after others.
    for number in 0..8 {
        let larger = PACKAGE[number % PACKAGE.len()].1.to_owned() + &"# filler\n".repeat(1000);
        world.write(format!("{number}.py"), larger);
    }
    let outcome = commit(&["-f", "-j", "1"]);
    assert!(codes() == first, "{}", outcome.context());
}

#[test]
fn an_interpreter_is_asked_once_and_again_when_its_binary_is_another() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let binary = world.beside("python-copy");
    fs::copy(fs::canonicalize(PYTHON).unwrap(), &binary).unwrap();
    let commit = || {
        let mut command = world.command(&["commit", "--python", binary.to_str().unwrap()]);
        command.arg(world.tree());
        command
    };
    world.outcome(commit()).exits(0).says("compiled 1 ");
    let facts = "SELECT group_concat(id || ':' || inode || ':' || size || ':' || ctime) FROM interpreters";
    let first: String = world.query(facts);
    if let Some(programs) = executions(&world, &commit()) {
        assert_eq!(programs, 1, "an interpreter was started although nothing was to be done");
    }
    world.outcome(commit()).exits(0).says("nothing to do (1 up to date)");
    assert_eq!(world.query::<String>(facts), first);
    fs::remove_file(&binary).unwrap();
    fs::copy(fs::canonicalize(PYTHON).unwrap(), &binary).unwrap();
    world.outcome(commit()).exits(0).says("nothing to do (1 up to date)");
    let second: String = world.query(facts);
    assert_ne!(second, first, "the new binary was not asked");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM interpreters"), 1);
}

#[test]
fn an_interpreter_that_is_not_there_is_named() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world
        .run_on_tree(&["commit", "--python", "/no/such/python"])
        .exits(3)
        .says("'/no/such/python'")
        .says("No such file or directory");
    world.run_on_tree(&["commit", "--python", "3.99"]).exits(3).says("no interpreter '3.99' is installed");
    world.run_on_tree(&["commit", "--python", "/bin/true"]).exits(3).says("cannot be used as an interpreter");
    assert_eq!(world.tree_files(), ["a.py"]);
}
