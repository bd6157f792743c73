//! Trees whose filesystem is not mounted for a while.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::aid::{commit_staged, is_root, mount, names, set_mode, stage, with_mounts};
use crate::installation::Installation;
use crate::support::{Outcome, PYTHON, World};

/// A world with a tree of which a part is bound from elsewhere: that part.
fn bound(world: &World) -> PathBuf {
    fs::create_dir(world.beside("behind")).unwrap();
    bind(world);
    world.write("plain/a.py", "x = 1\n");
    world.write("bound/package/b.py", "x = 1\n");
    world.write("bound/c.py", "x = 1\n");
    world.tree().join("bound")
}

fn bind(world: &World) {
    let at = world.tree().join("bound");
    fs::create_dir_all(&at).unwrap();
    mount(&["--bind", world.beside("behind").to_str().unwrap(), at.to_str().unwrap()]);
}

fn unmount(path: &std::path::Path) {
    assert!(Command::new("umount").arg(path).status().unwrap().success());
}

fn pending(world: &World) -> i64 {
    let query = "SELECT count(*) FROM intents JOIN transactions t ON t.id = txn
                 WHERE state = 'recording' AND outcome IS NULL";
    world.query(query)
}

fn published(world: &World) -> i64 {
    world.query("SELECT count(*) FROM ledger")
}

/// A boot after a clean shutdown: this machine's own bytecode is none of these tests' business.
fn booted(world: &World) -> Outcome {
    world.run(&["hook", "shutdown"]).exits(0);
    world.run(&["hook", "boot"])
}

fn says_nothing(outcome: Outcome) {
    let outcome = outcome.exits(0);
    assert_eq!(outcome.stdout.clone() + &outcome.stderr, "", "{}", outcome.context());
}

#[test]
fn what_is_recorded_for_a_filesystem_that_is_not_mounted_stays_pending() {
    if !is_root("several filesystems") {
        return;
    }
    for has_mount_point in [true, false] {
        let world = World::new();
        with_mounts(|| {
            let bound = bound(&world);
            world.run_on_tree(&["record"]).exits(0).says("recorded 3 ");
            unmount(&bound);
            if !has_mount_point {
                fs::remove_dir(&bound).unwrap();
            }
            let boot = booted(&world).exits(0).says("compiled 1 ");
            assert_eq!(pending(&world), 2, "{}", boot.context());
            assert_eq!(bound.exists(), has_mount_point, "{}", boot.context());
            if has_mount_point {
                assert_eq!(names(&bound), [""; 0], "{}", boot.context());
            }
            // It is no reason for anything to be done from now on.
            let transactions = "SELECT count(*) FROM transactions";
            let before: i64 = world.query(transactions);
            says_nothing(booted(&world));
            for hook in ["after-apt", "before", "remove"] {
                says_nothing(world.run(&["hook", hook]));
            }
            world.run(&["stage"]).exits(0).says("nothing is pending in reach");
            assert_eq!(world.query::<i64>(transactions), before);
            let waits = format!("2 pending wait for the filesystem of {}: mount it", bound.display());
            world.run(&["status"]).exits(0).says("is recording: 2 pending").says(&waits);
            let json = world.run(&["status", "--json"]).exits(0).stdout;
            let status: serde_json::Value = serde_json::from_str(&json).unwrap();
            let waiting = serde_json::json!([{ "mount": bound.to_str().unwrap(), "intents": 2 }]);
            assert_eq!(status["waiting"], waiting);
            bind(&world);
            booted(&world).exits(0).says("compiled 2 ");
            assert_eq!(pending(&world), 0);
            world.commit().exits(0).says("nothing to do (3 up to date)");
        });
    }
}

#[test]
fn what_is_recorded_for_an_interpreter_that_is_not_mounted_stays_pending() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let (behind, at) = (world.beside("behind"), world.beside("opt"));
        let bind = || mount(&["--bind", behind.to_str().unwrap(), at.to_str().unwrap()]);
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&at).unwrap();
        let script = format!("#!/bin/sh\nexec {PYTHON} \"$@\"\n");
        fs::write(behind.join("python"), script).unwrap();
        set_mode(&behind.join("python"), 0o755);
        bind();
        world.write("a.py", "x = 1\n");
        let python = at.join("python");
        world.run_on_tree(&["record", "--python", python.to_str().unwrap()]).exits(0).says("recorded 1 ");
        unmount(&at);
        for _ in 0..2 {
            says_nothing(booted(&world));
        }
        assert_eq!(pending(&world), 1);
        let waits = format!("1 pending wait for the filesystem of {}: mount it", at.display());
        world.run(&["status"]).exits(0).says("is recording: 1 pending").says(&waits);
        bind();
        booted(&world).exits(0).says("compiled 1 ");
        // One that is removed is another thing.
        world.write("b.py", "x = 1\n");
        world.run_on_tree(&["record", "--python", python.to_str().unwrap()]).exits(0);
        fs::remove_file(&python).unwrap();
        let boot = booted(&world).exits(0);
        assert_eq!(pending(&world), 0, "{}", boot.context());
    });
}

#[test]
fn a_removal_that_is_pending_for_a_filesystem_is_made_up_for() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let bound = bound(&world);
        world.commit().exits(0).says("compiled 3 ");
        // As a clean is that was decided, and killed.
        let decide = "INSERT INTO transactions (kind, state, began) VALUES ('clean', 'committing', 0);
                      INSERT INTO intents (txn, directory, target, outcome)
                      SELECT (SELECT max(id) FROM transactions), directory, target, 'removed' FROM ledger;
                      UPDATE numbers SET next_intent = (SELECT max(id) + 1 FROM intents);";
        world.journal().execute_batch(decide).unwrap();
        unmount(&bound);
        let recovered = world.run(&["recover"]).exits(0).says("is finished now").says("2 pending until");
        assert!(!world.pyc("plain/a.py").exists(), "{}", recovered.context());
        assert_eq!(published(&world), 2, "{}", recovered.context());
        bind(&world);
        booted(&world).exits(0).says("removed 2 ");
        assert_eq!(names(&bound), ["c.py", "package"]);
        assert_eq!(published(&world), 0);
    });
}

#[test]
fn rollback_drops_what_waits_for_a_filesystem_that_does_not_come_back() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let bound = bound(&world);
        world.run_on_tree(&["record"]).exits(0);
        unmount(&bound);
        world.run(&["commit", world.tree().join("plain").to_str().unwrap()]).exits(0).says("2 pending until");
        world.run(&["rollback"]).exits(0).says("is dropped with 2 intents");
        world.run(&["status"]).exits(0).says("no transaction is open").does_not_say("wait");
    });
}

#[test]
fn what_is_recorded_for_a_directory_that_is_deleted_does_not_stay() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let bound = bound(&world);
        world.run_on_tree(&["record"]).exits(0).says("recorded 3 ");
        fs::remove_dir_all(bound.join("package")).unwrap();
        fs::remove_dir_all(world.tree().join("plain")).unwrap();
        let boot = booted(&world).exits(0).says("compiled 1 ");
        assert_eq!(pending(&world), 0, "{}", boot.context());
    });
}

#[test]
fn what_is_staged_for_a_filesystem_that_is_not_mounted_any_more_is_pending_again() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let bound = bound(&world);
        stage(&world);
        unmount(&bound);
        let outcome = commit_staged(&world).exits(0).says("compiled 1 ").says("2 pending until");
        assert_eq!(pending(&world), 2, "{}", outcome.context());
        bind(&world);
        let outcome = commit_staged(&world).exits(0).says("compiled 2 ");
        assert!(world.pyc("bound/package/b.py").exists(), "{}", outcome.context());
        assert_eq!(names(&bound), ["__pycache__", "c.py", "package"], "{}", outcome.context());
    });
}

#[test]
fn what_is_published_on_a_filesystem_that_is_not_mounted_stays_published() {
    if !is_root("several filesystems") {
        return;
    }
    for has_mount_point in [true, false] {
        let world = World::new();
        with_mounts(|| {
            let bound = bound(&world);
            world.commit().exits(0).says("compiled 3 ");
            unmount(&bound);
            if !has_mount_point {
                fs::remove_dir(&bound).unwrap();
            }
            let outcome = world.commit().exits(0).says("nothing to do (1 up to date)");
            assert_eq!(published(&world), 3, "{}", outcome.context());
            for path in [bound.join("package"), bound.join("c.py"), bound.clone()] {
                let outcome = world.run(&["commit", path.to_str().unwrap()]).exits(0).does_not_say("removed");
                assert_eq!(published(&world), 3, "{}", outcome.context());
            }
            world.run_on_tree(&["verify"]).exits(0).does_not_say("missing");
            world.run(&["verify", bound.join("c.py").to_str().unwrap()]).exits(0).does_not_say("missing");
            bind(&world);
            world.commit().exits(0).says("nothing to do (3 up to date)");
            // A directory that is deleted is another thing.
            fs::remove_dir_all(bound.join("package")).unwrap();
            world.commit().exits(0);
            assert_eq!(published(&world), 2);
        });
    }
}

#[test]
fn retired_bytecode_whose_source_is_out_of_reach_is_made_again_once_it_is_back() {
    if !is_root("several filesystems") {
        return;
    }
    let system = Installation::with_programs();
    with_mounts(|| {
        let (behind, app) = (system.at("/behind"), system.at("/usr/share/app"));
        let bind = || mount(&["--bind", behind.to_str().unwrap(), app.to_str().unwrap()]);
        fs::create_dir_all(&behind).unwrap();
        fs::create_dir_all(&app).unwrap();
        bind();
        system.write("/usr/share/app/m.py", "x = 1\n");
        system.write("/var/lib/dpkg/info/app.list", "/.\n/usr/share/app/m.py\n");
        system.call("py3compile", &["-p", "app", "/usr/share/app"]).exits(0);
        let pyc = system.world.pyc(app.join("m.py"));
        assert!(pyc.exists());
        system.call_in_script("py3clean", &["-p", "app"]).exits(0);
        assert!(!pyc.exists());
        unmount(&app);
        let end = system.call("pyc-txn", &["hook", "triggered"]).exits(0);
        assert_eq!(names(&app), [""; 0], "{}", end.context());
        bind();
        let boot = system.call("pyc-txn", &["hook", "boot"]).exits(0).says("compiled 1 ");
        assert!(pyc.exists(), "{}{}", end.context(), boot.context());
    });
}
