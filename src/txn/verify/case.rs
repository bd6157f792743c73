//! The cases of a directory: every pyc that is there or should be there, with what is known of it beforehand.
//!
//! Owns what belongs together by name: pyc, source, ledger entry, interpreter. Reads nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::disk::{Identity, Kind};
use crate::python::header::Invalidation;
use crate::python::pycache::{Remnant, Target};
use crate::txn::compilers::Compiler;
use crate::txn::intent::{Action, Compile};
use crate::txn::journal::{LedgerEntry, Shelf};
use crate::txn::plan::Wishes;
use crate::txn::tree::{Cache, Listing};

/// One pyc.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) remnant: Remnant,
    /// What stands under its name; `None`: nothing.
    pub(super) pyc: Option<Kind>,
    /// Its source, if there is one.
    pub(super) source: Option<Identity>,
    /// What the ledger says of it, if it is ours.
    pub(super) entry: Option<LedgerEntry>,
    /// Who reads it: an index into [`Readers`]; `None` where nobody here does.
    pub(super) reader: Option<usize>,
    /// How Python is to check it, once it is made anew.
    pub(super) mode: Invalidation,
}

/// The interpreters whose bytecode is judged.
#[derive(Debug)]
pub struct Readers {
    /// Those that are installed; of several with one cache tag the first counts.
    pub all: Vec<Compiler>,
    /// Whether no other bytecode is looked at.
    pub only: bool,
}

impl Readers {
    fn find(&self, tag: &[u8]) -> Option<usize> {
        self.all.iter().position(|reader| reader.interpreter.cache_tag.as_bytes() == tag)
    }
}

/// What of a directory is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    /// All of it.
    Everything,
    /// The bytecode of these sources, which were looked for.
    Of(&'a [OsString]),
    /// These files.
    Only(&'a BTreeSet<OsString>, &'a [OsString]),
}

impl Scope<'_> {
    fn has(&self, remnant: &Remnant) -> bool {
        match self {
            Self::Everything => true,
            Self::Of(sources) => sources.contains(&remnant.source()),
            Self::Only(names, _) => names.contains(remnant.name()),
        }
    }

    /// Whether it is known of a source that it is not there.
    fn misses(&self, listing: &Listing, source: &OsString) -> bool {
        let asked = match self {
            Self::Everything => listing.complete,
            Self::Of(sources) | Self::Only(_, sources) => listing.complete || sources.contains(source),
        };
        asked && !listing.sources.contains_key(source)
    }
}

/// What is expected of directories.
pub(super) struct Expectations<'a> {
    pub(super) readers: &'a Readers,
    pub(super) wishes: &'a Wishes<'a>,
    /// Whether nothing is expected in a directory but what the ledger has.
    pub(super) is_others: &'a (dyn Fn(&Path) -> bool + Sync),
}

impl Expectations<'_> {
    /// The cases of a directory with this `__pycache__`.
    pub(super) fn cases(
        &self,
        listing: &Listing,
        cache: &Cache,
        mut shelf: Shelf,
        scope: Scope<'_>,
    ) -> Vec<Case> {
        let mut published = std::mem::take(&mut shelf.published);
        let mut cases = Vec::with_capacity(cache.names().len());
        for name in cache.names() {
            let entry = published.remove(name);
            cases.extend(self.case(listing, entry, name, cache.kind(name), scope));
        }
        for (name, entry) in published {
            let source = Remnant::parse(&name).map(|remnant| remnant.source());
            let seen = source.and_then(|source| listing.sources.get(&source));
            if !seen.is_some_and(|seen| is_refused(&shelf, &name, seen)) {
                cases.extend(self.case(listing, Some(entry), &name, None, scope));
            }
        }
        let mut wanted = self.wanted(listing, cache, &shelf);
        wanted.retain(|name| !cases.iter().any(|case| case.remnant.name() == name));
        for name in wanted {
            cases.extend(self.case(listing, None, &name, None, scope));
        }
        cases
    }

    /// The names of what a commit would make and is not there.
    fn wanted(&self, listing: &Listing, cache: &Cache, shelf: &Shelf) -> Vec<OsString> {
        let directory = &listing.directory;
        if listing.sources.is_empty() || (self.is_others)(directory) {
            return Vec::new();
        }
        let mut names = Vec::new();
        for compiler in (self.wishes.compilers)(directory) {
            let admitted =
                listing.sources.iter().filter(|(name, _)| (self.wishes.admits)(directory, name, &compiler));
            for (source, seen) in admitted {
                let targets = self
                    .wishes
                    .levels
                    .iter()
                    .filter_map(|&level| Target::of(source, &compiler.interpreter.cache_tag, level).ok());
                let is_wanted = |target: &Target| {
                    cache.kind(target.name()).is_none() && !is_refused(shelf, target.name(), seen)
                };
                names.extend(targets.filter(is_wanted).map(|target| target.name().to_owned()));
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    fn case(
        &self,
        listing: &Listing,
        entry: Option<LedgerEntry>,
        name: &OsStr,
        pyc: Option<Kind>,
        scope: Scope<'_>,
    ) -> Option<Case> {
        let remnant = Remnant::parse(name).filter(|remnant| scope.has(remnant))?;
        let reader = self.readers.find(remnant.tag());
        if reader.is_none() && self.readers.only {
            return None;
        }
        let name = remnant.source();
        let source = listing.sources.get(&name).copied();
        if source.is_none() && !scope.misses(listing, &name) {
            return None;
        }
        // What nobody here compiles or reads, or has no source, is not missed.
        if pyc.is_none() && (source.is_none() || reader.is_none()) {
            return None;
        }
        let mode = entry.as_ref().map_or(self.wishes.mode, |entry| entry.mode);
        Some(Case { remnant, pyc, source, entry, reader, mode })
    }
}

/// Whether the compiler refused a source that is still the same.
fn is_refused(shelf: &Shelf, target: &OsStr, seen: &Identity) -> bool {
    let failure = shelf.failed.get(target);
    failure.is_some_and(|failure| failure.refused && failure.identity.same_content(seen))
}

impl Case {
    /// What mends it, if it is wrong. A pyc is removed that is ours, or that Python could not load, and that cannot
    /// be made anew; that of a source that is too large cannot.
    pub(super) fn remedy(&self, readers: &Readers, is_loadable: bool, is_too_large: bool) -> Option<Action> {
        let remake = if self.remnant.is_leftover() || is_too_large { None } else { self.remake(readers) };
        let remove = || (self.entry.is_some() || !is_loadable).then(|| Action::Remove(self.remnant.clone()));
        remake.map(Action::Compile).or_else(remove)
    }

    fn remake(&self, readers: &Readers) -> Option<Compile> {
        let (seen, reader) = (self.source?.into(), &readers.all[self.reader?]);
        let (target, _, level) = Target::in_place(&self.remnant)?;
        let (interpreter, mode, force) = (reader.id, self.mode, true);
        Some(Compile { target, interpreter, level, mode, force, seen })
    }
}
