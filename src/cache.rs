//! The shared bytecode cache: compiled code by what it was compiled from, for systems that are made again and again.
//!
//! Owns a directory of files; off unless the settings name one. It must not know what a transaction is, nor what an
//! interpreter: it is given the parts of a [`Key`], code and warnings. On disk:
//!
//! ```text
//! DIRECTORY/tally              hits, misses, and the size at the last survey; also the lock of who counts and evicts
//! DIRECTORY/XX/REST            an entry; XX and REST are its key, hexadecimal
//! DIRECTORY/XX/new-TOKEN-N     an entry that is being written; of a writer that was killed, until a survey finds it
//! ```
//!
//! An entry is written under a name of its own and renamed: whoever else is at work, before, behind or at the same
//! time, there is one whole file or none. Nothing is synced: an entry is sealed (`entry`) and read with its seal
//! checked, so what a power cut leaves of it is a miss, as is everything else that is wrong, and it is compiled and
//! put in anew.
//!
//! A seal is no signature: whoever may write the directory can seal what he likes, and it would be run as root. That
//! is why a directory that others may write is refused (`trust`), and why an entry is believed only if it belongs to
//! root or to the user, who alone may write it. Workers, which may be other users, never see it.
//!
//! A cache never fails a run: what it cannot read is compiled, and after the first entry that it cannot write it is
//! only read.

mod entry;
mod room;
mod tally;
mod trust;

pub use entry::{Entry, Key, Origin};
pub use trust::Refused;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::CachePlace;
use crate::disk::{self, Dir, Identity, Quoted};
use room::Survey;
use tally::Tally;

/// What is in the cache is for nobody else to read: it may come from sources that are not either.
const DIRECTORY_MODE: u32 = 0o700;
const ENTRY_MODE: u32 = 0o600;

/// How exactly it is known when an entry was used last: no hit writes to an entry that was used so lately.
const GRANULARITY: Duration = Duration::from_secs(3600);

/// How long to wait for who counts just now. Counts that are lost do no harm, a run that waits does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The cache of one run. Nothing is touched before it is asked for.
#[derive(Debug)]
pub struct Cache {
    place: CachePlace,
    opened: OnceLock<Result<Store, Refused>>,
    /// Whether it was said why it does not work.
    is_told: AtomicBool,
}

/// What a run had of the cache.
#[derive(Debug)]
pub struct Conclusion {
    /// How much of what was asked for was there.
    pub hits: u64,
    /// How much was not.
    pub misses: u64,
    /// Why it was not used, or not written to; said once.
    pub problem: Option<String>,
}

/// An open cache directory, for any number of threads.
#[derive(Debug)]
pub struct Store {
    dir: Dir,
    /// In bytes.
    limit: Option<u64>,
    /// Part of the names of what this run is writing: process ids are not unique over containers.
    token: u64,
    written: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Bytes put in.
    added: AtomicU64,
    is_stuck: AtomicBool,
    failure: Mutex<Option<disk::Error>>,
}

/// How things stand with a cache.
#[derive(Debug, Default, Serialize)]
pub struct Contents {
    /// How many entries it has.
    pub entries: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Since it was made or cleared.
    pub hits: u64,
    /// Since it was made or cleared.
    pub misses: u64,
}

impl Cache {
    /// The cache at `place`, if that is one.
    #[must_use]
    pub fn new(place: &CachePlace) -> Self {
        Self { place: place.clone(), opened: OnceLock::new(), is_told: AtomicBool::new(false) }
    }

    /// The open cache; `None` if there is none, or it may not be used.
    pub fn store(&self) -> Option<&Store> {
        let path = self.place.path.as_deref()?;
        self.opened.get_or_init(|| Store::open(path, self.place.limit())).as_ref().ok()
    }

    /// Ends a run's use: counts, and evicts what is too much. `None` if it was not used.
    pub fn conclude(&self) -> Option<Conclusion> {
        let (path, opened) = (self.place.path.as_deref()?, self.opened.get()?);
        let (hits, misses, problem) = match opened {
            Ok(store) => {
                let (hits, misses) = store.settle();
                let failure = store.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                (hits, misses, failure.map(|why| format!("is not written to: {why}")))
            }
            Err(refused) => (0, 0, Some(format!("is not used: {refused}"))),
        };
        let problem = problem.filter(|_| !self.is_told.swap(true, Ordering::Relaxed));
        let problem = problem.map(|problem| format!("the cache {} {problem}", Quoted(path)));
        Some(Conclusion { hits, misses, problem })
    }
}

impl Store {
    fn open(path: &Path, limit: Option<u64>) -> Result<Self, Refused> {
        trust::create(path, DIRECTORY_MODE).map(|dir| Self::new(dir, limit))
    }

    /// The cache at `path`; `None` where there is no directory yet.
    ///
    /// # Errors
    /// Others could write it, or it cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>, Refused> {
        Ok(trust::find(path)?.map(|dir| Self::new(dir, None)))
    }

    fn new(dir: Dir, limit: Option<u64>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            dir,
            limit,
            token: RandomState::new().build_hasher().finish(),
            written: zero(),
            hits: zero(),
            misses: zero(),
            added: zero(),
            is_stuck: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// The entry of this key, for a source of `source_size` bytes.
    pub fn get(&self, key: &Key, source_size: u64) -> Option<Entry> {
        let found = self.read(key, source_size);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn read(&self, key: &Key, source_size: u64) -> Option<Entry> {
        let mut file = self.dir.open_file(key.path()).ok()?;
        let Some((entry, used)) = entry::read(&mut file, key, source_size) else {
            // Where it cannot be removed it is in nobody's way: the next one takes its place.
            let _ = self.dir.remove_file(key.path());
            return None;
        };
        if used.elapsed().is_ok_and(|since| since > GRANULARITY) {
            // Of a cache that is only read the oldest entries are those put in first.
            let _ = disk::touch(&file, &self.dir.path().join(key.path()));
        }
        Some(entry)
    }

    /// Puts code in, with its BLAKE3 hash and the warnings that its compiler gave.
    pub fn put(&self, key: &Key, code: &[u8], code_hash: &[u8; 32], warnings: &str) {
        if self.is_stuck.load(Ordering::Relaxed) {
            return;
        }
        let head = key.seal(code_hash, warnings);
        if let Err(error) = self.write(key, &[&head, warnings.as_bytes(), code]) {
            self.fail(error);
        }
    }

    fn write(&self, key: &Key, parts: &[&[u8]]) -> Result<(), disk::Error> {
        let bytes = room::on_disk(parts.iter().map(|part| part.len() as u64).sum());
        if self.limit.is_some_and(|limit| bytes > limit) {
            return Ok(());
        }
        let (shard, number) = (key.shard(), self.written.fetch_add(1, Ordering::Relaxed));
        let new = format!("{shard}/{}{:016x}-{number}", room::NEW, self.token);
        let create = || self.dir.create_file(&new, ENTRY_MODE, parts);
        let created = match create() {
            Err(error) if error.is_missing() => {
                self.dir.create_child(&shard, DIRECTORY_MODE).and_then(|_shard| create())
            }
            created => created,
        };
        let placed = created.and_then(|_: Identity| self.dir.rename(&new, &self.dir, key.path()));
        match placed {
            Ok(disk::Renamed::Moved) => self.added.fetch_add(bytes, Ordering::Relaxed),
            // Somebody is clearing the cache.
            Ok(_) => 0,
            Err(error) => {
                let _ = self.dir.remove_file(&new);
                return Err(error);
            }
        };
        Ok(())
    }

    /// Remembers why it could not be written.
    fn fail(&self, error: disk::Error) {
        self.is_stuck.store(true, Ordering::Relaxed);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Adds to the tally what was counted since the last time, and brings the cache below its limit.
    fn settle(&self) -> (u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let (hits, misses, added) = (take(&self.hits), take(&self.misses), take(&self.added));
        let settled = Tally::update(&self.dir, PATIENCE, |tally| {
            tally.hits += hits;
            tally.misses += misses;
            tally.bytes += added;
            if tally.is_survey_due(self.limit) {
                let mut survey = Survey::of(&self.dir)?;
                survey.remove_leftovers(&self.dir)?;
                survey.evict(&self.dir, self.limit)?;
                tally.surveyed(survey.bytes());
            }
            Ok(())
        });
        match settled {
            Err(error) if !error.is_read_only() => self.fail(error),
            // One that is only read does not count. Nor does a run behind which too many wait.
            Err(_) | Ok(_) => {}
        }
        (hits, misses)
    }

    /// What is in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn contents(&self) -> Result<Contents, disk::Error> {
        let (survey, tally) = (Survey::of(&self.dir)?, Tally::read(&self.dir));
        let (entries, bytes) = (survey.entries(), survey.bytes());
        Ok(Contents { entries, bytes, hits: tally.hits, misses: tally.misses })
    }

    /// Removes all entries and begins to count anew; how many entries there were. `None` if somebody else did not let
    /// go of the tally in time.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self, patience: Duration) -> Result<Option<u64>, disk::Error> {
        Tally::update(&self.dir, patience, |tally| {
            let removed = Survey::of(&self.dir)?.clear(&self.dir)?;
            *tally = Tally::default();
            Ok(removed)
        })
    }
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
