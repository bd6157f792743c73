//! Intents come in: recorded by anybody at any time.

use std::path::PathBuf;

use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::Journal;
use super::error::Result;
use super::history;
use super::registry::{Directories, bytes, mode_word, mounts_of, unreadable};
use super::transitions::now;
use crate::txn::intent::{Action, Batch, Directory, Group, Intent, IntentId, TxnId};

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
        let mounts = mounts_of(self.root.as_ref(), groups);
        self.write("journal: record", |write| {
            let txn = open_or_begin(write)?;
            insert(write, txn, (groups, &mounts))?;
            history::note_request(write, txn, &command, groups)?;
            Ok(TxnId(txn))
        })
    }

    /// Records and decides a removal in one write: it has nothing to stage. Pending intents for the same
    /// targets are forgotten. What is retired is added to the transaction that is retiring, which begins with it if
    /// there is none. The intents are those that were decided just now.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record_clean(&mut self, groups: &[Group], removal: Removal) -> Result<(TxnId, Batch)> {
        let command = self.command.clone();
        let mounts = mounts_of(self.root.as_ref(), groups);
        self.write("journal: decide clean", |write| {
            let retires = removal == Removal::Retire;
            let open = if retires { retiring(write)? } else { None };
            let txn = match open {
                Some(txn) => txn,
                None => write.query_row(
                    "INSERT INTO transactions (kind, state, held, began) VALUES ('clean', 'committing', ?1, ?2)
                     RETURNING id",
                    (retires, now()),
                    |row| row.get(0),
                )?,
            };
            let batch = insert_removals(write, txn, (groups, &mounts), retires)?;
            history::note_request(write, txn, &command, groups)?;
            Ok((TxnId(txn), batch))
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

/// The transaction that is retiring: decided, and held for what else is to be retired.
fn retiring(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let query = "SELECT id FROM transactions WHERE state = 'committing' AND held";
    connection.query_row(query, [], |row| row.get(0)).optional()
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

fn insert(
    connection: &Connection,
    txn: i64,
    (groups, mounts): (&[Group], &[Option<PathBuf>]),
) -> rusqlite::Result<()> {
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
    for (group, mount) in groups.iter().zip(mounts) {
        let directory = directories.number(connection, &group.directory, mount.as_deref())?;
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

/// Adds removals to a clean, with their outcome. One for a target that has one already, because it came back meanwhile,
/// takes its place; what was retired there before is then of no more use. They are found one by one, never by the
/// transaction, which has those of all packages that dpkg worked on.
fn insert_removals(
    connection: &Connection,
    txn: i64,
    (groups, mounts): (&[Group], &[Option<PathBuf>]),
    retires: bool,
) -> rusqlite::Result<Batch> {
    let recording = recording(connection)?;
    let mut directories = Directories::default();
    let mut number = take_numbers(connection, groups.iter().map(|group| group.actions.len()).sum())?;
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO intents (id, txn, directory, target, owner, outcome, retire)
         VALUES (?1, ?2, ?3, ?4, ?5, 'removed',
                 ?6 AND EXISTS (SELECT 1 FROM ledger WHERE directory = ?3 AND target = ?4))
         RETURNING retire",
    )?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM intents WHERE txn = ?1 AND directory = ?2 AND target = ?3 AND source IS NOT NULL",
    )?;
    let mut batch = Batch::default();
    for (group, mount) in groups.iter().zip(mounts) {
        let directory = directories.number(connection, &group.directory, mount.as_deref())?;
        // They were found there just now.
        batch.directories.push(Directory { number: directory, path: group.directory.clone(), mount: None });
        for action in &group.actions {
            let target = bytes(action.target());
            if let Some(recording) = recording {
                forget.execute(params![recording, directory, target])?;
            }
            let values = params![number, txn, directory, target, group.owner, retires];
            let retire = insert.query_row(values, |row| row.get(0))?;
            let (id, place) = (IntentId(number), batch.directories.len() - 1);
            batch.intents.push(Intent { id, directory: place, action: action.clone(), made: None, retire });
            number += 1;
        }
    }
    Ok(batch)
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
