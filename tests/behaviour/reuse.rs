//! Sources whose content is what it was: their bytecode gets a new header, and no compiler runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::aid::{has_program, through};
use crate::fake::Fake;
use crate::oracle;
use crate::support::{Outcome, PYTHON, World};

/// A world whose `a.py` is compiled, then has its modification time moved.
fn moved() -> (World, PathBuf) {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    touch(&source, 1_000_000_000);
    (world, source)
}

/// Gives a file another modification time, in seconds since 1970.
fn touch(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[track_caller]
fn is_what_python_writes(source: PathBuf, outcome: &Outcome) {
    oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
}

#[test]
fn a_source_of_which_only_the_time_moved_is_not_compiled() {
    let (world, source) = moved();
    let fake = Fake::new(&world);
    let outcome = world.commit().exits(0).says("reused 1 ").does_not_say("compiled");
    is_what_python_writes(source.clone(), &outcome);
    world.commit().exits(0).says("nothing to do (1 up to date)");
    // A worker would say what it is there for.
    fs::write(&source, "# worker: os._exit(3)\n").unwrap();
    world.run_on_tree(&["commit", "--python", fake.path()]).exits(1).says("exited with status 3");
}

#[test]
fn what_is_reused_is_counted_as_such() {
    let (world, _) = moved();
    world.commit().exits(0);
    world.run(&["log"]).exits(0).says("1 reused");
    world.run(&["log", "2"]).exits(0).says("reused");
    let outcome = world.run(&["log", "--json"]).exits(0);
    assert!(outcome.stdout.replace(' ', "").contains("\"reused\":1"), "{}", outcome.context());
}

#[test]
fn with_force_it_is_compiled() {
    let (world, source) = moved();
    let outcome = world.run_on_tree(&["commit", "-f"]).exits(0).says("compiled 1 ").does_not_say("reused");
    is_what_python_writes(source, &outcome);
}

#[test]
fn bytecode_that_was_altered_is_not_used_again() {
    let damages: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes.truncate(20), |bytes| *bytes.last_mut().unwrap() ^= 1, |bytes| bytes[0] ^= 1];
    for damage in damages {
        let (world, source) = moved();
        let pyc = world.pyc("a.py");
        let mut bytes = fs::read(&pyc).unwrap();
        damage(&mut bytes);
        fs::write(&pyc, bytes).unwrap();
        let outcome = world.commit().exits(0).says("compiled 1 ").does_not_say("reused");
        is_what_python_writes(source, &outcome);
    }
}

#[test]
fn files_that_change_places_are_compiled() {
    let world = World::new();
    let (a, b) = (world.write("a.py", "x = 1\n"), world.write("b.py", "x = 2\n"));
    world.commit().exits(0).says("compiled 2 ");
    fs::write(&a, "x = 2\n").unwrap();
    fs::write(&b, "x = 1\n").unwrap();
    let outcome = world.commit().exits(0).says("compiled 2 ").does_not_say("reused");
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "2", "{}", outcome.context());
    assert_eq!(oracle::value(&world.pyc("b.py"), "x"), "1", "{}", outcome.context());
}

#[test]
fn each_level_has_its_own_bytecode() {
    let world = World::new();
    let source = world.write("a.py", "'doc'\nassert True\n");
    world.run_on_tree(&["commit", "-O", "0", "-O", "2"]).exits(0).says("compiled 2 ");
    touch(&source, 1_000_000_000);
    let outcome = world.run_on_tree(&["commit", "-O", "0", "-O", "1", "-O", "2"]);
    let outcome = outcome.exits(0).says("compiled 1, reused 2 ");
    for level in 0..3 {
        let sources = [source.clone()];
        oracle::is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", level, &sources, outcome.context());
    }
}

#[test]
fn a_pyc_that_is_a_symlink_or_gone_is_not_read() {
    let (world, source) = moved();
    let pyc = world.pyc("a.py");
    let elsewhere = world.beside("elsewhere");
    fs::rename(&pyc, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &pyc).unwrap();
    let outcome = world.commit().exits(0).says("compiled 1 ").does_not_say("reused");
    is_what_python_writes(source, &outcome);
}

#[test]
fn of_a_touched_tree_each_source_and_each_old_pyc_is_opened_once_and_little_is_looked_for_in_vain() {
    if !has_program("strace", "counting opens") {
        return;
    }
    const EACH: usize = 40;
    let world = World::new();
    let name = |directory: &str, number: usize| format!("{directory}/module{number}.py");
    let names = ["one", "two"].map(|directory| (0..EACH).map(move |number| name(directory, number)));
    let sources: Vec<PathBuf> =
        names.into_iter().flatten().map(|name| world.write(name, "x = 'some text'\n")).collect();
    world.commit().exits(0).says("compiled 80 ");
    sources.iter().for_each(|source| touch(source, 1_000_000_000));
    let trace = world.beside("trace");
    let wrapper = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=open,openat,openat2"];
    let mut command = world.command(&["commit"]);
    command.arg(world.tree());
    let outcome = world.outcome(through(&wrapper, &command)).exits(0).says("reused 80 ");
    let trace = fs::read_to_string(trace).unwrap();
    let opens = |of: &str| trace.lines().filter(|line| line.contains(of) && !line.contains("O_PATH")).count();
    for number in 0..EACH {
        for (of, what) in [(format!("module{number}.py\""), "source"), (format!("module{number}.cpy"), "pyc")]
        {
            assert_eq!(opens(&of), 2, "opens of a {what} in two directories\n{trace}\n{}", outcome.context());
        }
    }
    // A directory whose bytecode is not staged as a whole shows it once to each who looks.
    let in_vain = trace.lines().filter(|line| line.contains("\"cache-") && line.contains("ENOENT")).count();
    assert!(in_vain <= 4, "{in_vain} looks for a __pycache__ that is staged as a whole\n{trace}");
}
