//! Intents: recorded by anybody at any time, read by the one who holds the lock.

use std::collections::HashMap;

use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::Journal;
use super::error::Result;
use super::history;
use super::registry::{Directories, bytes, identity, mode, mode_word, name, path, unreadable};
use super::transitions::now;
use crate::disk::Identity;
use crate::python::pycache::{Level, Remnant, Target};
use crate::txn::intent::{
    Action, Batch, Compile, Group, Intent, IntentId, InterpreterId, Made, Stamp, TxnId,
};

/// Which intents of a transaction to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those without an outcome.
    Pending,
    /// Those that rest on a source: compiled and adopted ones.
    Compiled,
    /// Those that change something outside: compiled and removed ones.
    ToPublish,
}

/// What becomes of a file that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It goes.
    Delete,
    /// If the ledger has it, it is kept until the next commit of everything that is wanted.
    Retire,
}

impl Journal {
    /// Adds intents to the open transaction, which begins with them if there is none. One for a target that
    /// has one already takes its place, under a new number; it stays the other's who asked for it, and forced.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record(&mut self, groups: &[Group]) -> Result<TxnId> {
        let command = self.command.clone();
        self.write("journal: record", |write| {
            let txn = open_or_begin(write)?;
            insert(write, txn, groups)?;
            history::note_request(write, txn, &command, groups)?;
            Ok(TxnId(txn))
        })
    }

    /// Records and decides a removal in one write: it has nothing to stage. Pending intents for the same
    /// targets are forgotten.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record_clean(&mut self, groups: &[Group], removal: Removal) -> Result<TxnId> {
        let command = self.command.clone();
        self.write("journal: decide clean", |write| {
            let txn = write.query_row(
                "INSERT INTO transactions (kind, state, began) VALUES ('clean', 'committing', ?1) RETURNING id",
                [now()],
                |row| row.get(0),
            )?;
            insert(write, txn, groups)?;
            history::note_request(write, txn, &command, groups)?;
            write.execute(
                "UPDATE intents SET outcome = 'removed',
                        retire = ?2 AND (directory, target) IN (SELECT directory, target FROM ledger)
                 WHERE txn = ?1",
                (txn, removal == Removal::Retire),
            )?;
            write.execute(
                "DELETE FROM intents WHERE source IS NOT NULL
                     AND txn = (SELECT id FROM transactions WHERE state = 'recording')
                     AND (directory, target) IN (SELECT directory, target FROM intents WHERE txn = ?1)",
                [txn],
            )?;
            Ok(TxnId(txn))
        })
    }

    /// The open transaction, if there is one.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn recording(&self) -> Result<Option<TxnId>> {
        Ok(self.read(recording)?.map(TxnId))
    }

    /// The intents of a transaction, ordered by directory.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn intents(&self, txn: TxnId, which: Which) -> Result<Batch> {
        let filter = match which {
            Which::Pending => "outcome IS NULL",
            Which::Compiled => "outcome IN ('compiled', 'adopted')",
            Which::ToPublish => "outcome IN ('compiled', 'removed')",
        };
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT intents.id, directory, path, target, source, interpreter, level, mode, force,
                        intents.size, intents.mtime, retire, facts.id, staged_in,
                        facts.inode, facts.size, facts.mtime, facts.ctime, device
                 FROM intents JOIN directories ON directories.id = directory
                 LEFT JOIN facts ON facts.id = intents.id
                 WHERE txn = ?1 AND {filter} ORDER BY directory, intents.id"
            ))?;
            let mut batch = Batch::default();
            let mut numbers = HashMap::new();
            let mut rows = statement.query([txn.0])?;
            while let Some(row) = rows.next()? {
                let next = batch.directories.len();
                let directory = *numbers.entry(row.get::<_, i64>(1)?).or_insert(next);
                if directory == next {
                    batch.directories.push(path(row, 2)?);
                }
                let (id, retire) = (IntentId(row.get(0)?), row.get(11)?);
                batch.intents.push(Intent { id, directory, action: action(row)?, made: made(row)?, retire });
            }
            Ok(batch)
        })
    }
}

pub(super) fn recording(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .query_row("SELECT id FROM transactions WHERE state = 'recording'", [], |row| row.get(0))
        .optional()
}

pub(super) fn open_or_begin(connection: &Connection) -> rusqlite::Result<i64> {
    if let Some(txn) = recording(connection)? {
        return Ok(txn);
    }
    connection.query_row(
        "INSERT INTO transactions (kind, state, began) VALUES ('commit', 'recording', ?1) RETURNING id",
        [now()],
        |row| row.get(0),
    )
}

fn insert(connection: &Connection, txn: i64, groups: &[Group]) -> rusqlite::Result<()> {
    let mut directories = Directories::default();
    let count: usize = groups.iter().map(|group| group.actions.len()).sum();
    let mut number = take_numbers(connection, count)?;
    let mut remove = connection.prepare_cached(
        "DELETE FROM intents WHERE txn = ?1 AND directory = ?2 AND target = ?3 RETURNING owner, force",
    )?;
    let mut insert = connection.prepare_cached(
        "INSERT OR FAIL INTO intents (id, txn, directory, target, owner, source, interpreter, level, mode,
                                      force, size, mtime)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for group in groups {
        let directory = directories.number(connection, &group.directory)?;
        for action in &group.actions {
            // An intent that is recorded again gets a new number: a run that is staging the old one notices.
            let earlier: Option<(Option<String>, bool)> = remove
                .query_row(params![txn, directory, bytes(action.target())], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let (owner, force) = earlier.unwrap_or_default();
            let owner = group.owner.as_deref().or(owner.as_deref());
            insert_one(&mut insert, (number, txn, directory), (owner, force), action)?;
            number += 1;
        }
    }
    Ok(())
}

/// Takes numbers for so many intents; the first of them.
fn take_numbers(connection: &Connection, count: usize) -> rusqlite::Result<i64> {
    let count = i64::try_from(count).map_err(|_| unreadable(0, "too many intents"))?;
    let query = "UPDATE OR FAIL numbers SET next_intent = next_intent + ?1 RETURNING next_intent - ?1";
    connection.query_row(query, [count], |row| row.get(0))
}

fn insert_one(
    statement: &mut Statement<'_>,
    (number, txn, directory): (i64, i64, i64),
    (owner, force): (Option<&str>, bool),
    action: &Action,
) -> rusqlite::Result<()> {
    let target = bytes(action.target());
    match action {
        Action::Remove(_) => {
            let nothing = Null;
            statement.execute(params![
                number, txn, directory, target, owner, nothing, nothing, nothing, nothing, false, nothing,
                nothing,
            ])
        }
        Action::Compile(compile) => statement.execute(params![
            number,
            txn,
            directory,
            target,
            owner,
            bytes(&compile.source),
            compile.interpreter.0,
            compile.level.number(),
            mode_word(compile.mode),
            compile.force || force,
            compile.seen.size.cast_signed(),
            compile.seen.mtime,
        ]),
    }?;
    Ok(())
}

/// The action in a row of [`Journal::intents`]. The names of targets are built again from their sources, so
/// that not even a journal from elsewhere can name another file.
fn action(row: &Row<'_>) -> rusqlite::Result<Action> {
    let target = name(row, 3)?;
    if row.get_ref(4)? == ValueRef::Null {
        let remnant = Remnant::parse(&target);
        return remnant.map(Action::Remove).ok_or_else(|| unreadable(3, "a target that is no bytecode"));
    }
    let source = name(row, 4)?;
    let level = Level::new(row.get(6)?).ok_or_else(|| unreadable(6, "no such level"))?;
    let seen = Stamp { size: row.get::<_, i64>(9)?.cast_unsigned(), mtime: row.get(10)? };
    let tag = Remnant::parse(&target).map(|remnant| String::from_utf8_lossy(remnant.tag()).into_owned());
    let rebuilt = tag.and_then(|tag| Target::of(&source, &tag, level).ok());
    match rebuilt {
        Some(rebuilt) if rebuilt.name() == target => Ok(Action::Compile(Compile {
            source,
            target: rebuilt,
            interpreter: InterpreterId(row.get(5)?),
            level,
            mode: mode(row, 7)?,
            force: row.get(8)?,
            seen,
        })),
        _ => Err(unreadable(3, "a target that is not its source's")),
    }
}

/// What was made, in a row of [`Journal::intents`].
fn made(row: &Row<'_>) -> rusqlite::Result<Option<Made>> {
    if row.get_ref(12)? == ValueRef::Null {
        return Ok(None);
    }
    let staged_in = row.get::<_, Option<i64>>(13)?.and_then(|number| usize::try_from(number).ok());
    let source = Identity { device: row.get::<_, i64>(18)?.cast_unsigned(), ..identity(row, 14)? };
    Ok(Some(Made { source, staged_in }))
}
