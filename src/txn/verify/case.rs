//! The cases of a directory: every pyc that is there or should be there, with what is known of it beforehand.
//!
//! Owns what belongs together by name: pyc, source, ledger entry, interpreter. Reads nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

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
    /// Whether its source is left in for its reader: else it is not made anew, or missed.
    pub(super) admitted: bool,
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

    /// The sources that were looked for by their names.
    fn asked(&self) -> &[OsString] {
        match self {
            Self::Everything => &[],
            Self::Of(sources) | Self::Only(_, sources) => sources,
        }
    }
}

/// What is expected of directories.
pub(super) struct Expectations<'a> {
    pub(super) readers: &'a Readers,
    pub(super) wishes: &'a Wishes<'a>,
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
            cases.extend(self.case((listing, cache), entry, name, cache.kind(name), scope));
        }
        for (name, entry) in published {
            let source = Remnant::parse(&name).map(|remnant| remnant.source());
            let seen = source.and_then(|source| listing.sources.get(&source));
            if !seen.is_some_and(|seen| is_refused(&shelf, &name, seen)) {
                cases.extend(self.case((listing, cache), Some(entry), &name, None, scope));
            }
        }
        let mut wanted = self.wanted(listing, cache, &shelf);
        wanted.retain(|name| !cases.iter().any(|case| case.remnant.name() == name));
        for name in wanted {
            cases.extend(self.case((listing, cache), None, &name, None, scope));
        }
        cases
    }

    /// The names of what a commit would make and is not there.
    fn wanted(&self, listing: &Listing, cache: &Cache, shelf: &Shelf) -> Vec<OsString> {
        let directory = &listing.directory;
        if listing.sources.is_empty() || (self.wishes.is_guarded)(directory) {
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
        (listing, cache): (&Listing, &Cache),
        entry: Option<LedgerEntry>,
        name: &OsStr,
        pyc: Option<Kind>,
        scope: Scope<'_>,
    ) -> Option<Case> {
        let remnant = Remnant::parse(name).filter(|remnant| scope.has(remnant))?;
        if pyc.is_some() && cache.is_being_written(&remnant) {
            return None;
        }
        let reader = self.readers.find(remnant.tag());
        if reader.is_none() && self.readers.only {
            return None;
        }
        let name = remnant.source();
        let source = listing.sources.get(&name).copied();
        if source.is_none() && !listing.misses(&name, scope.asked()) {
            return None;
        }
        let compiler = reader.map(|reader| &self.readers.all[reader]);
        let is_admitted = |compiler| (self.wishes.admits)(&listing.directory, &name, compiler);
        let admitted = compiler.is_none_or(is_admitted);
        // What nobody here compiles or reads, or has no source, or is left out, is not missed.
        let is_compiled = compiler.is_some_and(|compiler| compiler.interpreter.format().is_some());
        if pyc.is_none() && (source.is_none() || !is_compiled || !admitted) {
            return None;
        }
        let mode = entry.as_ref().map_or(self.wishes.mode, |entry| entry.mode);
        Some(Case { remnant, pyc, source, entry, reader, mode, admitted })
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
        let is_makeable = self.admitted && !self.remnant.is_temporary() && !is_too_large;
        let remake = if is_makeable { self.remake(readers) } else { None };
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
