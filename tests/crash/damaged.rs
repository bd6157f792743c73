//! A journal that is cut off, or has other bytes, after a stop: the next commit completes all the same.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::fs::FlockOperation;

use crate::demands::Said;
use crate::rounds::Rounds;

/// How many bytes of the journal are tried.
const SAMPLE: usize = 60;

#[test]
fn a_journal_that_is_cut_off_after_a_stop_is_set_aside_and_the_commit_completes() {
    let mut rounds = Rounds::new();
    for stop in stops(&mut rounds) {
        for part in [0, 1, 16, 50, 100, 2000, 4096, 5000, 4096 * 5, 4096 * 9 + 17, usize::MAX - 1, usize::MAX]
        {
            let cut = move |bytes: &mut Vec<u8>| match usize::MAX - part {
                // To SQLite zeros at the end of the file are there also where they are not; and of a single byte in a
                // text it cannot know that it is missing. So all that the last page holds goes.
                0 => bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() / 4096 * 4096),
                1 => bytes.truncate(bytes.len() - 1 - 4096),
                _ => bytes.truncate(part),
            };
            let what = format!("cut at {part}");
            let kept = damage_and_commit(&mut rounds, stop, &what, &cut);
            // One byte is none to SQLite: a VFS once wrote it to have something to lock.
            assert!(kept == Some(true) || part <= 1, "a journal {what} is believed, or not kept as it was");
        }
    }
}

#[test]
fn a_journal_with_a_byte_flipped_after_a_stop_does_not_keep_a_commit_from_completing() {
    let mut rounds = Rounds::new();
    let mut set_aside = 0;
    for stop in stops(&mut rounds) {
        for sample in 0..SAMPLE {
            let flip = move |bytes: &mut Vec<u8>| {
                // Every page, each time at another place.
                let at = sample * bytes.len() / SAMPLE + sample * 397 % (bytes.len() / SAMPLE);
                bytes[at] ^= 0x15;
            };
            let what = format!("sample {sample} flipped");
            set_aside += usize::from(damage_and_commit(&mut rounds, stop, &what, &flip).is_some());
        }
    }
    assert!(set_aside > 5, "only {set_aside} journals are set aside");
}

#[test]
fn setting_a_damaged_journal_aside_can_be_stopped_at_any_step() {
    let mut rounds = Rounds::new();
    let [(publishing, _), _] = stops(&mut rounds);
    for step in 1.. {
        rounds.next();
        rounds.run(&["commit"], Some(&format!("abort@{publishing}")));
        let path = rounds.world.state().join("journal.sqlite3");
        fs::write(&path, [0x15; 20_000]).unwrap();
        let stopped = rounds.run(&["commit"], Some(&format!("abort@{step}")));
        let context = stopped.outcome.context();
        rounds.every_pyc_loads(context);
        assert!(stopped.outcome.signal.is_some(), "there are only {step} steps\n{context}");
        let commit = rounds.run(&["commit"], None).outcome.exits(1);
        let context = format!("{context}{}", commit.context());
        rounds.holds_all_that_is_new(&context);
        rounds.nothing_is_left(&context);
        assert!(rounds.world.state().join("journal.sqlite3.damaged").exists(), "{context}");
        // Behind this step the commit is one without a journal.
        let set_aside = stopped.steps.iter().position(|step| step.name == "set aside");
        if set_aside.is_some_and(|at| at + 3 < step) {
            return;
        }
        rounds.start_over();
    }
}

#[test]
fn a_commit_that_waits_while_the_journal_is_set_aside_writes_the_new_one() {
    let mut rounds = Rounds::new();
    rounds.next();
    let state = rounds.world.state();
    let lock = fs::File::open(state.join("lock")).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut command = rounds.world.command(&["commit"]);
    command.arg(rounds.world.tree()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut commit = command.spawn().unwrap();
    let mut stderr = BufReader::new(commit.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for another pyc-txn"), "{line}");
    fs::rename(state.join("journal.sqlite3"), state.join("journal.sqlite3.damaged")).unwrap();
    drop(lock);
    stderr.read_to_string(&mut line).unwrap();
    assert_eq!(commit.wait().unwrap().code(), Some(1), "{line}");
    rounds.holds_all_that_is_new(&line);
    let committed: i64 = rounds.world.query("SELECT count(*) FROM transactions WHERE state = 'committed'");
    assert_eq!(committed, 1, "{line}");
}

/// A step in the middle of staging, and one in the middle of publishing.
fn stops(rounds: &mut Rounds) -> [(usize, Said); 2] {
    let steps = rounds.rehearse(&["commit"]);
    let middle = |name: &str| {
        let all: Vec<usize> = steps.iter().filter(|step| step.name == name).map(|step| step.number).collect();
        all[all.len() / 2]
    };
    [(middle("write file"), Said::Undecided), (middle("rename"), Said::Committing)]
}

/// Stops a commit, damages its journal and commits; `None` where that journal is believed, else whether the one that
/// was set aside is byte for byte what it was.
#[track_caller]
fn damage_and_commit(
    rounds: &mut Rounds,
    stop: (usize, Said),
    what: &str,
    damage: &dyn Fn(&mut Vec<u8>),
) -> Option<bool> {
    rounds.next();
    let stopped = rounds.run(&["commit"], Some(&format!("abort@{}", stop.0))).outcome;
    assert!(stopped.signal.is_some() && rounds.said() == stop.1, "{}", stopped.context());
    let path = rounds.world.state().join("journal.sqlite3");
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let commit = rounds.run(&["commit"], None).outcome;
    let context = format!("{what}\n{}{}", stopped.context(), commit.context());
    assert_eq!(commit.status, Some(1), "exit status of a commit\n{context}");
    rounds.holds_all_that_is_new(&context);
    let aside = rounds.world.state().join("journal.sqlite3.damaged");
    let kept = fs::read(aside).ok().map(|kept| kept == bytes);
    assert_eq!(kept.is_some(), commit.stderr.contains("is damaged"), "{context}");
    rounds.nothing_is_left(&context);
    rounds.start_over();
    kept
}
