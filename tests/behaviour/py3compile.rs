//! `py3compile`: in maintainer scripts, outside of them, and where pyc-txn cannot do it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::aid::{has_program, is_root, mount, through, with_mounts};
use crate::installation::{Installation, PUBLIC};

const STATE: &str = "/var/lib/pyc-txn";

fn system() -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py", "b.py"]);
    system
}

#[test]
fn in_a_maintainer_script_it_is_recorded_and_compiled_when_dpkg_calls_the_trigger() {
    let system = system();
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{}", outcome.context());
    assert!(!system.pyc("a.py").exists() && system.pending() == 2, "{}", outcome.context());
    assert_eq!(system.note("triggered").unwrap(), "--no-await pyc-txn\n");
    system.call_in_script("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 2 ");
    assert!(system.pyc("a.py").exists() && system.pyc("b.py").exists());
    let owner: String = system.world.query("SELECT DISTINCT owner FROM ledger");
    assert_eq!(owner, "pkg");
}

#[test]
fn what_is_up_to_date_activates_no_trigger() {
    let system = system();
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert_eq!(system.note("triggered"), None);
    system.call_in_script("py3compile", &["-f", "-p", "pkg"]).exits(0);
    assert!(system.note("triggered").is_some() && system.pending() == 2);
}

#[test]
fn what_was_asked_for_with_force_stays_forced_and_its_package_s() {
    let system = system();
    system.call_in_script("py3compile", &["-f", "-p", "pkg"]).exits(0);
    system.call("pyc-txn", &["record", PUBLIC]).exits(0).says("recorded 2 ");
    let rows: i64 = system.world.query("SELECT count(*) FROM intents WHERE force AND owner = 'pkg'");
    assert_eq!((rows, system.pending()), (2, 2));
}

#[test]
fn outside_of_maintainer_scripts_it_is_compiled_at_once_and_nothing_is_said() {
    let system = system();
    let outcome = system.call("py3compile", &["-p", "pkg"]).exits(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{}", outcome.context());
    assert!(system.pyc("a.py").exists() && system.pending() == 0, "{}", outcome.context());
    assert_eq!(system.note("triggered"), None);
    system.call("py3compile", &["-v", "-f", "-p", "pkg"]).exits(0).says("compiled 2 ");
}

#[test]
fn a_dpkg_without_our_package_would_not_call_so_it_is_compiled_at_once() {
    let system = system();
    fs::remove_file(system.at("/var/lib/dpkg/info/pyc-txn.list")).unwrap();
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert!(system.pyc("a.py").exists(), "{}", outcome.context());
    assert_eq!(system.note("triggered"), None);
}

#[test]
fn with_defer_switched_off_it_is_compiled_at_once() {
    let system = system();
    system.write("/etc/pyc-txn.conf", "defer = false\n");
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert!(system.pyc("a.py").exists(), "{}", outcome.context());
}

#[test]
fn a_file_that_cannot_be_compiled_fails_no_maintainer_script() {
    let system = system();
    system.write(&format!("{PUBLIC}/a.py"), "print 'python 2'\n");
    fs::remove_file(system.at("/var/lib/dpkg/info/pyc-txn.list")).unwrap();
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0).says("a.py:1: ");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert!(system.pyc("b.py").exists(), "{}", outcome.context());
    system.call("py3compile", &["-f", "-p", "pkg"]).exits(1).says("a.py:1: ");
}

#[test]
fn a_trigger_that_cannot_be_activated_is_said_in_one_line_and_nothing_is_lost() {
    let system = system();
    system.script("dpkg-trigger", "echo 'dpkg-trigger: error: no such luck' >&2; exit 2");
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0).says("no such luck");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert_eq!(system.pending(), 2);
}

#[test]
fn dpkg_s_files_are_made_with_the_usual_umask() {
    let system = system();
    system.script("dpkg-trigger", "umask >triggered");
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert_eq!(system.note("triggered").unwrap(), "0022\n");
}

#[test]
fn a_command_line_that_is_not_understood_is_the_original_s_in_a_maintainer_script() {
    let system = system();
    system.divert_originals();
    let outcome = system.call_in_script("py3compile", &["--new-option", "-p", "pkg"]).exits(0);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert_eq!(system.note("original").unwrap(), "0022 --new-option -p pkg\n");
    fs::remove_file(system.world.beside("original")).unwrap();
    system.call("py3compile", &["--new-option", "-p", "pkg"]).exits(2);
    assert_eq!(system.note("original"), None);
}

#[test]
fn a_state_that_cannot_be_used_leaves_it_to_the_original() {
    let system = system();
    system.divert_originals();
    system.write(STATE, "a file");
    for script in [false, true] {
        let command = if script {
            system.in_script("py3compile", &["-fp", "pkg"])
        } else {
            system.called("py3compile", &["-fp", "pkg"])
        };
        let outcome = system.world.outcome(command).exits(0).says("py3compile.distrib' does it");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
        assert_eq!(system.note("original").unwrap(), "0022 -fp pkg\n");
        fs::remove_file(system.world.beside("original")).unwrap();
    }
}

#[test]
fn without_an_original_a_maintainer_script_goes_on() {
    let system = system();
    system.write(STATE, "a file");
    let outcome = system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    system.call("py3compile", &["-p", "pkg"]).exits(3);
}

#[test]
fn an_original_that_cannot_be_run_fails_no_maintainer_script() {
    let system = system();
    system.write(STATE, "a file");
    fs::write(system.program("py3compile.distrib"), "#!/no/such/python\n").unwrap();
    fs::set_permissions(system.program("py3compile.distrib"), fs::Permissions::from_mode(0o755)).unwrap();
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0).says("cannot run");
}

#[test]
fn on_a_full_disk_the_original_is_not_called_for_it_would_leave_broken_files() {
    if !is_root("a full disk") {
        return;
    }
    let system = system();
    system.divert_originals();
    fs::create_dir_all(system.at(STATE)).unwrap();
    with_mounts(|| {
        let state = system.at(STATE);
        mount(&["-t", "tmpfs", "-o", "size=16k,mode=700", "none", state.to_str().unwrap()]);
        fs::write(state.join("filler"), vec![0; 12 << 10]).unwrap();
        system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
        system.call("py3compile", &["-p", "pkg"]).exits(3);
    });
    assert_eq!(system.note("original"), None);
}

#[test]
fn a_damaged_journal_is_set_aside_and_it_is_recorded_in_a_new_one() {
    let system = system();
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    fs::write(system.at(STATE).join("journal.sqlite3"), vec![b'x'; 8192]).unwrap();
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0).says("is damaged");
    assert_eq!(system.pending(), 2);
}

#[test]
fn a_package_that_is_not_installed_is_named() {
    let system = system();
    system.call("py3compile", &["-p", "nope"]).exits(1).says("package 'nope' is not installed");
    system.call_in_script("py3compile", &["-p", "nope"]).exits(0).says("package 'nope' is not installed");
}

#[test]
fn versions_that_are_not_installed_are_named() {
    let system = system();
    system.call("py3compile", &["-V", "3.2", "-p", "pkg"]).exits(3).says("not installed");
    system.call_in_script("py3compile", &["-V", "3.2", "-p", "pkg"]).exits(0).says("not installed");
}

#[test]
fn a_directory_that_is_not_there_is_said_and_no_failure() {
    let system = system();
    system.call("py3compile", &["-p", "pkg", "/usr/share/nope"]).exits(0).says("'/usr/share/nope'");
    system.call("py3compile", &["/usr/share/nope"]).exits(0).says("'/usr/share/nope'");
}

#[test]
fn without_arguments_it_prints_how_it_is_used() {
    let system = system();
    system.call("py3compile", &[]).exits(1).says("py3compile -p PACKAGE");
    system.call("py3compile", &["--version"]).exits(0).says("py3compile (pyc-txn) 0.");
    system.call("py3compile", &["--help"]).exits(0).says("--exclude");
    system.call("py3compile", &["-p", "pkg", "-X", "x"]).exits(2).says("--exclude");
}

#[test]
fn a_list_of_exclusions_with_a_bad_line_is_a_warning() {
    let system = system();
    let here = crate::support::python::version();
    let list = format!("re|-|{PUBLIC}|(\n\nnonsense\n# comment\nfile|{here}|{PUBLIC}/a.py\n");
    system.write("/usr/share/python3/bcep/pkg", &list);
    system.call("py3compile", &["-p", "pkg"]).exits(0).says("bcep/pkg:1: ").says("bcep/pkg:3: ");
    assert!(!system.pyc("a.py").exists() && system.pyc("b.py").exists());
}

#[test]
fn a_relative_directory_is_excluded_from_as_the_absolute_one() {
    let system = system();
    let mut command = system.called("py3compile", &["-X", "a", "dist-packages"]);
    command.current_dir(system.at("/usr/lib/python3"));
    let outcome = system.world.outcome(command).exits(0);
    assert!(!system.pyc("a.py").exists() && system.pyc("b.py").exists(), "{}", outcome.context());
}

#[test]
fn an_interpreter_that_does_not_answer_just_now_is_taken_for_what_it_was() {
    let system = system();
    // A script is asked each time, unlike a binary that the journal knows.
    let name = crate::support::python::version();
    let python = system.at(&format!("/usr/bin/python9.{}", name.split('.').nth(1).unwrap()));
    fs::write(&python, "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let range = python.file_name().unwrap().to_str().unwrap().trim_start_matches("python").to_owned();
    system.call("py3compile", &["-V", &range, "-p", "pkg"]).exits(0);
    fs::write(&python, "#!/bin/sh\nexit 1\n").unwrap();
    let outcome = system.call_in_script("py3compile", &["-V", &range, "-fp", "pkg"]).exits(0);
    assert_eq!(system.pending(), 2, "{}", outcome.context());
}

#[test]
fn with_unsafe_io_nothing_is_synced() {
    let system = system();
    if !has_program("strace", "counting syncs") {
        return;
    }
    for (force, is_synced) in [("depends,unsafe-io", false), ("depends,unsafe-iota", true)] {
        let trace = system.world.beside("trace");
        let wrapper = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e"];
        let wrapper = [&wrapper[..], &["trace=fsync,fdatasync,syncfs,sync"]].concat();
        let mut command = through(&wrapper, &system.called("py3compile", &["-f", "-p", "pkg"]));
        command.env("DPKG_FORCE", force);
        let outcome = system.world.outcome(command).exits(0);
        let calls = fs::read_to_string(trace).unwrap();
        assert_eq!(calls.contains("sync"), is_synced, "{calls}\n{}", outcome.context());
    }
}
