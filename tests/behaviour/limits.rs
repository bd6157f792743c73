//! What this process is refused: memory, threads, files, system calls. Each is a message, never an abort.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::aid::{has_program, is_root, limited, mount, on_tree, through, with_mounts};
use crate::fake::Fake;
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World};

#[test]
fn memory_that_is_refused_costs_the_source_that_needs_it() {
    let world = World::new();
    world.write("large.py", format!("x = '{}'\n", "y".repeat(12_000_000)));
    world.write("small.py", "x = 1\n");
    // The limit is the driver's; a worker has none.
    let fake = Fake::starting(&world, "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))");
    let mut refused = 0;
    for kilobytes in (40_000..140_000).step_by(20_000) {
        let command = on_tree(&world, &["commit", "-f", "-j", "1", "--python", fake.path()]);
        let outcome = limited(&world, &format!("-S -v {kilobytes}"), &command);
        assert!(matches!(outcome.status, Some(0 | 1 | 3)), "{kilobytes} {}", outcome.context());
        if outcome.status == Some(1) {
            refused += 1;
            outcome.says("large.py: ").says("Cannot allocate memory").says("compiled 1, failed 1");
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_limit_of_file_sizes_is_an_error_and_no_signal() {
    let world = World::new();
    world.write("large.py", format!("x = '{}'\n", "y".repeat(3_000_000)));
    let outcome = limited(&world, "-f 2000", &on_tree(&world, &["commit"]));
    outcome.exits(3).says("File too large").says("is rolled back: nothing has changed");
    world.commit().exits(0).says("compiled 1 ");
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.divert_originals();
    for (program, arguments) in [
        ("py3compile", &["-p", "pkg"][..]),
        ("py3clean", &["-p", "pkg"]),
        ("pyc-txn", &["hook", "triggered"]),
    ] {
        let outcome = limited(&system.world, "-f 0", &system.in_script(program, arguments)).exits(0);
        assert_eq!(system.note("original"), None, "{}", outcome.context());
    }
}

#[test]
fn open_files_that_are_refused_are_named() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let mut told = 0;
    for files in (4..40).step_by(2) {
        let outcome = limited(&world, &format!("-n {files}"), &on_tree(&world, &["commit", "-f"]));
        assert!(matches!(outcome.status, Some(0 | 1 | 3)), "{files} {}", outcome.context());
        if outcome.status != Some(0) {
            told += 1;
            outcome.says("Too many open files").does_not_say("is installed");
        }
    }
    assert!(told > 4, "{told}");
    // Where nobody named an interpreter, those that are installed are not said to be missing.
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    for files in (4..30).step_by(2) {
        let limit = format!("-n {files}");
        let named = limited(&system.world, &limit, &system.called("pyc-txn", &["commit", "-f", PUBLIC]));
        assert!(matches!(named.status, Some(0 | 1 | 3)), "{files} {}", named.context());
        named.does_not_say("is installed");
    }
    for files in [4, 8, 12, 16] {
        for (program, arguments) in [("py3compile", &["-p", "pkg"][..]), ("pyc-txn", &["hook", "triggered"])]
        {
            limited(&system.world, &format!("-n {files}"), &system.in_script(program, arguments)).exits(0);
        }
    }
}

#[test]
fn a_small_stack_is_an_error_of_the_interpreter_at_most() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    for kilobytes in [64, 128, 512] {
        let commit = system.called("pyc-txn", &["commit", "-f", PUBLIC]);
        let outcome =
            limited(&system.world, &format!("-s {kilobytes}"), &commit).does_not_say("is installed");
        assert!(matches!(outcome.status, Some(0 | 1 | 3)), "{}", outcome.context());
    }
    // The interpreter has a stack of its own, where that is allowed.
    limited(&system.world, "-S -s 64", &system.called("pyc-txn", &["commit", "-f", PUBLIC])).exits(0);
}

/// Runs `command` as the user of this number, who may have so many processes and threads.
fn with_processes(world: &World, user: u32, most: u32, command: &Command) -> Outcome {
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let user = ["setpriv", &uid, &gid, "--clear-groups"];
    let limits = ["sh", "-c", "ulimit -u \"$0\" 2>/dev/null || ulimit -p \"$0\"; exec \"$@\""];
    let most = most.to_string();
    world.outcome(through(&[&user[..], &limits, &[most.as_str()]].concat(), command))
}

#[test]
fn threads_that_are_refused_leave_the_work_to_those_there_are() {
    if !is_root("a limit of processes") {
        return;
    }
    let world = World::new();
    for number in 0..200 {
        world.write(format!("{}/{number}.py", number % 50), format!("x = '{}'\n", "y".repeat(4000)));
    }
    let program = world.beside("pyc-txn");
    fs::copy(env!("CARGO_BIN_EXE_pyc-txn"), &program).unwrap();
    // A user of whom there is no other process.
    let user = 1_000_000 + std::process::id();
    let above = world.tree().parent().unwrap().to_owned();
    let given = Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(above).status();
    assert!(given.unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let with = |most: u32, arguments: &[&str]| {
        let ours = on_tree(&world, arguments);
        let mut command = Command::new(&program);
        command.args(ours.get_args());
        with_processes(&world, user, most, &command)
    };
    let is_told = |outcome: Outcome| {
        if outcome.status != Some(0) {
            outcome.exits(3).says("as a worker: Resource temporarily unavailable").says("is rolled back");
        }
    };
    // Alone there is no worker.
    with(1, &["commit", "-j", "4"])
        .exits(3)
        .says("Resource temporarily unavailable")
        .does_not_say("is installed");
    // The second place may be a thread's or a worker's, the third is a worker's.
    is_told(with(2, &["commit", "-j", "1"]));
    with(3, &["commit", "-f", "-j", "1"]).exits(0).says("compiled 200 ");
    with(1, &["commit", "-j", "4"]).exits(0).says("200 up to date");
    with(1, &["verify", "-q"]).exits(0);
    for most in 4..8 {
        with(most, &["commit", "-f", "-j", "1"]).exits(0).says("compiled 200 ");
        is_told(with(most, &["commit", "-f", "-j", "4"]));
    }
}

#[test]
fn without_proc_it_says_that_it_needs_it() {
    if !is_root("mounts") {
        return;
    }
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    with_mounts(|| {
        mount(&["-t", "tmpfs", "none", "/proc"]);
        let outcome = world.run_on_tree(&["commit"]).exits(3);
        outcome.says("/proc is needed for that, and is not mounted");
        // A path below another root is found all the same.
        let inside = format!("{}/usr/lib/python3", system.root().display());
        let outcome = system.call("pyc-txn", &["commit", &inside]);
        outcome.exits(3).says("/proc is needed for that").does_not_say("is installed");
        system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
        system.call_in_script("py3compile", &["--no-such-option"]).exits(0).says("/proc is needed");
    });
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 1 ");
}

#[test]
fn a_caller_that_ignores_sigchld_changes_nothing() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let ignoring =
        "import os, signal, sys; signal.signal(17, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])";
    let through_it = |command: &Command| system.world.outcome(through(&[PYTHON, "-c", ignoring], command));
    let outcome = through_it(&system.in_script("py3compile", &["-p", "pkg"])).exits(0);
    assert_eq!(outcome.stderr, "", "{}", outcome.context());
    assert_eq!(system.note("triggered").as_deref(), Some("--no-await pyc-txn\n"));
    through_it(&system.in_script("pyc-txn", &["hook", "triggered"])).exits(0).says("compiled 1 ");
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "# worker: os._exit(7)\n");
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    world
        .outcome(through(&[PYTHON, "-c", ignoring], &command))
        .exits(1)
        .says("the worker exited with status 7");
}

/// Runs a command while some system calls are refused, as `strace -e inject` has it.
fn refusing(world: &World, calls: &str, command: &Command) -> Outcome {
    let inject = format!("inject={calls}");
    world.outcome(through(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], command))
}

#[test]
fn system_calls_that_old_container_runtimes_refuse_are_not_needed() {
    if !has_program("strace", "refused system calls") {
        return;
    }
    for calls in [
        "openat2:error=ENOSYS",
        "openat2:error=EPERM",
        "faccessat2:error=EPERM",
        "faccessat2:error=ENOSYS",
        "fgetxattr:error=EACCES",
        "fgetxattr:error=EPERM",
        "fgetxattr:error=ENOSYS",
        "clone3:error=EPERM",
    ] {
        let system = Installation::with_programs();
        system.install("pkg", &["a.py", "deep/b.py"]);
        std::os::unix::fs::symlink("/usr/lib/python3", system.at("/usr/lib/alias")).unwrap();
        std::os::unix::fs::symlink("a.py", system.at("/usr/lib/python3/dist-packages/c.py")).unwrap();
        let commit = system.called("pyc-txn", &["commit", "/usr/lib/alias"]);
        refusing(&system.world, calls, &commit).exits(0).says("compiled 3 ");
        assert!(system.pyc("deep/b.py").exists() && system.pyc("c.py").exists(), "{calls}");
        refusing(&system.world, calls, &system.called("pyc-txn", &["verify", "/usr/lib/alias"])).exits(0);
        refusing(&system.world, calls, &system.called("pyc-txn", &["commit"])).exits(0).says("3 up to date");
    }
}
