//! Interpreters, asked once: the journal remembers the answer of each binary, by the binary's identity. This process
//! remembers failures too, because one that hangs takes half a minute.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};

use super::intent::InterpreterId;
use super::journal::Journal;
use crate::disk::{Identity, Quoted, cause};
use crate::interrupt::Interrupt;
use crate::python::interpreter::{Interpreter, binary_identity};
use crate::python::pool::Interrupted;

/// The number of an interpreter that no journal knows: a dry run writes none.
const UNKNOWN: InterpreterId = InterpreterId(-1);

/// An interpreter with its number in the journal.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// Its number.
    pub id: InterpreterId,
    /// What it is.
    pub interpreter: Interpreter,
}

/// Every interpreter that the journal knows, whether it is still there or not; of one that was replaced by another release
/// the latest comes last.
///
/// # Errors
/// The journal cannot be read.
pub fn known(journal: &Journal) -> Result<Vec<Compiler>> {
    let all = journal.interpreters()?;
    Ok(all.into_iter().map(|(id, interpreter, _)| Compiler { id, interpreter }).collect())
}

/// The interpreter at `path`: as the journal remembers it if the binary is still the same, else asked and
/// remembered.
///
/// # Errors
/// It is not there, is none, or the journal cannot be used.
pub fn resolve(journal: &mut Journal, path: &Path, interrupt: &Interrupt) -> Result<Compiler> {
    let path = canonical(path)?;
    let identity = binary_identity(&path)?;
    if let Some(compiler) = remembered(journal, &path, identity)? {
        return Ok(compiler);
    }
    let interpreter = ask_once(&path, identity, interrupt)?;
    let id = journal.remember(&interpreter, &identity.unwrap_or_default())?;
    Ok(Compiler { id, interpreter })
}

/// As [`resolve`], for a run that only records: an interpreter that does not answer just now, while its package is
/// being upgraded, is taken for what it was. Who compiles asks again.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_or_remember(journal: &mut Journal, path: &Path, interrupt: &Interrupt) -> Result<Compiler> {
    resolve(journal, path, interrupt).or_else(|error| {
        let path = canonical(path)?;
        known(journal)?.into_iter().rfind(|known| known.interpreter.path == path).ok_or(error)
    })
}

/// As [`resolve`], for a run that writes nothing.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_quietly(journal: Option<&Journal>, path: &Path, interrupt: &Interrupt) -> Result<Compiler> {
    let path = canonical(path)?;
    let identity = binary_identity(&path)?;
    let remembered = journal.map(|journal| remembered(journal, &path, identity)).transpose()?.flatten();
    match remembered {
        Some(compiler) => Ok(compiler),
        None => Ok(Compiler { id: UNKNOWN, interpreter: ask_once(&path, identity, interrupt)? }),
    }
}

/// An interpreter as it describes itself, or the reason why it does not.
type Answer = std::result::Result<Interpreter, String>;

/// The answers that this process was given, by path and binary.
static ANSWERS: Mutex<Vec<(PathBuf, Option<Identity>, Answer)>> = Mutex::new(Vec::new());

/// Asks an interpreter, unless this process has done so before.
fn ask_once(path: &Path, binary: Option<Identity>, interrupt: &Interrupt) -> Result<Interpreter> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = answers.iter().find(|(other, at, _)| other == path && *at == binary);
    if let Some((.., answer)) = earlier {
        return answer.clone().map_err(anyhow::Error::msg);
    }
    let answer = Interpreter::ask(path, interrupt).map_err(|error| format!("{error:#}"));
    if interrupt.signalled() {
        return Err(Interrupted.into());
    }
    answers.push((path.to_owned(), binary, answer.clone()));
    answer.map_err(anyhow::Error::msg)
}

fn remembered(journal: &Journal, path: &Path, identity: Option<Identity>) -> Result<Option<Compiler>> {
    let Some(identity) = identity else { return Ok(None) };
    let mut all = journal.interpreters()?.into_iter();
    let is_this =
        |known: &Interpreter, binary: &Identity| known.path == path && binary.same_content(&identity);
    let found = all.find(|(_, known, binary)| known.is_identified() && is_this(known, binary));
    Ok(found.map(|(id, interpreter, _)| Compiler { id, interpreter }))
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| anyhow!("cannot open {}: {}", Quoted(path), cause(&error)))
}
