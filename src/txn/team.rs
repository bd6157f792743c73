//! The interpreters that compile a transaction, as they are now.

use std::collections::HashMap;

use anyhow::{Result, anyhow};

use super::compilers::{self, Compiler};
use super::intent::{InterpreterId, Share};
use super::journal::{Journal, JournalError};
use super::lock::Writer;
use crate::disk;
use crate::interrupt::Interrupt;
use crate::python::interpreter::{Interpreter, UNKNOWN_FORMAT, is_about_interpreter, unusable};
use crate::python::pool::Interrupted;

/// The interpreters.
pub(super) struct Team {
    pub(super) interpreters: Vec<Interpreter>,
    /// Their numbers as they are now: an intent may have been recorded for the release before.
    numbers: Vec<InterpreterId>,
    /// All that the journal knows.
    known: Vec<Compiler>,
    /// By the journal's number.
    index: HashMap<InterpreterId, Place>,
}

/// What is known of an interpreter that was asked for.
enum Place {
    Present(usize),
    Gone,
    Unusable(String),
}

/// Whether there is an interpreter.
pub(super) enum Member<'a> {
    /// Yes, of this index.
    Present(usize),
    /// Not any more, or it calls itself otherwise now.
    Gone,
    /// There is one, but it cannot compile, for this reason.
    Unusable(&'a str),
    /// It was not asked for, or its filesystem is not mounted.
    Unknown,
}

impl Team {
    /// The interpreters of `shares`.
    ///
    /// # Errors
    /// The journal cannot be read or written; [`Interrupted`].
    pub(super) fn gather(writer: &mut Writer<'_>, shares: &[Share], interrupt: &Interrupt) -> Result<Self> {
        let known = compilers::known(&writer.journal)?;
        let (interpreters, numbers) = (Vec::new(), Vec::new());
        let mut team = Self { interpreters, numbers, known, index: HashMap::new() };
        for share in shares {
            if team.index.contains_key(&share.interpreter) {
                continue;
            }
            let before = team.known.iter().find(|known| known.id == share.interpreter);
            let before = before.map(|before| before.interpreter.clone());
            if before.as_ref().is_some_and(|before| !before.path.exists())
                && let Some(mount) = writer.journal.mount_of_interpreter(share.interpreter)?
                && !disk::is_mounted(&mount)
            {
                continue;
            }
            let place = match before {
                Some(before) if before.path.exists() => {
                    team.place(&mut writer.journal, &before, interrupt)?
                }
                _ => Place::Gone,
            };
            team.index.insert(share.interpreter, place);
        }
        Ok(team)
    }

    /// Looks for an interpreter where it was, and adds it if it is there. One that does not answer as a Python does, or
    /// whose bytecode this program does not know, is no reason to do nothing for the others.
    fn place(&mut self, journal: &mut Journal, before: &Interpreter, interrupt: &Interrupt) -> Result<Place> {
        let now = match compilers::resolve(journal, &before.path, interrupt) {
            Ok(now) => now,
            Err(error) if error.is::<JournalError>() || error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                let why = format!("{error:#}");
                let is_said = is_about_interpreter(&why);
                return Ok(Place::Unusable(if is_said { why } else { unusable(&before.path, &why) }));
            }
        };
        if now.interpreter.cache_tag != before.cache_tag {
            return Ok(Place::Gone);
        }
        if now.interpreter.format().is_none() {
            return Ok(Place::Unusable(unusable(&now.interpreter.path, UNKNOWN_FORMAT)));
        }
        Ok(Place::Present(self.add(now)))
    }

    fn add(&mut self, compiler: Compiler) -> usize {
        self.numbers.push(compiler.id);
        self.interpreters.push(compiler.interpreter.clone());
        self.known.push(compiler);
        self.interpreters.len() - 1
    }

    /// Whether code that the interpreter of this number compiled is what the one of this index would compile.
    pub(super) fn compiles_as(&self, index: usize, compiler: InterpreterId) -> bool {
        let mut known = self.known.iter().filter(|known| known.id == compiler);
        known.any(|known| known.interpreter.compiles_as(&self.interpreters[index]))
    }

    /// The journal's number of the one of this index.
    pub(super) fn number(&self, index: usize) -> InterpreterId {
        self.numbers[index]
    }

    pub(super) fn find(&self, id: InterpreterId) -> Member<'_> {
        match self.index.get(&id) {
            Some(Place::Present(index)) => Member::Present(*index),
            Some(Place::Gone) => Member::Gone,
            Some(Place::Unusable(why)) => Member::Unusable(why),
            None => Member::Unknown,
        }
    }

    /// An interpreter that is present, with its index.
    pub(super) fn member(&self, id: InterpreterId) -> Result<(usize, &Interpreter)> {
        match self.find(id) {
            Member::Present(index) => Ok((index, &self.interpreters[index])),
            _ => Err(anyhow!("an interpreter is not there")),
        }
    }
}
