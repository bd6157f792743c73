//! Payloads: roots that are packed or copied as they are, and get nothing but bytecode.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aid::{is_root, mount, names, with_mounts};
use crate::installation::PUBLIC;
use crate::support::{Outcome, PYTHON, World, python};

/// A tree that is to be packed: a root in which nothing is but what somebody put there.
fn payload() -> (World, PathBuf) {
    let world = World::new();
    let root = world.beside("payload");
    let directory = root.join(PUBLIC.trim_start_matches('/'));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.py"), "x = 1\n").unwrap();
    (world, root)
}

/// The program with the payload as its root, and no state directory unless `more` has one.
fn on_payload(world: &World, root: &Path, arguments: &[&str], more: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
    command.args(arguments).arg(root).arg("--root").arg(root).args(more);
    command.args(["--python", PYTHON]);
    world.outcome(command)
}

#[test]
fn a_payload_gets_bytecode_and_nothing_else() {
    let (world, root) = payload();
    let build = |_: &str| {
        let state = world.state();
        let more = ["--state-dir", state.to_str().unwrap()];
        let outcome = on_payload(&world, &root, &["commit"], &more).exits(0).says("compiled 1 ");
        let files = world.files();
        let inside: Vec<&str> =
            files.iter().filter_map(|file| file.strip_prefix("payload/usr/lib/")).collect();
        let pyc = format!("python3/dist-packages/__pycache__/a.{}.pyc", python::cache_tag());
        let expected = ["python3", "python3/dist-packages", "python3/dist-packages/__pycache__", &pyc];
        let is_other = |file: &&str| !expected.contains(file) && *file != "python3/dist-packages/a.py";
        let others: Vec<&str> = inside.iter().copied().filter(is_other).collect();
        assert!(others.is_empty() && inside.contains(&pyc.as_str()), "{others:?}\n{}", outcome.context());
        assert_eq!(names(&root), ["usr"], "{}", outcome.context());
        on_payload(&world, &root, &["verify"], &more).exits(0).says("valid 1 ");
    };
    build("on the filesystem of the state directory");
    if is_root("a payload on another filesystem") {
        fs::remove_dir_all(root.join("usr")).unwrap();
        with_mounts(|| {
            mount(&["-t", "tmpfs", "-o", "mode=755", "none", root.to_str().unwrap()]);
            let directory = root.join(PUBLIC.trim_start_matches('/'));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("a.py"), "x = 2\n").unwrap();
            build("on another one");
        });
    }
}

#[test]
fn a_payload_gets_no_state_directory_unless_it_is_asked_for() {
    let (world, root) = payload();
    for command in [&["commit"][..], &["record"], &["clean"], &["verify", "--repair"]] {
        let outcome = on_payload(&world, &root, command, &[]).exits(3);
        assert!(outcome.stderr.contains("is no installed system"), "{}", outcome.context());
        assert!(outcome.stderr.contains("--state-dir"), "{}", outcome.context());
        assert!(!root.join("var").exists(), "{}", outcome.context());
    }
    on_payload(&world, &root, &["verify"], &[]).exits(1).says("missing");
    let state = root.join("var/lib/pyc-txn");
    on_payload(&world, &root, &["commit"], &["--state-dir", state.to_str().unwrap()]).exits(0);
    on_payload(&world, &root, &["commit"], &[]).exits(0).says("nothing to do (1 up to date)");
}
