//! What many of these tests need: other users, mounts, bounded waiting, files looked at closely.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::support::{Outcome, PYTHON, World};

/// `nobody` and `nogroup`.
pub const NOBODY: u32 = 65534;

/// Says what is left out, past the test harness, which shows what a test prints only when it fails.
pub fn skipped(what: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
}

/// Whether the tests run as root; else says what is left out.
pub fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped(&format!("{what} (needs root)"));
    }
    is_root
}

/// Whether a program is installed; else says what is left out.
pub fn has_program(program: &str, what: &str) -> bool {
    let found =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skipped(&format!("{what} (needs {program})"));
    }
    found
}

/// The same command, run through a program that ends with `exec`ing its arguments.
pub fn through(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

/// The same command as an ordinary user: `nobody` where the tests run as root. The world as it is then
/// becomes that user's, the first time.
pub fn as_user(world: &World, command: &Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return through(&["env"], command);
    }
    let program = world.beside("pyc-txn");
    if !program.exists() {
        // The build directory may be where only root can go.
        if fs::hard_link(command.get_program(), &program).is_err() {
            fs::copy(command.get_program(), &program).unwrap();
        }
        give(world.tree().parent().unwrap());
    }
    let mut ours = Command::new(&program);
    ours.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => ours.env(name, value),
            None => ours.env_remove(name),
        };
    }
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    through(&[&["setpriv"], &user[..]].concat(), &ours)
}

fn give(path: &Path) {
    let program = path.join("pyc-txn");
    let status = Command::new("find")
        .arg(path)
        .args(["!", "-samefile"])
        .arg(program)
        .args(["-exec", "chown", "-h", "65534:65534", "{}", "+"])
        .status();
    assert!(status.unwrap().success());
}

/// Runs `test` with mounts of its own, which end with it.
pub fn with_mounts(test: impl FnOnce() + Send) {
    let run = || {
        #[expect(deprecated, reason = "file descriptors stay shared, so nothing here is unsafe")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
        mount(&["--make-rprivate", "/"]);
        test();
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Calls mount(8).
#[track_caller]
pub fn mount(arguments: &[&str]) {
    let output = Command::new("mount").args(arguments).output().unwrap();
    assert!(output.status.success(), "mount {arguments:?}: {output:?}");
}

/// A run of the program that has been started; it does not outlive its test.
pub struct Running(Option<Child>);

impl Running {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.0.as_ref().unwrap())
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(self) {
        drop(self);
    }

    /// Its stderr, for who wants to read along.
    pub fn stderr(&mut self) -> ChildStderr {
        self.0.as_mut().unwrap().stderr.take().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a command whose output is collected by [`finish`].
pub fn start(mut command: Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(Some(command.spawn().unwrap()))
}

/// Waits for a run to end, a minute at most.
#[track_caller]
pub fn finish(world: &World, mut running: Running) -> Outcome {
    let ended = ends(running.pid());
    let mut child = running.0.take().unwrap();
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let outcome = world.outcome_of("(started earlier)", &output);
    assert!(ended, "it does not end\n{}", outcome.context());
    outcome
}

/// Whether a process ends within a minute, or has ended.
pub fn ends(pid: Pid) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)) == Ok(1)
}

/// Permission bits.
#[track_caller]
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the modification time, in seconds and nanoseconds since 1970.
pub fn set_mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    let file = File::options().read(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Inode, size, mtime and ctime with their nanoseconds, mode.
pub type Stamp = (u64, u64, i64, i64, i64, i64, u32);

/// What somebody makes of the bytes of a file.
pub type Damage = fn(&[u8]) -> Vec<u8>;

/// What changes when a file is replaced, rewritten, renamed or given other permissions. (Of the rollback journal without
/// the last two: to read it as root, SQLite gives it to the owner that it has.)
#[track_caller]
pub fn stamp(path: &Path) -> Stamp {
    let facts = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_rollback = path.file_name().is_some_and(|name| name == "journal.sqlite3-journal");
    let (ctime, nanoseconds) = if is_rollback { (0, 0) } else { (facts.ctime(), facts.ctime_nsec()) };
    (facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec(), ctime, nanoseconds, facts.mode())
}

/// Everything below a directory, with what [`stamp`] says of each; directories' sizes and times included.
pub fn snapshot(top: &Path) -> BTreeMap<PathBuf, Stamp> {
    let mut all = BTreeMap::from([(top.to_owned(), stamp(top))]);
    for entry in fs::read_dir(top).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(snapshot(&entry.path()));
        } else {
            all.insert(entry.path(), stamp(&entry.path()));
        }
    }
    all
}

/// Waits until what is changed from now on has a later time than `path` (the clock of files is coarse).
pub fn let_the_clock_tick(world: &World, path: &Path) {
    let_the_clock_go_on(world, path, 0);
}

/// Waits until what is changed from now on has a time more than so many seconds after that of `path`.
pub fn let_the_clock_go_on(world: &World, path: &Path, seconds: i64) {
    let before = fs::symlink_metadata(path).unwrap();
    let probe = world.beside("probe");
    loop {
        fs::write(&probe, "").unwrap();
        let now = fs::metadata(&probe).unwrap();
        fs::remove_file(&probe).unwrap();
        if (now.ctime(), now.ctime_nsec()) > (before.ctime() + seconds, before.ctime_nsec()) {
            return;
        }
    }
}

/// A name of these bytes.
pub fn name(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// The names in a directory, as text.
#[track_caller]
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().as_bytes().escape_ascii().to_string()).collect();
    names.sort();
    names
}

/// The number of programs that a command executes, itself included; `None` where strace is missing.
pub fn executions(world: &World, command: &Command) -> Option<usize> {
    if !has_program("strace", "counting executed programs") {
        return None;
    }
    let trace = world.beside("trace");
    let wrapper = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", trace.to_str().unwrap()];
    world.outcome(through(&wrapper, command)).exits(0);
    let text = fs::read_to_string(trace).unwrap();
    Some(text.lines().filter(|line| line.contains("execve") && line.ends_with("= 0")).count())
}

/// Stages the tree: it can be changed before [`commit_staged`] publishes it.
pub fn stage(world: &World) -> Outcome {
    world.run_on_tree(&["record", "--python", PYTHON]).exits(0);
    world.run(&["stage"]).exits(0).says("is staged")
}

/// The staged files.
pub fn staged(world: &World) -> Vec<PathBuf> {
    let files = world.files().into_iter().filter(|file| file.starts_with("state/staging/"));
    files.map(|file| world.beside(&file)).filter(|path| path.is_file()).collect()
}

/// Publishes what is staged, and asks for nothing else.
pub fn commit_staged(world: &World) -> Outcome {
    world.run(&["commit", &nothing(world)])
}

/// A path that a commit can name without adding anything.
pub fn nothing(world: &World) -> String {
    let path = world.beside("nothing");
    fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs `command` in a shell that has called ulimit(1) with `limit`.
pub fn limited(world: &World, limit: &str, command: &Command) -> Outcome {
    world.outcome(through(&["sh", "-c", &format!("ulimit {limit}; exec \"$@\""), "sh"], command))
}

/// The program with the tree as its last argument.
pub fn on_tree(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.arg(world.tree());
    command
}
