//! `log`: the transactions so far, or one in full.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::disk::Text;
use crate::txn::intent::TxnId;
use crate::txn::journal::{Counts, IntentReport, TransactionReport};
use crate::txn::plan::located;

use super::Status;
use super::report::{self, result};
use super::session::Run;

/// What `log ID --json` prints.
#[derive(Debug, Serialize)]
struct Full {
    #[serde(flatten)]
    transaction: TransactionReport,
    intents: Vec<IntentReport>,
    /// How many of its intents the history does not have any more.
    trimmed: u64,
}

/// So many causes are said in a line; `log ID` has the others.
const CAUSES_IN_A_LINE: usize = 3;

/// Lists the transactions, the latest first.
pub(super) fn all(run: &Run<'_>, json: bool) -> Result<Status> {
    let transactions = match run.journal_to_read()? {
        Some(journal) => journal.transactions()?,
        None => Vec::new(),
    };
    if json {
        report::json(&transactions)?;
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
    let trimmed = transaction.counts.total().saturating_sub(intents.len() as u64);
    if json {
        report::json(&Full { transaction, intents, trimmed })?;
        return Ok(Status::Done);
    }
    result(&line(&transaction));
    for cause in &transaction.causes {
        let package =
            cause.package.as_ref().map(|package| format!(", for {}", Text(package))).unwrap_or_default();
        result(&format!("  because of '{}'{package}", Text(&cause.command)));
    }
    for intent in &intents {
        let outcome = intent.outcome.as_deref().unwrap_or("pending");
        let what = located(&intent.path, intent.message.as_deref().unwrap_or_default());
        let by = intent.interpreter.as_deref().unwrap_or("-");
        result(&format!("  {outcome:<10} {by:<12} {}", what.trim_end_matches(": ").trim_end_matches(':')));
        tell_warnings(intent.warnings.as_deref().unwrap_or_default());
    }
    if trimmed > 0 {
        result(&format!("  {trimmed} intents are not in the history any more"));
    }
    Ok(Status::Done)
}

/// Prints the warnings of a source. Journals of older programs may have any number.
fn tell_warnings(warnings: &str) {
    // The last of them may be the number of the others.
    const MOST: usize = report::MOST + 1;
    warnings.lines().take(MOST).for_each(|warning| result(&format!("    {}", described(warning))));
    let more = warnings.lines().skip(MOST).count();
    if more > 0 {
        result(&format!("    and {more} more"));
    }
}

/// A warning in words; the last one may say how many more there were.
fn described(warning: &str) -> String {
    match warning.split_once('\t') {
        Some((line, what)) => format!("line {}: {}", Text(line), Text(what)),
        None => Text(warning).to_string(),
    }
}

fn line(transaction: &TransactionReport) -> String {
    let parts = [describe(&transaction.counts), cost(transaction), because(transaction)];
    let message = Text(transaction.message.as_deref().unwrap_or_default()).to_string();
    let parts: Vec<String> = parts.into_iter().chain([message]).filter(|part| !part.is_empty()).collect();
    format!(
        "{:>5}  {}  {:<6}  {:<11}  {}",
        transaction.id,
        date(transaction.began),
        transaction.kind,
        transaction.state,
        parts.join("; "),
    )
}

/// A time in seconds since 1970.
pub(super) fn date(seconds: i64) -> humantime::Rfc3339Timestamp {
    let since = Duration::from_secs(seconds.max(0).cast_unsigned());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since)
}

/// The bytes it wrote and the time it took.
fn cost(transaction: &TransactionReport) -> String {
    let bytes = (transaction.bytes > 0).then(|| indicatif::DecimalBytes(transaction.bytes).to_string());
    let took = transaction.took.map(|took| Duration::from_millis(took.max(0).cast_unsigned()));
    let took = took.map(|took| format!("{:.2} s", took.as_secs_f64()));
    bytes.into_iter().chain(took).collect::<Vec<_>>().join(" in ")
}

/// The commands that led to it.
fn because(transaction: &TransactionReport) -> String {
    let commands: BTreeSet<&str> = transaction.causes.iter().map(|cause| cause.command.as_str()).collect();
    let more = commands.len().saturating_sub(CAUSES_IN_A_LINE);
    let mut said: Vec<&str> = commands.into_iter().take(CAUSES_IN_A_LINE).collect();
    let more = format!("{more} more");
    said.extend((more != "0 more").then_some(more.as_str()));
    said.join(", ")
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
