//! `owner`: whose bytecode a file is.

use std::fs;

use serde_json::Value;

use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World, python};

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{}", outcome.context()))
}

#[test]
fn a_pyc_has_a_package_a_source_an_interpreter_and_a_transaction() {
    let system = Installation::with_programs();
    system.install("pkg", &["sub/a.py"]);
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    let cached = format!("{PUBLIC}/sub/__pycache__/a.{}.pyc", python::cache_tag());
    let (source, on_disk) = (format!("{PUBLIC}/sub/a.py"), system.pyc("sub/a.py"));
    // With the root's prefix and without, the pyc and its source.
    for path in [cached.as_str(), on_disk.to_str().unwrap(), source.as_str()] {
        let outcome = system.call("pyc-txn", &["owner", path]).exits(0);
        assert!(
            outcome.stdout.starts_with(&format!("{cached}: pkg, from '{source}', by ")),
            "{}",
            outcome.context()
        );
        outcome.says("in transaction 1 (20");
    }
    let outcome = system.call("pyc-txn", &["owner", "--json", &cached]).exits(0);
    let answer = &json(&outcome)[0];
    let pyc = &answer["bytecode"][0];
    assert_eq!((&answer["path"], &pyc["path"]), (&cached.clone().into(), &cached.into()));
    assert_eq!((&pyc["source"], &pyc["package"]), (&source.into(), &"pkg".into()));
    assert_eq!((&pyc["interpreter"], &pyc["level"]), (&python::cache_tag().into(), &0.into()));
    assert_eq!((&pyc["invalidation"], &pyc["transaction"]), (&"timestamp".into(), &1.into()));
    assert_eq!(pyc["published"], system.world.query::<i64>("SELECT ended FROM transactions"));
    assert!(pyc["python"].as_str().unwrap().contains("python3"), "{}", outcome.context());
}

#[test]
fn what_no_package_asked_for_belongs_to_the_one_that_dpkg_names() {
    let system = Installation::with_programs();
    system.install("listed:amd64", &["a.py", "moved.py"]);
    system.write(&format!("{PUBLIC}/own.py"), "x = 1\n");
    fs::rename(system.at(&format!("{PUBLIC}/moved.py")), system.at(&format!("{PUBLIC}/diverted.py")))
        .unwrap();
    let diversion = format!("{PUBLIC}/moved.py\n{PUBLIC}/diverted.py\nanother\n");
    system.write("/var/lib/dpkg/diversions", &diversion);
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 3 ");
    for (name, owner) in [("a.py", "listed:amd64"), ("diverted.py", "listed:amd64"), ("own.py", "no package")]
    {
        let path = format!("{PUBLIC}/{name}");
        system.call("pyc-txn", &["owner", &path]).exits(0).says(&format!("pyc: {owner}, from '{path}'"));
    }
}

#[test]
fn a_source_has_the_bytecode_of_every_level_and_only_its_own() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.write("a.b.py", "x = 1\n");
    world.write("a/a.py", "x = 1\n");
    world.run_on_tree(&["commit", "-O", "0", "-O", "2"]).exits(0);
    let outcome = world.run(&["owner", "--json", source.to_str().unwrap()]).exits(0);
    let levels: Vec<Value> =
        json(&outcome)[0]["bytecode"].as_array().unwrap().iter().map(|pyc| pyc["level"].clone()).collect();
    assert!(levels.len() == 2 && levels.contains(&0.into()) && levels.contains(&2.into()), "{levels:?}");
}

#[test]
fn what_is_not_known_is_named_and_the_others_are_answered() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let (source, later) = (source.to_str().unwrap(), world.write("later.py", "x = 1\n"));
    world.run(&["owner", source]).exits(1).says(&format!("nothing is published of '{source}'"));
    assert!(!world.state().exists(), "owner made a state directory");
    world.run(&["commit", source, "--python", PYTHON]).exits(0);
    let paths = ["owner", "/no/such/file", source, later.to_str().unwrap(), "/"];
    let outcome = world.run(&paths).exits(1).says("nothing is published of '/no/such/file'");
    assert_eq!(
        (outcome.stdout.lines().count(), outcome.stderr.lines().count()),
        (1, 3),
        "{}",
        outcome.context()
    );
    let outcome = world.run(&["owner", "--json", source, "/no/such/file"]).exits(1);
    let answers = json(&outcome);
    assert_eq!(answers[0]["bytecode"].as_array().unwrap().len(), 1);
    assert_eq!(answers[1], serde_json::json!({ "path": "/no/such/file", "bytecode": [] }));
    world.run_on_tree(&["clean"]).exits(0);
    world.run(&["owner", source]).exits(1);
    world.run(&["owner"]).exits(2);
}

#[test]
fn bytecode_of_a_source_that_is_gone_is_still_known() {
    let world = World::new();
    let source = world.write("gone/a.py", "x = 1\n");
    world.commit().exits(0);
    fs::remove_dir_all(source.parent().unwrap()).unwrap();
    world.run(&["owner", source.to_str().unwrap()]).exits(0).says("in transaction 1");
}
