//! What is not to be compiled: the files in `/usr/share/python3/bcep`, by which packages say so for themselves, and
//! `-X`.
//!
//! A line of such a file is `re|RANGE|DIRECTORY|PATTERN`, `dir|RANGE|DIRECTORY` or `file|RANGE|FILE`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::dpkg;
use super::pythons::Version;
use super::versions::Range;
use crate::disk::{Escaped, Quoted, Text, cause};
use crate::python::pattern::Pattern;
use crate::root::Root;

/// Where packages put their lists.
const DIRECTORY: &str = "/usr/share/python3/bcep";

/// Rules by which sources are left out.
#[derive(Debug, Default)]
pub struct Excludes(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// For which versions; `None`: for all.
    versions: Option<Vec<Version>>,
    /// What the path begins with; of a directory, with a slash at the end.
    place: Vec<u8>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What matches below the directory, by its whole path or relative to the directory.
    Matching(Pattern),
    /// Everything below the directory.
    Directory,
    /// The file.
    File,
}

impl Excludes {
    /// The lists of the installed packages. What cannot be understood is left out and described in `problems`.
    #[must_use]
    pub fn of_packages(root: &Root, problems: &mut Vec<String>) -> Self {
        let directory = root.on_disk(Path::new(DIRECTORY));
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return Self::default();
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        files.retain(|name| !name.as_bytes().starts_with(b"."));
        files.sort_unstable();
        let mut rules = Vec::new();
        for file in files {
            let path = directory.join(file);
            match dpkg::read(&path) {
                Ok(text) => rules.extend(read(root, &path, &text, problems)),
                Err(error) => problems.push(format!("cannot read {}: {}", Quoted(&path), cause(&error))),
            }
        }
        Self(rules)
    }

    /// Adds what matches `pattern` below `directory`.
    pub fn add(&mut self, directory: &Path, pattern: Pattern) {
        let place = with_slash(directory.as_os_str().as_bytes());
        self.0.push(Rule { versions: None, place, kind: Kind::Matching(pattern) });
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the source `path` is left out for a version.
    #[must_use]
    pub fn has(&self, path: &Path, version: Version) -> bool {
        self.0.iter().any(|rule| rule.has(path, version))
    }
}

impl Rule {
    fn has(&self, path: &Path, version: Version) -> bool {
        if self.versions.as_ref().is_some_and(|versions| !versions.contains(&version)) {
            return false;
        }
        let Some(relative) = path.as_os_str().as_bytes().strip_prefix(self.place.as_slice()) else {
            return false;
        };
        match &self.kind {
            Kind::Matching(pattern) => {
                pattern.matches(path) || pattern.matches(Path::new(OsStr::from_bytes(relative)))
            }
            Kind::Directory => true,
            Kind::File => relative.is_empty(),
        }
    }
}

/// The rules of one file that are for installed versions.
fn read(root: &Root, path: &Path, text: &[u8], problems: &mut Vec<String>) -> Vec<Rule> {
    let text = String::from_utf8_lossy(text);
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match rule(root, line) {
            Ok(rule) => rules.extend(rule),
            Err(what) => {
                let (path, what) = (Escaped(path), Text(&what));
                problems.push(format!("{path}:{number}: {what}; the line is left out"));
            }
        }
    }
    rules
}

fn rule(root: &Root, line: &str) -> Result<Option<Rule>, String> {
    let mut parts = line.splitn(4, '|');
    let (Some(kind), Some(range), Some(place)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("not TYPE|RANGE|PATH".to_owned());
    };
    let versions = range.parse::<Range>()?.supported(root);
    if versions.is_empty() {
        return Ok(None);
    }
    let place = place.as_bytes();
    let (kind, place) = match kind {
        "re" => (Kind::Matching(Pattern::new(parts.next().unwrap_or(".*"))?), with_slash(place)),
        "dir" => (Kind::Directory, with_slash(place)),
        "file" => (Kind::File, place.to_owned()),
        other => return Err(format!("'{other}' is no type")),
    };
    Ok(Some(Rule { versions: Some(versions), place, kind }))
}

fn with_slash(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    [&path[..end], b"/"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = (3, 11);

    fn only(place: &[u8], kind: Kind) -> Excludes {
        Excludes(vec![Rule { versions: Some(vec![VERSION]), place: place.to_vec(), kind }])
    }

    fn has(excludes: &Excludes, path: &str) -> bool {
        excludes.has(Path::new(path), VERSION)
    }

    #[test]
    fn a_rule_is_for_its_versions_and_its_place() {
        let excludes = only(b"/a/", Kind::Directory);
        assert!(has(&excludes, "/a/b/c.py") && !has(&excludes, "/ab/c.py"));
        assert!(!excludes.has(Path::new("/a/b/c.py"), (3, 12)));
        let excludes = only(b"/a/b.py", Kind::File);
        assert!(has(&excludes, "/a/b.py") && !has(&excludes, "/a/b.pyx.py"));
    }

    #[test]
    fn a_pattern_is_tried_on_the_whole_path_and_on_that_below_the_directory() {
        let mut excludes = Excludes::default();
        excludes.add(Path::new("/a//"), Pattern::new("/a/x|y/").unwrap());
        assert!(has(&excludes, "/a/x.py") && has(&excludes, "/a/y/z.py"));
        assert!(!has(&excludes, "/a/b/y/z.py") && !has(&excludes, "/b/y/z.py"));
    }
}
