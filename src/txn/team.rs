//! The interpreters that compile a transaction, as they are now.

use std::collections::HashMap;

use anyhow::{Result, anyhow};

use super::compilers::{self, Compiler};
use super::intent::{InterpreterId, Share};
use super::lock::Writer;
use crate::interrupt::Interrupt;
use crate::python::interpreter::Interpreter;

/// The interpreters.
pub(super) struct Team {
    pub(super) interpreters: Vec<Interpreter>,
    /// Their numbers as they are now: an intent may have been recorded for the release before.
    numbers: Vec<InterpreterId>,
    /// All that the journal knows.
    known: Vec<Compiler>,
    /// By the journal's number; `None` for one that is gone, or calls itself otherwise now.
    index: HashMap<InterpreterId, Option<usize>>,
}

/// Whether there is an interpreter.
pub(super) enum Member {
    /// Yes, of this index.
    Present(usize),
    /// Not any more.
    Gone,
    /// It was not asked for.
    Unknown,
}

impl Team {
    /// The interpreters of `shares`.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub(super) fn gather(writer: &mut Writer<'_>, shares: &[Share], interrupt: &Interrupt) -> Result<Self> {
        let known = compilers::known(&writer.journal)?;
        let (interpreters, numbers) = (Vec::new(), Vec::new());
        let mut team = Self { interpreters, numbers, known, index: HashMap::new() };
        for share in shares {
            if team.index.contains_key(&share.interpreter) {
                continue;
            }
            let before = team.known.iter().find(|known| known.id == share.interpreter);
            let now = match before.map(|before| &before.interpreter) {
                Some(before) if before.path.exists() => {
                    let now = compilers::resolve(&mut writer.journal, &before.path, interrupt)?;
                    Some(now).filter(|now| now.interpreter.cache_tag == before.cache_tag)
                }
                _ => None,
            };
            let index = now.map(|now| team.add(now));
            team.index.insert(share.interpreter, index);
        }
        Ok(team)
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

    pub(super) fn find(&self, id: InterpreterId) -> Member {
        match self.index.get(&id) {
            Some(Some(index)) => Member::Present(*index),
            Some(None) => Member::Gone,
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
