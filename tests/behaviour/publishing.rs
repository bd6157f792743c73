//! What stands in the tree afterwards: places, permissions, warnings; and what happens between stage and commit.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use crate::aid::{
    NOBODY, commit_staged, is_root, mode, names, set_mode, set_mtime, stage, staged, stamp, through,
};
use crate::oracle;
use crate::support::{Outcome, PYTHON, World};

fn commit_with_umask(world: &World, umask: &str) -> Outcome {
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    let shell = format!("umask {umask}; exec \"$@\"");
    world.outcome(through(&["sh", "-c", &shell, "sh"], &command))
}

#[test]
fn a_pycache_has_its_parents_permissions_whatever_the_umask() {
    for umask in ["077", "000", "777"] {
        let world = World::new();
        for permissions in [0o755, 0o700, 0o750, 0o775, 0o1777] {
            world.write(format!("{permissions:o}/a.py"), "x = 1\n");
            set_mode(&world.tree().join(format!("{permissions:o}")), permissions);
        }
        let outcome = commit_with_umask(&world, umask).exits(0).says("compiled 5 ");
        for permissions in [0o755, 0o700, 0o750, 0o775, 0o1777] {
            let cache = world.tree().join(format!("{permissions:o}/__pycache__"));
            assert_eq!(mode(&cache), permissions, "umask {umask}: {cache:?}\n{}", outcome.context());
        }
        assert_eq!(mode(&world.state()), 0o700);
    }
}

#[test]
fn a_pycache_in_a_setgid_directory_has_its_group() {
    if !is_root("setgid directories") {
        return;
    }
    let world = World::new();
    world.write("shared/a.py", "x = 1\n");
    let shared = world.tree().join("shared");
    chown(&shared, None, Some(NOBODY)).unwrap();
    set_mode(&shared, 0o2775);
    let outcome = commit_with_umask(&world, "077").exits(0);
    let cache = shared.join("__pycache__");
    assert_eq!(mode(&cache), 0o2775, "{}", outcome.context());
    assert_eq!(fs::metadata(&cache).unwrap().gid(), NOBODY);
}

#[test]
fn a_pycache_that_is_there_keeps_its_permissions() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let cache = world.tree().join("__pycache__");
    fs::create_dir(&cache).unwrap();
    set_mode(&cache, 0o711);
    world.commit().exits(0);
    assert_eq!(mode(&cache), 0o711);
}

#[test]
fn bytecode_has_the_permissions_of_its_source() {
    let cases = [
        (0o644, 0o644),
        (0o600, 0o600),
        (0o640, 0o640),
        (0o755, 0o644),
        (0o444, 0o644),
        (0o4755, 0o644),
        (0o666, 0o666),
    ];
    for umask in ["077", "022"] {
        let world = World::new();
        for (source, _) in cases {
            set_mode(&world.write(format!("m{source:o}.py"), "x = 1\n"), source);
        }
        let outcome = commit_with_umask(&world, umask).exits(0);
        for (source, expected) in cases {
            let pyc = world.pyc(format!("m{source:o}.py"));
            assert_eq!(mode(&pyc), expected, "umask {umask}: {source:o}\n{}", outcome.context());
        }
    }
}

#[test]
fn warnings_are_kept_and_not_printed() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\nif x is 1: pass\nassert (x, 'always')\n");
    world.write("b.py", "x = 1\n");
    let outcome = world.commit().exits(0).says("compiled 2 ").does_not_say("Warning").does_not_say("is 1");
    assert_eq!(outcome.stderr, "", "{}", outcome.context());
    let outcome = world.run(&["status", "--json"]).exits(0);
    let status: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let warnings = status["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{}", outcome.context());
    assert_eq!(warnings[0]["path"], source.to_str().unwrap());
    let text = warnings[0]["warnings"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(lines, ["2", "3"], "{text}");
    world.run(&["status"]).exits(0).says("2 warnings in 1 sources");
    world.run(&["log", "1"]).exits(0).says("line 2: ");
    fs::write(&source, "x = 2\n").unwrap();
    world.commit().exits(0);
    world.run(&["status"]).exits(0).does_not_say("warnings");
}

#[test]
fn a_source_that_changes_after_it_was_staged_is_compiled_again() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    stage(&world);
    fs::write(&source, "x = 'changed'\n").unwrap();
    let outcome = commit_staged(&world).exits(0).says("compiled 2");
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "'changed'", "{}", outcome.context());
    assert_eq!(oracle::value(&world.pyc("b.py"), "x"), "2");
    oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
    world.commit().exits(0).says("nothing to do (2 up to date)");
}

#[test]
fn a_source_that_is_replaced_after_it_was_staged_by_one_of_the_same_size_and_time_is_compiled_again() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    set_mtime(&source, 1_500_000_000, 0);
    stage(&world);
    let other = world.write("other", "x = 2\n");
    set_mtime(&other, 1_500_000_000, 0);
    fs::rename(other, &source).unwrap();
    commit_staged(&world).exits(0);
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "2");
}

#[test]
fn a_source_that_is_touched_after_it_was_staged_has_its_new_time_in_its_bytecode() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    stage(&world);
    set_mtime(&source, 1_234_567_890, 987_654_321);
    let outcome = commit_staged(&world).exits(0);
    assert_eq!(oracle::header_mtime(&world.pyc("a.py")), 1_234_567_890, "{}", outcome.context());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn a_source_that_breaks_after_it_was_staged_is_a_failure() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    stage(&world);
    fs::write(&source, "= =\n").unwrap();
    commit_staged(&world).exits(1).says("a.py:1: SyntaxError").says("compiled 1, failed 1");
    assert!(!world.pyc("a.py").exists() && world.pyc("b.py").exists());
}

#[test]
fn a_source_that_is_removed_after_it_was_staged_is_dropped() {
    let world = World::new();
    let source = world.write("gone/a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    stage(&world);
    fs::remove_file(source).unwrap();
    let outcome = commit_staged(&world).exits(0).says("compiled 1");
    assert!(names(&world.tree().join("gone")).is_empty(), "{}", outcome.context());
    let outcomes: String =
        world.query("SELECT group_concat(outcome) FROM (SELECT * FROM intents ORDER BY source)");
    assert_eq!(outcomes, "vanished,compiled");
}

#[test]
fn a_directory_that_is_removed_after_it_was_staged_is_not_made_again() {
    let world = World::new();
    world.write("gone/a.py", "x = 1\n");
    stage(&world);
    fs::remove_dir_all(world.tree().join("gone")).unwrap();
    commit_staged(&world).exits(0);
    assert!(world.tree_files().is_empty());
}

/// Replaces `pkg` by a symlink to where it has gone: even the sources' identities are the same then.
fn move_and_link(world: &World, to: &Path) {
    let package = world.tree().join("pkg");
    fs::rename(&package, to).unwrap();
    symlink(to, &package).unwrap();
}

#[test]
fn a_directory_that_becomes_a_symlink_after_it_was_staged_is_not_followed() {
    let world = World::new();
    world.write("pkg/a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    stage(&world);
    let elsewhere = world.beside("elsewhere");
    move_and_link(&world, &elsewhere);
    let outcome = commit_staged(&world)
        .exits(1)
        .says(&format!("pkg/a.py: cannot open '{}/pkg': Not a directory", world.tree().display()));
    assert_eq!(names(&elsewhere), ["a.py"], "{}", outcome.context());
    assert!(world.pyc("b.py").exists(), "{}", outcome.context());
}

#[test]
fn a_directory_above_that_becomes_a_symlink_is_not_followed_either() {
    let world = World::new();
    world.write("pkg/sub/deep/a.py", "x = 1\n");
    stage(&world);
    let elsewhere = world.beside("elsewhere");
    move_and_link(&world, &elsewhere);
    let outcome = commit_staged(&world).exits(1).says("Too many levels of symbolic links");
    assert_eq!(names(&elsewhere.join("sub/deep")), ["a.py"], "{}", outcome.context());
}

#[test]
fn a_pycache_that_becomes_a_symlink_after_it_was_staged_is_not_followed() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    fs::write(world.tree().join("a.py"), "x = 2 # changed\n").unwrap();
    stage(&world);
    let (cache, elsewhere) = (world.tree().join("__pycache__"), world.beside("elsewhere"));
    fs::rename(&cache, &elsewhere).unwrap();
    symlink(&elsewhere, &cache).unwrap();
    let old = elsewhere.join(world.pyc("a.py").file_name().unwrap());
    let before = stamp(&old);
    let outcome = commit_staged(&world).exits(1).says("__pycache__': Not a directory");
    assert_eq!(stamp(&old), before, "{}", outcome.context());
}

#[test]
fn a_staged_file_that_somebody_removed_is_compiled_again() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    stage(&world);
    let staged = staged(&world);
    assert_eq!(staged.len(), 1);
    fs::remove_file(&staged[0]).unwrap();
    commit_staged(&world).exits(0).says("compiled 1");
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "1");
}
