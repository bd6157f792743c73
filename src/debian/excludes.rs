//! What is not to be compiled: the files in `/usr/share/python3/bcep`, by which packages say so for themselves, and
//! `-X`.
//!
//! A line of such a file is `re|RANGE|DIRECTORY|PATTERN`, `dir|RANGE|DIRECTORY` or `file|RANGE|FILE`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use super::dpkg;
use super::pythons::Version;
use super::versions::{Installed, Range};
use crate::disk::{Escaped, Quoted, Text, cause};
use crate::python::pattern::Pattern;
use crate::root::{Resolver, Root};

/// Where packages put their lists.
const DIRECTORY: &str = "/usr/share/python3/bcep";

/// Rules by which sources are left out.
#[derive(Debug, Clone, Default)]
pub struct Excludes(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    /// For which versions; `None`: for all.
    versions: Option<Vec<Version>>,
    /// What the path begins with; of a directory, with a slash at the end.
    place: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// What matches below the directory, by its whole path or relative to the directory.
    Matching(Lazy),
    /// Everything below the directory.
    Directory,
    /// The file.
    File,
}

/// A pattern that is compiled when the first path is compared with it. That takes some 50 µs, and a run in which
/// nothing has changed compares none.
#[derive(Clone)]
struct Lazy {
    text: String,
    /// `None`: it cannot be understood, and matches nothing.
    pattern: OnceLock<Option<Pattern>>,
}

impl Lazy {
    /// The pattern `text`, which may be compiled already.
    fn new(text: &str, pattern: Option<Pattern>) -> Self {
        let pattern = pattern.map_or_else(OnceLock::new, |pattern| OnceLock::from(Some(pattern)));
        Self { text: text.to_owned(), pattern }
    }

    fn matches(&self, path: &Path) -> bool {
        let pattern = self.pattern.get_or_init(|| Pattern::new(&self.text).ok());
        pattern.as_ref().is_some_and(|pattern| pattern.matches(path))
    }
}

impl fmt::Debug for Lazy {
    /// Says what it is, whether or not it is compiled: seals rest on that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Excludes {
    /// The lists of the installed packages. What cannot be understood is left out, and described in `problems` if there
    /// is somebody to be told.
    #[must_use]
    pub fn of_packages(root: &Root, mut problems: Option<&mut Vec<String>>) -> Self {
        let directory = root.on_disk(Path::new(DIRECTORY));
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return Self::default();
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        files.retain(|name| !name.as_bytes().starts_with(b"."));
        files.sort_unstable();
        let (installed, resolver, is_strict) = (Installed::of(root), Resolver::new(root), problems.is_some());
        let mut reader = Reader { installed, resolver, is_strict, rules: Vec::new() };
        let mut unread = Vec::new();
        for file in files {
            let path = directory.join(file);
            match dpkg::read(&path) {
                Ok(text) => reader.read(&path, &text, &mut unread),
                Err(error) => unread.push(format!("cannot read {}: {}", Quoted(&path), cause(&error))),
            }
        }
        if let Some(problems) = &mut problems {
            problems.append(&mut unread);
        }
        Self(reader.rules)
    }

    /// Adds what matches `pattern` below `directory`.
    pub fn add(&mut self, directory: &Path, pattern: Pattern) {
        let place = with_slash(directory.as_os_str().as_bytes());
        let text = pattern.text().to_owned();
        self.0.push(Rule { versions: None, place, kind: Kind::Matching(Lazy::new(&text, Some(pattern))) });
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

/// The reader of packages' lists.
struct Reader<'a> {
    installed: Installed<'a>,
    resolver: Resolver<'a>,
    /// Whether to compile patterns now, to see whether they can be understood.
    is_strict: bool,
    rules: Vec<Rule>,
}

impl Reader<'_> {
    /// Reads the rules of one file.
    fn read(&mut self, path: &Path, text: &[u8], problems: &mut Vec<String>) {
        let text = String::from_utf8_lossy(text);
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(what) = self.add(line) {
                let (path, what) = (Escaped(path), Text(&what));
                problems.push(format!("{path}:{number}: {what}; the line is left out"));
            }
        }
    }

    /// Adds the rule in a line if it is for an installed version; the same rule once more for the place to which the
    /// symlinks in its path lead.
    fn add(&mut self, line: &str) -> Result<(), String> {
        let mut parts = line.splitn(4, '|');
        let (Some(kind), Some(range), Some(place)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("not TYPE|RANGE|PATH".to_owned());
        };
        let versions = self.installed.within(&range.parse::<Range>()?);
        if versions.is_empty() {
            return Ok(());
        }
        let kind = match kind {
            "re" => {
                let text = parts.next().unwrap_or(".*");
                let pattern = if self.is_strict { Some(Pattern::new(text)?) } else { None };
                Kind::Matching(Lazy::new(text, pattern))
            }
            "dir" => Kind::Directory,
            "file" => Kind::File,
            other => return Err(format!("'{other}' is no type")),
        };
        let resolved = match kind {
            Kind::File => self.resolver.file(place.into()).path,
            Kind::Matching(_) | Kind::Directory => self.resolver.directory(Path::new(place)),
        };
        let rule = |place: &OsStr| {
            let place = place.as_bytes();
            let place = if matches!(kind, Kind::File) { place.to_owned() } else { with_slash(place) };
            Rule { versions: Some(versions.clone()), place, kind: kind.clone() }
        };
        let (named, resolved) = (rule(OsStr::new(place)), rule(resolved.as_os_str()));
        let is_elsewhere = resolved.place != named.place;
        self.rules.extend([Some(named), is_elsewhere.then_some(resolved)].into_iter().flatten());
        Ok(())
    }
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
