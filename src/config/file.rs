//! The configuration file: TOML, every key with a default.
//!
//! Owns the keys. What cannot be understood is described with its line, and the default stays: a slip in this file
//! must not keep a package from being installed.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{CachePlace, Settings};
use crate::disk::{self, Escaped, Text};
use crate::python::pattern::Pattern;
use crate::python::pycache::Level;

/// Where the file is, below the root.
pub const PATH: &str = "/etc/pyc-txn.conf";

/// The longest file that is read, in bytes: a megabyte of settings is none.
const LONGEST: u64 = 1 << 20;

/// The settings in the file at `path`, and what in it is not understood: `FILE:LINE: …`.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> io::Result<(Settings, Vec<String>)> {
    let bytes = disk::read(path, LONGEST)?;
    // What is not UTF-8 can only be in a comment or in a value, which is then not what was meant; the rest is.
    let (settings, complaints) = parse(&String::from_utf8_lossy(&bytes));
    let located = |(line, what): Complaint| format!("{}:{line}: {}", Escaped(path), Text(&what));
    Ok((settings, complaints.into_iter().map(located).collect()))
}

/// A line of the file, counted from 1, and what is wrong with it.
type Complaint = (usize, String);

fn parse(text: &str) -> (Settings, Vec<Complaint>) {
    let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut complaints: Vec<Complaint> = Vec::new();
    for error in errors {
        let what = error.message().replace('\n', " ");
        complaints.push((line_of(error.span().map_or(0, |span| span.start)), what));
    }
    let mut settings = Settings::default();
    for (key, value) in table.into_inner() {
        let line = line_of(key.span().start);
        if let Err(what) = settings.set(key.get_ref(), value) {
            complaints.push((line, what));
        }
    }
    complaints.sort_unstable();
    complaints.dedup_by_key(|(line, _)| *line);
    (settings, complaints)
}

impl Settings {
    fn set(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Result<(), String> {
        let value = Value { key, value };
        match key {
            "enabled" => self.enabled = value.read()?,
            "optimize" => {
                self.optimize =
                    value.each(|number: u8| Level::new(number).ok_or("a level is 0, 1 or 2".into()))?;
                self.optimize.sort_unstable();
                self.optimize.dedup();
            }
            "invalidation" => self.invalidation = value.read()?,
            "jobs" => self.jobs = NonZeroUsize::new(value.read()?),
            "timeout" => {
                let seconds: u64 = value.read()?;
                self.timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "largest" => {
                let megabytes: u64 = value.read()?;
                self.largest = (megabytes > 0).then(|| megabytes.saturating_mul(1_000_000));
            }
            "exclude" => self.exclude = value.each(|text: String| Pattern::new(&text))?,
            "defer" => self.defer = value.read()?,
            "history" => self.history = value.read()?,
            "cache" => self.cache = value.cache()?,
            "weekly" => self.weekly = value.read()?,
            unknown => return Err(format!("unknown key '{unknown}'; it is ignored")),
        }
        Ok(())
    }
}

/// The value of a key.
struct Value<'a> {
    key: &'a str,
    value: Spanned<DeValue<'a>>,
}

impl Value<'_> {
    fn read<T: for<'de> Deserialize<'de>>(self) -> Result<T, String> {
        self.checked(Ok::<T, String>)
    }

    /// A path, or a table; the empty path is none.
    fn cache(self) -> Result<CachePlace, String> {
        let check = |mut place: CachePlace| {
            place.path.take_if(|path| path.as_os_str().is_empty());
            match &place.path {
                Some(path) if path.is_relative() => Err("a path that does not begin with '/'".to_owned()),
                _ => Ok(place),
            }
        };
        match self.value.get_ref() {
            DeValue::String(_) => {
                self.checked(|path: PathBuf| check(CachePlace { path: Some(path), ..CachePlace::default() }))
            }
            _ => self.checked(check),
        }
    }

    fn checked<T: for<'de> Deserialize<'de>, U>(
        self,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<U, String> {
        let value = T::deserialize(ValueDeserializer::from(self.value));
        let checked = value.map_err(|error| error.message().replace('\n', " ")).and_then(check);
        checked.map_err(|what| format!("bad value of '{}': {what}; the default is used", self.key))
    }

    fn each<T: for<'de> Deserialize<'de>, U>(
        self,
        check: impl Fn(T) -> Result<U, String>,
    ) -> Result<Vec<U>, String> {
        self.checked(|values: Vec<T>| values.into_iter().map(check).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::History;
    use crate::python::header::Invalidation;

    fn complaints(text: &str) -> Vec<Complaint> {
        parse(text).1
    }

    #[test]
    fn every_key_is_read() {
        let text = "enabled = false\noptimize = [2, 0, 2]\ninvalidation = 'checked-hash'\njobs = 3\n\
                    timeout = 7\nlargest = 5\nexclude = ['/tests?/']\ndefer = false\nweekly = false\n[history]\n\
                    days = 8\ntransactions = 9\n\
                    [cache]\npath = '/c'\nmegabytes = 2\n";
        let (settings, complaints) = parse(text);
        assert_eq!(complaints, []);
        assert!(!settings.enabled && !settings.defer && !settings.weekly);
        assert_eq!(settings.optimize, [Level::new(0).unwrap(), Level::new(2).unwrap()]);
        assert_eq!(settings.invalidation, Invalidation::CheckedHash);
        assert_eq!((settings.jobs(), settings.timeout), (3, Some(Duration::from_secs(7))));
        assert_eq!(settings.largest, Some(5_000_000));
        assert_eq!(settings.history, History { days: 8, transactions: 9 });
        assert!(settings.exclude[0].occurs_in(Path::new("/a/test/b.py")));
        assert_eq!(settings.cache, CachePlace { path: Some("/c".into()), megabytes: 2 });
        assert_eq!(settings.cache.limit(), Some(2_000_000));
    }

    #[test]
    fn a_cache_is_a_path_or_a_limit_or_both_and_off_by_default() {
        let place = |text: &str| {
            let (settings, complaints) = parse(text);
            assert_eq!(complaints, [], "{text}");
            (settings.cache.path, settings.cache.megabytes)
        };
        let path = || Some(PathBuf::from("/c"));
        assert_eq!(place(""), (None, 1000));
        assert_eq!(place("cache = ''\n"), (None, 1000));
        assert_eq!(place("cache = '/c'\n"), (path(), 1000));
        assert_eq!(place("cache = { path = '/c' }\n"), (path(), 1000));
        assert_eq!(place("cache = { megabytes = 7 }\n"), (None, 7));
        assert_eq!(parse("cache = { path = '/c', megabytes = 0 }\n").0.cache.limit(), None);
    }

    #[test]
    fn nothing_is_no_level_and_zero_is_no_limit() {
        let (settings, complaints) = parse("optimize = []\njobs = 0\ntimeout = 0\nlargest = 0\n");
        assert_eq!(complaints, []);
        assert_eq!((settings.optimize.len(), settings.timeout), (0, None));
        assert_eq!((settings.jobs, settings.largest), (Settings::default().jobs, None));
    }

    #[test]
    fn half_a_rule_leaves_the_other_half_as_it_is() {
        let (settings, complaints) = parse("history = { days = 0 }\n");
        assert_eq!((settings.history.days, complaints.len()), (0, 0));
        assert_eq!(settings.history.transactions, History::default().transactions);
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_count() {
        for (bad, says) in [
            ("color = 1", "unknown key 'color'"),
            ("optimize = 2", "bad value of 'optimize'"),
            ("optimize = [0, 3]", "a level is 0, 1 or 2"),
            ("invalidation = 'often'", "bad value of 'invalidation'"),
            ("jobs = -1", "bad value of 'jobs'"),
            ("largest = 1.5", "bad value of 'largest'"),
            ("timeout = '5 s'", "bad value of 'timeout'"),
            ("weekly = 'mondays'", "bad value of 'weekly'"),
            ("exclude = ['(']", "bad value of 'exclude'"),
            ("history = 90", "bad value of 'history'"),
            ("history = { weeks = 1 }", "unknown field `weeks`"),
            ("history = { days = -1 }", "bad value of 'history'"),
            ("cache = 'relative'", "bad value of 'cache': a path that does not begin with '/'"),
            ("cache = { path = 'relative' }", "does not begin with '/'"),
            ("cache = { gigabytes = 1 }", "unknown field `gigabytes`"),
            ("cache = 1", "bad value of 'cache'"),
            ("enabled = yes", ""),
            ("[section", ""),
        ] {
            let text = format!("# how\ndefer = false\n{bad}\n");
            let (settings, complaints) = parse(&text);
            assert!(!settings.defer && settings.enabled, "{bad}");
            assert_eq!(complaints.len(), 1, "{bad}: {complaints:?}");
            assert_eq!(complaints[0].0, 3, "{bad}: {complaints:?}");
            assert!(complaints[0].1.contains(says), "{bad}: {complaints:?}");
        }
        assert_eq!(complaints("").len() + complaints("# only a comment").len(), 0);
    }
}
