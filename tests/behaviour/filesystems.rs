//! Trees over several filesystems, and filesystems that do not take what they are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aid::{is_root, mount, names, skipped, snapshot, with_mounts};
use crate::oracle;
use crate::support::{PYTHON, World};

/// What there may not be any more once a transaction has ended.
#[track_caller]
fn nothing_is_left_over(world: &World, context: &str) {
    let left: Vec<String> = world
        .files()
        .into_iter()
        .filter(|file| file.contains("/.pyc-txn-") || file.starts_with("state/staging/"))
        .collect();
    assert!(left.is_empty(), "{left:?}\n{context}");
}

/// A tree with a part on a tmpfs, one that is a bind mount and one that is read as it is.
fn write_parts(world: &World) -> [PathBuf; 4] {
    let (memory, bound) = (world.tree().join("memory"), world.tree().join("bound"));
    let behind = world.beside("behind");
    for directory in [&memory, &bound, &behind] {
        fs::create_dir(directory).unwrap();
    }
    mount(&["-t", "tmpfs", "-o", "mode=755", "none", memory.to_str().unwrap()]);
    mount(&["--bind", behind.to_str().unwrap(), bound.to_str().unwrap()]);
    ["plain/a.py", "memory/package/b.py", "bound/deep/er/c.py", "memory/other/d.py"]
        .map(|source| world.write(source, "x = 'here'\n"))
}

#[test]
fn a_tree_over_several_filesystems_is_one_transaction() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let sources = write_parts(&world);
        let outcome = world.commit().exits(0).says("compiled 4 ");
        oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &sources, outcome.context());
        nothing_is_left_over(&world, outcome.context());
        assert_eq!(world.query::<i64>("SELECT count(*) FROM transactions"), 1);
        world.commit().exits(0).says("nothing to do (4 up to date)");
        sources.iter().for_each(|source| fs::remove_file(source).unwrap());
        world.commit().exits(0).says("removed 4");
    });
}

#[test]
fn what_is_staged_beside_the_sources_is_published_or_dropped_from_there() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let sources = write_parts(&world);
        for ending in ["rollback", "commit"] {
            world.run_on_tree(&["record"]).exits(0);
            let outcome = world.run(&["stage"]).exits(0).says("compiled 4");
            let files = world.files();
            let places =
                files.iter().filter(|file| file.starts_with("state/staging/") && file.contains("/place-"));
            assert_eq!(places.count(), 2, "{}", outcome.context());
            let hidden = names(&world.tree().join("memory"));
            assert!(
                hidden.iter().any(|name| name.starts_with(".pyc-txn-1") || name.starts_with(".pyc-txn-2")),
                "{hidden:?}"
            );
            assert!(!world.pyc(&sources[1]).exists());
            let ended = match ending {
                "commit" => world.run_on_tree(&["commit"]).exits(0).says("compiled 4"),
                _ => world.run(&["rollback"]).exits(0).says("is dropped with 4 intents"),
            };
            nothing_is_left_over(&world, ended.context());
        }
        assert!(sources.iter().all(|source| world.pyc(source).exists()));
    });
}

#[test]
fn a_staging_directory_that_cannot_be_removed_stops_nobody_and_goes_once_it_can() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        write_parts(&world);
        let memory = world.tree().join("memory");
        world.run_on_tree(&["record"]).exits(0);
        world.run(&["stage"]).exits(0).says("compiled 4");
        remount(&memory, "ro");
        let hidden = || names(&memory).into_iter().find(|name| name.starts_with(".pyc-txn-"));
        let name = hidden().unwrap();
        let dropped = world.run(&["rollback"]).exits(0).says("is dropped with 4 intents");
        let dropped = dropped.says(&format!("{name}' stays until a later run can remove it"));
        assert!(hidden().is_some(), "{}", dropped.context());
        // Others go on, and say nothing of it.
        let others = world.tree().join("plain");
        let outcome = world.run(&["commit", others.to_str().unwrap()]).exits(0).says("compiled 1 ");
        outcome.does_not_say(".pyc-txn-");
        world
            .run(&["status"])
            .exits(0)
            .says(&format!("{name} could not be removed; the next run tries again"));
        remount(&memory, "rw");
        let outcome = world.commit().exits(0).says("compiled 3 ");
        nothing_is_left_over(&world, outcome.context());
        world.run(&["status"]).exits(0).does_not_say("could not be removed");
    });
}

#[test]
fn the_state_directory_may_be_on_another_filesystem_than_everything() {
    if !is_root("several filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        fs::create_dir(world.state()).unwrap();
        mount(&["-t", "tmpfs", "-o", "mode=700", "none", world.state().to_str().unwrap()]);
        world.write("package/a.py", "x = 1\n");
        world.write("package/sub/b.py", "x = 1\n");
        let outcome = world.commit().exits(0).says("compiled 2 ");
        nothing_is_left_over(&world, outcome.context());
        assert_eq!(names(&world.tree()), ["package"], "{}", outcome.context());
    });
}

fn remount(path: &Path, options: &str) {
    mount(&["-o", &format!("remount,{options}"), path.to_str().unwrap()]);
}

#[test]
fn a_read_only_filesystem_stops_the_transaction_before_anything_changes() {
    if !is_root("read-only filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let tree = world.tree();
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", tree.to_str().unwrap()]);
        world.write("package/a.py", "x = 1\n");
        remount(&tree, "ro");
        let before = snapshot(&tree);
        let outcome = world
            .commit()
            .exits(3)
            .says(&format!("cannot write to '{}/package': Read-only file system", tree.display()))
            .says("is rolled back: nothing has changed, and what it was to do is pending");
        assert!(snapshot(&tree) == before, "{}", outcome.context());
        nothing_is_left_over(&world, outcome.context());
        remount(&tree, "rw");
        world.commit().exits(0).says("compiled 1 ");
    });
}

#[test]
fn a_read_only_tree_that_is_up_to_date_is_no_failure() {
    if !is_root("read-only filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let tree = world.tree();
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", tree.to_str().unwrap()]);
        world.write("a.py", "x = 1\n");
        world.commit().exits(0).says("compiled 1 ");
        remount(&tree, "ro");
        world.commit().exits(0).says("nothing to do (1 up to date)");
    });
}

#[test]
fn a_full_filesystem_stops_the_transaction_and_is_forgiven_once_it_has_room() {
    if !is_root("full filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let tree = world.tree();
        mount(&["-t", "tmpfs", "-o", "mode=755,size=300k", "none", tree.to_str().unwrap()]);
        world.write("small.py", "x = 1\n");
        let text: String = (0..20_000).map(|n| format!("{n:08}")).collect();
        let large = world.write("large.py", format!("x = '{text}'\n"));
        let outcome = world
            .commit()
            .exits(3)
            .says("No space left on device")
            .says("is rolled back: nothing has changed");
        assert_eq!(world.tree_files(), ["large.py", "small.py"], "{}", outcome.context());
        nothing_is_left_over(&world, outcome.context());
        remount(&tree, "size=10m");
        let outcome = world.commit().exits(0).says("compiled 2 ");
        oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[large], outcome.context());
    });
}

#[test]
fn an_overlay_is_compiled_to_its_upper_layer() {
    if !is_root("overlay filesystems") {
        return;
    }
    let world = World::new();
    with_mounts(|| {
        let layers = world.beside("layers");
        fs::create_dir(&layers).unwrap();
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", layers.to_str().unwrap()]);
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layers.join(name));
        for layer in [&lower, &upper, &work] {
            fs::create_dir(layer).unwrap();
        }
        fs::create_dir(lower.join("package")).unwrap();
        fs::write(lower.join("package/a.py"), "x = 1\n").unwrap();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let tree = world.tree();
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "-o", &options, "none"])
            .arg(&tree)
            .output()
            .unwrap();
        if !mounted.status.success() {
            return skipped("overlay filesystems (this kernel has none)");
        }
        let outcome = world.commit().exits(0).says("compiled 1 ");
        oracle::is_what_py_compile_writes(
            PYTHON.as_ref(),
            "timestamp",
            0,
            &[tree.join("package/a.py")],
            outcome.context(),
        );
        assert_eq!(names(&lower.join("package")), ["a.py"]);
        nothing_is_left_over(&world, outcome.context());
        world.commit().exits(0).says("nothing to do (1 up to date)");
    });
}
