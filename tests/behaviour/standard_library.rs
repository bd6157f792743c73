//! The standard libraries of the supported interpreters: what their packages compiled is kept right, and no more.

use std::fs;
use std::path::Path;

use crate::aid::{let_the_clock_go_on, names, stamp};
use crate::installation::Installation;
use crate::support::private::Private;
use crate::support::{Outcome, PYTHON};

fn commit(system: &Installation) -> Outcome {
    system.call("pyc-txn", &["commit"])
}

/// How many modules of the library have bytecode.
fn compiled(private: &Private) -> usize {
    ["", "encodings"]
        .map(|directory| names(&private.library.join(directory).join("__pycache__")).len())
        .iter()
        .sum()
}

fn tear(pyc: &Path) {
    let bytes = fs::read(pyc).unwrap();
    fs::write(pyc, &bytes[..bytes.len() / 2]).unwrap();
}

fn number(report: &Outcome, class: &str) -> u64 {
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    report["counts"][class].as_u64().unwrap()
}

/// The path of the library without the root's prefix.
fn inside(system: &Installation, private: &Private) -> String {
    let inside = private.library.strip_prefix(system.root()).unwrap();
    Path::new("/").join(inside).to_str().unwrap().to_owned()
}

#[test]
fn what_is_whole_is_adopted_and_what_is_torn_or_stale_is_compiled() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    let all = compiled(&private);
    let whole = private.pyc("codecs.py");
    let before = stamp(&whole);
    tear(&private.pyc("encodings/__init__.py"));
    let stale = private.library.join("os.py");
    fs::write(&stale, fs::read_to_string(&stale).unwrap() + "pyc_txn = 1\n").unwrap();
    let counts = format!("compiled 2, adopted {} ", all - 2);
    let outcome = commit(&system).exits(0).says(&counts);
    assert_eq!(stamp(&whole), before, "{}", outcome.context());
    assert!(private.start().status.success(), "{}", outcome.context());
    let report = system.call("pyc-txn", &["verify", "--json"]).exits(0);
    assert_eq!(number(&report, "valid"), all as u64, "{}", report.context());
    commit(&system).exits(0).says(&format!("nothing to do ({all} up to date)"));
}

#[test]
fn the_hooks_of_the_package_guard_it_too() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    for moment in ["configure", "triggered"] {
        tear(&private.pyc("encodings/__init__.py"));
        system.call_in_script("pyc-txn", &["hook", moment]).exits(0).says("compiled 1");
        assert!(private.start().status.success(), "{moment}");
    }
}

#[test]
fn what_its_package_does_not_compile_stays_uncompiled_until_it_is_named() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    let tests = private.library.join("test");
    fs::create_dir(&tests).unwrap();
    fs::write(tests.join("a.py"), "x = 1\n").unwrap();
    fs::remove_file(private.pyc("codecs.py")).unwrap();
    let all = compiled(&private);
    commit(&system).exits(0).says(&format!("adopted {all} "));
    assert!(!tests.join("__pycache__").exists() && !private.pyc("codecs.py").exists());
    system.call("pyc-txn", &["commit", &inside(&system, &private)]).exits(0).says("compiled 2 ");
    assert!(tests.join("__pycache__").exists() && private.pyc("codecs.py").exists());
}

#[test]
fn a_library_is_sealed_but_not_for_who_means_all_of_it() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    for number in 0..500 {
        fs::write(private.library.join(format!("encodings/m{number}.py")), "x = 1\n").unwrap();
    }
    private.compile();
    fs::remove_file(private.pyc("codecs.py")).unwrap();
    let all = compiled(&private);
    commit(&system).exits(0).says(&format!("adopted {all} "));
    let_the_clock_go_on(&system.world, &private.library.join("__pycache__"), 3);
    let again = || system.call("pyc-txn", &["commit", "-v"]).exits(0).says(&format!("({all} up to date)"));
    again().says("sealed ");
    again().does_not_say("sealed ");
    system.call("pyc-txn", &["commit", &inside(&system, &private)]).exits(0).says("compiled 1 ");
}

#[test]
fn a_pyc_that_vanished_is_made_again_and_goes_with_its_source() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    commit(&system).exits(0);
    let pyc = private.pyc("codecs.py");
    fs::remove_file(&pyc).unwrap();
    commit(&system).exits(0).says("compiled 1 ");
    assert!(pyc.exists());
    fs::remove_file(private.library.join("codecs.py")).unwrap();
    fs::remove_dir_all(private.library.join("encodings")).unwrap();
    commit(&system).exits(0).says("removed ");
    assert!(!pyc.exists() && !private.library.join("encodings").exists());
}

#[test]
fn other_levels_are_guarded_where_there_are_any() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    let pyc = private.pyc("codecs.py");
    let name = pyc.file_name().unwrap().to_str().unwrap().replace(".pyc", ".opt-1.pyc");
    let optimized = pyc.with_file_name(name);
    fs::copy(&pyc, &optimized).unwrap();
    tear(&optimized);
    let all = compiled(&private);
    commit(&system).exits(0).says(&format!("compiled 1, adopted {} ", all - 1));
    let report = system.call("pyc-txn", &["verify", "--json"]).exits(0);
    assert_eq!(number(&report, "valid"), all as u64, "{}", report.context());
    assert_eq!(compiled(&private), all);
}

#[test]
fn the_library_of_a_removed_interpreter_keeps_its_bytecode_and_leaves_nothing() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    let all = compiled(&private);
    commit(&system).exits(0);
    // libpython3.N-stdlib stays where something else is linked with libpython3.N.
    fs::remove_file(&private.path).unwrap();
    commit(&system).exits(0).says("nothing to do");
    assert_eq!(compiled(&private), all);
    for name in names(&private.library) {
        if name != "encodings" && name.ends_with(".py") {
            fs::remove_file(private.library.join(name)).unwrap();
        }
    }
    commit(&system).exits(0).says("removed ");
    assert!(!private.library.join("__pycache__").exists());
    assert!(private.library.join("encodings/__pycache__").exists());
    fs::remove_file(private.library.join("encodings/__init__.py")).unwrap();
    commit(&system).exits(0).says("removed 1 ");
}

#[test]
fn only_a_commit_for_the_supported_interpreters_guards_it() {
    let Some((system, private)) = Installation::with_a_python() else { return };
    system.call("pyc-txn", &["commit", "--python", PYTHON]).exits(0).does_not_say("adopted");
    let (_, other) = private.library.to_str().unwrap().rsplit_once("3.").unwrap();
    let mut command = system.called("pyc-txn", &["commit"]);
    command.env("DEBPYTHON3_SUPPORTED", format!("python3.{}", other.parse::<u8>().unwrap() + 1));
    system.world.outcome(command).exits(0).does_not_say("adopted");
}
