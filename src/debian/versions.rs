//! Version ranges: which Pythons a package asks for with `-V`, and which of them there are.

use std::str::FromStr;

use super::pythons::{self, Version};
use crate::root::Root;

/// A range of versions, `X.Y`, `X.Y-`, `X.Y-A.B` or `-A.B`; what is behind it in a text is nobody's concern
/// (`3.11.2` is 3.11), as with the tools whose option it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    from: Option<Version>,
    /// Not included, but where it is the same as `from`: that is one version.
    below: Option<Version>,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "-" {
            return Ok(Self::default());
        }
        let invalid = || format!("version range is invalid: {text}");
        if let Some(below) = text.strip_prefix('-') {
            let (below, _) = leading(below).ok_or_else(invalid)?;
            return Ok(Self { from: None, below: Some(below) });
        }
        let (from, rest) = leading(text).ok_or_else(invalid)?;
        let below = match rest.strip_prefix('-') {
            None => Some(from),
            Some(rest) => leading(rest).map(|(below, _)| below),
        };
        if below.is_some_and(|below| below < from) {
            return Err(invalid());
        }
        Ok(Self { from: Some(from), below })
    }
}

/// The version at the beginning of a text, one digit, a dot and more digits, and what follows it.
fn leading(text: &str) -> Option<(Version, &str)> {
    let (major, rest) = text.split_at_checked(1)?;
    let rest = rest.strip_prefix('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (minor, rest) = rest.split_at(digits);
    let minor: u128 = minor.parse().ok()?;
    // No Python has such a number, so that which one it is makes no difference.
    Some(((major.parse().ok()?, u8::try_from(minor).unwrap_or(u8::MAX)), rest))
}

impl Range {
    /// The version, if it is a range of one.
    #[must_use]
    pub fn exact(&self) -> Option<Version> {
        self.from.filter(|_| self.from == self.below)
    }

    /// Whether a version is in it.
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        match self.exact() {
            Some(exact) => version == exact,
            None => {
                self.from.is_none_or(|from| from <= version) && self.below.is_none_or(|below| version < below)
            }
        }
    }
}

/// The supported versions that are installed, and the default one. They are read once: many ranges are asked about.
#[derive(Debug)]
pub struct Installed<'a> {
    root: &'a Root,
    supported: Vec<Version>,
    default: Option<Version>,
}

impl<'a> Installed<'a> {
    /// Those in a root.
    #[must_use]
    pub fn of(root: &'a Root) -> Self {
        let mut supported = pythons::supported_versions(root);
        supported.retain(|&version| is_installed(root, version));
        Self { root, supported, default: pythons::default_version(root) }
    }

    /// The supported ones in a range.
    #[must_use]
    pub fn within(&self, range: &Range) -> Vec<Version> {
        self.supported.iter().copied().filter(|&version| range.contains(version)).collect()
    }

    /// Those that `-V` asks for: as [`Installed::within`], but a single one also where it is not supported.
    #[must_use]
    pub fn requested(&self, range: &Range) -> Vec<Version> {
        match range.exact().filter(|&version| is_installed(self.root, version)) {
            Some(version) => vec![version],
            None => self.within(range),
        }
    }

    /// The one of `versions` for private modules: the default version, else the next newer one, else the newest.
    #[must_use]
    pub fn preferred(&self, versions: &[Version]) -> Option<Version> {
        let newer =
            versions.iter().filter(|&&version| self.default.is_some_and(|default| version >= default));
        newer.min().or_else(|| versions.iter().max()).copied()
    }
}

fn is_installed(root: &Root, version: Version) -> bool {
    pythons::executable(root, version).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn the_upper_bound_is_not_included() {
        assert!(range("3.9-3.11").contains((3, 9)) && range("3.9-3.11").contains((3, 10)));
        assert!(!range("3.9-3.11").contains((3, 11)) && !range("3.9-3.11").contains((3, 8)));
        assert!(range("-4.0").contains((3, 99)) && !range("-3.7").contains((3, 7)));
        assert!(range("3.9-").contains((3, 10)) && !range("3.9-").contains((3, 8)));
        assert!(range("").contains((2, 7)) && range("-").contains((3, 1)));
    }

    #[test]
    fn one_version_is_a_range_of_its_own() {
        for text in ["3.11", "3.11-3.11", "3.11.2", "3.11 or so"] {
            assert_eq!(range(text).exact(), Some((3, 11)), "{text}");
            assert!(range(text).contains((3, 11)) && !range(text).contains((3, 10)), "{text}");
        }
        assert_eq!(range("3.11-").exact(), None);
        assert_eq!(range("3.99999999999999999999").exact(), Some((3, 255)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["3", "x", "3.", "3.11-3.9", "--3.9", "10.1", "é.1"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
