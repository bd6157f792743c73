//! Packages and roots: dpkg's database says what is meant, the root says where it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::aid::names;
use crate::installation::{Installation, PUBLIC};
use crate::oracle;
use crate::support::{PYTHON, World, python};

#[test]
fn the_public_modules_of_a_package_are_compiled_and_are_its_own() {
    let system = Installation::new();
    system.install("pkg", &["pkg/__init__.py", "pkg/data.txt", "pkg/sub/a.py"]);
    system.install("other", &["other.py"]);
    system.write("/usr/share/pkg/private.py", "x = 1\n");
    let list = system.at("/var/lib/dpkg/info/pkg.list");
    let more = fs::read_to_string(&list).unwrap() + "/usr/share/pkg/private.py\n";
    fs::write(list, more).unwrap();
    let outcome = system.run(&["commit", "-p", "pkg"]).exits(0).says("compiled 2 ");
    assert!(system.pyc("pkg/__init__.py").exists() && system.pyc("pkg/sub/a.py").exists());
    assert!(!system.pyc("other.py").exists(), "{}", outcome.context());
    assert!(!system.at("/usr/share/pkg/__pycache__").exists());
    let owners: String = system.world.query("SELECT group_concat(DISTINCT owner) FROM ledger");
    assert_eq!(owners, "pkg");
    system.run(&["commit", "-p", "pkg", "-p", "other"]).exits(0).says("compiled 1 (2 up to date)");
}

#[test]
fn a_package_is_found_with_and_without_its_architecture() {
    for (list, name) in
        [("pkg", "pkg"), ("pkg", "pkg:amd64"), ("pkg:amd64", "pkg"), ("pkg:amd64", "pkg:amd64")]
    {
        let system = Installation::new();
        system.install(list, &["a.py"]);
        system.install("pkg-other", &["b.py"]);
        system.run(&["commit", "-p", name]).exits(0).says("compiled 1 ");
        assert!(system.pyc("a.py").exists(), "{list} {name}");
    }
}

#[test]
fn a_package_that_is_not_installed_is_named_and_the_others_are_compiled() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    system
        .run(&["commit", "-p", "nope", "-p", "pkg"])
        .exits(1)
        .says("package 'nope' is not installed")
        .says("compiled 1 ");
    system.run(&["commit", "-p", "../info/pkg"]).exits(1).says("is no package name");
}

#[test]
fn a_file_that_was_not_unpacked_is_no_failure() {
    let system = Installation::new();
    system.install("pkg", &["a.py", "excluded.py"]);
    fs::remove_file(system.at(&format!("{PUBLIC}/excluded.py"))).unwrap();
    system.run(&["commit", "-p", "pkg"]).exits(0).says("compiled 1 ");
}

#[test]
fn a_diverted_module_is_compiled_where_it_is() {
    let system = Installation::new();
    system.install("pkg", &["a.py", "b.py", "c.py"]);
    let public = |name: &str| system.at(&format!("{PUBLIC}/{name}"));
    fs::rename(public("a.py"), public("a_original.py")).unwrap();
    fs::rename(public("b.py"), public("b.py.distrib")).unwrap();
    let diversion = |from: &str, to: &str, by: &str| format!("{PUBLIC}/{from}\n{PUBLIC}/{to}\n{by}\n");
    let diversions = [
        diversion("a.py", "a_original.py", "another"),
        diversion("b.py", "b.py.distrib", ":"),
        diversion("c.py", "c.py.distrib", "pkg"),
    ];
    system.write("/var/lib/dpkg/diversions", &diversions.concat());
    let outcome = system.run(&["commit", "-p", "pkg"]).exits(0).says("compiled 2 ");
    assert!(system.pyc("a_original.py").exists() && system.pyc("c.py").exists(), "{}", outcome.context());
}

#[test]
fn dpkg_admindir_says_where_the_database_is() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    let elsewhere = system.world.beside("admin");
    fs::rename(system.at("/var/lib/dpkg"), &elsewhere).unwrap();
    let mut command = system.command(&["commit", "-p", "pkg"]);
    command.env("DPKG_ADMINDIR", &elsewhere);
    system.world.outcome(command).exits(0).says("compiled 1 ");
}

#[test]
fn cleaning_a_package_removes_its_bytecode_only() {
    let system = Installation::new();
    system.install("pkg", &["foo.py", "pkg/a.py"]);
    system.install("other", &["foo.bar.py"]);
    system.run(&["commit", "-p", "pkg", "-p", "other", "-O", "0", "-O", "1"]).exits(0);
    let outcome = system.run(&["clean", "-p", "pkg"]).exits(0).says("removed 4");
    assert!(!system.pyc("foo.py").exists(), "{}", outcome.context());
    assert!(system.pyc("foo.bar.py").exists(), "{}", outcome.context());
    assert_eq!(names(&system.at(&format!("{PUBLIC}/pkg"))), ["a.py"], "{}", outcome.context());
}

#[test]
fn bytecode_in_a_root_has_names_without_its_prefix() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    system.run(&["commit", "-p", "pkg"]).exits(0);
    assert_eq!(oracle::filename(&system.pyc("a.py")), format!("{PUBLIC}/a.py"));
}

#[test]
fn a_path_means_the_same_with_and_without_the_roots_prefix() {
    let system = Installation::new();
    system.install("pkg", &["a.py", "b.py"]);
    let with_prefix = system.at(PUBLIC);
    system.run(&["commit", with_prefix.to_str().unwrap()]).exits(0).says("compiled 2 ");
    system.run(&["commit", PUBLIC]).exits(0).says("nothing to do (2 up to date)");
    system.run(&["commit", &format!("{PUBLIC}/../dist-packages/a.py")]).exits(0).says("1 up to date");
    system.run(&["clean", &format!("{PUBLIC}/a.py")]).exits(0).says("removed 1");
    assert!(!system.pyc("a.py").exists() && system.pyc("b.py").exists());
}

#[test]
fn without_paths_the_public_directories_of_the_root_are_compiled() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    system.write("/usr/lib/python3/site-packages/b.py", "x = 1\n");
    system.write("/usr/share/c.py", "x = 1\n");
    system.run(&["commit"]).exits(0).says("compiled 2 ");
    assert!(!system.at("/usr/share/__pycache__").exists());
}

#[test]
fn a_directory_of_one_version_is_compiled_by_that_version_only() {
    let system = Installation::new();
    let binary = fs::canonicalize(PYTHON).unwrap();
    let name = binary.file_name().unwrap().to_str().unwrap();
    system.write(&format!("/usr/bin/{name}"), "");
    system.write(&format!("/usr/lib/{name}/dist-packages/a.py"), "x = 1\n");
    system.write("/usr/lib/python3.1/dist-packages/b.py", "x = 1\n");
    system.write(&format!("{PUBLIC}/c.py"), "x = 1\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
    command.arg("commit").arg("--root").arg(system.root()).env_remove("DEBPYTHON3_SUPPORTED");
    let outcome = system.world.outcome(command).exits(0).says("compiled 2 ");
    assert!(!system.at("/usr/lib/python3.1/dist-packages/__pycache__").exists(), "{}", outcome.context());
}

#[test]
fn a_root_has_its_own_state_and_its_own_supported_versions() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    let binary = fs::canonicalize(PYTHON).unwrap();
    let name = binary.file_name().unwrap().to_str().unwrap();
    // There in the root, but only as a name: the host's of the same version compiles.
    system.write(&format!("/usr/bin/{name}"), "");
    system.write(
        "/usr/share/python3/debian_defaults",
        &format!("[DEFAULT]\ndefault-version = {name}\nsupported-versions = python3.1, {name}\n"),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
    command.args(["commit", "-p", "pkg", "--root"]).arg(system.root()).env_remove("DEBPYTHON3_SUPPORTED");
    let outcome = system.world.outcome(command).exits(0).says("compiled 1 ");
    assert!(system.pyc("a.py").exists(), "{}", outcome.context());
    let state = system.at("/var/lib/pyc-txn");
    assert!(state.join("journal.sqlite3").exists() && state.join("lock").exists());
    assert_eq!(crate::aid::mode(&state), 0o700);
}

#[test]
fn absolute_symlinks_in_a_root_lead_to_what_they_name_inside() {
    let system = Installation::new();
    system.write("/opt/real/a.py", "x = 'inside'\n");
    symlink("/opt/real/a.py", system.at(&format!("{PUBLIC}/link.py"))).unwrap();
    system.run(&["commit", PUBLIC]).exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&system.pyc("link.py"), "x"), "'inside'");
    assert_eq!(oracle::filename(&system.pyc("link.py")), format!("{PUBLIC}/link.py"));
}

#[test]
fn a_source_in_a_root_that_links_to_one_of_the_host_only_is_dangling() {
    let system = Installation::new();
    let outside = system.world.write("secret.py", "x = 'outside'\n");
    symlink(outside, system.at(&format!("{PUBLIC}/link.py"))).unwrap();
    symlink("../../../../../../tree/secret.py", system.at(&format!("{PUBLIC}/up.py"))).unwrap();
    let outcome = system.run(&["commit", PUBLIC]).exits(0).says("nothing to do");
    assert!(!system.pyc("link.py").exists() && !system.pyc("up.py").exists(), "{}", outcome.context());
}

#[test]
fn a_directory_named_through_an_absolute_symlink_is_the_one_inside_the_root() {
    let system = Installation::new();
    system.write("/opt/real/a.py", "x = 1\n");
    symlink("/opt/real", system.at("/alias")).unwrap();
    let outcome = system.run(&["commit", "/alias"]).exits(0).says("compiled 1 ");
    let pyc = system.world.pyc(system.at("/opt/real/a.py"));
    assert!(pyc.exists(), "{}", outcome.context());
    assert_eq!(oracle::filename(&pyc), "/opt/real/a.py");
}

#[test]
fn a_directory_reached_by_a_symlink_is_compiled_under_its_own_name() {
    let world = World::new();
    world.write("real/a.py", "x = 1\n");
    symlink("real", world.tree().join("alias")).unwrap();
    let alias = world.tree().join("alias");
    world.run(&["commit", alias.to_str().unwrap()]).exits(0).says("compiled 1 ");
    let expected = world.tree().join("real/a.py");
    assert_eq!(oracle::filename(&world.pyc("real/a.py")), expected.to_str().unwrap());
    world.commit().exits(0).says("nothing to do (1 up to date)");
}

#[test]
fn a_root_that_does_not_exist_is_named() {
    let world = World::new();
    world
        .run(&["commit", "--root", "/no/such/root", "/no/such/path"])
        .exits(3)
        .says("cannot open '/no/such/root': No such file or directory");
}

#[test]
fn a_root_may_be_reached_by_a_symlink() {
    let system = Installation::new();
    system.install("pkg", &["a.py"]);
    let alias = system.world.beside("alias");
    symlink(system.root(), &alias).unwrap();
    let mut command = system.world.command(&["commit", "-p", "pkg"]);
    command.arg("--root").arg(&alias);
    system.world.outcome(command).exits(0).says("compiled 1 ");
    let expected = Path::new(PUBLIC).join("a.py");
    assert_eq!(oracle::filename(&system.pyc("a.py")), expected.to_str().unwrap());
    assert!(system.pyc("a.py").to_str().unwrap().contains(python::cache_tag()));
}
