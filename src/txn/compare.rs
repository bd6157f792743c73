//! The comparison of sources, targets and ledger by metadata: what of a directory is to be done.
//!
//! Owns the rule for what is current, and when a directory can be sealed. Reads no source and no bytecode, and changes
//! nothing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::SystemTime;

use super::compilers::Compiler;
use super::intent::{Action, Compile, InterpreterId};
use super::journal::{FailureEntry, LedgerEntry, Shelf};
use super::plan::{Plan, Wishes, located};
use super::seal::Seal;
use super::tree::{Cache, Listing};
use crate::disk::Identity;
use crate::python::interpreter::Interpreter;
use crate::python::pycache::{Level, Remnant, Target};
use crate::root::Root;

/// Compares directories with what is wished for.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub(super) root: &'a Root,
    pub(super) wishes: &'a Wishes<'a>,
    /// Every interpreter the journal knows.
    pub(super) known: &'a [Compiler],
    /// Before anything was looked at.
    pub(super) began: SystemTime,
}

impl Comparison<'_> {
    /// Adds to `plan` what is to be done in a directory, for the package `owner`, and what there is to say of it; if there
    /// is nothing to be done, the directory and its seal. `asked` names sources that were looked for where the listing is not complete.
    pub(super) fn add(
        &self,
        mut listing: Listing,
        owner: Option<&str>,
        shelf: &Shelf,
        asked: &[OsString],
        plan: &mut Plan,
    ) -> Option<(PathBuf, Seal)> {
        let cache = read_cache(&mut listing, &mut plan.problems);
        let is_guarded = (self.wishes.is_guarded)(&listing.directory);
        let place = Place { listing: &listing, shelf, cache: &cache, is_guarded };
        let (current, refused) = (plan.current, plan.refused.len());
        let mut actions = Vec::new();
        let levels = if place.is_guarded { &Level::ALL } else { self.wishes.levels };
        for compiler in (self.wishes.compilers)(&listing.directory) {
            for &level in levels {
                let is_admitted = |name: &OsStr| (self.wishes.admits)(&listing.directory, name, &compiler);
                let sources = listing.sources.iter().filter(|(name, _)| is_admitted(name));
                let compile =
                    sources.filter_map(|source| self.compile(&place, source, (&compiler, level), plan));
                actions.extend(compile.map(Action::Compile));
            }
        }
        let is_gone = |remnant: &Remnant| listing.misses(&remnant.source(), asked);
        let is_left =
            |remnant: &Remnant| remnant.is_temporary() && listing.sources.contains_key(&remnant.source());
        let remains = shelf.remains.iter().filter(|name| !shelf.published.contains_key(*name));
        let ours = shelf.published.keys().chain(remains);
        let mut gone: Vec<Remnant> = ours.filter_map(|name| Remnant::parse(name)).filter(is_gone).collect();
        if !gone.is_empty()
            && listing.sources.is_empty()
            && self.root.misses(&listing.directory, shelf.mount.as_deref())
        {
            gone.clear();
        }
        let left = cache.remnants().filter(is_left);
        actions.extend(gone.into_iter().chain(left).map(Action::Remove));
        let (current, is_refused) = (plan.current - current, plan.refused.len() > refused);
        if actions.is_empty() {
            let seal = if is_refused { Seal::default() } else { self.seal(&place, current) };
            return Some((listing.directory, seal));
        }
        plan.add(listing.directory, owner.map(str::to_owned), actions);
        None
    }

    /// The seal of a directory in which nothing is to be done and `current` targets are right.
    fn seal(&self, place: &Place<'_>, current: u64) -> Seal {
        let Place { listing, shelf, cache, .. } = *place;
        if self.wishes.sealed().is_none() {
            return Seal::default();
        }
        // What else is published there may be gone.
        let is_alone = [shelf.published.len(), cache.names().len()].iter().all(|&all| all as u64 == current);
        // What it writes may be left over the next time, and then the directory looks no different.
        if !is_alone && cache.has_writer() {
            return Seal::default();
        }
        Seal::of(listing, self.root, self.began, (current, is_alone)).unwrap_or_default()
    }

    /// What is to be done for one source; nothing if its target is right, or not wanted, or cannot be made.
    fn compile(
        &self,
        place: &Place<'_>,
        (source, seen): (&OsString, &Identity),
        (compiler, level): (&Compiler, Level),
        plan: &mut Plan,
    ) -> Option<Compile> {
        let Place { listing, shelf, .. } = *place;
        let path = || listing.directory.join(source);
        let target = Target::of(source, &compiler.interpreter.cache_tag, level).ok();
        if place.is_guarded && !target.as_ref().is_some_and(|target| place.knows(target)) {
            return None;
        }
        let Some(target) = target else {
            plan.refused.push(located(&path(), "the name of its bytecode would be too long"));
            return None;
        };
        // What could not be removed and is wanted again is looked at once more, and forgotten as a failure.
        let entry = shelf.published.get(target.name()).filter(|_| !shelf.remains.contains(target.name()));
        if entry.is_some_and(|entry| place.has(entry, &target) && self.is_of(entry, seen, compiler)) {
            plan.current += 1;
            return None;
        }
        let failure = shelf.failed.get(target.name());
        if let Some(failure) = failure.filter(|failure| self.is_still_refused(failure, seen, compiler)) {
            plan.refused.push(located(&path(), &failure.message));
            return None;
        }
        let Wishes { mode, force, .. } = *self.wishes;
        let (interpreter, seen) = (compiler.id, (*seen).into());
        Some(Compile { target, interpreter, level, mode, force, seen })
    }

    /// Whether what was published is what would be compiled again.
    fn is_of(&self, entry: &LedgerEntry, seen: &Identity, compiler: &Compiler) -> bool {
        !self.wishes.force
            && entry.mode == self.wishes.mode
            && entry.identity.same_content(seen)
            && self.loads(compiler, entry.interpreter)
    }

    fn is_still_refused(&self, failure: &FailureEntry, seen: &Identity, compiler: &Compiler) -> bool {
        !self.wishes.force
            && failure.refused
            && failure.identity.same_content(seen)
            && self.is_known(failure.interpreter, |refuser| compiler.interpreter.compiles_as(refuser))
    }

    /// Whether an interpreter loads what the one of this number compiled, as Python itself sees it: a new release with
    /// the same magic number goes on with the bytecode of the one before, and so do we. A whole system is not compiled
    /// again because a bug of the compiler was mended; but nothing new is made of that code (`reuse`).
    fn loads(&self, compiler: &Compiler, id: InterpreterId) -> bool {
        let dialect = compiler.interpreter.dialect;
        id == compiler.id || self.is_known(id, |known| known.dialect == dialect)
    }

    /// Whether this holds for the interpreter of this number.
    fn is_known(&self, id: InterpreterId, holds: impl Fn(&Interpreter) -> bool) -> bool {
        self.known.iter().any(|known| known.id == id && holds(&known.interpreter))
    }
}

/// What is known of a directory.
#[derive(Clone, Copy)]
struct Place<'a> {
    listing: &'a Listing,
    shelf: &'a Shelf,
    /// Its `__pycache__`.
    cache: &'a Cache,
    /// Whether nothing new is wanted in it.
    is_guarded: bool,
}

impl Place<'_> {
    /// Whether there is something under the name of the target, or it was published.
    fn knows(&self, target: &Target) -> bool {
        self.cache.kind(target.name()).is_some() || self.shelf.published.contains_key(target.name())
    }

    /// Whether the pyc that was published stands under its name.
    fn has(&self, entry: &LedgerEntry, target: &Target) -> bool {
        self.cache.identity(target.name()).is_some_and(|pyc| entry.is_in_place(&pyc))
    }
}

/// The directory's `__pycache__`; it matters only to sources. Where it cannot be read nobody knows what is missing.
fn read_cache(listing: &mut Listing, problems: &mut Vec<String>) -> Cache {
    if listing.sources.is_empty() {
        return Cache::default();
    }
    listing.cache().unwrap_or_else(|error| {
        listing.complete = false;
        problems.push(error.to_string());
        Cache::default()
    })
}
