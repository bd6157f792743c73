//! Prints the completion script of a shell, made from the definition of the command line.
//!
//! A program of its own, so that what makes the scripts is no part of pyc-txn.

use std::process::ExitCode;

use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(shell) = std::env::args().nth(1).and_then(|name| name.parse::<Shell>().ok()) else {
        eprintln!("usage: completions bash|zsh|fish");
        return ExitCode::from(2);
    };
    clap_complete::generate(shell, &mut pyc_txn::cli::definition(), "pyc-txn", &mut std::io::stdout());
    ExitCode::SUCCESS
}
