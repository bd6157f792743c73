//! Intents come in: recorded by anybody at any time.

use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::Journal;
use super::error::Result;
use super::history;
use super::registry::{Directories, bytes, mode_word, unreadable};
use super::transitions::now;
use crate::txn::intent::{Action, Group, TxnId};

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
            bytes(&compile.source()),
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
