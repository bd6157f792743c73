//! Journals from elsewhere, damaged journals, and where the state is.

use std::fs;
use std::path::PathBuf;

use crate::aid::{Damage, as_user, let_the_clock_tick, mode, names, stamp};
use crate::support::World;

fn journal(world: &World) -> PathBuf {
    world.state().join("journal.sqlite3")
}

#[test]
fn a_journal_from_a_newer_version_is_refused_with_both_numbers() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    world.journal().pragma_update(None, "user_version", 99).unwrap();
    world.write("b.py", "x = 1\n");
    let before = stamp(&journal(&world));
    for arguments in [&["commit"][..], &["record"], &["clean"]] {
        world
            .run_on_tree(arguments)
            .exits(3)
            .says("has schema 99, written by a newer pyc-txn; this one knows 9");
    }
    for arguments in [&["status"][..], &["log"], &["stage"], &["recover"], &["rollback"]] {
        world.run(arguments).exits(3).says("schema 99");
    }
    assert_eq!(stamp(&journal(&world)), before);
    assert!(!world.pyc("b.py").exists() && world.pyc("a.py").exists());
}

#[test]
fn a_damaged_journal_is_set_aside_and_what_is_there_is_taken_over() {
    let damages: [Damage; 4] = [
        |_| b"garbage\n".repeat(1000),
        |whole| [&[0; 100][..], &whole[100..]].concat(),
        |whole| whole[..5000].to_vec(),
        |whole| [&whole[..4096], &vec![0x55; whole.len() - 4096]].concat(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let world = World::new();
        world.write("a.py", "x = 1\n");
        let source = world.write("b.py", "x = 2\n");
        let_the_clock_tick(&world, &source);
        world.commit().exits(0).says("compiled 2 ");
        let damaged = damage(&fs::read(journal(&world)).unwrap());
        fs::write(journal(&world), &damaged).unwrap();
        world.write("c.py", "x = 3\n");
        let outcome = world
            .commit()
            .exits(0)
            .says("is damaged: ")
            .says("journal.sqlite3.damaged'; a new one is built from what is on disk")
            .says("compiled 1, adopted 2");
        let aside = world.state().join("journal.sqlite3.damaged");
        assert_eq!(fs::read(aside).unwrap(), damaged, "damage {number}\n{}", outcome.context());
        world.commit().exits(0).says("nothing to do (3 up to date)").does_not_say("damaged");
    }
}

#[test]
fn a_second_damaged_journal_gets_a_name_of_its_own() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let_the_clock_tick(&world, &source);
    for _ in 0..2 {
        world.commit().exits(0);
        fs::write(journal(&world), b"garbage".repeat(1000)).unwrap();
    }
    world.commit().exits(0).says("adopted 1");
    let state = names(&world.state());
    for name in ["journal.sqlite3.damaged", "journal.sqlite3.damaged-2"] {
        assert!(state.contains(&name.to_owned()), "{state:?}");
    }
}

#[test]
fn only_looking_at_a_damaged_journal_leaves_it_where_it_is() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    fs::write(journal(&world), b"garbage".repeat(1000)).unwrap();
    let before = names(&world.state());
    world.run(&["status"]).exits(3).says("is damaged");
    world.run(&["log"]).exits(3).says("is damaged");
    world.run_on_tree(&["commit", "--dry-run"]).exits(3).says("is damaged");
    assert_eq!(names(&world.state()), before);
}

#[test]
fn an_empty_journal_is_a_new_one() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    fs::create_dir(world.state()).unwrap();
    fs::write(journal(&world), "").unwrap();
    world.commit().exits(0).says("compiled 1 ").does_not_say("damaged");
}

#[test]
fn a_journal_that_is_gone_costs_no_compilation() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let_the_clock_tick(&world, &source);
    world.commit().exits(0).says("compiled 1 ");
    fs::remove_dir_all(world.state()).unwrap();
    world.commit().exits(0).says("adopted 1 ").does_not_say("compiled");
}

#[test]
fn an_ordinary_user_has_a_state_of_their_own() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let home = world.beside("home");
    fs::create_dir(&home).unwrap();
    // The world is given to the user now, not between the commits.
    as_user(&world, &world.command(&["status"]));
    let_the_clock_tick(&world, &source);
    let run = |variable: &str, value: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
        command
            .args(["commit", "--python", crate::support::PYTHON])
            .arg(world.tree())
            .env_remove("XDG_STATE_HOME")
            .env("HOME", &home)
            .env(variable, value);
        world.outcome(as_user(&world, &command))
    };
    let xdg = home.join("xdg");
    run("XDG_STATE_HOME", xdg.to_str().unwrap()).exits(0).says("compiled 1 ");
    assert!(xdg.join("pyc-txn/journal.sqlite3").exists());
    assert_eq!(mode(&xdg.join("pyc-txn")), 0o700);
    run("XDG_STATE_HOME", xdg.to_str().unwrap()).exits(0).says("nothing to do (1 up to date)");
    // The specification: a relative one is to be ignored.
    for (variable, value) in [("XDG_STATE_HOME", "relative"), ("XDG_STATE_HOME", ""), ("UNRELATED", "")] {
        let _ = fs::remove_dir_all(home.join(".local"));
        let outcome = run(variable, value).exits(0).says("adopted 1 ");
        let state = home.join(".local/state/pyc-txn/journal.sqlite3");
        assert!(state.exists(), "{variable}={value}\n{}", outcome.context());
    }
}

#[test]
fn an_ordinary_user_cannot_see_the_state_of_another() {
    if !crate::aid::is_root("the state of another user") {
        return;
    }
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let command = |arguments: &[&str]| as_user(&world, &world.command(arguments));
    let first = command(&["status"]);
    world.outcome(first).exits(0);
    world.commit().exits(0);
    let outcome = world.outcome(command(&["status"]));
    outcome.exits(3).says("cannot open the journal");
}
