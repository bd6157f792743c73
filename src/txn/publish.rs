//! Publish and settle: rename the staged files to their targets, and end the transaction.
//!
//! `committing` → `committed`. The normal path, the path after an error and the path after a crash are this one:
//! what is to be placed is read from the journal, and a staged file that is gone has been placed
//! (invariant 5). Where there is no `__pycache__` yet, one rename places it as it was staged, with all that is in it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::evidence::Placed;
use super::freeing::Freeing;
use super::intent::{Action, Batch, Compile, Directory, Intent, IntentId, Outcome, TxnId};
use super::journal::Which;
use super::lock::Writer;
use super::observer::Observer;
use super::retired;
use super::source::unreadable;
use super::staging::{self, StagedFiles, Staging};
use crate::disk::{self, Dir, Durable, Renamed};
use crate::interrupt::Interrupt;
use crate::python::pool::Interrupted;
use crate::python::pycache::{DIRECTORY, Target};
use crate::root::Root;

/// How long publishing goes on after a signal: it is nearly done as a rule, and what is published needs no
/// recovery.
const PATIENCE: Duration = Duration::from_millis(400);

/// A transaction that is decided.
#[derive(Debug)]
#[must_use]
pub struct Committing {
    txn: TxnId,
    /// An earlier run has published something of it, and may have been stopped meanwhile.
    resumed: bool,
}

/// A transaction whose files are under their targets' names, durably.
#[derive(Debug)]
#[must_use]
pub struct Published {
    txn: TxnId,
    placed: Placed,
    durable: Durable,
}

impl Committing {
    /// A transaction that was decided just now.
    pub fn decided(txn: TxnId) -> Self {
        Self { txn, resumed: false }
    }

    /// A transaction that the journal says is decided.
    pub fn found(txn: TxnId) -> Self {
        Self { txn, resumed: true }
    }

    /// Renames everything to its target and makes the renames durable.
    ///
    /// # Errors
    /// A failure of the medium, or the interrupt. The transaction stays decided: the next run goes on here.
    pub fn publish(
        self,
        writer: &Writer<'_>,
        root: &Root,
        interrupt: &Interrupt,
        observer: &dyn Observer,
    ) -> Result<Published> {
        let began = Instant::now();
        let staging = Staging::open(writer, self.txn)?;
        let mut publication = Publication::begin(&staging, self.resumed);
        // Nobody knows which names an earlier run changed, nor whether it came to the sync; so it is with directories.
        if self.resumed {
            staging.places().try_for_each(Dir::note)?;
        }
        let mut after = 0;
        loop {
            let batch = writer.journal.portion(self.txn, Which::ToPublish, after)?;
            if batch.intents.is_empty() {
                break;
            }
            publication.publish_batch(writer, root, interrupt, &batch)?;
            after = batch.last();
        }
        observer.phase("publish", began.elapsed());
        let began = Instant::now();
        let durable = publication.sync()?;
        observer.phase("sync directories", began.elapsed());
        let Publication { exceptions, remains, .. } = publication;
        Ok(Published { txn: self.txn, placed: Placed::except(exceptions, remains), durable })
    }

    /// Publishes these of its intents, and leaves it as it is: who settles it looks at them once more, with all others,
    /// and makes them durable. The paths of those that could not be published, and why.
    ///
    /// # Errors
    /// As [`Committing::publish`].
    pub fn publish_part(
        self,
        writer: &Writer<'_>,
        root: &Root,
        interrupt: &Interrupt,
        batch: &Batch,
    ) -> Result<Vec<(PathBuf, String)>> {
        let staging = Staging::open(writer, self.txn)?;
        let mut publication = Publication::begin(&staging, self.resumed);
        publication.publish_batch(writer, root, interrupt, batch)?;
        let Publication { exceptions, mut remains, .. } = publication;
        for (id, outcome) in exceptions {
            if let Outcome::Failed(failure) = outcome {
                remains.push((id, failure.message));
            }
        }
        let reason = |id| remains.iter().find(|(failed, _)| *failed == id).map(|(_, why)| why.clone());
        let failed = |intent: &Intent| Some((batch.path(intent), reason(intent.id)?));
        Ok(batch.intents.iter().filter_map(failed).collect())
    }
}

impl Published {
    /// Ends the transaction and removes its staging directories.
    ///
    /// # Errors
    /// The journal cannot be written, or the staging directory not be removed; the next run does it then.
    pub fn settle(self, writer: &mut Writer<'_>, observer: &dyn Observer) -> Result<TxnId> {
        let began = Instant::now();
        writer.journal.mark_committed(self.txn, &self.placed, &self.durable)?;
        staging::remove(writer, self.txn, observer)?;
        observer.phase("settle", began.elapsed());
        Ok(self.txn)
    }
}

struct Publication<'s> {
    staging: &'s Staging,
    /// Where removals keep their files, once there is one that does.
    retired: Option<Dir>,
    resumed: bool,
    exceptions: Vec<(IntentId, Outcome)>,
    /// Removals that left an empty `__pycache__`, and why it could not be removed.
    remains: Vec<(IntentId, String)>,
    /// In a resumed transaction, the intents that changed a filesystem, by its device.
    changed: HashMap<u64, Vec<IntentId>>,
    /// Frees what is replaced.
    freeing: Freeing,
}

impl<'s> Publication<'s> {
    fn begin(staging: &'s Staging, resumed: bool) -> Self {
        let (exceptions, remains, changed) = (Vec::new(), Vec::new(), HashMap::new());
        let freeing = Freeing::new();
        Self { staging, retired: None, resumed, exceptions, remains, changed, freeing }
    }

    fn publish_batch(
        &mut self,
        writer: &Writer<'_>,
        root: &Root,
        interrupt: &Interrupt,
        batch: &Batch,
    ) -> Result<()> {
        if self.retired.is_none() && batch.intents.iter().any(|intent| intent.retire) {
            let retired = self.retired.insert(retired::open(writer)?);
            if self.resumed {
                retired.note()?;
            }
        }
        for intents in batch.by_directory() {
            if interrupt.signalled_for(PATIENCE) {
                return Err(Interrupted.into());
            }
            self.publish_directory(root, &batch.directories[intents[0].directory], intents)?;
        }
        Ok(())
    }

    /// Publishes what goes to one directory of sources.
    fn publish_directory(&mut self, root: &Root, directory: &Directory, intents: &[Intent]) -> Result<()> {
        if directory.is_out_of_reach(root) {
            // Whatever of it was placed before is whole, and so is what was there: see `reach`. What was to be retired
            // counts as that: if its source is there in the end, it is made again.
            let waiting = intents.iter().filter(|intent| !intent.retire);
            self.exceptions.extend(waiting.map(|intent| (intent.id, Outcome::OutOfReach)));
            return Ok(());
        }
        let staged = StagedFiles::find(self.staging, directory.number, intents)?;
        let dir = match Dir::open(&root.on_disk(&directory.path)) {
            Ok(dir) => dir,
            Err(error) => return self.except(intents, error),
        };
        if self.resumed {
            dir.note()?;
            let changed = self.changed.entry(dir.stat()?.st_dev).or_default();
            changed.extend(intents.iter().map(|intent| intent.id));
        }
        if !staged.publish_whole(&dir, intents)? {
            self.publish_files(&dir, &staged, intents)?;
        }
        Ok(())
    }

    /// Makes the changes durable. A filesystem that cannot be synced stops the transaction once; when it is resumed
    /// that is the outcome of the intents there, so that no broken disk keeps all others from being compiled.
    fn sync(&mut self) -> Result<Durable> {
        let (durable, failed) = disk::sync_apart();
        for (device, error) in failed {
            let Some(intents) = self.changed.get(&device) else { return Err(error.into()) };
            let outcome = unreadable(&error.to_string());
            self.exceptions.extend(intents.iter().map(|id| (*id, outcome.clone())));
        }
        Ok(durable)
    }

    /// Publishes one file after the other.
    fn publish_files(&mut self, dir: &Dir, staged: &StagedFiles<'_>, intents: &[Intent]) -> Result<()> {
        let is_forced =
            |intent: &Intent| matches!(intent.action, Action::Compile(Compile { force: true, .. }));
        let opens = intents.iter().any(is_forced);
        // What has been placed and is gone since is not placed again.
        let places_any = || intents.iter().any(|intent| staged.has(intent));
        let cache = match open_cache(dir, places_any, opens) {
            Ok(Some(cache)) => cache,
            Ok(None) => return Ok(()),
            Err(error) => return self.except(intents, error),
        };
        if self.resumed {
            cache.note()?;
        }
        for intent in intents {
            if let Err(error) = self.publish_one(&cache, staged, intent) {
                self.except(std::slice::from_ref(intent), error)?;
            }
        }
        let is_removal = |intent: &&Intent| matches!(intent.action, Action::Remove(_));
        if let Some(last) = intents.iter().rfind(is_removal) {
            self.remove_cache(dir, &cache, last.id)?;
        }
        Ok(())
    }

    /// Removes the `__pycache__` of a directory if nothing is in it any more. One that cannot be removed is harmless: it
    /// stays, and the removal `last` remembers it.
    fn remove_cache(&mut self, dir: &Dir, cache: &Dir, last: IntentId) -> Result<()> {
        match dir.remove_empty_child(DIRECTORY) {
            Ok(_) => {}
            Err(error) if error.is_full() => return Err(error.into()),
            // The kernel looks at permissions first: a directory that is in use would not have gone anyway.
            Err(_) if cache.names().is_ok_and(|names| !names.is_empty()) => {}
            Err(error) => self.remains.push((last, error.to_string())),
        }
        Ok(())
    }

    fn publish_one(
        &mut self,
        cache: &Dir,
        staged: &StagedFiles<'_>,
        intent: &Intent,
    ) -> Result<(), disk::Error> {
        match &intent.action {
            Action::Remove(remnant) => match self.retired.as_ref().filter(|_| intent.retire) {
                // It has been moved; what stands there now is new.
                Some(retired) if self.resumed && retired::has(retired, intent.id) => {}
                Some(retired) => retired::keep(retired, intent.id, cache, remnant)?,
                None => drop(cache.remove_file(remnant.name())?),
            },
            Action::Compile(compile) => {
                if let Some((place, name)) = staged.find_file(intent) {
                    self.place((place, &name), (cache, &compile.target), intent.id)?;
                }
            }
        }
        Ok(())
    }

    /// Renames a staged file to its target.
    fn place(
        &mut self,
        (place, name): (&Dir, &OsStr),
        (cache, target): (&Dir, &Target),
        id: IntentId,
    ) -> Result<(), disk::Error> {
        // A copy gets the name of an interrupted writer's file, so that whatever happens it is found and removed.
        let mut copy = target.name().to_owned();
        copy.push(format!(".{}", id.0));
        if self.resumed {
            cache.remove_file(&copy)?;
        }
        let replaced = cache.hold(target.name());
        match place.rename(name, cache, target.name())? {
            Renamed::Gone if place.has_file(name) => Err(cache.gone()),
            Renamed::Moved => {
                replaced.into_iter().for_each(|replaced| self.freeing.add(replaced));
                Ok(())
            }
            Renamed::Gone => Ok(()),
            Renamed::OtherFilesystem => {
                // The trial said they were on one; quota projects are such a case.
                cache.remove_file(&copy)?;
                cache.copy_file(place, name, &copy)?;
                let _durable = disk::sync()?;
                cache.rename(&copy, cache, target.name())?;
                place.remove_file(name)?;
                Ok(())
            }
        }
    }

    /// A place that is gone or barred is the outcome of its intents; a full disk is everybody's.
    fn except(&mut self, intents: &[Intent], error: disk::Error) -> Result<()> {
        if error.is_full() {
            return Err(error.into());
        }
        for intent in intents {
            let outcome = match &intent.action {
                Action::Compile(_) if error.is_missing() => Outcome::Vanished,
                Action::Remove(_) if error.is_missing() => Outcome::Removed,
                Action::Compile(_) | Action::Remove(_) => unreadable(&error.to_string()),
            };
            self.exceptions.push((intent.id, outcome));
        }
        Ok(())
    }
}

/// Opens the `__pycache__` of a directory; it is made with the directory's permissions if something is to be
/// placed there. With `opens`, for what is to be right whatever there is, one that is there is opened to those who may
/// look into the directory.
fn open_cache(dir: &Dir, places_any: impl FnOnce() -> bool, opens: bool) -> Result<Option<Dir>, disk::Error> {
    match dir.open_child(DIRECTORY) {
        Err(error) if error.is_missing() && places_any() => {
            dir.create_child(DIRECTORY, dir.mode_of_child()?).map(Some)
        }
        Err(error) if error.is_missing() => Ok(None),
        cache => {
            let cache = cache?;
            if opens {
                cache.open_to_all_of(dir)?;
            }
            Ok(Some(cache))
        }
    }
}
