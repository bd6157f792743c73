//! Sources that cannot even be examined: each costs itself, whoever named it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, World};

/// Sources of one directory: one that can be compiled, and two that cannot even be examined.
fn with_loops(world: &World) -> [PathBuf; 3] {
    let good = world.write("good.py", "x = 1\n");
    let [one, other] = ["one.py", "other.py"].map(|name| world.tree().join(name));
    symlink("other.py", &one).unwrap();
    symlink("one.py", &other).unwrap();
    [good, one, other]
}

#[test]
fn a_source_that_cannot_be_examined_costs_itself_when_it_is_named() {
    let world = World::new();
    let paths = with_loops(&world);
    let long = world.tree().join(format!("{}.py", "n".repeat(300)));
    let named: Vec<&str> = paths.iter().chain([&long]).map(|path| path.to_str().unwrap()).collect();
    let outcome = world.run(&[&["commit"], &named[..]].concat()).exits(1).says("compiled 1 ");
    assert_eq!(
        outcome.stderr.matches("Too many levels of symbolic links").count(),
        2,
        "{}",
        outcome.context()
    );
    assert_eq!(outcome.stderr.matches("File name too long").count(), 1, "{}", outcome.context());
    world.run(&[&["verify"], &named[..3]].concat()).exits(1).says("valid 1 in");
    world.run(&[&["clean"], &named[..3]].concat()).exits(0).says("removed 1 ");
}

#[test]
fn a_source_that_cannot_be_examined_costs_itself_when_it_is_a_package_s() {
    let system = Installation::with_programs();
    let long = format!("{}.py", "n".repeat(300));
    system.install("pkg", &["a.py", "loop.py"]);
    let list = system.at("/var/lib/dpkg/info/pkg.list");
    let listed = fs::read_to_string(&list).unwrap();
    fs::write(list, format!("{listed}{PUBLIC}/{long}\n")).unwrap();
    let link = system.at(&format!("{PUBLIC}/loop.py"));
    fs::remove_file(&link).unwrap();
    symlink("loop.py", link).unwrap();
    let problems = |outcome: Outcome| outcome.stderr.matches(": cannot examine ").count();
    assert_eq!(problems(system.call("py3compile", &["-p", "pkg"]).exits(1)), 2);
    assert!(system.pyc("a.py").exists());
    let in_script = system.call_in_script("py3compile", &["-fp", "pkg"]).exits(0);
    assert_eq!(in_script.stderr.lines().count(), 1, "{}", in_script.context());
    assert_eq!(system.pending(), 1);
    assert_eq!(problems(system.call("pyc-txn", &["commit", "-p", "pkg"]).exits(1).says("compiled 1 ")), 2);
    assert_eq!(problems(system.call("pyc-txn", &["verify", "-p", "pkg"]).exits(1).says("valid 1 in")), 2);
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!system.pyc("a.py").exists());
}

#[test]
fn bytecode_of_a_source_that_cannot_be_examined_stays() {
    let world = World::new();
    let [good, one] = ["good.py", "one.py"].map(|name| world.write(name, "x = 1\n"));
    world.commit().exits(0);
    fs::remove_file(&one).unwrap();
    symlink("one.py", &one).unwrap();
    let named = [good.to_str().unwrap(), one.to_str().unwrap()];
    world.run(&[&["commit"], &named[..]].concat()).exits(1);
    let outcome = world.run(&[&["verify", "--repair"], &named[..]].concat()).exits(1).says("valid 1 in");
    assert!(world.pyc("one.py").exists(), "{}", outcome.context());
}
