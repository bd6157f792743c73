//! Interpreters that cannot be used: each costs its own targets, and is told of once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::aid::{has_program, through, with_mounts};
use crate::fake::Fake;
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World, python};
use crate::twins::{CASE, can_compare, set_up, write_python};

/// A Python that no version of this program knows.
const NEWER: &str = "3.99";

/// Sources that are each worth a worker of their own.
fn large_sources(world: &World, count: usize) {
    for number in 0..count {
        world.write(format!("{number}.py"), format!("x = '{}'\n", "y".repeat(200_000)));
    }
}

/// A Python 3.12 beside the world's tree, which does `startup` when it is started as a worker.
fn other(world: &World, startup: &str) -> String {
    let path = world.beside("python3.12");
    write_python(&path, "3.12", startup);
    path.to_str().unwrap().to_owned()
}

fn commit(world: &World, pythons: &[&str], more: &[&str]) -> Outcome {
    let named = pythons.iter().flat_map(|python| ["--python", python]);
    let arguments: Vec<&str> = ["commit"].into_iter().chain(named).chain(more.iter().copied()).collect();
    world.run_on_tree(&arguments)
}

/// Demands that one line of stderr is about the interpreter, and no other line is there.
#[track_caller]
fn is_said_once(outcome: &Outcome) {
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert!(outcome.stderr.contains("cannot be used as an interpreter: "), "{}", outcome.context());
}

#[test]
fn workers_that_cannot_be_started_cost_their_own_targets_and_that_is_said_once() {
    let world = World::new();
    large_sources(&world, 8);
    let broken = other(&world, "sys.exit('no library')");
    let outcome = commit(&world, &[&broken, PYTHON], &["-j", "4"])
        .exits(1)
        .says("as a worker: the worker exited with status 1 (no library); 8 sources are not compiled with it")
        .says("compiled 8, failed 8");
    is_said_once(&outcome);
    assert!(world.pyc("7.py").exists() && !world.state().join("staging/1").exists(), "{}", outcome.context());
    let status = world.run(&["status"]).exits(0).says("8 could not be compiled:");
    assert_eq!(status.stdout.matches("no library").count(), 1, "{}", status.context());
    // The next commit tries again, and says so again; once the interpreter is mended all is well.
    is_said_once(&commit(&world, &[&broken, PYTHON], &[]).exits(1).says("failed 8 (8 up to date)"));
    let mended = other(&world, "");
    commit(&world, &[&mended, PYTHON], &[]).exits(0).says("compiled 8 (8 up to date)");
    world.run(&["status"]).exits(0).does_not_say("could not be compiled");
}

#[test]
fn an_interpreter_whose_workers_die_on_each_source_is_given_up() {
    let world = World::new();
    large_sources(&world, 8);
    let fake = Fake::starting(&world, "ready()\ndef compile(*_, **__): os._exit(3)");
    let outcome = commit(&world, &[fake.path()], &["-j", "1"])
        .exits(1)
        .says("it cannot compile an empty source: the worker exited with status 3; 8 sources are not")
        .says("failed 8");
    is_said_once(&outcome);
    // Two for the first source, and one for the empty one.
    assert_eq!(fake.times_ready(), 3, "{}", outcome.context());
}

#[test]
fn sources_that_kill_their_workers_do_not_keep_others_from_being_compiled() {
    let world = World::new();
    for number in 0..6 {
        let source = format!("# worker: os._exit(3)\nx = '{}'\n", "y".repeat(200_000));
        world.write(format!("{number}.py"), source);
    }
    world.write("good.py", "x = 1\n");
    let fake = Fake::new(&world);
    commit(&world, &[fake.path()], &["-j", "1"]).exits(1).says("compiled 1, failed 6");
}

#[test]
fn of_several_that_are_named_one_that_does_not_answer_is_left_out() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    for broken in ["/bin/true", "/no/such/python", "3.98"] {
        let outcome = commit(&world, &[broken, PYTHON], &["-f"]).exits(1).says("compiled 1 ");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    }
    commit(&world, &["/bin/true", "3.98"], &[]).exits(3).says("cannot be used as an interpreter");
}

#[test]
fn the_reason_is_said_if_the_only_supported_interpreter_does_not_answer() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let python = system.at("/usr/bin/python3.98");
    fs::write(&python, "#!/bin/sh\necho no luck >&2; exit 5\n").unwrap();
    crate::aid::set_mode(&python, 0o755);
    for more in [&[][..], &["--dry-run"]] {
        let mut command = system.called("pyc-txn", &["commit"]);
        command.args(more).arg(system.at(PUBLIC)).env("DEBPYTHON3_SUPPORTED", "3.98");
        let outcome =
            system.world.outcome(command).exits(3).says("the worker exited with status 5 (no luck)");
        assert!(outcome.stderr.contains("cannot be used as an interpreter"), "{}", outcome.context());
    }
}

#[test]
fn one_that_does_not_answer_any_more_costs_what_was_recorded_for_it() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    let path = other(&world, "");
    world.run_on_tree(&["record", "--python", &path, "--python", PYTHON]).exits(0).says("recorded 2 ");
    fs::write(&path, "#!/bin/sh\nexit 5\n").unwrap();
    let outcome = world.run(&["stage"]).exits(1).says("the worker exited with status 5; 1 source is not");
    is_said_once(&outcome);
    crate::aid::commit_staged(&world).exits(1);
    assert!(world.pyc("a.py").exists(), "{}", outcome.context());
}

#[test]
fn an_interpreter_is_asked_once_in_a_run() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["record", "--python", fake.path()]).exits(0);
    let ready = world.beside("ready");
    fs::write(fake.path(), format!("#!/bin/sh\necho >{}\nexit 1\n", ready.display())).unwrap();
    // It is asked when the commit is planned, and when what is pending is compiled.
    let both = [fake.path(), PYTHON];
    world.run_on_tree(&["commit", "--dry-run", "--python", both[0], "--python", both[1]]).exits(1);
    let once = fake.times_ready();
    let outcome = commit(&world, &both, &[]).exits(1);
    assert!(once > 0);
    assert_eq!(fake.times_ready(), once, "{}", outcome.context());
    is_said_once(&outcome);
}

#[test]
fn an_interpreter_that_hangs_is_waited_for_once() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "x = 1\n");
    let ready = world.beside("ready");
    fs::write(fake.path(), format!("#!/bin/sh\necho >{}\nexec sleep 1000\n", ready.display())).unwrap();
    let outcome = commit(&world, &[fake.path(), PYTHON], &[])
        .exits(1)
        .says("cannot be used as an interpreter: it did not answer within 30 s")
        .says("compiled 1 ");
    assert_eq!(fake.times_ready(), 1, "{}", outcome.context());
    is_said_once(&outcome);
}

#[test]
fn a_run_that_can_start_no_process_says_so_once_and_the_next_makes_up_for_it() {
    let world = World::new();
    if !has_program("strace", "a refused fork") {
        return;
    }
    world.write("known.py", "x = 1\n");
    world.commit().exits(0);
    large_sources(&world, 8);
    let trace = world.beside("trace");
    let wrapper = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=clone", "-e"];
    let mut command = world.command(&["commit", "-j", "4"]);
    command.arg(world.tree());
    let command = through(&[&wrapper[..], &["inject=clone:error=EAGAIN"]].concat(), &command);
    let outcome = world.outcome(command).exits(1).says("Resource temporarily unavailable; 8 sources are not");
    is_said_once(&outcome);
    world.commit().exits(0).says("compiled 8 (1 up to date)");
}

#[test]
fn a_thread_that_is_refused_a_process_leaves_its_source_to_another_one() {
    let world = World::new();
    if !has_program("strace", "a refused fork") {
        return;
    }
    let fake = Fake::new(&world);
    world.write("a.py", "# worker: token() and os._exit(1)\nx = 1\n");
    fake.release();
    let trace = world.beside("trace");
    let wrapper = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=clone", "-e"];
    // The main thread asks the interpreter and starts a worker; when that is lost, it is refused another one.
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let command = through(&[&wrapper[..], &["inject=clone:error=EAGAIN:when=3"]].concat(), &command);
    let outcome = world.outcome(command).exits(0).says("compiled 1 ");
    let refused = fs::read_to_string(trace).unwrap().matches("(INJECTED)").count();
    assert_eq!(refused, 1, "{}", outcome.context());
}

/// A system with a Python that this program knows and one that is newer than it.
fn with_a_newer_one() -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    write_python(&system.at(&format!("/usr/bin/python{NEWER}")), NEWER, "");
    system
}

#[test]
fn a_python_newer_than_this_program_costs_its_own_bytecode() {
    let system = with_a_newer_one();
    let outcome = system.call("pyc-txn", &["commit"]).exits(1).says("compiled 1 ");
    is_said_once(&outcome.says("its bytecode is not known to this pyc-txn; nothing makes it"));
    assert!(system.pyc("a.py").exists());
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("nothing makes it");
    let outcome = system.call_in_script("py3compile", &["-fp", "pkg"]).exits(0);
    is_said_once(&outcome);
    assert_eq!(system.pending(), 1, "{}", outcome.context());
    system.call("pyc-txn", &["record", "-fp", "pkg"]).exits(1).says("recorded 1 ");
    system.call("pyc-txn", &["commit", "--dry-run"]).exits(1).says("1 pending");
    system.call("pyc-txn", &["status"]).exits(0).says("cpython-399, newer than this pyc-txn");
}

#[test]
fn verify_calls_the_bytecode_of_a_newer_python_unknown_and_not_wrong() {
    let system = with_a_newer_one();
    system.call("pyc-txn", &["commit"]).exits(1);
    let outcome = system.call("pyc-txn", &["verify"]).exits(0).says("valid 1 in");
    let theirs = system.at(&format!("{PUBLIC}/__pycache__/a.cpython-399.pyc"));
    fs::write(&theirs, "whatever it writes").unwrap();
    assert_eq!(outcome.stderr, "", "{}", outcome.context());
    for more in [&[][..], &["--quick"], &["--repair"], &["-p", "pkg"]] {
        let words = [&["verify"], more].concat();
        system.call("pyc-txn", &words).exits(0).says("unknown 1").does_not_say("a.cpython-399.pyc");
    }
    system.call("pyc-txn", &["-v", "verify"]).exits(0).says("unknown ").says("is newer than this pyc-txn");
    assert_eq!(fs::read(&theirs).unwrap(), b"whatever it writes");
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!theirs.exists());
}

/// Runs pyc-txn on a system of its own, beside Debian's `py3compile` as the package diverts it, with a Python that is
/// newer than it. The bytecode that is there then.
fn beside_the_original(name: &str, arguments: &[&str], is_script: bool) -> (Outcome, Vec<String>) {
    let world = World::new();
    let mut result = None;
    with_mounts(|| {
        set_up(&world, &CASE);
        write_python(&PathBuf::from(format!("/usr/bin/python{NEWER}")), NEWER, "");
        let bin = world.beside("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_pyc-txn"), bin.join("pyc-txn")).unwrap();
        symlink("pyc-txn", bin.join("py3compile")).unwrap();
        let diverted = PathBuf::from("/usr/bin/py3compile.distrib");
        let original = if diverted.exists() { diverted } else { PathBuf::from("/usr/bin/py3compile") };
        symlink(original, bin.join("py3compile.distrib")).unwrap();
        let mut command = Command::new(bin.join(name));
        command.args(arguments).env("DEBPYTHON3_SUPPORTED", format!("{},{NEWER}", python::version()));
        command.env("DEBPYTHON3_DEFAULT", NEWER);
        for name in ["DPKG_MAINTSCRIPT_PACKAGE", "DPKG_ROOT", "DPKG_ADMINDIR", "PYC_TXN_CACHE"] {
            command.env_remove(name);
        }
        if is_script {
            command.env("DPKG_MAINTSCRIPT_PACKAGE", "cmp");
        }
        let outcome = world.outcome(command);
        let find = [PUBLIC, "/usr/share/cmp", "-path", "*/__pycache__/*", "-printf", "%f %m\n"];
        let found = Command::new("find").args(find).output().unwrap();
        let mut found: Vec<String> =
            String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
        found.sort();
        result = Some((outcome, found));
    });
    result.unwrap()
}

#[test]
fn the_original_makes_the_bytecode_of_a_newer_python() {
    if !can_compare() {
        return;
    }
    let modules = |tag: &str, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{name}.{tag}.pyc 644")).collect()
    };
    let known = modules(python::cache_tag(), &["a", "b", "c"]);
    let newer = modules("cpython-399", &["a", "b", "c"]);
    let mut both = [known.clone(), newer.clone()].concat();
    both.sort();
    let line = format!("bytecode of python{NEWER} is not known to this pyc-txn; ");
    for arguments in [&["commit"][..], &["hook", "triggered"], &["commit", "-p", "cmp"], &["commit", PUBLIC]]
    {
        let (outcome, bytecode) = beside_the_original("pyc-txn", arguments, false);
        let outcome = outcome.exits(0).says(&line).says("py3compile.distrib' makes it");
        assert_eq!(bytecode, both, "{arguments:?}\n{}", outcome.context());
    }
    // Outside of a transaction it is compiled at once, in a maintainer script too; private modules for the default.
    let private = modules("cpython-399", &["p", "q", "t"]);
    for (arguments, is_script, expected) in [
        (&["-p", "cmp"][..], false, &both),
        (&["-V", "3.99", "-p", "cmp"], true, &newer),
        (&["-p", "cmp", "/usr/share/cmp/"], true, &private),
        (&["-p", "cmp", "/usr/share/cmp/", "-X", "tests/"], true, &private[..2].to_vec()),
    ] {
        let (outcome, bytecode) = beside_the_original("py3compile", arguments, is_script);
        let outcome = outcome.exits(0);
        assert_eq!(&bytecode, expected, "{arguments:?}\n{}", outcome.context());
        assert_eq!(outcome.stderr, "", "{}", outcome.context());
    }
}
