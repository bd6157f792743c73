//! The private modules of packages, and what the packages say of them in their postinst scripts.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::debian::excludes::Excludes;
use crate::debian::versions::Installed;
use crate::debian::{packages, pythons};
use crate::root::{Located, Resolver, Root};

use super::py3compile;
use super::rules::Call;

/// The private modules below one directory for which a package asks.
#[derive(Debug)]
pub(super) struct Private {
    pub(super) package: String,
    pub(super) sources: Vec<Located>,
    /// How they are to be compiled.
    pub(super) call: Call,
}

/// The private modules for which `calls` of `py3compile` ask, given by their arguments, in the directories that are
/// `meant`. A call that `py3compile` would not understand, or whose package is not installed, asks for nothing; public
/// modules in a directory are nobody's private ones.
pub(super) fn asked_for(
    root: &Root,
    calls: &[Vec<String>],
    is_meant: impl Fn(&Path) -> bool,
) -> Vec<Private> {
    let mut asked = Vec::new();
    let (mut resolver, mut installed, mut sources) = (Resolver::new(root), None, HashMap::new());
    // To parse a command line takes longer than to see that it names no directory.
    for words in calls.iter().filter(|words| words.iter().any(|word| word.starts_with('/'))) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let Ok(arguments) = py3compile::parse(&words) else { continue };
        let Some(package) = arguments.package else { continue };
        for named in arguments.paths {
            let directory = Located { path: resolver.directory(&named), named };
            if !is_meant(&directory.path) {
                continue;
            }
            let sources: &Vec<Located> = sources
                .entry(package.clone())
                .or_insert_with(|| packages::sources(root, &package).unwrap_or_default());
            let below = packages::below(sources, &directory);
            let private: Vec<Located> =
                below.filter(|source| !pythons::is_public(&source.named)).cloned().collect();
            if private.is_empty() {
                continue;
            }
            let installed = installed.get_or_insert_with(|| Installed::of(root));
            let requested = installed.requested(&arguments.range.unwrap_or_default());
            let versions = installed.preferred(&requested).into_iter().collect();
            let mut excludes = Excludes::default();
            arguments.exclude.iter().for_each(|pattern| excludes.add(&directory.named, pattern.clone()));
            let paths: Vec<PathBuf> = private.iter().map(|source| source.path.clone()).collect();
            let call = Call { sources: paths, versions, excludes };
            asked.push(Private { package: package.clone(), sources: private, call });
        }
    }
    asked
}
