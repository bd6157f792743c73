//! Changes of a transaction's state: one durable write each, and what must be true on disk before it.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::Journal;
use super::batch::open_or_begin;
use super::error::Result;
use super::history;
use super::registry::unreadable;
use crate::disk::{Durable, Identity};
use crate::txn::evidence::{Placed, Unchanged};
use crate::txn::intent::{Facts, Fault, IntentId, Outcome, TxnId};
use crate::txn::state::State;

impl Journal {
    /// Transactions that have not ended, the oldest first, with their states and whether they are held (see
    /// [`super::TransactionReport::held`]).
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn unfinished(&self) -> Result<Vec<(TxnId, State, bool)>> {
        self.read(|connection| {
            let mut statement = connection
                .prepare("SELECT id, state, held FROM transactions WHERE ended IS NULL ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok((TxnId(row.get(0)?), state(row.get_ref(1)?.as_str()?)?, row.get(2)?))
            })?;
            rows.collect()
        })
    }

    /// The state of a transaction; `None` where there is no such one.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn state(&self, txn: TxnId) -> Result<Option<State>> {
        self.read(|connection| {
            let query = "SELECT state FROM transactions WHERE id = ?1";
            connection.query_row(query, [txn.0], |row| state(row.get_ref(0)?.as_str()?)).optional()
        })
    }

    /// Writes outcomes of a transaction that is being staged. They are worth nothing until it is staged: see
    /// [`Journal::forget_outcomes`].
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn add_outcomes(&mut self, txn: TxnId, outcomes: &[(IntentId, Outcome)]) -> Result<()> {
        self.write("journal: outcomes", |write| write_outcomes(write, txn, outcomes).map(drop))
    }

    /// Whether a run that was interrupted while it staged has given some intents an outcome.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn has_outcomes(&self, txn: TxnId) -> Result<bool> {
        let query = "SELECT EXISTS (SELECT 1 FROM intents WHERE txn = ?1 AND outcome IS NOT NULL)";
        self.read(|connection| connection.query_row(query, [txn.0], |row| row.get(0)))
    }

    /// Makes pending again what a run that was interrupted while it staged has given an outcome.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn forget_outcomes(&mut self, txn: TxnId) -> Result<()> {
        self.write("journal: forget outcomes", |write| {
            forget_facts(write, txn, "outcome IS NOT NULL")?;
            write.execute(
                "UPDATE intents SET outcome = NULL, message = NULL, warnings = NULL, staged_in = NULL, reused = 0
                 WHERE txn = ?1 AND outcome IS NOT NULL",
                [txn.0],
            )?;
            Ok(())
        })
    }

    /// `recording` → `staged`, with the outcomes. Intents that came in or were recorded again after the
    /// transaction's were read have no outcome; they become the next open transaction's (invariant 8). Says
    /// which of `outcomes` are not part of the transaction any more.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn mark_staged(
        &mut self,
        txn: TxnId,
        outcomes: &[(IntentId, Outcome)],
        held: bool,
        _every_staged_file_is: &Durable,
    ) -> Result<Vec<IntentId>> {
        let (command, took) = (self.command.clone(), held.then(|| milliseconds(self.since.elapsed())));
        self.write("journal: staged", |write| {
            let superseded = write_outcomes(write, txn, outcomes)?;
            let query = "UPDATE transactions SET state = 'staged', held = ?2, took = ?3 WHERE id = ?1";
            write.execute(query, params![txn.0, held, took])?;
            return_intents(write, txn, "outcome IS NULL")?;
            history::note_work(write, txn, &command)?;
            Ok(superseded)
        })
    }

    /// `staged` → `committing`, with what has changed since: the decision.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn mark_committing(
        &mut self,
        txn: TxnId,
        changed: &[(IntentId, Outcome)],
        _every_source_is: &Unchanged,
    ) -> Result<()> {
        let command = self.command.clone();
        self.write("journal: committing", |write| {
            write_outcomes(write, txn, changed)?;
            return_those_out_of_reach(write, txn, changed)?;
            history::note_work(write, txn, &command)?;
            write.execute("UPDATE transactions SET state = 'committing', held = 0 WHERE id = ?1", [txn.0])?;
            Ok(())
        })
    }

    /// `committing` → `committed`, with what publishing found, and the ledger brought up to it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn mark_committed(&mut self, txn: TxnId, placed: &Placed, _every_rename_is: &Durable) -> Result<()> {
        let (rule, took) = (self.history, self.take_time());
        self.write("journal: committed", |write| {
            write_outcomes(write, txn, placed.exceptions())?;
            write_remains(write, txn, placed.remains())?;
            return_those_out_of_reach(write, txn, placed.exceptions())?;
            super::ledger::settle(write, txn)?;
            end(write, txn, State::Committed, None, took)?;
            history::settle(write, txn, rule)
        })
    }

    /// → `rolled-back`. Its intents are pending again, in the open transaction (invariant 11).
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn abandon(&mut self, txn: TxnId, reason: &str) -> Result<()> {
        let took = self.take_time();
        self.write("journal: rolled back", |write| {
            end(write, txn, State::RolledBack, Some(reason), took)?;
            return_intents(write, txn, "1")
        })
    }

    /// → `rolled-back`, and its intents are forgotten.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn forget(&mut self, txn: TxnId, reason: &str) -> Result<usize> {
        let took = self.take_time();
        self.write("journal: forget", |write| {
            let count = write.execute("DELETE FROM intents WHERE txn = ?1", [txn.0])?;
            end(write, txn, State::RolledBack, Some(reason), took)?;
            Ok(count)
        })
    }

    /// The milliseconds that this run has been at work on the transaction it ends; from here on on the next one.
    fn take_time(&mut self) -> i64 {
        milliseconds(std::mem::replace(&mut self.since, Instant::now()).elapsed())
    }
}

/// Makes pending again what is out of reach by these outcomes.
fn return_those_out_of_reach(
    write: &Connection,
    txn: TxnId,
    outcomes: &[(IntentId, Outcome)],
) -> rusqlite::Result<()> {
    let is_any = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::OutOfReach));
    if is_any { return_intents(write, txn, "outcome IS NULL") } else { Ok(()) }
}

/// Makes intents of a transaction pending in the open one, where a younger one for the same target goes first.
fn return_intents(write: &Connection, txn: TxnId, which: &str) -> rusqlite::Result<()> {
    let any = format!("SELECT EXISTS (SELECT 1 FROM intents WHERE txn = ?1 AND {which})");
    if !write.query_row(&any, [txn.0], |row| row.get(0))? {
        return Ok(());
    }
    let open = open_or_begin(write)?;
    forget_facts(write, txn, which)?;
    write.execute(
        &format!(
            "UPDATE OR IGNORE intents SET txn = ?2, outcome = NULL, message = NULL, warnings = NULL,
                    staged_in = NULL, retire = 0, reused = 0
             WHERE txn = ?1 AND {which}"
        ),
        [txn.0, open],
    )?;
    write.execute(&format!("DELETE FROM intents WHERE txn = ?1 AND {which}"), [txn.0])?;
    history::inherit(write, txn, open)?;
    Ok(())
}

/// Forgets what was found for intents of a transaction.
fn forget_facts(write: &Connection, txn: TxnId, which: &str) -> rusqlite::Result<()> {
    let query = format!("DELETE FROM facts WHERE id IN (SELECT id FROM intents WHERE txn = ?1 AND {which})");
    write.execute(&query, [txn.0])?;
    Ok(())
}

fn end(
    write: &Connection,
    txn: TxnId,
    state: State,
    message: Option<&str>,
    took: i64,
) -> rusqlite::Result<()> {
    let query = "UPDATE transactions SET state = ?2, held = 0, ended = ?3, message = ?4,
                                         took = coalesce(took, 0) + ?5
                 WHERE id = ?1";
    write.execute(query, params![txn.0, state.word(), now(), message, took])?;
    Ok(())
}

/// Writes outcomes; says which intents are not there any more.
fn write_outcomes(
    write: &Connection,
    txn: TxnId,
    outcomes: &[(IntentId, Outcome)],
) -> rusqlite::Result<Vec<IntentId>> {
    let mut settle = write.prepare_cached(
        "UPDATE OR FAIL intents SET outcome = ?3, message = ?4, warnings = ?5, staged_in = ?6, reused = ?7,
                interpreter = coalesce(?8, interpreter)
         WHERE id = ?1 AND txn = ?2",
    )?;
    let mut found = write.prepare_cached(
        "INSERT OR REPLACE INTO facts (id, device, inode, size, mtime, ctime,
                                       source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime, canonical)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let mut missing = Vec::new();
    for (id, outcome) in outcomes {
        let Columns { word, message, warnings, staged_in, reused, compiler } = Columns::of(outcome)?;
        if settle.execute(params![id.0, txn.0, word, message, warnings, staged_in, reused, compiler])? == 0 {
            missing.push(*id);
            continue;
        }
        match outcome {
            Outcome::Compiled(facts, _) | Outcome::Adopted(facts) => {
                write_found(&mut found, *id, &facts.source, Some(facts))?;
            }
            Outcome::Failed(failure) => write_found(&mut found, *id, &failure.source, None)?,
            Outcome::Current | Outcome::Removed | Outcome::Vanished | Outcome::OutOfReach => {}
        }
    }
    Ok(missing)
}

/// Writes what removals left behind; they have removed their targets all the same.
fn write_remains(write: &Connection, txn: TxnId, remains: &[(IntentId, String)]) -> rusqlite::Result<()> {
    let mut note =
        write.prepare_cached("UPDATE OR FAIL intents SET message = ?3 WHERE id = ?1 AND txn = ?2")?;
    for (id, message) in remains {
        note.execute(params![id.0, txn.0, message])?;
    }
    Ok(())
}

/// An outcome in the columns of an intent.
#[derive(Default)]
struct Columns<'a> {
    word: Option<&'static str>,
    message: Option<&'a str>,
    warnings: Option<&'a str>,
    staged_in: Option<i64>,
    reused: bool,
    /// Whoever it was recorded for, another release may have come to its path since.
    compiler: Option<i32>,
}

impl<'a> Columns<'a> {
    fn of(outcome: &'a Outcome) -> rusqlite::Result<Self> {
        let plain = |word| Self { word: Some(word), ..Self::default() };
        Ok(match outcome {
            Outcome::Compiled(facts, place) => {
                Self { staged_in: Some(number(*place)?), ..Self::of_facts("compiled", facts) }
            }
            Outcome::Adopted(facts) => Self::of_facts("adopted", facts),
            Outcome::Failed(failure) => {
                let word = match failure.fault {
                    Fault::Refused => "refused",
                    Fault::Lost => "lost",
                    Fault::Unreadable => "unreadable",
                };
                let compiler = failure.compiler.map(|compiler| compiler.0);
                Self { message: Some(&failure.message), compiler, ..plain(word) }
            }
            Outcome::Current => plain("current"),
            Outcome::Removed => plain("removed"),
            Outcome::Vanished => plain("vanished"),
            Outcome::OutOfReach => Self::default(),
        })
    }

    fn of_facts(word: &'static str, facts: &'a Facts) -> Self {
        let warnings = (!facts.warnings.is_empty()).then_some(facts.warnings.as_str());
        let compiler = Some(facts.compiler.0);
        Self { word: Some(word), warnings, reused: facts.reused, compiler, ..Self::default() }
    }
}

/// Writes what was found of a source, and what was made of it.
fn write_found(
    statement: &mut Statement<'_>,
    id: IntentId,
    source: &Identity,
    made: Option<&Facts>,
) -> rusqlite::Result<()> {
    statement.execute(params![
        id.0,
        source.device.cast_signed(),
        source.inode.cast_signed(),
        source.size.cast_signed(),
        source.mtime,
        source.ctime,
        made.map(|facts| facts.source_hash),
        made.map(|facts| facts.code_hash),
        made.map(|facts| facts.pyc.inode.cast_signed()),
        made.map(|facts| facts.pyc.size.cast_signed()),
        made.map(|facts| facts.pyc.mtime),
        made.is_some_and(|facts| facts.canonical),
    ])?;
    Ok(())
}

fn number(place: usize) -> rusqlite::Result<i64> {
    i64::try_from(place).map_err(|_| unreadable(0, "a number too large"))
}

fn state(word: &str) -> rusqlite::Result<State> {
    word.parse().map_err(|error: crate::txn::state::UnknownState| unreadable(0, &error.to_string()))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since 1970 (UTC).
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}
