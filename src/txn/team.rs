//! The interpreters that compile a transaction, as they are now.

use std::collections::HashMap;

use anyhow::{Result, anyhow};

use super::compilers;
use super::intent::{InterpreterId, Share};
use super::lock::Writer;
use crate::disk;
use crate::interrupt::Interrupt;
use crate::python::interpreter::Interpreter;

/// The interpreters.
pub(super) struct Team {
    pub(super) interpreters: Vec<Interpreter>,
    /// By the journal's number; `None` for one that is gone, or calls itself otherwise now.
    index: HashMap<InterpreterId, Option<usize>>,
}

/// Whether there is an interpreter.
pub(super) enum Member {
    /// Yes, of this index.
    Present(usize),
    /// Not any more.
    Gone,
    /// It was not asked for, or its filesystem is not mounted.
    Unknown,
}

impl Team {
    /// The interpreters of `shares`.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub(super) fn gather(writer: &mut Writer<'_>, shares: &[Share], interrupt: &Interrupt) -> Result<Self> {
        let known = compilers::known(&writer.journal)?;
        let mut team = Self { interpreters: Vec::new(), index: HashMap::new() };
        for share in shares {
            if team.index.contains_key(&share.interpreter) {
                continue;
            }
            let before = known.iter().find(|known| known.id == share.interpreter);
            if before.is_some_and(|before| !before.interpreter.path.exists())
                && let Some(mount) = writer.journal.mount_of_interpreter(share.interpreter)?
                && !disk::is_mounted(&mount)
            {
                continue;
            }
            let now = match before {
                Some(before) if before.interpreter.path.exists() => {
                    let now = compilers::resolve(&mut writer.journal, &before.interpreter.path, interrupt)?;
                    Some(now.interpreter).filter(|now| now.cache_tag == before.interpreter.cache_tag)
                }
                _ => None,
            };
            let index = now.map(|interpreter| {
                team.interpreters.push(interpreter);
                team.interpreters.len() - 1
            });
            team.index.insert(share.interpreter, index);
        }
        Ok(team)
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
