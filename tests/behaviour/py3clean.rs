//! `py3clean`: whose bytecode goes, and whose does not.

use std::fs;

use crate::aid::names;
use crate::installation::{Installation, PUBLIC};
use crate::support::{python, write_leftover};

fn system(modules: &[&str]) -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", modules);
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    system
}

fn cache(system: &Installation) -> std::path::PathBuf {
    system.at(&format!("{PUBLIC}/__pycache__"))
}

#[test]
fn only_the_bytecode_of_the_package_goes() {
    let system = system(&["foo.py", "a[1].py"]);
    system.install("other", &["foo.bar.py", "a1.py"]);
    system.call("py3compile", &["-p", "other"]).exits(0);
    let outcome = system.call("py3clean", &["-p", "pkg"]).exits(0);
    let tag = python::cache_tag();
    assert_eq!(names(&cache(&system)), [format!("a1.{tag}.pyc"), format!("foo.bar.{tag}.pyc")]);
    assert_eq!(outcome.stdout + &outcome.stderr, "");
}

#[test]
fn of_one_version_every_level_and_temporary_goes_and_nothing_of_another() {
    let system = system(&["foo.py"]);
    let tag = python::cache_tag();
    let write = |name: &str| fs::write(cache(&system).join(name), "").unwrap();
    let kept = ["foo.cpython-399.pyc", "foo.cpython-399.opt-1.pyc", "foo.pypy310.pyc", "foo.f-1.py311.nbi"];
    kept.into_iter().for_each(write);
    for name in [".opt-1.pyc", ".opt-2.pyc", ".pyc.140221", ".opt-2.pyc.7"] {
        write_leftover(&cache(&system).join(format!("foo.{tag}{name}")));
    }
    system.call("py3clean", &["-V", &python::version(), "-p", "pkg"]).exits(0);
    let mut expected = kept;
    expected.sort_unstable();
    assert_eq!(names(&cache(&system)), expected);
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    assert_eq!(names(&cache(&system)), ["foo.f-1.py311.nbi"]);
}

#[test]
fn a_temporary_file_whose_writer_may_be_at_work_stays() {
    let system = system(&["foo.py"]);
    let temporary = format!("foo.{}.pyc.140221", python::cache_tag());
    fs::write(cache(&system).join(&temporary), "").unwrap();
    system.call("py3clean", &["-p", "pkg"]).exits(0);
    assert_eq!(names(&cache(&system)), [temporary]);
}

#[test]
fn it_works_where_no_python_is_installed() {
    let system = system(&["foo.py"]);
    let binary = fs::canonicalize(crate::support::PYTHON).unwrap();
    fs::remove_file(system.at("/usr/bin").join(binary.file_name().unwrap())).unwrap();
    system.call("py3clean", &["-V", &python::version(), PUBLIC]).exits(0);
    assert!(!cache(&system).exists());
}

#[test]
fn a_source_that_is_listed_but_gone_loses_its_bytecode() {
    let system = system(&["foo.py"]);
    fs::remove_file(system.at(&format!("{PUBLIC}/foo.py"))).unwrap();
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!cache(&system).exists());
}

#[test]
fn of_a_package_and_a_directory_only_what_is_in_both_goes() {
    let system = system(&["foo.py", "sub/bar.py"]);
    system.install("other", &["sub/baz.py"]);
    system.call("py3compile", &["-p", "other"]).exits(0);
    system.call("py3clean", &["-p", "pkg", &format!("{PUBLIC}/sub")]).exits(0);
    assert!(system.pyc("foo.py").exists() && system.pyc("sub/baz.py").exists());
    assert!(!system.pyc("sub/bar.py").exists());
    system.call("py3clean", &[&format!("{PUBLIC}/foo.py")]).exits(0);
    assert!(!system.pyc("foo.py").exists());
}

#[test]
fn a_version_that_cannot_be_is_refused() {
    let system = system(&["foo.py"]);
    for version in ["4.0", "x", "3"] {
        system.call("py3clean", &["-V", version, "-p", "pkg"]).exits(4).says(version);
    }
    system.call_in_script("py3clean", &["-V", "4.0", "-p", "pkg"]).exits(0);
    assert!(system.pyc("foo.py").exists());
}

#[test]
fn how_it_ends() {
    let system = system(&["foo.py"]);
    system.call("py3clean", &[]).exits(1).says("py3clean [-V VERSION]");
    system.call("py3clean", &["--version"]).exits(0).says("py3clean (pyc-txn) 0.");
    system.call("py3clean", &["--nonsense"]).exits(2);
    system.call("py3clean", &["-p", "nope"]).exits(1).says("package 'nope' is not installed");
    system.call_in_script("py3clean", &["-p", "nope"]).exits(0).says("package 'nope' is not installed");
}

#[test]
fn what_it_cannot_do_the_original_does() {
    let system = system(&["foo.py"]);
    system.divert_originals();
    fs::remove_dir_all(system.at("/var/lib/pyc-txn")).unwrap();
    system.write("/var/lib/pyc-txn", "a file");
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0).says("py3clean.distrib' does it");
    assert_eq!(system.note("original").unwrap(), "0022 -p pkg\n");
}

#[test]
fn where_nothing_is_to_be_removed_nothing_is_created() {
    let system = Installation::with_programs();
    system.install("pkg", &["foo.py"]);
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    assert!(!system.at("/var/lib/pyc-txn").exists());
}
