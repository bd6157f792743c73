//! Pythons on this machine.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::PYTHON;

/// The cache tag of [`PYTHON`].
pub fn cache_tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| run(PYTHON, "import sys; print(sys.implementation.cache_tag, end='')"))
}

/// What a program prints.
#[track_caller]
pub fn run(python: &str, program: &str) -> String {
    let output = Command::new(python).args(["-B", "-c", program]).output().unwrap();
    assert!(output.status.success(), "{python}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every CPython from 3.6 to 3.14 that this machine has: in /usr/bin, in /usr/local/bin, under pyenv. At most one
/// of each minor version, the lowest first.
pub fn all() -> Vec<(u8, PathBuf)> {
    let mut all = every_with_its_version();
    all.dedup_by_key(|(minor, _)| *minor);
    all
}

/// All of them, of one minor version also several.
pub fn every() -> Vec<PathBuf> {
    every_with_its_version().into_iter().map(|(_, path)| path).collect()
}

fn every_with_its_version() -> Vec<(u8, PathBuf)> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let mut places = vec![PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")];
    if let Ok(versions) = std::fs::read_dir(pyenv.join("versions")) {
        places.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let find = |minor: u8| {
        let name = format!("python3.{minor}");
        let found = places.iter().map(move |place| place.join(&name)).filter(|path| path.exists());
        found.map(move |path| (minor, path))
    };
    (6..=14).flat_map(find).collect()
}

/// The version of [`PYTHON`], as `3.11`.
pub fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let ask = || run(PYTHON, "import sys; print('%d.%d' % sys.version_info[:2], end='')");
    VERSION.get_or_init(ask).clone()
}
