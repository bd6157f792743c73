//! `pyc-txn hook`: each moment of a dpkg run.

use std::fs;

use crate::installation::{Installation, PUBLIC};

const MOMENTS: [&str; 8] =
    ["configure", "triggered", "remove", "before", "after-dpkg", "after-apt", "boot", "shutdown"];

/// A system with one module that is recorded and one that nobody asked for.
fn recorded() -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    system.write(&format!("{PUBLIC}/unasked.py"), "x = 1\n");
    system
}

#[test]
fn configure_and_triggered_commit_everything() {
    for moment in ["configure", "triggered"] {
        let system = recorded();
        system.call_in_script("pyc-txn", &["hook", moment]).exits(0).says("compiled 2 ");
        assert!(system.pyc("a.py").exists() && system.pyc("unasked.py").exists(), "{moment}");
        let again = system.call_in_script("pyc-txn", &["hook", moment]).exits(0);
        assert_eq!(again.stdout.clone() + &again.stderr, "", "{}", again.context());
    }
}

#[test]
fn the_others_commit_what_is_pending_only() {
    for moment in ["remove", "after-dpkg", "after-apt", "boot"] {
        let system = recorded();
        system.call("pyc-txn", &["hook", moment]).exits(0).says("compiled 1 ");
        assert!(system.pyc("a.py").exists() && !system.pyc("unasked.py").exists(), "{moment}");
    }
}

#[test]
fn a_call_in_a_script_says_where_its_time_goes_to_whoever_asks() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let mut outcome = system.call_in_script("py3compile", &["-v", "-p", "pkg"]).exits(0);
    for phase in ["read dpkg's lists", "open the journal", "plan", "start dpkg-trigger", "record"] {
        outcome = outcome.says(&format!("{phase} ")).says(" ms");
    }
    system.call_in_script("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    let outcome = system.call_in_script("py3clean", &["-v", "-p", "pkg"]).exits(0);
    outcome.says("find the bytecode ").says("decide ").says("publish ");
}

#[test]
fn where_nothing_is_to_be_done_nothing_is_created_or_said() {
    for moment in
        MOMENTS.into_iter().filter(|moment| !["configure", "triggered", "shutdown"].contains(moment))
    {
        let system = Installation::with_programs();
        system.write(&format!("{PUBLIC}/unasked.py"), "x = 1\n");
        let outcome = system.call("pyc-txn", &["hook", moment]).exits(0);
        assert!(!system.at("/var/lib/pyc-txn").exists(), "{}", outcome.context());
        assert_eq!(outcome.stdout + &outcome.stderr, "", "{moment}");
    }
}

#[test]
fn before_a_run_what_is_left_over_is_removed_and_what_is_pending_stays() {
    let system = recorded();
    let left = system.at("/var/lib/pyc-txn/staging/7");
    fs::create_dir_all(&left).unwrap();
    let outcome = system.call("pyc-txn", &["hook", "before"]).exits(0);
    assert!(!left.exists() && system.pending() == 1, "{}", outcome.context());
    assert!(!system.pyc("a.py").exists(), "{}", outcome.context());
}

#[test]
fn after_dpkg_nothing_is_done_if_apt_or_the_trigger_is_going_to() {
    for (deferred, state, is_done) in [
        ("pyc-txn pkg\n", "", false),
        ("", "triggers-pending", false),
        ("", "unpacked", false),
        ("", "half-configured", false),
        ("", "installed", true),
        ("pyc-txn-doc pkg\n", "", true),
    ] {
        let system = recorded();
        system.write("/var/lib/dpkg/triggers/Unincorp", deferred);
        let other = "Package: pyc-txn-doc\nStatus: install ok triggers-pending\n";
        let ours = format!("Package: pyc-txn\nStatus: install ok {state}\nVersion: 1\n");
        system.write("/var/lib/dpkg/status", &format!("{other}\n{ours}"));
        system.call("pyc-txn", &["hook", "after-dpkg"]).exits(0);
        assert_eq!(system.pyc("a.py").exists(), is_done, "{deferred:?} {state}");
    }
    let system = recorded();
    let mut command = system.called("pyc-txn", &["hook", "after-dpkg"]);
    command.env("DPKG_FRONTEND_LOCKED", "1");
    system.world.outcome(command).exits(0);
    assert!(!system.pyc("a.py").exists());
}

#[test]
fn a_hook_never_fails_and_says_in_one_line_what_is_wrong() {
    for moment in MOMENTS {
        let system = recorded();
        fs::remove_dir_all(system.at("/var/lib/pyc-txn")).unwrap();
        system.write("/var/lib/pyc-txn", "a file");
        let outcome = system.call("pyc-txn", &["hook", moment]).exits(0);
        assert_eq!(outcome.stderr.lines().count(), 1, "{moment}\n{}", outcome.context());
    }
    let system = recorded();
    system.call("pyc-txn", &["hook", "--root", "/no/such/root", "boot"]).exits(0).says("/no/such/root");
    system.call("pyc-txn", &["hook", "a-moment-of-the-future"]).exits(0).says("a-moment-of-the-future");
}

#[test]
fn sources_that_cannot_be_compiled_are_one_line_and_said_once() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py", "b.py", "c.py"]);
    for name in ["a.py", "b.py"] {
        system.write(&format!("{PUBLIC}/{name}"), "print 'python 2'\n");
    }
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("a.py:1: ").says("1 more");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    let again = system.call("pyc-txn", &["hook", "triggered"]).exits(0);
    assert_eq!(again.stdout + &again.stderr, "");
}
