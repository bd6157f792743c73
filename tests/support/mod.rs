//! A world for a test: a directory with a tree of sources, a state directory, and the program.
//!
//! Every failure message of [`Outcome`] shows the command, what it printed, the tree and the journal.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod private;
pub mod python;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The interpreter that tests compile with.
pub const PYTHON: &str = "/usr/bin/python3";

/// A directory of its own, removed at the end.
pub struct World {
    directory: tempfile::TempDir,
}

/// What a run of the program gave.
pub struct Outcome {
    pub status: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    context: String,
}

impl World {
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// A world in the directory `parent`.
    pub fn new_in(parent: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("pyc-txn-test-").tempdir_in(parent).unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        // `nobody` runs the workers; nothing here depends on it, but a reader of the tree has to get in.
        make_readable(directory.path());
        Self { directory }
    }

    /// The tree of sources.
    pub fn tree(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("tree")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A path beside the tree and the state directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a source, with the directories above it; its path.
    pub fn write(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The path of the bytecode that [`PYTHON`] has for a source.
    pub fn pyc(&self, source: impl AsRef<OsStr>) -> PathBuf {
        let path = self.tree().join(source.as_ref());
        let mut name = path.file_stem().unwrap().to_owned();
        name.push(format!(".{}.pyc", python::cache_tag()));
        path.parent().unwrap().join("__pycache__").join(name)
    }

    /// The program with this world's state directory and, where it matters, [`PYTHON`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
        command.arg("--state-dir").arg(self.state()).args(arguments);
        if matches!(arguments.first(), Some(&("commit" | "record"))) && !arguments.contains(&"--python") {
            command.args(["--python", PYTHON]);
        }
        for name in ["PYC_TXN_FAULT", "PYC_TXN_TRACE", "PYC_TXN_CACHE"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.outcome(self.command(arguments))
    }

    /// Runs the program with the tree as its last argument.
    pub fn run_on_tree(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        command.arg(self.tree());
        self.outcome(command)
    }

    /// Commits the tree.
    pub fn commit(&self) -> Outcome {
        self.run_on_tree(&["commit"])
    }

    pub fn outcome(&self, mut command: Command) -> Outcome {
        let output = command.output().unwrap();
        self.outcome_of(&format!("{command:?}"), &output)
    }

    pub fn outcome_of(&self, command: &str, output: &Output) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let context = format!(
            "$ {command}\n{}\n--- stdout\n{stdout}--- stderr\n{stderr}--- files\n{}--- journal\n{}",
            output.status,
            self.files().join("\n"),
            self.journal_in_words(),
        );
        Outcome { status: output.status.code(), signal: output.status.signal(), stdout, stderr, context }
    }

    /// Every file below the tree and the state directory, relative to the world.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        list(self.directory.path(), self.directory.path(), &mut files);
        files.sort();
        files
    }

    /// The names of everything below the tree, relative to it.
    pub fn tree_files(&self) -> Vec<String> {
        let files = self.files();
        files.iter().filter_map(|file| file.strip_prefix("tree/")).map(str::to_owned).collect()
    }

    /// The journal, opened by SQLite itself.
    pub fn journal(&self) -> rusqlite::Connection {
        let journal = rusqlite::Connection::open(self.state().join("journal.sqlite3")).unwrap();
        journal.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        journal
    }

    /// The journal for reading only, as its file is now: what a stopped writer left beside it is not rolled back,
    /// for that is the program's part.
    pub fn journal_as_it_is(&self) -> rusqlite::Result<rusqlite::Connection> {
        let uri = format!("file:{}?immutable=1", self.state().join("journal.sqlite3").display());
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI;
        rusqlite::Connection::open_with_flags(uri, flags)
    }

    /// One value from the journal.
    pub fn query<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        self.journal().query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn journal_in_words(&self) -> String {
        if !self.state().join("journal.sqlite3").exists() {
            return "none\n".to_owned();
        }
        let rows = || -> rusqlite::Result<String> {
            let journal = self.journal_as_it_is()?;
            let mut statement = journal.prepare(
                "SELECT id || ' ' || kind || ' ' || state || coalesce(' ' || message, '') || ': ' ||
                        (SELECT group_concat(coalesce(outcome, 'pending')) FROM intents WHERE txn = t.id)
                 FROM transactions t ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
            rows.map(|row| Ok(row?.unwrap_or_default() + "\n")).collect()
        };
        rows().unwrap_or_else(|error| format!("{error}\n"))
    }
}

impl Outcome {
    /// Demands an exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "exit status\n{}", self.context);
        self
    }

    /// Demands that a line of stdout or stderr contains `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "says {text:?}\n{}", self.context);
        self
    }

    /// Demands that neither stdout nor stderr contains `text`.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "says {text:?}\n{}",
            self.context
        );
        self
    }

    /// The context, for a failure message of the test's own.
    pub fn context(&self) -> &str {
        &self.context
    }
}

/// Writes half a file, as a writer leaves it that was killed two hours ago.
pub fn write_leftover(path: &Path) {
    fs::write(path, "half").unwrap();
    make_older(path);
}

/// Makes a file one that was written two hours ago.
pub fn make_older(path: &Path) {
    let ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    fs::File::options().write(true).open(path).unwrap().set_modified(ago).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn list(top: &Path, directory: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.strip_prefix(top).unwrap();
        files.push(name.as_os_str().as_bytes().escape_ascii().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(top, &path, files);
        }
    }
}
