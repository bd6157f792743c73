//! Python's regular expressions, over paths.
//!
//! Owns the differences between Python's `re` and the syntax of the engine that runs the patterns here.

use std::path::Path;

use fancy_regex::Regex;

/// A regular expression as Python's `re` module understands it.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The pattern that `text` is in Python.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str) -> Result<Self, String> {
        let one_line = |error: fancy_regex::Error| error.to_string().replace('\n', " ");
        Regex::new(&translated(text)).map(Self).map_err(one_line)
    }

    /// What it is, in the syntax of the engine.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches at the beginning of `path`, as `re.match` does. A path that is not UTF-8 is compared
    /// with replacement characters in it.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        // A match at the beginning is the leftmost one, which is the one that is found.
        self.0
            .find(path.to_string_lossy().as_ref())
            .is_ok_and(|found| found.is_some_and(|found| found.start() == 0))
    }

    /// Whether it matches anywhere in `path`, as `re.search` does.
    #[must_use]
    pub fn occurs_in(&self, path: &Path) -> bool {
        // A pattern that gives up (too much backtracking) has not matched.
        self.0.is_match(path.to_string_lossy().as_ref()).unwrap_or(false)
    }
}

/// The same pattern in the engine's syntax: there `\Z` is another place, `\<` is one at all, and a class may hold
/// classes and set operations.
fn translated(python: &str) -> String {
    let mut out = String::with_capacity(python.len());
    let mut characters = python.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('Z') if !in_class => out.push_str("\\z"),
                Some(literal @ ('<' | '>')) => out.push(literal),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                out.extend(characters.next_if_eq(&'^'));
                // In the first place it does not end the class.
                out.push_str(characters.next_if_eq(&']').map_or("", |_| "\\]"));
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', character]),
            '-' if in_class && characters.next_if_eq(&'-').is_some() => out.push_str("-\\-"),
            ']' => {
                in_class = false;
                out.push(']');
            }
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(Path::new(path))
    }

    #[test]
    fn a_pattern_matches_at_the_beginning_only() {
        assert!(matches("lib2to3/tests", "lib2to3/tests/data/bom.py"));
        assert!(!matches("tests", "lib2to3/tests/data/bom.py"));
        assert!(matches(".*tests", "lib2to3/tests/data/bom.py"));
        assert!(matches("a|ab", "ab") && !matches("b|c", "ab"));
        assert!(Pattern::new("tests").unwrap().occurs_in(Path::new("lib2to3/tests/x.py")));
    }

    #[test]
    fn python_s_own_syntax_is_understood() {
        for (pattern, path) in [
            (r".*\.py\Z", "a.py"),
            (r"[[]x]\.py", "[x].py"),
            (r"[]]\.py", "].py"),
            (r"[^]]\.py", "a.py"),
            (r"[a&&b]+\.py", "a&b.py"),
            (r"[+--]\.py", ",.py"),
            (r"\<a\>", "<a>.py"),
            (r"(?P<x>a)(?P=x)\.py", "aa.py"),
            (r"(?!b)a(?<=a)\.py", "a.py"),
            (r"(?i)A\.PY", "a.py"),
        ] {
            assert!(matches(pattern, path), "{pattern} on {path}");
        }
        assert!(!matches(r"[a&&b]\.py", "c.py") && !matches("(?!a)", "a"));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_in_one_line() {
        for text in ["(", "[", "*", "(?P<x"] {
            assert!(!Pattern::new(text).unwrap_err().contains('\n'), "{text}");
        }
    }
}
