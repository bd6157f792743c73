//! Workers that misbehave: each costs the one source it was busy with, and nothing else.

use std::fs;

use crate::aid::{ends, finish, start};
use crate::fake::Fake;
use crate::oracle;
use crate::support::{Outcome, PYTHON, World};

/// Commits the tree. Should a worker hold it up for ever, the test ends all the same.
fn commit(world: &World, fake: &Fake, more: &[&str]) -> Outcome {
    let mut command = world.command(&[&["commit", "--python", fake.path()], more].concat());
    command.arg(world.tree());
    finish(world, start(command))
}

/// A worker does `statement` with one source of three; that one fails with `complaint`, the others are compiled.
#[track_caller]
fn costs_one_source(statement: &str, more: &[&str], complaint: &str) -> (World, Fake) {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "x = 1\n");
    world.write("bad.py", format!("# worker: {statement}\nx = 2 # the largest comes first\n"));
    world.write("z.py", "x = 3\n");
    let outcome = commit(&world, &fake, &[&["-j", "1"], more].concat())
        .exits(1)
        .says("compiled 2, failed 1")
        .says(&format!("tree/bad.py: {complaint}"));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert_eq!(oracle::value(&world.pyc("z.py"), "x"), "3");
    assert!(!world.pyc("bad.py").exists(), "{}", outcome.context());
    let word: String = world.query("SELECT outcome FROM failures");
    assert_eq!(word, "lost", "{}", outcome.context());
    (world, fake)
}

#[test]
fn a_worker_that_exits_costs_one_source() {
    costs_one_source("os._exit(7)", &[], "the worker exited with status 7");
    costs_one_source(
        "sys.stderr.write('first\\nout of luck\\n'); sys.stderr.flush(); os._exit(1)",
        &[],
        "the worker exited with status 1 (out of luck)",
    );
}

#[test]
fn a_worker_that_is_killed_costs_one_source() {
    costs_one_source("os.kill(os.getpid(), 9)", &[], "the worker was killed by signal 9");
    costs_one_source(
        "signal.signal(11, signal.SIG_DFL); os.kill(os.getpid(), 11)",
        &[],
        "the worker was killed by signal 11",
    );
}

#[test]
fn a_worker_that_hangs_costs_one_source_and_its_time_limit() {
    costs_one_source("signal.pause()", &["--timeout", "1"], "the worker did not answer within 1 s");
}

#[test]
fn a_worker_that_hangs_and_will_not_be_told_is_killed() {
    costs_one_source(
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); os.close(0); os.close(2); time.sleep(1000)",
        &["--timeout", "1"],
        "the worker did not answer within 1 s",
    );
}

#[test]
fn a_worker_that_closes_its_pipe_costs_one_source() {
    costs_one_source("os.close(1); signal.pause()", &[], "the worker was killed by signal 9");
}

#[test]
fn garbage_costs_one_source() {
    costs_one_source("os.write(1, b'\\xff' * 64)", &[], "the worker answered garbage: ");
    costs_one_source("os.write(1, b'\\0' * 64)", &[], "the worker answered garbage: ");
    // Status 1: a refusal, which has to be LINE, newline, message.
    costs_one_source(
        "os.write(1, b'\\1\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0abc')",
        &[],
        "the worker answered garbage: a refusal without a line",
    );
}

#[test]
fn a_worker_that_answers_before_it_reads_holds_nobody_up() {
    let world = World::new();
    let fake = Fake::starting(
        &world,
        "import _frozen_importlib_external as frozen
os.write(1, b'pyc-txn worker 1\\n' + frozen.MAGIC_NUMBER)
os.write(1, b'\\xff' * (2 << 20))",
    );
    // Neither the source nor the answer fits into its pipe.
    world.write("a.py", format!("x = '{}'\n", "y".repeat(3 << 20)));
    commit(&world, &fake, &["--timeout", "20"]).exits(1).says("the worker answered garbage: ");
}

#[test]
fn code_that_is_not_whole_costs_one_source() {
    let dump = |what: &str| format!("dump = lambda code: {what}");
    for what in [
        "real_dumps(code)[:-1]",
        "real_dumps(code)[:20]",
        "b''",
        "real_dumps(code) + b'N'",
        "real_dumps((code,))",
        "real_dumps('no code')",
        "b'\\0' * 100",
    ] {
        costs_one_source(&dump(what), &[], "the worker answered garbage: ");
    }
}

#[test]
fn code_of_another_file_costs_one_source() {
    costs_one_source(
        "code = builtins.compile(source, name + 'x', 'exec')",
        &[],
        "the worker answered garbage: code of another file",
    );
}

/// With a token the worker does `statement` over the only source.
fn with_a_token(statement: &str) -> (World, Fake) {
    let world = World::new();
    let fake = Fake::starting(&world, "ready()");
    world.write("a.py", format!("# worker: token() and {statement}\nx = 1\n"));
    (world, fake)
}

#[test]
fn a_source_whose_worker_is_lost_is_compiled_by_the_next_one() {
    for statement in ["os.kill(os.getpid(), 9)", "os._exit(1)", "os.write(1, b'\\xff' * 64)"] {
        let (world, fake) = with_a_token(statement);
        fake.release();
        let outcome = commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
        assert_eq!((outcome.stderr.as_str(), fake.times_ready()), ("", 2), "{}", outcome.context());
    }
}

#[test]
fn a_source_over_which_two_workers_are_lost_is_lost() {
    let (world, fake) = with_a_token("os._exit(1)");
    fake.release();
    fake.release();
    commit(&world, &fake, &[]).exits(1).says("tree/a.py: the worker exited with status 1");
    // The third compiled an empty source.
    assert_eq!(fake.times_ready(), 3);
    commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
}

#[test]
fn a_worker_that_is_killed_before_it_greets_is_started_again() {
    let world = World::new();
    let fake = Fake::starting(&world, "token() and os.kill(os.getpid(), 9)");
    world.write("a.py", "x = 1\n");
    fake.release();
    commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
}

#[test]
fn a_time_limit_is_not_waited_for_twice() {
    let (world, fake) = with_a_token("signal.pause()");
    fake.release();
    commit(&world, &fake, &["--timeout", "1"]).exits(1).says("the worker did not answer within 1 s");
    // And the one that compiled an empty source.
    assert_eq!(fake.times_ready(), 2);
}

#[test]
fn a_source_that_changed_while_its_worker_was_lost_is_read_again() {
    let (world, fake) = with_a_token("(ready(), signal.pause())");
    fake.release();
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let driver = start(command);
    fake.worker();
    let worker = fake.worker();
    let source = world.write("a.py", "x = 'another'\n");
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    finish(&world, driver).exits(1).says("the worker was killed by signal 9");
    commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&world.pyc(source), "x"), "'another'");
}

#[test]
fn an_error_that_another_run_may_not_have_is_no_refusal() {
    for error in ["MemoryError", "OSError(24, 'Too many open files')", "SystemError('odd')"] {
        let (world, fake) = with_a_token(&format!("exec(\"raise {error}\")"));
        world.write("good.py", "x = 1\n");
        fake.release();
        let said = error.split('(').next().unwrap();
        commit(&world, &fake, &[]).exits(1).says("compiled 1, failed 1").says(&format!("tree/a.py: {said}"));
        assert_eq!(world.query::<String>("SELECT outcome FROM failures"), "lost");
        world.run_on_tree(&["verify", "--python", fake.path()]).exits(1).says("missing");
        commit(&world, &fake, &[]).exits(0).says("compiled 1 (1 up to date)");
    }
    // The limit of a parser is the same in each run.
    let (world, fake) = with_a_token("exec(\"raise MemoryError('Parser stack overflowed')\")");
    fake.release();
    commit(&world, &fake, &[]).exits(1).says("MemoryError: Parser stack overflowed");
    assert_eq!(world.query::<String>("SELECT outcome FROM failures"), "refused");
}

#[test]
fn a_lack_of_memory_that_an_earlier_version_took_for_a_refusal_is_tried_again() {
    let (world, fake) = with_a_token("exec(\"raise MemoryError\")");
    fake.release();
    commit(&world, &fake, &[]).exits(1);
    let remembered = "UPDATE failures SET outcome = 'refused', message = 'MemoryError: '";
    world.journal().execute(remembered, []).unwrap();
    world.run_on_tree(&["verify", "--python", fake.path()]).exits(1).says("missing");
    commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
}

#[test]
fn megabytes_on_stderr_stop_nothing() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "# worker: sys.stderr.write('noise ' * 1000000)\nx = 1\n");
    world.write("b.py", "# worker: os.close(2)\nx = 2\n");
    let outcome = commit(&world, &fake, &["-j", "1"]).exits(0).says("compiled 2 ");
    assert_eq!(outcome.stderr, "", "{}", outcome.context());
}

#[test]
fn what_was_lost_is_tried_again_what_was_refused_is_not() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("lost.py", "# worker: os._exit(1)\n");
    let refused = world.write("refused.py", "= =\n");
    world.write("good.py", "x = 1\n");
    let outcomes = "SELECT group_concat(CAST(source AS TEXT) || ' ' || outcome, ', ')
                    FROM (SELECT * FROM intents WHERE txn = (SELECT max(txn) FROM intents) ORDER BY source)";
    commit(&world, &fake, &[]).exits(1).says("compiled 1, failed 2");
    let first: String = world.query(outcomes);
    assert_eq!(first, "good.py compiled, lost.py lost, refused.py refused");
    commit(&world, &fake, &[]).exits(1).says("failed 2 (1 up to date)").says("refused.py:1: SyntaxError");
    assert_eq!(world.query::<String>(outcomes), "lost.py lost");
    commit(&world, &fake, &["-f"]).exits(1).says("compiled 1, failed 2");
    assert_eq!(world.query::<String>(outcomes), first);
    world.write("lost.py", "x = 'well'\n");
    fs::write(&refused, "x = 'better'\n").unwrap();
    commit(&world, &fake, &[]).exits(0).says("compiled 2 (1 up to date)");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM failures"), 0);
}

#[test]
fn an_interpreter_that_says_something_before_its_greeting_is_not_believed() {
    let world = World::new();
    let fake = Fake::starting(&world, "print('hello', flush=True)");
    world.write("a.py", "x = 1\n");
    let outcome = commit(&world, &fake, &[]).exits(1).says("it does not greet as a worker does");
    assert_eq!(world.tree_files(), ["a.py"], "{}", outcome.context());
}

#[test]
fn an_interpreter_that_is_removed_before_the_commit_drops_its_intents() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["record", "--python", fake.path()]).exits(0);
    fs::remove_file(fake.path()).unwrap();
    world.run(&["stage"]).exits(0);
    let outcome: String = world.query("SELECT outcome FROM intents");
    assert_eq!(outcome, "vanished");
}

#[test]
fn workers_end_with_a_driver_that_is_killed() {
    let world = World::new();
    let fake = Fake::new(&world);
    let source = world.write("a.py", "# worker: ready(); signal.pause()\n");
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let driver = start(command);
    let worker = fake.worker();
    driver.kill();
    assert!(ends(worker), "worker {worker:?} outlives its driver");
    fs::write(source, "x = 1\n").unwrap();
    let outcome = commit(&world, &fake, &[]).exits(0).says("compiled 1 ");
    assert!(!world.files().iter().any(|file| file.starts_with("state/staging/")), "{}", outcome.context());
}

#[test]
fn every_worker_has_been_waited_for_when_the_driver_ends() {
    const REAPER: &str = "import ctypes, os, subprocess, sys\n\
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become ours\n\
        status = subprocess.call(sys.argv[1:])\n\
        orphans = 0\n\
        try:\n\
        \u{20}   while os.waitpid(-1, 0): orphans += 1\n\
        except ChildProcessError: pass\n\
        print('orphans:', orphans)\n\
        sys.exit(status)";
    let world = World::new();
    let fake = Fake::new(&world);
    world.write("exits.py", "# worker: os._exit(1)\n");
    world.write("killed.py", "# worker: os.kill(os.getpid(), 9)\n");
    world.write("hangs.py", "# worker: os.close(1); signal.pause()\n");
    for number in 0..4 {
        world.write(format!("{number}.py"), format!("x = '{}'\n", "y".repeat(200_000)));
    }
    let mut command = world.command(&["commit", "-j", "3", "--python", fake.path()]);
    command.arg(world.tree());
    let command = crate::aid::through(&[PYTHON, "-c", REAPER], &command);
    finish(&world, start(command)).exits(1).says("compiled 4, failed 3").says("orphans: 0");
}
