//! A report that cannot be written.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::aid::{on_tree, through};
use crate::installation::Installation;
use crate::oracle;
use crate::support::{Outcome, World};

/// The same command with a stdout that is full.
fn to_full(world: &World, mut command: Command) -> Outcome {
    command.stdout(File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    world.outcome_of(&format!("{command:?} >/dev/full"), &output)
}

const UNWRITABLE: &str = "cannot write to standard output: No space left on device";

#[test]
fn a_report_that_cannot_be_written_stops_no_work_and_is_a_failure() {
    let world = World::new();
    for name in ["a.py", "b.py"] {
        world.write(name, "x = 1\n");
    }
    to_full(&world, on_tree(&world, &["commit", "-n"])).exits(1).says(UNWRITABLE);
    to_full(&world, on_tree(&world, &["commit"])).exits(1).says(UNWRITABLE);
    assert!(world.pyc("a.py").exists() && world.pyc("b.py").exists());
    for arguments in [&["status"][..], &["status", "--json"], &["log"], &["log", "1"], &["log", "--json"]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    let source = world.tree().join("a.py").display().to_string();
    for arguments in [&["owner", &source][..], &["owner", "--json", &source]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    for arguments in [&["verify"][..], &["verify", "--json"]] {
        to_full(&world, on_tree(&world, arguments)).exits(1).says(UNWRITABLE);
    }
    for arguments in [&["cache"][..], &["cache", "--json"], &["--help"], &["--version"], &["help", "log"]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    to_full(&world, world.command(&["no-such-command"])).exits(2);
    to_full(&world, on_tree(&world, &["clean"])).exits(1).says(UNWRITABLE);
    assert!(!world.pyc("a.py").exists());
}

#[test]
fn what_is_wrong_is_repaired_and_counted_whether_it_can_be_reported_or_not() {
    let world = World::new();
    for number in 0..300 {
        world.write(format!("{number:03}.py"), "x = 1\n");
    }
    world.commit().exits(0);
    for number in 0..300 {
        fs::write(world.pyc(format!("{number:03}.py")), "damage").unwrap();
    }
    to_full(&world, on_tree(&world, &["verify"])).exits(1).says(UNWRITABLE);
    // A reader that has gone before the first line.
    let script = "trap '' PIPE; { \"$@\"; echo $? >\"$STATUS\"; } | true";
    let status = world.beside("status");
    let verify = |more: &[&str]| {
        let mut command =
            through(&["sh", "-c", script, "sh"], &on_tree(&world, &[&["verify"], more].concat()));
        command.env("STATUS", &status);
        let outcome = world.outcome(command).exits(0).does_not_say("standard output");
        (fs::read_to_string(&status).unwrap(), outcome)
    };
    assert_eq!(verify(&[]).0, "1\n");
    let (status, outcome) = verify(&["--repair"]);
    assert_eq!(status, "0\n", "{}", outcome.context());
    assert_eq!(oracle::value(&world.pyc("299.py"), "x"), "1");
}

#[test]
fn maintainer_scripts_and_hooks_succeed_without_a_report() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    for (program, arguments) in [
        ("py3compile", &["-p", "pkg"][..]),
        ("pyc-txn", &["hook", "triggered"]),
        ("py3clean", &[]),
        ("py3compile", &[]),
    ] {
        to_full(&system.world, system.in_script(program, arguments)).exits(0);
    }
    assert!(system.pyc("a.py").exists());
    for program in ["py3compile", "py3clean"] {
        to_full(&system.world, system.called(program, &["--help"])).exits(1).says(UNWRITABLE);
        to_full(&system.world, system.called(program, &["--version"])).exits(1).says(UNWRITABLE);
        to_full(&system.world, system.called(program, &[])).exits(1).says(UNWRITABLE);
    }
}
