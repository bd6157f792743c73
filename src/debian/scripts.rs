//! The calls of `py3compile` in the postinst scripts of the installed packages: they are the memory of what packages
//! have said of their private modules.
//!
//! dpkg keeps them for as long as a package is installed. So a call counts also where nothing could be recorded when it
//! was made, and there is nothing to forget when its package is gone.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{dpkg, packages, shell};
use crate::root::Root;

/// The program whose calls are looked for.
const PROGRAM: &str = "py3compile";

/// More than any maintainer script has, in bytes. There are hundreds of scripts in every run, and a buffer that each of
/// them fits into spares a system call.
const LONGEST: usize = 1 << 18;

/// The arguments of the calls that name a directory, in the postinst script of one package.
#[must_use]
pub fn calls_of(root: &Root, package: &str) -> Vec<Vec<String>> {
    let list = packages::list_path(&dpkg::admin_dir(root), package);
    let script = list.and_then(|list| Ok(File::open(list.with_extension("postinst"))?));
    script.map(|script| calls_in(script, &mut vec![0; LONGEST])).unwrap_or_default()
}

/// The arguments of the calls that name a directory, in the postinst scripts of all installed packages.
#[must_use]
pub fn calls(root: &Root) -> Vec<Vec<String>> {
    let info = dpkg::admin_dir(root).join("info");
    let entries = std::fs::read_dir(&info).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = entries.filter(|name| name.as_encoded_bytes().ends_with(b".postinst")).collect();
    names.sort_unstable();
    let Ok(info) = open(CWD, &info) else { return Vec::new() };
    let mut buffer = vec![0; LONGEST];
    let scripts = names.iter().filter_map(|name| open(&info, Path::new(name)).ok());
    scripts.flat_map(|script| calls_in(script, &mut buffer)).collect()
}

fn open(directory: impl std::os::fd::AsFd, path: &Path) -> std::io::Result<File> {
    Ok(File::from(openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
}

/// The calls in a script, which is read into `buffer`; none if it cannot be read, does not fit, or is no shell script.
fn calls_in(mut script: File, buffer: &mut [u8]) -> Vec<Vec<String>> {
    let read = script.read(buffer).unwrap_or_default();
    let text = std::str::from_utf8(&buffer[..read]).unwrap_or_default();
    let is_shell = || text.lines().next().is_some_and(|first| first.contains("sh"));
    if read == buffer.len() || !names_a_directory(text) || !is_shell() {
        return Vec::new();
    }
    shell::calls(text, PROGRAM)
}

/// Whether a line with the program in it may name a directory, or goes on in the next line. In most scripts none does,
/// and to read a script word by word takes much longer.
fn names_a_directory(script: &str) -> bool {
    let begins = [" /", "\t/", "'/", "\"/", "\\"];
    let is_named = |(at, _)| {
        let line = script[at..].lines().next().unwrap_or_default();
        begins.iter().any(|begin| line.contains(begin))
    };
    script.match_indices(PROGRAM).any(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_name_a_directory_that_a_shell_takes_for_one() {
        for line in
            ["-p a /b", "-p a '/b'", "-p a \"/b\"", "-p a\t/b", "-p a \\", "-p a \\/b", "2>x '/b' -p a"]
        {
            assert!(names_a_directory(&format!("#!/bin/sh\nx; py3compile {line}\n")), "{line}");
        }
        let snippet =
            "#!/bin/sh\nif command -v py3compile >/dev/null 2>&1; then\n\tpy3compile -p a \nfi\n/b\n";
        assert!(!names_a_directory(snippet));
    }
}
