//! Debian's Pythons: the supported versions, their executables, and the directories of public modules
//! (Debian Python Policy, sections 2.1 and 2.5).

use std::path::{Path, PathBuf};

use crate::root::Root;

/// A minor version of Python 3, as `(3, 11)`.
pub type Version = (u8, u8);

/// The executables of the supported versions that are installed, the lowest first: what
/// `DEBPYTHON3_SUPPORTED` names, else `/usr/share/python3/debian_defaults`, else every `/usr/bin/python3.N`.
/// For another root these are the host's of the same versions, where it has them: the root's own may not run
/// outside of it.
#[must_use]
pub fn supported(root: &Root) -> Vec<PathBuf> {
    let named = std::env::var("DEBPYTHON3_SUPPORTED").ok().or_else(|| default(root, "supported-versions"));
    let mut versions = match named {
        Some(named) => named.split(',').filter_map(version).collect(),
        None => installed(root),
    };
    versions.sort_unstable();
    versions.dedup();
    versions.into_iter().filter_map(|version| executable(root, version)).collect()
}

/// The executable of a version: `/usr/bin/pythonX.Y` of the host or of the root.
#[must_use]
pub fn executable(root: &Root, (major, minor): Version) -> Option<PathBuf> {
    let name = PathBuf::from(format!("/usr/bin/python{major}.{minor}"));
    let in_root = root.on_disk(&name);
    if !in_root.exists() {
        return None;
    }
    Some(if name.exists() { name } else { in_root })
}

/// `3.11` or `python3.11` as a version.
#[must_use]
pub fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let (major, minor) = text.strip_prefix("python").unwrap_or(text).split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The directories of public modules that are there.
#[must_use]
pub fn public_directories(root: &Root) -> Vec<PathBuf> {
    let mut homes = vec![PathBuf::from("/usr/lib/python3")];
    let versioned = names(&root.on_disk(Path::new("/usr/lib")));
    homes.extend(
        versioned.iter().filter(|name| is_versioned(name)).map(|name| Path::new("/usr/lib").join(name)),
    );
    let both = |home: PathBuf| [home.join("dist-packages"), home.join("site-packages")];
    homes.into_iter().flat_map(both).filter(|path| root.on_disk(path).is_dir()).collect()
}

/// The only version that a directory's modules are for: `/usr/lib/pythonX.Y` and below, and the same in
/// `/usr/local`.
#[must_use]
pub fn version_of(directory: &Path) -> Option<Version> {
    let below = ["/usr/lib", "/usr/local/lib"].iter().find_map(|lib| directory.strip_prefix(lib).ok())?;
    let home = below.components().next()?.as_os_str().to_str()?;
    if is_versioned(home) { version(home) } else { None }
}

/// Whether a path is in a directory of public modules.
#[must_use]
pub fn is_public(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix("/usr/lib") else {
        return false;
    };
    let mut components = below.iter().filter_map(|part| part.to_str());
    let (home, packages) = (components.next(), components.next());
    home.is_some_and(|home| home == "python3" || is_versioned(home))
        && matches!(packages, Some("dist-packages" | "site-packages"))
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
    let text = std::fs::read_to_string(path).ok()?;
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
    }

    #[test]
    fn versions_are_read_with_and_without_their_prefix() {
        assert_eq!(version(" python3.11"), Some((3, 11)));
        assert_eq!(version("3.9"), Some((3, 9)));
        assert_eq!(version("python3"), None);
    }
}
