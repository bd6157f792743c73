//! The commands of README.md on a fresh machine: Debian's essential packages, apt, and a Rust toolchain.
//!
//! What cargo has compiled stays in target/chroot/SUITE/target for the next time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chroot::{Chroot, Kind, Outcome, Suite, project};

/// Where the chroot has the project, and the toolchain.
const CHECKOUT: &str = "/root/pyc-txn";
const TOOLCHAIN: &str = "/opt/rust";

/// The commands of the README that begin with `tests/prepare`: the one that shows the main job, and the one that
/// installs the package.
fn commands() -> [String; 2] {
    let text = fs::read_to_string(project().join("README.md")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<String> =
        lines.filter(|line| line.starts_with("tests/prepare")).map(str::to_owned).collect();
    commands.try_into().unwrap()
}

/// A fresh machine with a copy of the project and what this one has of Rust.
fn machine(suite: Suite) -> Chroot {
    let chroot = Chroot::new(suite, Kind::Bare);
    let compiled = project().join("target/chroot").join(suite.name()).join("target");
    fs::create_dir_all(&compiled).unwrap();
    // A package that is there would not be built again.
    let _ = fs::remove_file(compiled.join("package/inputs"));
    copy_project(&chroot.path(CHECKOUT));
    chroot.shows(&compiled, &format!("{CHECKOUT}/target"), "rw");
    chroot.shows(&toolchain(), TOOLCHAIN, "ro");
    chroot.shows(&cargo_home(), "/root/.cargo", "ro");
    // So that other users come to the project.
    chroot.sh("chmod 755 /root").succeeds();
    chroot
}

/// Copies everything but what has been built; with the times, by which cargo knows what has changed.
fn copy_project(to: &Path) {
    fs::create_dir_all(to).unwrap();
    let script = "tar --create --format=posix --exclude=./target --exclude=./.git . | tar --extract --directory \"$1\"";
    let status =
        Command::new("sh").args(["-ec", script, "-"]).arg(to).current_dir(project()).status().unwrap();
    assert!(status.success());
}

fn toolchain() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Where cargo has the crates that this test was built with.
fn cargo_home() -> PathBuf {
    let default = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(default, PathBuf::from)
}

/// Runs a command of the README. There is no network; the packages are in apt's cache, the crates in cargo's.
fn follow<'a>(chroot: &'a Chroot, command: &str) -> Outcome<'a> {
    let path = format!("PATH={TOOLCHAIN}/bin:$PATH");
    chroot.sh(&format!("cd {CHECKOUT}; export {path} CARGO_NET_OFFLINE=true; {command}"))
}

fn the_readme_can_be_followed(suite: Suite) {
    let [show, install] = commands();
    let chroot = machine(suite);
    follow(&chroot, &show).succeeds().says("pyc-txn: compiled ").does_not_say("nothing to do");
    follow(&chroot, &install).succeeds();
    chroot.sh("readlink /usr/bin/py3compile").succeeds().says("pyc-txn");
    // All is there, so there is nothing to be root for.
    follow(&chroot, "setpriv --reuid 65534 --clear-groups tests/prepare").succeeds().says_nothing();
}

#[test]
fn the_readme_can_be_followed_on_a_fresh_debian_12() {
    the_readme_can_be_followed(Suite::Bookworm);
}

#[test]
fn the_readme_can_be_followed_on_a_fresh_debian_13() {
    the_readme_can_be_followed(Suite::Trixie);
}

#[test]
fn a_user_is_told_what_is_missing() {
    for suite in Suite::ALL {
        let chroot = machine(suite);
        let prepare = "setpriv --reuid 65534 --clear-groups tests/prepare";
        follow(&chroot, prepare).exits(1).says("apt-get build-dep -P pkg.pyc-txn.tests ./");
        // With dpkg's own program it is told by name.
        follow(&chroot, "apt-get install -y --no-install-recommends dpkg-dev").succeeds();
        follow(&chroot, prepare).exits(1).says("build-essential").says("mmdebstrap").says("libsqlite3-dev");
    }
}
