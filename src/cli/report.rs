//! Words on the terminal: results to stdout, everything else to stderr, a progress bar where somebody watches.
//!
//! Owns that words cannot stop the work: a stdout that cannot be written is remembered, and counts at the end. And that
//! they do no harm: nothing is written that a terminal obeys, and of many failures the first are.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Status;
use crate::config::Verbosity;
use crate::disk::{self, Lines};
use crate::txn::journal::Counts;
use crate::txn::observer::Observer;

/// Work that is over before this needs no progress bar.
const WORTH_A_BAR: Duration = Duration::from_millis(500);

/// How often the bar is drawn anew: it moves, and costs nothing.
const REDRAW: Duration = Duration::from_millis(100);

/// So many failures are printed; of the others their number.
pub(super) const MOST: usize = 100;

/// Why nothing more is written to stdout: the error of the first write that failed.
static UNWRITABLE: OnceLock<io::Error> = OnceLock::new();

/// Says what the verbosity allows.
#[derive(Debug)]
pub(super) struct Reporter {
    verbosity: Verbosity,
    /// Whether this is part of a package manager's run: then what goes wrong takes one line, and nothing none.
    terse: bool,
    failures: Mutex<Failures>,
    began: Instant,
    progress: Mutex<Progress>,
}

/// What went wrong with single sources.
#[derive(Debug, Default)]
struct Failures {
    /// How many there were.
    count: usize,
    /// The first of them, which a terse reporter has kept to itself.
    first: String,
}

#[derive(Debug, Default)]
struct Progress {
    sources: u64,
    done: u64,
    bytes: u64,
    bytes_done: u64,
    bar: Option<ProgressBar>,
    drawn: Option<Instant>,
}

/// Prints an error and its causes, the hint on a line of its own.
pub(super) fn error(error: &anyhow::Error) {
    say(&format!("pyc-txn: {error:#}"));
}

/// As [`error`], in one line if need be.
pub(super) fn failed(cause: &anyhow::Error, in_one_line: bool) {
    if in_one_line { say(&format!("pyc-txn: {}", one_line(cause))) } else { error(cause) }
}

/// An error, its causes and its hint in one line.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}

/// Prints a line that something is not as it should be.
pub(super) fn complain(line: &str) {
    say(line);
}

/// Prints lines that something is not as it should be, the first of them and the number of the others.
pub(super) fn complain_of(lines: &[String]) {
    lines.iter().take(MOST).for_each(|line| say(line));
    if lines.len() > MOST {
        say(&format!("pyc-txn: and {} more", lines.len() - MOST));
    }
}

/// Prints a line to stderr; a stderr that is closed changes nothing about what is to be done.
fn say(line: &str) {
    // In one write: stderr has no buffer.
    let _ = io::stderr().write_all(format!("{}\n", Lines(line)).as_bytes());
}

/// Prints a line to stdout. After the first one that cannot be written no other is: where a reader has gone away
/// (`| head`) nobody needs them, and on a full disk half a report is none. [`concluded`] makes it count.
pub(super) fn result(line: &str) {
    write_result(&format!("{}\n", Lines(line)));
}

/// Prints `report` as JSON, as [`result`] does; characters that a terminal obeys in JSON's own escapes.
pub(super) fn json(report: &impl Serialize) -> Result<()> {
    let mut text = String::new();
    for character in serde_json::to_string_pretty(report)?.chars() {
        match character {
            command if disk::is_command(command) && command != '\n' => {
                text.push_str(&format!("\\u{:04x}", u32::from(command)));
            }
            plain => text.push(plain),
        }
    }
    text.push('\n');
    write_result(&text);
    Ok(())
}

fn write_result(text: &str) {
    if UNWRITABLE.get().is_none()
        && let Err(error) = io::stdout().write_all(text.as_bytes())
    {
        let _ = UNWRITABLE.set(error);
    }
}

/// The status of a run that ends with `status`, at least 1 if its report could not be written. A reader that has gone
/// away does not count.
pub(super) fn concluded(status: Status) -> Status {
    match UNWRITABLE.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("pyc-txn: cannot write to standard output: {}", disk::cause(error)));
            status.max(Status::SomeFailed)
        }
        _ => status,
    }
}

/// Prints what clap has to say, a help text or a complaint about the command line, and ends.
pub(super) fn leave(words: &clap::Error) -> ! {
    let printed = words.print().and_then(|()| io::stdout().flush());
    if let (false, Err(error)) = (words.use_stderr(), printed) {
        let _ = UNWRITABLE.set(error);
    }
    let status = if words.exit_code() == 0 { concluded(Status::Done) as i32 } else { words.exit_code() };
    std::process::exit(status);
}

impl Reporter {
    pub(super) fn new(verbosity: Verbosity) -> Self {
        let (failures, progress) = (Mutex::default(), Mutex::default());
        Self { verbosity, terse: false, failures, began: Instant::now(), progress }
    }

    /// One that says what went wrong in one line, at the end.
    pub(super) fn terse(verbosity: Verbosity) -> Self {
        Self { terse: true, ..Self::new(verbosity) }
    }

    /// Whether it is part of a package manager's run, in which nothing is said twice.
    pub(super) fn is_terse(&self) -> bool {
        self.terse
    }

    /// A line about this run, for whoever asked for more with -v.
    pub(super) fn detail(&self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.beside_bar(line);
        }
    }

    /// Does a phase's work.
    pub(super) fn timed<T>(&self, phase: &str, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.phase(phase, began.elapsed());
        done
    }

    /// A line that explains what is going on.
    pub(super) fn note(&self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.beside_bar(&format!("pyc-txn: {line}"));
        }
    }

    /// A line that is part of the result; silent with -q.
    pub(super) fn result(&self, line: &str) {
        self.clear();
        if self.verbosity >= Verbosity::Normal {
            result(line);
        }
    }

    /// Something that went wrong with one source; of many the first are said.
    pub(super) fn failure(&self, line: &str) {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.count += 1;
            if failures.count == 1 {
                line.clone_into(&mut failures.first);
            }
            failures.count
        };
        if !self.terse && count <= MOST {
            self.beside_bar(line);
        }
    }

    /// Something that went wrong with one source before, and was said then.
    pub(super) fn known_failure(&self, line: &str) {
        if !self.terse {
            self.failure(line);
        }
    }

    /// A line of the result that is said with -q, too.
    pub(super) fn finding(&self, line: &str) {
        self.beside_bar(line);
    }

    /// The one line that sums up a run.
    pub(super) fn summary(&self, counts: &Counts, already_refused: usize, current: u64) {
        // What was said before is not said in every run of a package manager.
        let failed = counts.failed + if self.terse { 0 } else { already_refused as u64 };
        let parts = [
            ("compiled", counts.compiled),
            ("reused", counts.reused),
            ("adopted", counts.adopted),
            ("removed", counts.removed),
            ("failed", failed),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{word} {n}")).collect();
        let seconds = self.began.elapsed().as_secs_f64();
        if self.terse && parts.is_empty() {
            return;
        }
        let what = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
        let right = if current > 0 { format!(" ({current} up to date)") } else { String::new() };
        self.result(&format!("pyc-txn: {what}{right} in {seconds:.2} s"));
    }

    /// Takes the progress bar away, and says what is left to say of failures.
    pub(super) fn finish(&self) {
        self.clear();
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        let Failures { count, first } = failures;
        if self.terse && count > 0 {
            say(&match count {
                1 => first,
                _ => format!("{first} (and {} more; 'pyc-txn status' has the failures)", count - 1),
            });
        } else if count > MOST {
            let more = count - MOST;
            say(&format!("pyc-txn: and {more} more; 'pyc-txn status' has what could not be compiled"));
        }
    }

    fn clear(&self) {
        if let Some(bar) = self.progress().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn beside_bar(&self, line: &str) {
        match &self.progress().bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants_bar(&self) -> bool {
        self.verbosity == Verbosity::Normal
            && self.began.elapsed() > WORTH_A_BAR
            && std::io::stderr().is_terminal()
    }
}

impl Observer for Reporter {
    fn begin(&self, sources: usize, bytes: u64) {
        let mut progress = self.progress();
        progress.sources += sources as u64;
        progress.bytes += bytes;
    }

    fn advance(&self, bytes: u64) {
        let mut progress = self.progress();
        progress.done += 1;
        progress.bytes_done += bytes;
        if progress.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        progress.drawn = Some(Instant::now());
        if progress.bar.is_none() && self.wants_bar() {
            progress.bar = Some(bar(progress.bytes));
        }
        if let Some(bar) = &progress.bar {
            bar.set_message(format!("{} of {} sources", progress.done, progress.sources));
            bar.set_position(progress.bytes_done);
        }
    }

    fn phase(&self, name: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        if seconds < 1.0 {
            self.detail(&format!("{name} {:.3} ms", seconds * 1000.0));
        } else {
            self.detail(&format!("{name} {seconds:.3} s"));
        }
    }

    fn note(&self, line: &str) {
        Self::note(self, line);
    }
}

/// A bar that counts bytes: sources differ by five orders of magnitude.
fn bar(bytes: u64) -> ProgressBar {
    let template = if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        "compiling [{bar:30}] {percent:>3} %  {msg}  {eta} left"
    } else {
        "compiling [{bar:30.cyan}] {percent:>3} %  {msg}  {eta} left"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style.progress_chars("=> "))
}
