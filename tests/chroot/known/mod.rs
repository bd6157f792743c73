//! The known faults, R1 to R24: in a `today` test what the original does, beside it what pyc-txn does.

mod dpkg;
mod environment;
mod interpreters;
mod medium;
mod removal;
mod sources;

use crate::chroot::{Chroot, Suite};

/// A directory for sources that are no package's.
const TREE: &str = "/srv/tree";

/// The release whose py3compile these faults were seen in.
const SUITE: Suite = Suite::Bookworm;

/// The bytecode of [`TREE`] by the names of the sources' modules.
fn compiled(chroot: &Chroot) -> Vec<String> {
    modules_of(chroot, TREE)
}

/// The bytecode directly in a directory's `__pycache__`, by the names of modules.
fn modules_of(chroot: &Chroot, directory: &str) -> Vec<String> {
    let suffix = format!(".{}.pyc", SUITE.tag());
    let prefix = format!("{directory}/__pycache__/");
    let pycs = chroot.pycs(&[directory]);
    let name = |pyc: &String| Some(pyc.strip_prefix(&prefix)?.strip_suffix(&suffix)?.to_owned());
    pycs.iter().filter_map(name).collect()
}

/// Sources m1 to m8 in [`TREE`].
fn eight(chroot: &Chroot) {
    for number in 1..=8 {
        chroot.write(&format!("{TREE}/m{number}.py"), format!("x = {number}\n"));
    }
}

/// The inode of a module's bytecode in [`TREE`]: another one when it has been written again.
fn inode(chroot: &Chroot, file: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let path = format!("{TREE}/__pycache__/{file}");
    chroot
        .path(&path)
        .metadata()
        .unwrap_or_else(|error| panic!("{path}: {error}\n{}", chroot.in_words()))
        .ino()
}
