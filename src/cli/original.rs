//! The original `py3compile` and `py3clean`, which the package has diverted: they do what pyc-txn cannot. And how
//! the programs that stand in their place end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::debian::dpkg;
use crate::disk::{Quoted, cause};

use super::session::{self, Incomplete};
use super::{Status, report};

/// A program that stands in an original's place, as it was called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// Its name.
    pub(super) name: &'static str,
    /// Its arguments.
    pub(super) words: &'a [OsString],
    /// What mends a call for which there was no room.
    pub(super) remedy: &'static str,
}

impl Call<'_> {
    /// How it was called, in one line.
    pub(super) fn line(&self) -> String {
        let name = std::iter::once(OsStr::new(self.name));
        session::command_line(name.chain(self.words.iter().map(OsString::as_os_str)))
    }

    /// The exit status after `result`: a maintainer script does not fail for the want of bytecode.
    pub(super) fn conclude(&self, result: Result<Status>) -> ExitCode {
        match result {
            Ok(status) => self.status(status),
            // A transaction that failed has said how it goes on.
            Err(error) if error.is::<Incomplete>() => {
                report::complain(&format!("{}: {}", self.name, report::one_line(&error)));
                self.status(Status::Incomplete)
            }
            // On a full disk the original would leave files that Python takes for whole.
            Err(error) if session::is_full(&error) => {
                let (why, remedy) = (report::one_line(&error), self.remedy);
                report::complain(&format!("{}: {why}; nothing has changed; {remedy}", self.name));
                self.status(Status::Incomplete)
            }
            Err(error) => self.leave_to_original(&report::one_line(&error)),
        }
    }

    /// A status outside of maintainer scripts.
    pub(super) fn status(&self, status: Status) -> ExitCode {
        let status = report::concluded(status);
        if dpkg::is_maintainer_script() { ExitCode::SUCCESS } else { status.into() }
    }

    /// Becomes the original, after a line that says why.
    pub(super) fn leave_to_original(&self, why: &str) -> ExitCode {
        let name = self.name;
        let original = match self.original() {
            Ok(original) if original.exists() => original,
            found => {
                let and = match found {
                    Ok(_) => format!("there is no {name}.distrib to do it"),
                    Err(error) => format!("to find {name}.distrib /proc is needed: {}", cause(&error)),
                };
                report::complain(&format!("{name}: {why}; nothing is done, and {and}"));
                return self.status(Status::Incomplete);
            }
        };
        report::complain(&format!("{name}: {why}; {} does it", Quoted(&original)));
        dpkg::restore_umask();
        let error = Command::new(&original).args(self.words).exec();
        report::complain(&format!("{name}: cannot run {}: {}", Quoted(&original), cause(&error)));
        self.status(Status::Incomplete)
    }

    /// Where the package's diversion has put it: beside this program.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub(super) fn original(&self) -> io::Result<PathBuf> {
        let program = std::env::current_exe()?;
        Ok(program.with_file_name(format!("{}.distrib", self.name)))
    }
}
