//! Debian's Pythons: the supported versions, their executables, and the directories of public modules
//! (Debian Python Policy, sections 2.1 and 2.5).

use std::path::{Path, PathBuf};

use super::dpkg;
use crate::root::Root;

const DIST: &str = "dist-packages";
const SITE: &str = "site-packages";

/// A minor version of Python 3, as `(3, 11)`.
pub type Version = (u8, u8);

/// The executables of the supported versions that are installed, the lowest first: what
/// `DEBPYTHON3_SUPPORTED` names, else `/usr/share/python3/debian_defaults`, else every `/usr/bin/python3.N`.
/// For another root these are the host's of the same versions, where it has them: the root's own may not run
/// outside of it.
#[must_use]
pub fn supported(root: &Root) -> Vec<PathBuf> {
    supported_versions(root).into_iter().filter_map(|version| executable(root, version)).collect()
}

/// The supported versions, installed or not, the lowest first.
#[must_use]
pub fn supported_versions(root: &Root) -> Vec<Version> {
    let mut versions = match setting(root, "DEBPYTHON3_SUPPORTED", "supported-versions") {
        Some(named) => named.split(',').filter_map(version).collect(),
        None => installed(root),
    };
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// The default version: what `DEBPYTHON3_DEFAULT` names, else `debian_defaults`.
#[must_use]
pub fn default_version(root: &Root) -> Option<Version> {
    setting(root, "DEBPYTHON3_DEFAULT", "default-version").and_then(|named| version(&named))
}

fn setting(root: &Root, variable: &str, key: &str) -> Option<String> {
    let given = std::env::var(variable).ok().filter(|value| !value.is_empty());
    given.or_else(|| default(root, key))
}

/// The executable of a version: `/usr/bin/pythonX.Y` of the host or of the root.
#[must_use]
pub fn executable(root: &Root, version: Version) -> Option<PathBuf> {
    let name = path(version);
    let in_root = root.on_disk(&name);
    if !in_root.exists() {
        return None;
    }
    Some(if name.exists() { name } else { in_root })
}

/// Where Debian's packages have the executable of a version.
#[must_use]
pub fn path((major, minor): Version) -> PathBuf {
    PathBuf::from(format!("/usr/bin/python{major}.{minor}"))
}

/// `3.11` or `python3.11` as a version.
#[must_use]
pub fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let (major, minor) = text.strip_prefix("python").unwrap_or(text).split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The directories of public modules. Not every one needs to be there, and each may be a symlink.
#[must_use]
pub fn public_directories(root: &Root) -> Vec<PathBuf> {
    let mut homes = vec![PathBuf::from("/usr/lib/python3")];
    homes.extend(standard_libraries(root));
    homes.into_iter().flat_map(|home| [home.join(DIST), home.join(SITE)]).collect()
}

/// The standard libraries that are there: `/usr/lib/pythonX.Y`. The directories of public modules in them are not
/// part of them.
#[must_use]
pub fn standard_libraries(root: &Root) -> Vec<PathBuf> {
    let names = names(&root.on_disk(Path::new("/usr/lib")));
    names.iter().filter(|name| is_versioned(name)).map(|name| Path::new("/usr/lib").join(name)).collect()
}

/// The standard libraries of the supported versions that are installed.
#[must_use]
pub fn supported_libraries(root: &Root) -> Vec<PathBuf> {
    let installed = |version: &Version| executable(root, *version).is_some();
    let versions = supported_versions(root).into_iter().filter(installed);
    let paths = versions.map(|(major, minor)| PathBuf::from(format!("/usr/lib/python{major}.{minor}")));
    paths.filter(|path| root.on_disk(path).is_dir()).collect()
}

/// Whether a directory is in a standard library, whose bytecode the interpreter's own packages make.
#[must_use]
pub fn is_standard_library(directory: &Path) -> bool {
    directory.starts_with("/usr/lib") && version_of(directory).is_some() && !is_public(directory)
}

/// The only version that a directory's modules are for: `/usr/lib/pythonX.Y` and below, and the same in
/// `/usr/local`.
#[must_use]
pub fn version_of(directory: &Path) -> Option<Version> {
    let below = ["/usr/lib", "/usr/local/lib"].iter().find_map(|lib| directory.strip_prefix(lib).ok())?;
    let home = below.components().next()?.as_os_str().to_str()?;
    if is_versioned(home) { version(home) } else { None }
}

/// The home of public modules that a path is in: `python3`'s or that of one version. Like the original tools this
/// takes a prefix for part of the bargain (`/usr/lib/debug/usr/lib/python3/dist-packages`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// `/usr/lib/python3`.
    Shared,
    /// `/usr/lib/pythonX.Y`.
    Of(Version),
}

/// Where a path has its [`Home`], if it is in a directory of public modules.
#[must_use]
pub fn home(path: &Path) -> Option<Home> {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap_or_default()).collect();
    parts.windows(4).find_map(|parts| match parts {
        ["usr", "lib", home, packages] if packages.starts_with(DIST) || packages.starts_with(SITE) => {
            match *home {
                "python3" => Some(Home::Shared),
                versioned if is_versioned(versioned) => version(versioned).map(Home::Of),
                _ => None,
            }
        }
        _ => None,
    })
}

/// Whether a path is in a directory of public modules.
#[must_use]
pub fn is_public(path: &Path) -> bool {
    home(path).is_some()
}

fn is_versioned(name: &str) -> bool {
    name.starts_with("python") && version(name).is_some_and(|(major, _)| major == 3)
}

fn installed(root: &Root) -> Vec<Version> {
    let names = names(&root.on_disk(Path::new("/usr/bin")));
    names.iter().filter(|name| is_versioned(name)).filter_map(|name| version(name)).collect()
}

/// A value of `debian_defaults`, an INI file with one section.
fn default(root: &Root, key: &str) -> Option<String> {
    let path = root.on_disk(Path::new("/usr/share/python3/debian_defaults"));
    let text = String::from_utf8(dpkg::read(&path).ok()?).ok()?;
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    text.lines().find_map(value)
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_directory_is_for_its_version_only() {
        assert_eq!(version_of(Path::new("/usr/lib/python3.11/json")), Some((3, 11)));
        assert_eq!(version_of(Path::new("/usr/local/lib/python3.9/dist-packages")), Some((3, 9)));
        assert_eq!(version_of(Path::new("/usr/lib/python3/dist-packages")), None);
        assert_eq!(version_of(Path::new("/srv/usr/lib/python3.11")), None);
    }

    #[test]
    fn public_modules_are_told_from_private_ones() {
        assert!(is_public(Path::new("/usr/lib/python3/dist-packages/apt/cache.py")));
        assert!(is_public(Path::new("/usr/lib/python3.11/site-packages/x.py")));
        assert!(!is_public(Path::new("/usr/lib/python3.11/json/decoder.py")));
        assert!(!is_public(Path::new("/usr/share/ansible/x.py")));
        assert_eq!(home(Path::new("/srv/usr/lib/python3.9/dist-packages/x.py")), Some(Home::Of((3, 9))));
        assert_eq!(home(Path::new("/usr/lib/python2.7/dist-packages/x.py")), None);
    }

    #[test]
    fn the_standard_library_ends_where_public_modules_begin() {
        assert!(is_standard_library(Path::new("/usr/lib/python3.11/json")));
        for other in ["/usr/lib/python3.11/dist-packages/apt", "/usr/lib/python3/dist-packages", "/usr/lib/x"]
        {
            assert!(!is_standard_library(Path::new(other)), "{other}");
        }
        assert!(!is_standard_library(Path::new("/usr/local/lib/python3.11/dist-packages")));
    }

    #[test]
    fn versions_are_read_with_and_without_their_prefix() {
        assert_eq!(version(" python3.11"), Some((3, 11)));
        assert_eq!(version("3.9"), Some((3, 9)));
        assert_eq!(version("python3"), None);
    }
}
