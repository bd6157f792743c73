//! What is looked at: packages, paths, everything; by whom; and how closely.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::{Report, compiled_elsewhere, is_repaired, published, verify};
use crate::aid::{as_user, is_root, let_the_clock_tick, set_mode};
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World, python};

fn at_home(system: &Installation, arguments: &[&str]) -> Outcome {
    system.call("pyc-txn", &[&["verify", "--json"], arguments].concat())
}

/// A system with the public module `a` of the package `pkg`, and `b` of nobody, both published.
fn system() -> Installation {
    let system = Installation::with_programs();
    for name in ["a", "b"] {
        system.write(&format!("{PUBLIC}/{name}.py"), "x = 1\n");
    }
    system.write("/var/lib/dpkg/info/pkg.list", &format!("/.\n{PUBLIC}/a.py\n"));
    system.call("pyc-txn", &["commit"]).exits(0);
    system
}

fn pyc_of(system: &Installation, directory: &str, name: &str) -> std::path::PathBuf {
    system.at(directory).join(format!("__pycache__/{name}.{}.pyc", python::cache_tag()))
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
}

#[test]
fn of_a_package_only_its_own_is_looked_at() {
    let system = system();
    truncate(&pyc_of(&system, PUBLIC, "b"));
    let report = Report::of(&at_home(&system, &["-p", "pkg"]).exits(0));
    assert_eq!((report.number("checked"), report.count("valid")), (1, 1));
    truncate(&pyc_of(&system, PUBLIC, "a"));
    let report = Report::of(&at_home(&system, &["-p", "pkg", "--repair"]).exits(0));
    assert_eq!((report.count("broken"), report.number("repaired")), (1, 1));
    at_home(&system, &[]).exits(1);
    at_home(&system, &["-p", "no-such-package"]).exits(1).says("is not installed");
}

#[test]
fn without_a_path_it_is_everything_public_published_and_standard() {
    let system = system();
    let private = "/srv/app";
    system.write(&format!("{private}/c.py"), "x = 1\n");
    system.call("pyc-txn", &["commit", private]).exits(0);
    let report = Report::of(&at_home(&system, &[]).exits(0));
    assert_eq!((report.number("checked"), report.count("valid")), (3, 3));
    truncate(&pyc_of(&system, private, "c"));
    let report = Report::of(&at_home(&system, &["--repair"]).exits(0));
    assert_eq!((report.count("broken"), report.number("repaired")), (1, 1));
    assert_eq!(Report::of(&at_home(&system, &[]).exits(0)).count("valid"), 3);
}

#[test]
fn nothing_of_a_standard_library_is_missing_and_what_is_broken_is_mended() {
    let system = system();
    let library = format!("/usr/lib/python{}", python::version());
    for name in ["d", "e"] {
        let source = system.write(&format!("{library}/{name}.py"), "x = 1\n");
        let_the_clock_tick(&system.world, &source);
    }
    // As the interpreter's package does it, in its own root.
    let (source, inside) = (system.at(&library).join("d.py"), format!("{library}/d.py"));
    python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, dfile={inside:?})"));
    let pyc = pyc_of(&system, &library, "d");
    set_mode(&pyc, 0o644);
    let report = Report::of(&at_home(&system, &[]).exits(0));
    let counts = ["valid", "foreign", "missing"].map(|class| report.count(class));
    assert_eq!(counts, [2, 1, 0]);
    truncate(&pyc);
    let report = Report::of(&at_home(&system, &["--repair"]).exits(0));
    assert_eq!((report.count("broken"), report.number("repaired")), (1, 1));
    let report = Report::of(&at_home(&system, &[]).exits(0));
    assert_eq!((report.count("valid"), report.count("missing")), (3, 0));
    assert_eq!(crate::oracle::filename(&pyc), inside);
}

#[test]
fn a_quick_look_reads_nothing_and_sees_what_metadata_show() {
    let world = published();
    let report = Report::of(&verify(&world, &["--quick"]).exits(0));
    assert_eq!(report.count("valid"), 2);
    let pyc = world.pyc("a.py");
    // Other bytes under the same metadata escape a quick look, and only that.
    let time = fs::metadata(&pyc).unwrap().modified().unwrap();
    let mut bytes = fs::read(&pyc).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pyc, bytes).unwrap();
    fs::File::options().write(true).open(&pyc).unwrap().set_modified(time).unwrap();
    verify(&world, &["--quick"]).exits(0);
    verify(&world, &[]).exits(1);
    truncate(&pyc);
    let report = Report::of(&verify(&world, &["--quick"]).exits(1));
    assert_eq!(report.count("altered"), 1);
    world.write("b.py", "x = 'changed'\n");
    fs::remove_file(&pyc).unwrap();
    let report = Report::of(&verify(&world, &["--quick"]).exits(1));
    assert_eq!((report.count("missing"), report.count("stale")), (1, 1));
    let outcome = verify(&world, &["--quick", "--repair"]).exits(0);
    assert_eq!(Report::of(&outcome).number("repaired"), 2, "{}", outcome.context());
    is_repaired(&world, 0);
}

#[test]
fn only_the_interpreters_and_levels_that_are_named_count() {
    let world = published();
    let report = Report::of(&verify(&world, &["--python", PYTHON, "-O", "0", "-O", "2"]).exits(1));
    assert_eq!((report.count("valid"), report.count("missing")), (2, 2));
    let other = world.tree().join("__pycache__/a.cpython-36.pyc");
    fs::write(other, "who knows").unwrap();
    let report = Report::of(&verify(&world, &["--python", PYTHON]).exits(0));
    assert_eq!(report.number("checked"), 2);
}

#[test]
fn excluded_sources_are_not_missed() {
    let world = published();
    world.write("tests/c.py", "x = 1\n");
    let settings = world.beside("settings");
    fs::write(&settings, "exclude = ['/tests/']\n").unwrap();
    verify(&world, &["--config", settings.to_str().unwrap()]).exits(0);
    verify(&world, &[]).exits(1);
}

#[test]
fn a_path_that_is_not_there_is_said() {
    let world = published();
    let nowhere = world.beside("nowhere");
    world.run(&["verify", nowhere.to_str().unwrap()]).exits(1).says("No such file or directory");
    world.run(&["verify", "--sideways"]).exits(2);
}

/// The program as an ordinary user runs it, on what root has published.
fn as_nobody(world: &World) -> Command {
    let mut command = world.command(&["verify", "--json"]);
    command.arg(world.tree());
    as_user(world, &command)
}

#[test]
fn an_ordinary_user_can_verify_whether_the_ledger_can_be_read_or_not() {
    if !is_root("verifying as another user") {
        return;
    }
    let world = published();
    let command = as_nobody(&world);
    for path in [world.state(), world.state().join("journal.sqlite3")] {
        chown(&path, Some(0), Some(0)).unwrap();
    }
    set_mode(&world.state(), 0o755);
    set_mode(&world.state().join("journal.sqlite3"), 0o644);
    let report = Report::of(&world.outcome(command).exits(0));
    assert_eq!(report.count("valid"), 2);
    set_mode(&world.state(), 0o700);
    let report = Report::of(&world.outcome(as_nobody(&world)).exits(0).says("without the ledger"));
    assert_eq!(report.count("foreign"), 2);
    truncate(&world.pyc("a.py"));
    chown(world.pyc("b.py"), Some(0), Some(0)).unwrap();
    set_mode(&world.pyc("b.py"), 0o600);
    let report = Report::of(&world.outcome(as_nobody(&world)).exits(1));
    assert_eq!((report.count("broken"), report.count("unreadable")), (1, 1));
}

#[test]
fn an_ordinary_user_can_repair_what_is_their_own() {
    let world = compiled_elsewhere();
    truncate(&world.pyc("a.py"));
    let mut command = world.command(&["verify", "--repair", "--json"]);
    command.arg(world.tree());
    let outcome = world.outcome(as_user(&world, &command)).exits(0);
    assert_eq!(Report::of(&outcome).number("repaired"), 1, "{}", outcome.context());
}
