//! `record` while a commit is compiling: it does not wait, and nothing it recorded is lost.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::thread::JoinHandle;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Outcome, PYTHON, World};

/// An interpreter whose workers wait at a gate, so that a commit is known to be compiling.
struct Gate {
    world: World,
    python: PathBuf,
    fifo: PathBuf,
}

/// A commit that has a worker at the gate.
struct Waiting<'a> {
    gate: &'a Gate,
    process: Pid,
    open: File,
    ended: JoinHandle<(Output, File)>,
}

impl Gate {
    fn new() -> Self {
        let world = World::new();
        let (python, fifo) = (world.beside("python"), world.beside("gate"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *'pyc-txn worker'*) read line < '{}' ;; esac\nexec {PYTHON} \"$@\"\n",
            fifo.display()
        );
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        Self { world, python, fifo }
    }

    /// Starts a commit of the tree, and returns when its worker is at the gate.
    fn commit(&self) -> Waiting<'_> {
        let mut command = self.world.command(&["commit", "-j", "1", "--python"]);
        command.arg(&self.python).arg(self.world.tree());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let process = Pid::from_child(&child);
        let fifo = self.fifo.clone();
        let ended = std::thread::spawn(move || {
            let output = child.wait_with_output().unwrap();
            // Whoever still waits for a worker at the gate need not: there is none.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let release = File::options().read(true).custom_flags(flags).open(fifo).unwrap();
            (output, release)
        });
        let open = File::options().write(true).open(&self.fifo).unwrap();
        Waiting { gate: self, process, open, ended }
    }

    fn record(&self, name: &str) {
        let mut command = self.world.command(&["record", "--python"]);
        command.arg(&self.python).arg(self.world.tree().join(name));
        self.world.outcome(command).exits(0).says("recorded 1 for transaction");
    }

    /// Sources that are pending, as their targets' names have them.
    fn pending(&self) -> String {
        self.world.query(
            "SELECT coalesce(group_concat(source), '') FROM (SELECT CAST(source AS TEXT) AS source FROM intents
             WHERE outcome IS NULL AND txn = (SELECT id FROM transactions WHERE state = 'recording')
             ORDER BY source)",
        )
    }

    /// A commit that nobody holds up.
    #[track_caller]
    fn complete(&self) {
        self.commit().goes_on().exits(0);
        assert_eq!(self.pending(), "");
    }
}

impl Waiting<'_> {
    /// Lets the worker through and waits for the commit's end.
    fn goes_on(mut self) -> Outcome {
        // A worker that is gone is seen by the exit status.
        let _ = self.open.write_all(b"\n");
        drop(self.open);
        let (output, _) = self.ended.join().unwrap();
        self.gate.world.outcome_of("pyc-txn commit", &output)
    }

    fn killed(self) -> Outcome {
        kill_process(self.process, Signal::KILL).unwrap();
        let (output, _) = self.ended.join().unwrap();
        self.gate.world.outcome_of("pyc-txn commit", &output)
    }
}

#[test]
fn what_is_recorded_while_a_commit_compiles_is_pending_afterwards() {
    let gate = Gate::new();
    gate.world.write("a.py", "x = 1\n");
    let commit = gate.commit();
    gate.world.write("b.py", "x = 2\n");
    gate.record("b.py");
    commit.goes_on().exits(0).says("compiled 1");
    assert!(gate.world.pyc("a.py").exists() && !gate.world.pyc("b.py").exists());
    assert_eq!(gate.pending(), "b.py");
    let causes = "SELECT count(*) FROM causes WHERE command LIKE 'record %b.py' AND txn = 2";
    assert_eq!(gate.world.query::<i64>(causes), 1, "nobody knows who asked");
    gate.complete();
    assert!(gate.world.pyc("b.py").exists());
}

#[test]
fn what_is_recorded_anew_while_a_commit_compiles_it_is_pending_afterwards() {
    let gate = Gate::new();
    gate.world.write("a.py", "x = 1\n");
    gate.world.write("b.py", "x = 1\n");
    let commit = gate.commit();
    gate.record("b.py");
    commit.goes_on().exits(0);
    assert!(gate.world.pyc("a.py").exists());
    assert_eq!(gate.pending(), "b.py");
    gate.complete();
    assert!(gate.world.pyc("b.py").exists());
}

#[test]
fn what_is_recorded_while_a_commit_compiles_survives_its_kill() {
    let gate = Gate::new();
    gate.world.write("a.py", "x = 1\n");
    let commit = gate.commit();
    gate.world.write("b.py", "x = 2\n");
    gate.record("b.py");
    let killed = commit.killed();
    assert_eq!(killed.signal, Some(9), "{}", killed.context());
    gate.world.run(&["recover"]).exits(0);
    assert_eq!(gate.pending(), "a.py,b.py");
    gate.complete();
    assert!(gate.world.pyc("a.py").exists() && gate.world.pyc("b.py").exists());
}
