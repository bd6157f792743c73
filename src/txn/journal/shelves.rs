//! The shelves of the ledger, to be taken out by several threads at once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::Result;
use super::{Journal, Shelf};

/// What the ledger has, by directory: each thread that asks reads it for itself.
#[derive(Debug)]
pub struct Shelves {
    /// The state directory; `None` where there is no ledger yet.
    state: Option<PathBuf>,
    /// Journals that nobody reads just now.
    idle: Mutex<Vec<Journal>>,
}

impl Shelves {
    /// Those of a journal. It is opened again, for each thread, when it is asked.
    #[must_use]
    pub fn of(journal: Option<&Journal>) -> Self {
        let state = journal.and_then(|journal| journal.path().parent()).map(Path::to_owned);
        Self { state, idle: Mutex::default() }
    }

    /// Takes out what the ledger has of these directories, in their order.
    ///
    /// # Errors
    /// The journal cannot be opened or read.
    pub fn take<'a>(&self, directories: impl ExactSizeIterator<Item = &'a Path>) -> Result<Vec<Shelf>> {
        let Some(journal) = self.reader()? else {
            return Ok(directories.map(|_| Shelf::default()).collect());
        };
        let shelves = journal.shelves(directories)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(journal);
        Ok(shelves)
    }

    fn reader(&self) -> Result<Option<Journal>> {
        let Some(state) = &self.state else { return Ok(None) };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Journal::open_to_read(state), |journal| Ok(Some(journal)))
    }
}
