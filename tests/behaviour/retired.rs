//! What `py3clean` in a maintainer script takes out of the tree, and the end of the dpkg run takes back.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::aid::{names, set_mode, set_mtime};
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, python};
use crate::twins::a_python_of_the_next_version;

/// The moments that end a dpkg run.
const ENDS: [&str; 4] = ["triggered", "configure", "after-apt", "boot"];

/// A system with a package whose prerm has just run.
fn cleaned(modules: &[&str]) -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", modules);
    system.call("pyc-txn", &["hook", "configure"]).exits(0);
    let outcome = system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert_eq!(names(&system.at(PUBLIC)), modules, "{}", outcome.context());
    assert_eq!(names(&retired(&system)).len(), modules.len(), "{}", outcome.context());
    assert_eq!(system.note("triggered").as_deref(), Some("--no-await pyc-txn\n"), "{}", outcome.context());
    system
}

fn retired(system: &Installation) -> std::path::PathBuf {
    system.at("/var/lib/pyc-txn/retired")
}

/// Writes the bytecode of the source at this path, as an import does.
fn compile_as_python_does(system: &Installation, path: &str) {
    let script = "import py_compile, sys; py_compile.compile(sys.argv[1], dfile=sys.argv[2])";
    let command = &mut std::process::Command::new(PYTHON);
    assert!(command.args(["-c", script]).arg(system.at(path)).arg(path).status().unwrap().success());
}

#[test]
fn what_is_still_right_is_taken_back_when_the_run_ends() {
    for end in ENDS {
        let system = cleaned(&["a.py", "b.py"]);
        let outcome = system.call("pyc-txn", &["hook", end]).exits(0).says("reused 2 ");
        assert!(system.pyc("a.py").exists() && system.pyc("b.py").exists(), "{}", outcome.context());
        assert_eq!(names(&retired(&system)), [""; 0], "{}", outcome.context());
        system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
    }
}

#[test]
fn what_dpkg_has_removed_is_dropped_when_the_run_ends() {
    for end in ENDS {
        let system = cleaned(&["a.py"]);
        fs::remove_dir_all(system.at(PUBLIC)).unwrap();
        let outcome = system.call("pyc-txn", &["hook", end]).exits(0);
        assert!(!system.at(PUBLIC).exists(), "{}", outcome.context());
        assert_eq!(names(&retired(&system)), [""; 0], "{}", outcome.context());
        assert_eq!(system.world.query::<i64>("SELECT count(*) FROM ledger"), 0, "{}", outcome.context());
    }
}

#[test]
fn of_an_upgrade_only_what_changed_is_compiled() {
    let system = cleaned(&["a.py", "b.py", "c.py"]);
    // As dpkg does it: all are other files, two of the same content.
    for (module, content) in [("a.py", "x = 1\n"), ("b.py", "x = 1\n"), ("c.py", "x = 2\n")] {
        fs::remove_file(system.at(&format!("{PUBLIC}/{module}"))).unwrap();
        system.write(&format!("{PUBLIC}/{module}"), content);
    }
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    system.call_in_script("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1, reused 2 ");
    let owners: String = system.world.query("SELECT group_concat(DISTINCT owner) FROM ledger");
    assert_eq!(owners, "pkg");
}

#[test]
fn private_modules_that_nobody_asks_for_again_are_taken_back() {
    let system = Installation::with_programs();
    system.write("/usr/share/app/m.py", "x = 1\n");
    system.write("/var/lib/dpkg/info/app.list", "/.\n/usr/share/app/m.py\n");
    system.call("py3compile", &["-p", "app", "/usr/share/app"]).exits(0);
    let pyc = system.world.pyc(system.at("/usr/share/app/m.py"));
    let before = fs::read(&pyc).unwrap();
    system.call_in_script("py3clean", &["-p", "app"]).exits(0);
    assert!(!pyc.exists());
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("reused 1 ");
    assert_eq!(fs::read(&pyc).unwrap(), before);
}

#[test]
fn the_packages_of_a_run_are_retired_in_one_transaction_which_says_so_until_it_ends() {
    let system = Installation::with_programs();
    system.install("one", &["a.py", "b.py"]);
    system.install("two", &["c.py"]);
    system.call("pyc-txn", &["hook", "configure"]).exits(0);
    system.call_in_script("py3clean", &["-p", "one"]).exits(0);
    system.call_in_script("py3clean", &["-p", "two"]).exits(0);
    let status = system.call("pyc-txn", &["status"]).exits(0);
    status.says("transaction 2 is retiring: 3 moved out of the tree").says("0 targets are published");
    let owner = system.call("pyc-txn", &["owner", &format!("{PUBLIC}/a.py")]);
    owner.exits(1);
    system.call("pyc-txn", &["log"]).exits(0).says("clean   committing   3 removed");
    // dpkg is called again and again in a run of apt.
    let before = system.call("pyc-txn", &["hook", "before"]).exits(0);
    assert_eq!(before.stdout.clone() + &before.stderr, "", "{}", before.context());
    let end = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("reused 3 ");
    assert_eq!(end.stderr, "", "{}", end.context());
    let log = system.call("pyc-txn", &["log", "2"]).exits(0).says("clean   committed    3 removed");
    log.says("'py3clean -p one', for one").says("'py3clean -p two', for two");
    system
        .call("pyc-txn", &["status"])
        .exits(0)
        .says("no transaction is open")
        .says("3 targets are published");
}

#[test]
fn whoever_else_takes_the_lock_settles_what_is_retired() {
    for command in [&["recover"][..], &["clean", PUBLIC], &["stage"], &["rollback"]] {
        let system = cleaned(&["a.py"]);
        let outcome = system.call("pyc-txn", command).exits(0).does_not_say("interrupted");
        let state: String = system.world.query("SELECT state FROM transactions WHERE kind = 'clean'");
        assert_eq!(state, "committed", "{}", outcome.context());
        let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("reused 1 ");
        assert_eq!(names(&retired(&system)), [""; 0], "{}", outcome.context());
    }
}

#[test]
fn what_python_writes_before_the_run_ends_stays() {
    let system = cleaned(&["a.py"]);
    compile_as_python_does(&system, &format!("{PUBLIC}/a.py"));
    let before = fs::metadata(system.pyc("a.py")).unwrap().ino();
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("adopted 1 ");
    assert_eq!(fs::metadata(system.pyc("a.py")).unwrap().ino(), before, "{}", outcome.context());
}

#[test]
fn a_package_that_is_cleaned_twice_in_a_run_has_no_bytecode_left() {
    let system = cleaned(&["a.py"]);
    fs::create_dir_all(system.pyc("a.py").parent().unwrap()).unwrap();
    fs::write(system.pyc("a.py"), "another").unwrap();
    let outcome = system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!system.pyc("a.py").exists(), "{}", outcome.context());
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    assert_eq!(names(&retired(&system)), [""; 0], "{}", outcome.context());
}

#[test]
fn a_file_that_was_damaged_meanwhile_is_compiled() {
    let system = cleaned(&["a.py"]);
    let kept = retired(&system).join(&names(&retired(&system))[0]);
    let mut bytes = fs::read(&kept).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&kept, bytes).unwrap();
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ").does_not_say("reused");
}

#[test]
fn what_pyc_txn_has_not_published_is_not_kept() {
    let system = cleaned(&["a.py"]);
    let kept = names(&retired(&system));
    let foreign = system.at(&format!("{PUBLIC}/__pycache__/a.cpython-399.pyc"));
    fs::create_dir(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "").unwrap();
    let outcome = system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!foreign.parent().unwrap().exists(), "{}", outcome.context());
    assert_eq!(names(&retired(&system)), kept, "{}", outcome.context());
}

#[test]
fn without_our_package_nobody_would_take_it_back_so_it_is_removed() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.call("pyc-txn", &["hook", "configure"]).exits(0);
    fs::remove_file(system.at("/var/lib/dpkg/info/pyc-txn.list")).unwrap();
    let outcome = system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!system.pyc("a.py").exists() && !retired(&system).exists(), "{}", outcome.context());
    assert_eq!(system.note("triggered"), None, "{}", outcome.context());
}

#[test]
fn bytecode_of_an_interpreter_that_is_removed_goes_with_it() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let (name, tag) = a_python_of_the_next_version(&|path| system.at(path));
    system.call("pyc-txn", &["hook", "configure"]).exits(0).says("compiled 2 ");
    let cache = system.at(&format!("{PUBLIC}/__pycache__"));
    let both = [format!("a.{}.pyc", python::cache_tag()), format!("a.{tag}.pyc")];
    assert_eq!(names(&cache), both);
    fs::remove_file(system.at(&format!("/usr/bin/{name}"))).unwrap();
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("removed 1 ");
    assert_eq!(names(&cache), both[..1], "{}", outcome.context());
}

/// Moves the time of a package's source, as its rebuild does, and ends the dpkg run.
fn rebuilt(system: &Installation, module: &str) -> Outcome {
    set_mtime(&system.at(&format!("{PUBLIC}/{module}")), 1_000_000_000, 0);
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("reused 1 ")
}

fn bytecode(system: &Installation, module: &str) -> (u64, u32, Vec<u8>) {
    let metadata = fs::metadata(system.pyc(module)).unwrap();
    (metadata.ino(), metadata.mode() & 0o7777, fs::read(system.pyc(module)).unwrap())
}

#[test]
fn the_very_file_comes_back_with_a_new_header() {
    let system = cleaned(&["a.py"]);
    let file = retired(&system).join(&names(&retired(&system))[0]);
    let (inode, before) = (fs::metadata(&file).unwrap().ino(), fs::read(&file).unwrap());
    let outcome = rebuilt(&system, "a.py");
    let (found, _, after) = bytecode(&system, "a.py");
    assert_eq!((found, &after[16..]), (inode, &before[16..]), "{}", outcome.context());
    assert_ne!(after[..16], before[..16]);
    system.call("pyc-txn", &["verify"]).exits(0);
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
}

#[test]
fn a_file_that_has_another_name_elsewhere_is_left_as_it_is() {
    let system = cleaned(&["a.py"]);
    let (file, link) = (retired(&system).join(&names(&retired(&system))[0]), system.at("/backup"));
    fs::hard_link(&file, &link).unwrap();
    let before = fs::read(&link).unwrap();
    let outcome = rebuilt(&system, "a.py");
    assert_eq!(fs::read(&link).unwrap(), before, "{}", outcome.context());
    assert_ne!(bytecode(&system, "a.py").2, before);
}

#[test]
fn bytecode_that_comes_back_has_the_permissions_that_its_source_has_now() {
    let system = cleaned(&["a.py"]);
    let file = retired(&system).join(&names(&retired(&system))[0]);
    let inode = fs::metadata(file).unwrap().ino();
    set_mode(&system.at(&format!("{PUBLIC}/a.py")), 0o600);
    let outcome = rebuilt(&system, "a.py");
    let (found, mode, _) = bytecode(&system, "a.py");
    assert_eq!((found == inode, mode), (false, 0o600), "{}", outcome.context());
}

#[test]
fn bytecode_that_was_taken_over_is_compiled_when_it_has_been_retired() {
    let system = Installation::with_programs();
    let source = "def f(x): return x in {'c', 'a b', None}\ndef g(x): return x, '.'\n";
    let path = format!("{PUBLIC}/a.py");
    system.write(&path, source);
    system.write("/var/lib/dpkg/info/pkg.list", &format!("/.\n{path}\n"));
    compile_as_python_does(&system, &path);
    system.call("pyc-txn", &["hook", "configure"]).exits(0).says("adopted 1 ");
    let theirs = bytecode(&system, "a.py").2;
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    // Nobody knows which release compiled it, and with which arithmetic.
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    let ours = bytecode(&system, "a.py").2;
    assert_ne!(ours[16..], theirs[16..], "{}", outcome.context());
    system.call("pyc-txn", &["commit", "-f"]).exits(0).says("compiled 1 ");
    assert_eq!(bytecode(&system, "a.py").2, ours);
}
