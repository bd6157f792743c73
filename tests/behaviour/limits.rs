//! What this process is refused: memory, threads, files, room for its report. Each is a message, never an abort.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::aid::{has_program, is_root, mount, set_mtime, through, with_mounts};
use crate::fake::Fake;
use crate::installation::{Installation, PUBLIC};
use crate::oracle;
use crate::support::{Outcome, PYTHON, World};

/// Runs `command` in a shell that has called ulimit(1) with `limit`.
fn limited(world: &World, limit: &str, command: &Command) -> Outcome {
    world.outcome(through(&["sh", "-c", &format!("ulimit {limit}; exec \"$@\""), "sh"], command))
}

/// The same command with a stdout that is full.
fn to_full(world: &World, mut command: Command) -> Outcome {
    command.stdout(File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    world.outcome_of(&format!("{command:?} >/dev/full"), &output)
}

fn on_tree(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.arg(world.tree());
    command
}

const UNWRITABLE: &str = "cannot write to standard output: No space left on device";

#[test]
fn a_report_that_cannot_be_written_stops_no_work_and_is_a_failure() {
    let world = World::new();
    for name in ["a.py", "b.py"] {
        world.write(name, "x = 1\n");
    }
    to_full(&world, on_tree(&world, &["commit", "-n"])).exits(1).says(UNWRITABLE);
    to_full(&world, on_tree(&world, &["commit"])).exits(1).says(UNWRITABLE);
    assert!(world.pyc("a.py").exists() && world.pyc("b.py").exists());
    for arguments in [&["status"][..], &["status", "--json"], &["log"], &["log", "1"], &["log", "--json"]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    let source = world.tree().join("a.py").display().to_string();
    for arguments in [&["owner", &source][..], &["owner", "--json", &source]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    for arguments in [&["verify"][..], &["verify", "--json"]] {
        to_full(&world, on_tree(&world, arguments)).exits(1).says(UNWRITABLE);
    }
    for arguments in [&["cache"][..], &["cache", "--json"], &["--help"], &["--version"], &["help", "log"]] {
        to_full(&world, world.command(arguments)).exits(1).says(UNWRITABLE);
    }
    to_full(&world, world.command(&["no-such-command"])).exits(2);
    to_full(&world, on_tree(&world, &["clean"])).exits(1).says(UNWRITABLE);
    assert!(!world.pyc("a.py").exists());
}

#[test]
fn what_is_wrong_is_repaired_and_counted_whether_it_can_be_reported_or_not() {
    let world = World::new();
    for number in 0..300 {
        world.write(format!("{number:03}.py"), "x = 1\n");
    }
    world.commit().exits(0);
    for number in 0..300 {
        fs::write(world.pyc(format!("{number:03}.py")), "damage").unwrap();
    }
    to_full(&world, on_tree(&world, &["verify"])).exits(1).says(UNWRITABLE);
    // A reader that has gone before the first line.
    let script = "trap '' PIPE; { \"$@\"; echo $? >\"$STATUS\"; } | true";
    let status = world.beside("status");
    let verify = |more: &[&str]| {
        let mut command =
            through(&["sh", "-c", script, "sh"], &on_tree(&world, &[&["verify"], more].concat()));
        command.env("STATUS", &status);
        let outcome = world.outcome(command).exits(0).does_not_say("standard output");
        (fs::read_to_string(&status).unwrap(), outcome)
    };
    assert_eq!(verify(&[]).0, "1\n");
    let (status, outcome) = verify(&["--repair"]);
    assert_eq!(status, "0\n", "{}", outcome.context());
    assert_eq!(oracle::value(&world.pyc("299.py"), "x"), "1");
}

#[test]
fn maintainer_scripts_and_hooks_succeed_without_a_report() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    for (program, arguments) in [
        ("py3compile", &["-p", "pkg"][..]),
        ("pyc-txn", &["hook", "triggered"]),
        ("py3clean", &[]),
        ("py3compile", &[]),
    ] {
        to_full(&system.world, system.in_script(program, arguments)).exits(0);
    }
    assert!(system.pyc("a.py").exists());
    for program in ["py3compile", "py3clean"] {
        to_full(&system.world, system.called(program, &["--help"])).exits(1).says(UNWRITABLE);
        to_full(&system.world, system.called(program, &["--version"])).exits(1).says(UNWRITABLE);
        to_full(&system.world, system.called(program, &[])).exits(1).says(UNWRITABLE);
    }
}

/// Makes a file that is so long and has nothing but what it had.
fn stretch(path: &std::path::Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// More than the program may have, here and on the machines that test it.
const HUGE: u64 = 20 << 30;

/// Two gigabytes of addresses: enough for every honest input.
const ADDRESSES: &str = "-v 2000000";

#[test]
fn a_pyc_longer_than_an_honest_one_is_invalid_without_being_read() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    world.commit().exits(0);
    // One that the ledger has, one that has a good header and is nobody's, one without a source.
    let foreign = world.write("c.py", "x = 3\n");
    let stray = world.pyc("gone.py");
    assert!(Command::new(PYTHON).args(["-m", "py_compile"]).arg(&foreign).status().unwrap().success());
    fs::copy(world.pyc("b.py"), &stray).unwrap();
    for pyc in [world.pyc("a.py"), world.pyc("c.py"), stray] {
        stretch(&pyc, HUGE);
    }
    limited(&world, ADDRESSES, &on_tree(&world, &["verify"]))
        .exits(1)
        .says("invalid 2")
        .says("a.cpython-")
        .says("it is longer than bytecode of its source can be");
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 2 ");
    for (name, value) in [("a.py", "1"), ("c.py", "3")] {
        assert_eq!(oracle::value(&world.pyc(name), "x"), value);
    }
    stretch(&world.pyc("c.py"), HUGE);
    limited(&world, ADDRESSES, &on_tree(&world, &["verify", "--repair"])).exits(0).says("(repaired 1)");
}

#[test]
fn a_pyc_that_is_too_long_is_not_adopted_and_not_reused() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    // Its source is only touched: what was published would be reused.
    stretch(&world.pyc("a.py"), HUGE);
    set_mtime(&source, 1_700_000_000, 0);
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 1 ");
    // Nobody's, with a header that fits.
    fs::remove_dir_all(world.state()).unwrap();
    stretch(&world.pyc("a.py"), HUGE);
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "1");
}

#[test]
fn entries_of_the_cache_settings_and_lists_of_any_length_are_not_read() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let cache = system.world.beside("cache");
    let cached = |command: &mut Command| {
        command.env("PYC_TXN_CACHE", &cache);
        limited(&system.world, ADDRESSES, command)
    };
    cached(&mut system.called("pyc-txn", &["commit"])).exits(0).says("compiled 1 ");
    let find = "find \"$0\" -type f -size +0 -not -name tally -exec truncate -s 20G {} +; truncate -s 20G \"$0\"/tally";
    assert!(Command::new("sh").args(["-c", find]).arg(&cache).status().unwrap().success());
    fs::remove_file(system.pyc("a.py")).unwrap();
    cached(&mut system.called("pyc-txn", &["commit", "-f"])).exits(0).says("compiled 1 ");
    fs::remove_dir_all(system.at("/var/lib/pyc-txn")).unwrap();
    fs::remove_file(system.pyc("a.py")).unwrap();
    cached(&mut system.called("pyc-txn", &["commit"])).exits(0);
    stretch(&system.write("/etc/pyc-txn.conf", "optimize = [1]\n"), HUGE);
    let outcome = cached(&mut system.called("pyc-txn", &["commit", "-p", "pkg"])).exits(0);
    outcome.says("pyc-txn.conf': File too large; the defaults are used");
    stretch(&system.at("/var/lib/dpkg/info/pkg.list"), HUGE);
    cached(&mut system.called("pyc-txn", &["commit", "-p", "pkg"]))
        .exits(1)
        .says("pkg.list': File too large");
}

#[test]
fn a_source_above_the_limit_is_an_outcome_and_harms_no_other() {
    let world = World::new();
    let large = world.write("large.py", "x = 1\n");
    world.write("small.py", "x = 1\n");
    stretch(&large, 40_000_000);
    let larger = "large.py: larger than 32.00 MB";
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"]))
        .exits(1)
        .says(larger)
        .says("compiled 1, failed 1");
    assert_eq!(world.query::<String>("SELECT outcome FROM failures"), "unreadable");
    world
        .run_on_tree(&["verify", "-v"])
        .exits(0)
        .says("its source is larger than 32.00 MB")
        .says("unreadable 1");
    let configuration = world.beside("configuration");
    fs::write(&configuration, "largest = 1\n").unwrap();
    fs::write(&large, format!("x = '{}'\n", "y".repeat(1_000_000))).unwrap();
    let configuration = configuration.to_str().unwrap();
    world.run_on_tree(&["commit", "--config", configuration]).exits(1).says("large.py: larger than 1.00 MB");
    fs::write(configuration, "largest = 0\n").unwrap();
    world.run_on_tree(&["commit", "--config", configuration]).exits(0).says("compiled 1 ");
    // Bytecode of a source that has become too large is judged as far as it can be.
    fs::write(configuration, "largest = 1\n").unwrap();
    world.run_on_tree(&["verify", "--config", configuration]).exits(0).says("valid 2");
    fs::write(world.pyc("large.py"), "damage").unwrap();
    let outcome = world.run_on_tree(&["verify", "--repair", "--config", configuration]).exits(0);
    assert!(!world.pyc("large.py").exists(), "{}", outcome.context());
}

#[test]
fn bytecode_that_explodes_is_refused_and_remembered() {
    let world = World::new();
    let nested = |depth: usize| -> String {
        let part = |n: usize| format!("{0}try:\n{0} x\n{0}finally:\n", " ".repeat(n));
        (0..depth).map(part).collect::<String>() + &" ".repeat(depth) + "x\n"
    };
    world.write("bomb.py", nested(17));
    world.write("tame.py", nested(3));
    world.write("z.py", "x = 1\n");
    world.commit().exits(1).says("bomb.py: its bytecode has ").says("compiled 2, failed 1");
    world.commit().exits(1).says("failed 1 (2 up to date)").says("bomb.py: its bytecode has ");
}

#[test]
fn memory_that_is_refused_costs_the_source_that_needs_it() {
    let world = World::new();
    world.write("large.py", format!("x = '{}'\n", "y".repeat(12_000_000)));
    world.write("small.py", "x = 1\n");
    // The limit is the driver's; a worker has none.
    let fake = Fake::starting(&world, "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))");
    let mut refused = 0;
    for kilobytes in (20_000..140_000).step_by(20_000) {
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
            told += usize::from(
                outcome.stderr.contains("Too many open files") || outcome.stderr.contains("unable to open"),
            );
            assert!(told > 0, "{files} {}", outcome.context());
            assert!(!outcome.stderr.contains("is installed"), "{files} {}", outcome.context());
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
}

/// Runs `command` as a user who may have so many processes and threads and is nobody else.
fn with_processes(world: &World, most: u32, command: &Command) -> Outcome {
    let user = ["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups"];
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
    let own = |path: &std::path::Path| {
        assert!(Command::new("chown").args(["-R", "64123:64123"]).arg(path).status().unwrap().success());
    };
    own(world.tree().parent().unwrap());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let with = |most: u32, arguments: &[&str]| {
        let ours = on_tree(&world, arguments);
        let mut command = Command::new(&program);
        command.args(ours.get_args());
        with_processes(&world, most, &command)
    };
    // Alone there is no worker.
    with(1, &["commit", "-j", "4"])
        .exits(3)
        .says("Resource temporarily unavailable")
        .does_not_say("is installed");
    // The second process is the worker: the rest is done by the only thread.
    with(2, &["commit", "-j", "4"]).exits(0).says("compiled 200 ");
    with(1, &["commit", "-j", "4"]).exits(0).says("200 up to date");
    with(1, &["verify", "-q"]).exits(0);
    for most in 3..8 {
        with(most, &["commit", "-f", "-j", "1"]).exits(0).says("compiled 200 ");
        // Threads may have taken the places of workers.
        let outcome = with(most, &["commit", "-f", "-j", "4"]);
        if outcome.status != Some(0) {
            outcome.exits(3).says("as a worker: Resource temporarily unavailable").says("is rolled back");
        }
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
