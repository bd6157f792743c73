//! Words on the terminal: results to stdout, everything else to stderr, a progress bar where somebody watches.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Verbosity;
use crate::txn::journal::Counts;
use crate::txn::observer::Observer;

/// Work that is over before this needs no progress bar.
const WORTH_A_BAR: Duration = Duration::from_millis(500);

/// How often the bar is drawn anew: it moves, and costs nothing.
const REDRAW: Duration = Duration::from_millis(100);

/// Says what the verbosity allows.
#[derive(Debug)]
pub(super) struct Reporter {
    verbosity: Verbosity,
    /// Whether this is part of a package manager's run: then what goes wrong takes one line, and nothing none.
    terse: bool,
    /// Failures that a terse reporter has kept to itself: the first of them and their number.
    failures: Mutex<(String, usize)>,
    began: Instant,
    progress: Mutex<Progress>,
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

/// Prints a line to stderr; a stderr that is closed changes nothing about what is to be done.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line to stdout; a reader that has gone away (`| head`) needs no more of them.
pub(super) fn result(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
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

    /// Something that went wrong with one source.
    pub(super) fn failure(&self, line: &str) {
        if !self.terse {
            return self.beside_bar(line);
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.1 == 0 {
            line.clone_into(&mut failures.0);
        }
        failures.1 += 1;
    }

    /// Something that went wrong with one source before, and was said then.
    pub(super) fn known_failure(&self, line: &str) {
        if !self.terse {
            self.beside_bar(line);
        }
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

    /// Takes the progress bar away, and says what a terse reporter has to say.
    pub(super) fn finish(&self) {
        self.clear();
        match std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner)) {
            (_, 0) => {}
            (first, 1) => say(&first),
            (first, n) => say(&format!("{first} (and {} more; 'pyc-txn status' has the failures)", n - 1)),
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
