//! The boot unit's commands: what was torn when the power went is mended before anybody needs it.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::aid::{finish, has_program, names, start, through};
use crate::installation::{Installation, PUBLIC};
use crate::support::Outcome;

const MARK: &str = "/var/lib/pyc-txn/clean-shutdown";

/// A system with two public modules that are published.
fn system() -> Installation {
    let system = Installation::with_programs();
    for name in ["a.py", "b.py"] {
        system.write(&format!("{PUBLIC}/{name}"), "x = 1\n");
    }
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 2 ");
    system
}

fn boot(system: &Installation) -> Outcome {
    system.call("pyc-txn", &["hook", "boot"]).exits(0)
}

fn shut_down(system: &Installation) {
    let outcome = system.call("pyc-txn", &["hook", "shutdown"]).exits(0);
    assert_eq!(outcome.stdout.clone() + &outcome.stderr, "");
    assert!(system.at(MARK).exists(), "{}", outcome.context());
}

/// The second half of the file is lost.
fn tear(pyc: &Path) {
    let bytes = fs::read(pyc).unwrap();
    fs::write(pyc, &bytes[..bytes.len() / 2]).unwrap();
}

#[track_caller]
fn is_torn(system: &Installation) -> bool {
    system.call("pyc-txn", &["verify"]).status == Some(1)
}

#[test]
fn after_an_unclean_shutdown_a_dead_python_comes_back_to_life() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    system.call("pyc-txn", &["commit"]).exits(0);
    // The package was configured again, and nobody has looked at it yet.
    private.compile();
    for module in ["encodings/__init__.py", "os.py"] {
        tear(&private.pyc(module));
    }
    assert!(!private.start().status.success());
    let outcome = boot(&system).says("the last shutdown was not clean: ").says(" 2 damaged, 2 mended");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert_eq!(outcome.stdout, "", "{}", outcome.context());
    assert!(private.start().status.success(), "{}", outcome.context());
    assert!(!is_torn(&system));
}

#[test]
fn a_state_directory_that_is_new_is_no_obstacle() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    boot(&system).says(" 0 damaged");
    assert!(!system.at("/var/lib/pyc-txn").exists());
    tear(&private.pyc("encodings/__init__.py"));
    boot(&system).says(" 1 damaged, 1 mended");
    assert!(private.start().status.success());
}

#[test]
fn nor_is_a_journal_that_is_damaged() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    system.call("pyc-txn", &["commit"]).exits(0);
    tear(&private.pyc("encodings/__init__.py"));
    let journal = system.at("/var/lib/pyc-txn/journal.sqlite3");
    let length = fs::metadata(&journal).unwrap().len();
    fs::write(&journal, vec![0x55; usize::try_from(length).unwrap()]).unwrap();
    boot(&system).says(" 1 damaged, 1 mended");
    assert!(private.start().status.success());
}

#[test]
fn after_a_clean_shutdown_nothing_is_looked_at_and_the_mark_counts_once() {
    let system = system();
    shut_down(&system);
    tear(&system.pyc("a.py"));
    let outcome = boot(&system);
    assert_eq!(outcome.stdout.clone() + &outcome.stderr, "", "{}", outcome.context());
    assert!(!system.at(MARK).exists() && is_torn(&system), "{}", outcome.context());
    boot(&system).says("2 pycs looked at, 1 damaged, 1 mended");
    assert!(!is_torn(&system));
    boot(&system).says("2 pycs looked at, 0 damaged, 0 mended");
}

#[test]
fn a_mark_that_is_older_than_a_dpkg_run_counts_for_nothing() {
    for moment in ["configure", "triggered"] {
        let system = system();
        shut_down(&system);
        system.call_in_script("pyc-txn", &["hook", moment]).exits(0);
        tear(&system.pyc("a.py"));
        boot(&system).says(" 1 mended");
    }
}

#[test]
fn bytecode_as_the_ledger_has_it_is_not_read() {
    let system = system();
    let pyc = system.pyc("a.py");
    let time = fs::metadata(&pyc).unwrap().modified().unwrap();
    let mut bytes = fs::read(&pyc).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pyc, bytes).unwrap();
    File::options().write(true).open(&pyc).unwrap().set_modified(time).unwrap();
    boot(&system).says(" 0 damaged");
    assert!(is_torn(&system));
}

#[test]
fn what_is_missing_or_stale_is_left_to_a_commit() {
    let system = system();
    fs::remove_file(system.pyc("a.py")).unwrap();
    system.write(&format!("{PUBLIC}/b.py"), "x = 22\n");
    boot(&system).says(" 0 damaged");
    assert!(!system.pyc("a.py").exists());
}

#[test]
fn nobody_waits_for_what_is_pending() {
    let system = system();
    system.install("pkg", &["c.py"]);
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    shut_down(&system);
    let socket = UnixDatagram::bind(system.world.beside("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // While somebody else has the lock, nothing that is pending can be compiled.
    let lock = File::open(system.at("/var/lib/pyc-txn/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut command = system.called("pyc-txn", &["hook", "boot"]);
    command.env("NOTIFY_SOCKET", system.world.beside("notify"));
    let running = start(command);
    let mut message = [0; 100];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    assert!(!system.pyc("c.py").exists());
    drop(lock);
    finish(&system.world, running).exits(0).says("compiled 1 ");
}

/// Lines of a trace that matter here.
fn traced(system: &Installation, moment: &str) -> Vec<String> {
    let trace = system.world.beside("trace");
    let calls = "trace=sync,syncfs,fsync,openat,unlinkat";
    let wrapper = ["strace", "-f", "-qq", "-y", "-e", calls, "-o", trace.to_str().unwrap()];
    system.world.outcome(through(&wrapper, &system.called("pyc-txn", &["hook", moment]))).exits(0);
    let text = fs::read_to_string(trace).unwrap();
    let matters = |line: &&str| {
        let succeeded = !line.contains(" = -1 ");
        // The second line of a call in which another thread made one.
        let is_end = line.contains("<... ");
        succeeded && !is_end && (line.contains("clean-shutdown") || line.contains("sync"))
    };
    text.lines().filter(matters).map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
}

#[test]
fn the_mark_is_made_after_all_else_is_durable_and_is_durable_itself() {
    if !has_program("strace", "the order of system calls") {
        return;
    }
    let system = system();
    let lines = traced(&system, "shutdown");
    let begins: Vec<&str> = lines.iter().map(|line| line.split('(').next().unwrap()).collect();
    assert_eq!(begins, ["sync", "openat", "fsync", "fsync"], "{lines:?}");
    // The mark itself, and its name.
    for synced in ["/clean-shutdown>", "/var/lib/pyc-txn>"] {
        assert!(lines[2..].iter().any(|line| line.contains(synced)), "{synced}: {lines:?}");
    }
    let lines = traced(&system, "boot");
    let begins: Vec<&str> = lines.iter().map(|line| line.split('(').next().unwrap()).collect();
    assert_eq!(begins, ["unlinkat", "fsync"], "{lines:?}");
    assert!(lines[1].contains("/var/lib/pyc-txn>"), "{lines:?}");
    assert!(!names(&system.at("/var/lib/pyc-txn")).contains(&"clean-shutdown".to_owned()));
}
