//! `log`: the transactions so far, or one in full.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::txn::intent::TxnId;
use crate::txn::journal::{Counts, IntentReport, TransactionReport};
use crate::txn::plan::located;

use super::Status;
use super::report::result;
use super::session::Run;

/// What `log ID --json` prints.
#[derive(Debug, Serialize)]
struct Full {
    #[serde(flatten)]
    transaction: TransactionReport,
    intents: Vec<IntentReport>,
}

/// Lists the transactions, the latest first.
pub(super) fn all(run: &Run<'_>, json: bool) -> Result<Status> {
    let transactions = match run.journal_to_read()? {
        Some(journal) => journal.transactions()?,
        None => Vec::new(),
    };
    if json {
        result(&serde_json::to_string_pretty(&transactions)?);
    } else {
        transactions.iter().for_each(|transaction| result(&line(transaction)));
    }
    Ok(Status::Done)
}

/// Shows one transaction with all its intents.
pub(super) fn one(run: &Run<'_>, id: i64, json: bool) -> Result<Status> {
    let journal = run.journal_to_read()?;
    let found = match &journal {
        Some(journal) => journal.transaction(TxnId(id))?.map(|found| (journal, found)),
        None => None,
    };
    let Some((journal, transaction)) = found else { bail!("there is no transaction {id}") };
    let intents = journal.intent_reports(TxnId(id), false)?;
    if json {
        result(&serde_json::to_string_pretty(&Full { transaction, intents })?);
        return Ok(Status::Done);
    }
    result(&line(&transaction));
    for intent in &intents {
        let outcome = intent.outcome.as_deref().unwrap_or("pending");
        let what = located(&intent.path, intent.message.as_deref().unwrap_or_default());
        let by = intent.interpreter.as_deref().unwrap_or("-");
        result(&format!("  {outcome:<10} {by:<12} {}", what.trim_end_matches(": ").trim_end_matches(':')));
        for warning in intent.warnings.iter().flat_map(|warnings| warnings.lines()) {
            result(&format!("    line {}", warning.replacen('\t', ": ", 1)));
        }
    }
    Ok(Status::Done)
}

fn line(transaction: &TransactionReport) -> String {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(transaction.began.max(0).cast_unsigned());
    let message = transaction.message.as_ref().map(|message| format!("  {message}")).unwrap_or_default();
    format!(
        "{:>5}  {}  {:<6}  {:<11}  {}{message}",
        transaction.id,
        humantime::format_rfc3339_seconds(began),
        transaction.kind,
        transaction.state,
        describe(&transaction.counts),
    )
}

/// The counts that are not zero.
fn describe(counts: &Counts) -> String {
    let all = [
        ("pending", counts.pending),
        ("compiled", counts.compiled),
        ("reused", counts.reused),
        ("adopted", counts.adopted),
        ("up to date", counts.current),
        ("removed", counts.removed),
        ("vanished", counts.vanished),
        ("failed", counts.failed),
    ];
    let some: Vec<String> =
        all.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}")).collect();
    some.join(", ")
}
