//! One place that cannot be read, written or cleaned: it costs itself and nothing else, is told once, and is tried
//! again.

use std::fs;
use std::process::Command;

use crate::aid::{as_user, has_program, is_root, mode, mount, set_mode, through, with_mounts};
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World};

/// A world whose tree has the directories `a` and `b`.
fn two() -> World {
    let world = World::new();
    world.write("a/m.py", "x = 1\n");
    world.write("b/m.py", "x = 1\n");
    world
}

/// Runs the program as a user who is not root, with a directory of the tree as the last argument.
fn user_run(world: &World, arguments: &[&str], directory: &str) -> Outcome {
    let mut command = world.command(arguments);
    if !directory.is_empty() {
        command.arg(world.tree().join(directory));
    }
    world.outcome(as_user(world, &command))
}

#[test]
fn a_pycache_that_cannot_be_removed_is_remembered_and_stops_nobody() {
    let world = two();
    user_run(&world, &["commit"], "a").exits(0).says("compiled 1 ");
    let directory = world.tree().join("a");
    let before = mode(&directory);
    set_mode(&directory, 0o555);
    user_run(&world, &["clean"], "a").exits(1).says("__pycache__': Permission denied").says("removed 1");
    user_run(&world, &["commit"], "b").exits(0).says("compiled 1 ");
    user_run(&world, &["status"], "")
        .exits(0)
        .says("no transaction is open")
        .says("1 could not be removed; the next 'pyc-txn commit' tries again:\n")
        .says("__pycache__': Permission denied");
    user_run(&world, &["rollback"], "").exits(0);
    user_run(&world, &["recover"], "").exits(0).says("nothing is left over");
    fs::remove_file(directory.join("m.py")).unwrap_or_else(|_| {
        set_mode(&directory, before);
        fs::remove_file(directory.join("m.py")).unwrap();
        set_mode(&directory, 0o555);
    });
    user_run(&world, &["commit"], "a").exits(1).says("Permission denied");
    set_mode(&directory, before);
    let outcome = user_run(&world, &["commit"], "a").exits(0).says("removed 1");
    assert!(!directory.join("__pycache__").exists(), "{}", outcome.context());
    user_run(&world, &["status"], "").exits(0).does_not_say("could not be removed");
}

#[test]
fn a_pycache_in_use_may_be_one_that_could_not_be_removed() {
    let world = two();
    world.write("a/n.py", "x = 1\n");
    user_run(&world, &["commit"], "a").exits(0).says("compiled 2 ");
    let directory = world.tree().join("a");
    fs::remove_file(directory.join("n.py")).unwrap();
    let before = mode(&directory);
    set_mode(&directory, 0o555);
    let outcome = user_run(&world, &["commit"], "a");
    set_mode(&directory, before);
    outcome.exits(0).says("removed 1 (1 up to date)");
    user_run(&world, &["status"], "").exits(0).does_not_say("could not be removed");
}

#[test]
fn bytecode_that_cannot_be_removed_is_remembered_and_stops_nobody() {
    if !is_root("read-only mounts") {
        return;
    }
    let world = two();
    with_mounts(|| {
        let place = world.tree().join("a");
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", place.to_str().unwrap()]);
        let source = world.write("a/n.py", "x = 1\n");
        let (a, b) = (place.to_str().unwrap(), world.tree().join("b"));
        world.run(&["commit", a]).exits(0).says("compiled 1 ");
        fs::remove_file(source).unwrap();
        let remount = |how: &str| mount(&["-o", &format!("remount,{how}"), a]);
        remount("ro");
        world.run(&["commit", a]).exits(1).says("Read-only file system").says("failed 1");
        world.run(&["commit", b.to_str().unwrap()]).exits(0).says("compiled 1 ");
        world.run(&["status"]).exits(0).says("1 could not be removed").says("n.cpython");
        world.run(&["clean", b.to_str().unwrap()]).exits(0).says("removed 1");
        remount("rw");
        let outcome = world.run(&["commit", a]).exits(0).says("removed 1");
        assert!(!world.pyc("a/n.py").exists(), "{}", outcome.context());
        world.run(&["status"]).exits(0).does_not_say("could not be removed");
    });
}

#[test]
fn bytecode_that_could_not_be_removed_and_is_wanted_again_is_no_failure_any_more() {
    if !is_root("read-only mounts") {
        return;
    }
    let world = two();
    with_mounts(|| {
        let place = world.tree().join("a");
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", place.to_str().unwrap()]);
        world.write("a/n.py", "x = 1\n");
        let a = place.to_str().unwrap();
        world.run(&["commit", a]).exits(0).says("compiled 1 ");
        mount(&["-o", "remount,ro", a]);
        world.run(&["clean", a]).exits(1).says("Read-only file system");
        mount(&["-o", "remount,rw", a]);
        world.run(&["commit", a]).exits(0);
        world.run(&["status"]).exits(0).does_not_say("could not be removed");
        world.run(&["verify", a]).exits(0).says("valid 1");
    });
}

#[test]
fn a_directory_in_the_place_of_bytecode_is_told_and_stops_nobody() {
    let system = Installation::with_programs();
    let (one, two) = (format!("{PUBLIC}/pkg/one.py"), format!("{PUBLIC}/pkg/two.py"));
    for source in [&one, &two] {
        system.write(source, "x = 1\n");
    }
    system.write("/var/lib/dpkg/info/pkg.list", &format!("{one}\n{two}\n"));
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    let tag = crate::support::python::cache_tag();
    let bytecode = system.at(&format!("{PUBLIC}/pkg/__pycache__/one.{tag}.pyc"));
    fs::remove_file(&bytecode).unwrap();
    fs::create_dir(&bytecode).unwrap();
    fs::write(bytecode.join("inside"), "somebody's").unwrap();
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0).says("Is a directory");
    assert!(bytecode.join("inside").exists());
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    for _ in 0..2 {
        let triggered = system.call("pyc-txn", &["hook", "triggered"]).exits(0);
        assert!(bytecode.join("inside").exists(), "{}", triggered.context());
        let other = system.at(&format!("{PUBLIC}/pkg/__pycache__/two.{tag}.pyc"));
        assert!(other.exists(), "{}", triggered.context());
        triggered.does_not_say("transaction");
    }
    system.call("pyc-txn", &["status"]).exits(0).says("no transaction is open");
}

#[test]
fn a_read_only_directory_costs_itself_where_others_can_be_written() {
    if !is_root("read-only mounts") {
        return;
    }
    let world = two();
    world.write("c/m.py", "x = 1\n");
    with_mounts(|| {
        let place = world.tree().join("b");
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", place.to_str().unwrap()]);
        world.write("b/m.py", "x = 1\n");
        mount(&["-o", "remount,ro", place.to_str().unwrap()]);
        let outcome = world
            .commit()
            .exits(1)
            .says(&format!("cannot write to '{}': Read-only file system", place.display()))
            .says("compiled 2, failed 1 ");
        let is_there = ["a", "b", "c"].map(|name| world.pyc(format!("{name}/m.py")).exists());
        assert_eq!(is_there, [true, false, true], "{}", outcome.context());
        world.run(&["status"]).exits(0).says("1 could not be compiled:").says("Read-only file system");
        mount(&["-o", "remount,rw", place.to_str().unwrap()]);
        world.commit().exits(0).says("compiled 1 (2 up to date)");
    });
}

#[test]
fn a_package_manager_is_told_once_of_a_place_that_stays_barred() {
    if !is_root("read-only mounts") {
        return;
    }
    let system = Installation::with_programs();
    for source in ["one/m.py", "two/m.py", "three/m.py"] {
        system.write(&format!("{PUBLIC}/{source}"), "x = 1\n");
    }
    with_mounts(|| {
        let place = system.at(&format!("{PUBLIC}/two"));
        let path = place.to_str().unwrap();
        mount(&["--bind", path, path]);
        mount(&["-o", "remount,bind,ro", path]);
        system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("Read-only file system");
        // Something else is done each time.
        for name in ["four", "five"] {
            system.write(&format!("{PUBLIC}/{name}/m.py"), "x = 1\n");
            let again = system.call("pyc-txn", &["hook", "triggered"]).exits(0);
            again.says("compiled 1").does_not_say("Read-only");
        }
        system.call("pyc-txn", &["status"]).exits(0).says("Read-only file system");
    });
}

/// Makes a directory that is deeper than a path can be long, with a source in it.
fn bury(world: &World) {
    let name = "d".repeat(250);
    let script = format!(
        "import os; os.chdir({:?})\nfor _ in range(20): os.mkdir({name:?}); os.chdir({name:?})\n\
         open('m.py', 'w').write('x = 1\\n')",
        world.tree().to_str().unwrap()
    );
    let done = Command::new(PYTHON).args(["-c", &script]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_directory_deeper_than_a_path_can_be_costs_itself() {
    let world = two();
    bury(&world);
    let outcome = world.commit().exits(1).says("File name too long").says("compiled 2 ");
    world.commit().exits(1).says("(2 up to date)");
    // The test harness cannot remove it by its path.
    let top = world.tree().join("d".repeat(250));
    assert!(Command::new("rm").arg("-rf").arg(top).status().unwrap().success(), "{}", outcome.context());
}

#[test]
fn too_many_open_files_for_a_moment_cost_nothing() {
    if !has_program("strace", "refused system calls") {
        return;
    }
    for directory in ["", "a", "b", "a/__pycache__", "b/__pycache__"] {
        let world = two();
        world.commit().exits(0);
        fs::remove_file(world.tree().join("a/m.py")).unwrap();
        world.write("b/m.py", "x = 22\n");
        let (path, trace) = (world.tree().join(directory), world.beside("strace"));
        let (path, trace) = (path.to_str().unwrap(), trace.to_str().unwrap());
        // The first time that each thread opens this directory.
        let refuse = ["-e", "trace=openat,openat2", "-e", "inject=openat,openat2:error=EMFILE:when=1"];
        let strace = ["strace", "-f", "-b", "execve", "-qq", "-o", trace, "-P", path.trim_end_matches('/')];
        let mut command = world.command(&["commit", "-j", "1"]);
        command.arg(world.tree());
        let outcome = world.outcome(through(&[&strace[..], &refuse].concat(), &command)).exits(0);
        assert!(
            fs::read_to_string(trace).unwrap().contains("INJECTED"),
            "{directory}\n{}",
            outcome.context()
        );
        assert!(!world.pyc("a/m.py").exists(), "{directory}\n{}", outcome.context());
        outcome.says("compiled 1, removed 1 ");
    }
}

#[test]
fn a_directory_that_cannot_be_opened_costs_no_other_ones_removals() {
    if !has_program("strace", "refused system calls") {
        return;
    }
    for error in ["EIO", "EMFILE", "ESTALE"] {
        let world = two();
        world.write("a/below/n.py", "x = 1\n");
        world.commit().exits(0);
        fs::remove_file(world.tree().join("a/m.py")).unwrap();
        let (path, trace) = (world.tree().join("a/below"), world.beside("strace"));
        let inject = format!("inject=openat,openat2:error={error}");
        let refuse = ["-e", "trace=openat,openat2", "-e", &inject, "-P", path.to_str().unwrap()];
        let strace = ["strace", "-f", "-b", "execve", "-qq", "-o", trace.to_str().unwrap()];
        let mut command = world.command(&["commit"]);
        command.arg(world.tree());
        let outcome = world.outcome(through(&[&strace[..], &refuse].concat(), &command)).exits(1);
        assert!(!world.pyc("a/m.py").exists(), "{error}\n{}", outcome.context());
        assert!(world.pyc("a/below/n.py").exists(), "{error}\n{}", outcome.context());
        outcome.says("a/below").says("removed 1");
    }
}
