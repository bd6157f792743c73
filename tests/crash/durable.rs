//! Whether everything that was changed is durable where the journal says so: by one sync of the filesystem, or by one of
//! each file and directory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::rounds::{Rounds, Run, memory};
use crate::support::{PYTHON, World};
use crate::trace::{self, Step};

/// More sources than are synced one by one.
const MANY: usize = 100;

/// Paths that were changed and not synced before a step of the journal that says they are durable. Of a rename the trace
/// has the new name.
pub fn omissions(steps: &[Step]) -> Vec<(String, String)> {
    let mut changed = BTreeSet::new();
    let mut omitted = Vec::new();
    for Step { name, path, .. } in steps {
        let parent = || Path::new(path).parent().unwrap().to_str().unwrap().to_owned();
        match name.as_str() {
            "create file" | "write file" => changed.extend([path.clone(), parent()]),
            // It has been there since the first transaction.
            "create directory" if path.ends_with("/staging") => {}
            "create directory" | "rename" => drop(changed.insert(parent())),
            // Elsewhere there may have been no such file.
            "remove file" if path.contains("/__pycache__/") => drop(changed.insert(parent())),
            "sync" => drop(changed.remove(path)),
            "sync filesystem" => changed.clear(),
            "journal: staged" | "journal: committing" | "journal: committed" => {
                // A __pycache__ that has gone has gone from the directory around it.
                let is_there = |changed: &&String| {
                    name != "journal: committed"
                        || !changed.contains("__pycache__")
                        || Path::new(changed).exists()
                };
                let changed = changed.iter().filter(is_there);
                omitted.extend(changed.map(|changed| (name.clone(), changed.clone())));
            }
            _ => {}
        }
    }
    omitted
}

/// Demands that nothing was omitted.
#[track_caller]
fn omits_nothing(steps: &[Step], run: &Run) {
    assert_eq!(omissions(steps), [], "{steps:#?}\n{}", run.outcome.context());
}

fn named<'a>(run: &'a Run, name: &'a str) -> impl Iterator<Item = &'a Step> {
    run.steps.iter().filter(move |step| step.name == name)
}

#[test]
fn a_small_transaction_syncs_what_it_changed_and_nothing_else() {
    let mut rounds = Rounds::new();
    rounds.next();
    let run = rounds.commit();
    omits_nothing(&run.steps, &run);
    assert_eq!(named(&run, "sync filesystem").count(), 0, "{:#?}", run.steps);
    let directory = rounds.world.beside("").display().to_string();
    for step in named(&run, "sync") {
        assert!(step.path.starts_with(directory.trim_end_matches('/')), "{step:?}");
    }
}

#[test]
fn a_sync_that_is_left_out_would_be_noticed() {
    let mut rounds = Rounds::new();
    rounds.next();
    let run = rounds.commit();
    let staged = number_of(&run.steps, "journal: staged");
    let is_known = |step: &&Step| {
        let part = if step.number < staged { "/staging/" } else { "__pycache__" };
        step.path.contains(part) && (step.number < staged || Path::new(&step.path).exists())
    };
    let mut count = 0;
    for left_out in named(&run, "sync").filter(is_known) {
        let steps: Vec<Step> = run.steps.iter().filter(|step| *step != left_out).cloned().collect();
        assert!(!omissions(&steps).is_empty(), "{left_out:?} makes no difference: {:#?}", run.steps);
        count += 1;
    }
    assert!(count > 8, "only {count}: {:#?}", run.steps);
}

#[test]
fn a_large_transaction_syncs_the_filesystem_as_a_whole() {
    // Files and renames are counted apart: a new __pycache__ is one rename, whatever is in it.
    for (directories, expected) in [(4, 1), (MANY, 2)] {
        let world = World::new_in(&memory());
        for number in 0..MANY {
            world.write(format!("package{}/module{number}.py", number % directories), "x = 1\n");
        }
        let run = traced(&world, &["commit"]);
        omits_nothing(&run.steps, &run);
        assert_eq!(named(&run, "sync filesystem").count(), expected, "{:#?}", run.steps);
    }
}

#[test]
fn what_a_stopped_run_changed_the_next_one_syncs() {
    let mut rounds = Rounds::new();
    let steps = rounds.rehearse(&["commit"]);
    let is_of_publishing =
        |step: &&Step| step.name == "sync" && step.number > number_of(&steps, "journal: committing");
    let sync = steps.iter().find(is_of_publishing).unwrap();
    rounds.next();
    let trace = rounds.world.beside("trace");
    rounds.stop_before(&["commit"], sync);
    let stopped = trace::read(&trace);
    let recovery = rounds.run(&["recover"], None);
    omits_nothing(&[&stopped[..stopped.len() - 1], &recovery.steps].concat(), &recovery);
    rounds.commit();
}

#[test]
fn adopted_bytecode_is_synced_before_it_is_called_staged() {
    let world = World::new_in(&memory());
    let source = world.write("a.py", "x = 1\n");
    let compiled = std::process::Command::new(PYTHON).args(["-m", "py_compile"]).arg(source).status();
    assert!(compiled.unwrap().success());
    let run = traced(&world, &["commit"]);
    let adopted = world.pyc("a.py").display().to_string();
    let synced = named(&run, "sync").find(|step| step.path == adopted);
    assert!(
        synced.is_some_and(|step| step.number < number_of(&run.steps, "journal: staged")),
        "{:#?}\n{}",
        run.steps,
        run.outcome.context()
    );
}

#[test]
fn bytecode_that_is_created_at_its_home_is_synced_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: bytecode with another group (needs root)");
        return;
    }
    let world = World::new_in(&memory());
    let source = world.write("pkg/a.py", "x = 1\n");
    let directory = source.parent().unwrap();
    chown(directory, None, Some(12345)).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o2755)).unwrap();
    let run = traced(&world, &["commit"]);
    assert_eq!(named(&run, "name file").count(), 1, "{:#?}", run.steps);
    omits_nothing(&run.steps, &run);
}

#[test]
fn the_shared_cache_is_not_synced() {
    let world = World::new_in(&memory());
    world.write("a.py", "x = 1\n");
    let cache = tempfile::Builder::new().tempdir_in(memory()).unwrap();
    let run = traced_with(&world, &["commit"], Some(cache.path()));
    let in_cache = cache.path().display().to_string();
    assert!(named(&run, "create file").any(|step| step.path.starts_with(&in_cache)), "{:#?}", run.steps);
    assert!(!named(&run, "sync").any(|step| step.path.starts_with(&in_cache)), "{:#?}", run.steps);
}

fn number_of(steps: &[Step], name: &str) -> usize {
    steps.iter().find(|step| step.name == name).unwrap().number
}

fn traced(world: &World, arguments: &[&str]) -> Run {
    traced_with(world, arguments, None)
}

fn traced_with(world: &World, arguments: &[&str], cache: Option<&Path>) -> Run {
    let mut command = world.command(arguments);
    let trace = world.beside("trace");
    command.arg(world.tree()).env("PYC_TXN_TRACE", &trace);
    command.envs(cache.map(|cache| ("PYC_TXN_CACHE", cache)));
    let outcome = world.outcome(command).exits(0);
    Run { outcome, steps: trace::read(&trace) }
}
