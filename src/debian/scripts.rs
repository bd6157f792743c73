//! The calls of `py3compile` in the postinst scripts of the installed packages: they are the memory of what packages
//! have said of their private modules.
//!
//! dpkg keeps them for as long as a package is installed. So a call counts also where nothing could be recorded when it
//! was made, and there is nothing to forget when its package is gone.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{dpkg, packages, shell};
use crate::root::Root;

/// The program whose calls are looked for.
const PROGRAM: &str = "py3compile";

/// More than any maintainer script has, in bytes.
const LONGEST: u64 = 1 << 20;

/// The arguments of the calls in the postinst script of one package.
#[must_use]
pub fn calls_of(root: &Root, package: &str) -> Vec<Vec<String>> {
    let list = packages::list_path(&dpkg::admin_dir(root), package);
    list.map(|list| calls_in(&list.with_extension("postinst"), &mut Vec::new())).unwrap_or_default()
}

/// The arguments of the calls in the postinst scripts of all installed packages.
#[must_use]
pub fn calls(root: &Root) -> Vec<Vec<String>> {
    let info = dpkg::admin_dir(root).join("info");
    let entries = std::fs::read_dir(&info).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = entries.filter(|name| name.as_encoded_bytes().ends_with(b".postinst")).collect();
    names.sort_unstable();
    let mut buffer = Vec::with_capacity(1 << 16);
    names.iter().flat_map(|name| calls_in(&info.join(name), &mut buffer)).collect()
}

/// The calls in one script, which is read into `buffer`; none if it cannot be read or is no shell script.
fn calls_in(path: &Path, buffer: &mut Vec<u8>) -> Vec<Vec<String>> {
    buffer.clear();
    // `Take` asks for no metadata before it reads: there are hundreds of scripts in every run.
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(buffer));
    let Some(script) = read.ok().and_then(|_| std::str::from_utf8(buffer).ok()) else {
        return Vec::new();
    };
    let is_shell = |script: &str| script.lines().next().is_some_and(|first| first.contains("sh"));
    if !script.contains(PROGRAM) || !is_shell(script) { Vec::new() } else { shell::calls(script, PROGRAM) }
}
