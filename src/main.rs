//! Which program was I called as, and with what status does it end.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Modes are given where files and directories are made, never taken from whoever started us.
    rustix::process::umask(rustix::fs::Mode::empty());
    pyc_txn::cli::run(std::env::args_os())
}
