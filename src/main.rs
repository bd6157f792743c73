//! Which program was I called as, and with what status does it end.

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit};

/// What a caller leaves the first thread of stack, if it is less than this, is too little; in bytes.
const STACK: u64 = 1 << 20;

fn main() -> ExitCode {
    // Modes are given where files and directories are made, never taken from whoever started us.
    rustix::process::umask(rustix::fs::Mode::empty());
    let words: Vec<OsString> = std::env::args_os().collect();
    let run = |words: Vec<OsString>| pyc_txn::cli::run(words.into_iter());
    if getrlimit(Resource::Stack).current.is_none_or(|stack| stack >= STACK) {
        return run(words);
    }
    // The stack of any other thread is ours to choose.
    match pyc_txn::parallel::spawn(words, run) {
        Ok(thread) => pyc_txn::parallel::joined(thread.join()),
        Err(words) => run(words),
    }
}
