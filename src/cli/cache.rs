//! `cache`: how things stand with the shared bytecode cache, and clearing it.

use anyhow::{Result, anyhow};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::cache::{Contents, Refused, Store};
use crate::disk::{Escaped, Quoted};

use super::Status;
use super::report;
use super::session::Run;

/// What `cache --json` prints; the manual page has it.
#[derive(Debug, Serialize)]
struct Report {
    path: Option<String>,
    #[serde(flatten)]
    contents: Contents,
    /// In bytes; `null`: none.
    limit: Option<u64>,
    /// Why it is not used.
    problem: Option<String>,
}

/// Shows where the cache is, what is in it, and of how much use it was.
pub(super) fn show(run: &Run<'_>, json: bool) -> Result<Status> {
    let place = &run.config.settings.cache;
    let found = place.path.as_deref().map_or(Ok(None), Store::find);
    let contents = found.and_then(|store| Ok(store.map(|store| store.contents()).transpose()?));
    let (contents, problem) = match contents {
        Ok(contents) => (contents.unwrap_or_default(), None),
        Err(refused) => (Contents::default(), Some(refused.to_string())),
    };
    let status = if problem.is_none() { Status::Done } else { Status::SomeFailed };
    let path = place.path.as_deref().map(|path| Escaped(path).to_string());
    let report = Report { path, contents, limit: place.limit(), problem };
    if json {
        report::json(&report)?;
    } else {
        tell(run, &report);
    }
    Ok(status)
}

fn tell(run: &Run<'_>, report: &Report) {
    let (Some(path), contents) = (&report.path, &report.contents) else {
        return run.reporter.result("pyc-txn: no cache is configured");
    };
    if let Some(problem) = &report.problem {
        return run.reporter.failure(&format!("pyc-txn: the cache '{path}' is not used: {problem}"));
    }
    let size = DecimalBytes(contents.bytes);
    let size = match report.limit {
        Some(limit) => format!("{size} of {}", DecimalBytes(limit)),
        None => size.to_string(),
    };
    let (entries, hits, misses) =
        (contents.entries.to_string(), contents.hits.to_string(), contents.misses.to_string());
    for (word, value) in
        [("path", path), ("entries", &entries), ("size", &size), ("hits", &hits), ("misses", &misses)]
    {
        run.reporter.result(&format!("{word:<8} {value}"));
    }
}

/// Removes everything that is in the cache.
pub(super) fn clear(run: &Run<'_>) -> Result<Status> {
    let Some(path) = run.config.settings.cache.path.as_deref() else {
        run.reporter.result("pyc-txn: no cache is configured");
        return Ok(Status::Done);
    };
    let refused = |why: Refused| anyhow!("the cache {} is not cleared: {why}", Quoted(path));
    let store = Store::find(path).map_err(refused)?;
    let cleared = store.map_or(Ok(Some(0)), |store| store.clear(run.config.patience))?;
    let Some(entries) = cleared else {
        run.reporter.failure("pyc-txn: another pyc-txn holds the cache's lock and did not let go in time");
        return Ok(Status::Locked);
    };
    run.reporter.result(&format!("pyc-txn: {entries} entries removed from the cache {}", Quoted(path)));
    Ok(Status::Done)
}
