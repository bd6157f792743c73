//! A Debian of one's own for a test, and what is run in it.
//!
//! Every failure message of [`Outcome`] shows the command, what it printed, and what the chroot is like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use walkdir::WalkDir;

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    Bookworm,
    Trixie,
}

/// What a chroot begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Essential packages and apt.
    Bare,
    /// With python3, whose py3compile is the original.
    Original,
    /// With python3 and pyc-txn.
    Transactional,
}

impl Suite {
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// The version of its Python.
    pub fn python(self) -> &'static str {
        match self {
            Self::Bookworm => "3.11",
            Self::Trixie => "3.13",
        }
    }

    /// The cache tag of its Python.
    pub fn tag(self) -> String {
        format!("cpython-{}", self.python().replace('.', ""))
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Original => "python",
            Self::Transactional => "pyc-txn",
        }
    }
}

/// A copy of a system. It lives in namespaces that end with this value, and with the test's process.
pub struct Chroot {
    pub suite: Suite,
    pub kind: Kind,
    holder: Child,
    top: PathBuf,
}

/// What a command in a chroot gave; `output` is stdout and stderr as they came.
pub struct Outcome<'a> {
    pub status: ExitStatus,
    pub output: String,
    command: String,
    chroot: &'a Chroot,
}

/// A command that is running in a chroot.
pub struct Running<'a> {
    child: Child,
    lines: BufReader<std::io::PipeReader>,
    output: String,
    command: String,
    chroot: &'a Chroot,
}

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of a system, which is made the first time.
fn system(suite: Suite, kind: Kind) -> PathBuf {
    static SYSTEMS: Mutex<BTreeMap<(Suite, Kind), PathBuf>> = Mutex::new(BTreeMap::new());
    let mut systems = SYSTEMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let make = || {
        let mut script = Command::new(project().join("tests/chroot/system.py"));
        let output = script.args([suite.name(), kind.name()]).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    };
    systems.entry((suite, kind)).or_insert_with(make).clone()
}

impl Chroot {
    pub fn new(suite: Suite, kind: Kind) -> Self {
        let system = system(suite, kind);
        let top = project().join("target/chroot/mnt");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"])
            .arg(project().join("tests/chroot/hold"))
            .arg(&top)
            .arg(&system)
            .arg(system.with_file_name("archives"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "no copy of {}", system.display());
        Self { suite, kind, holder, top }
    }

    pub fn original(suite: Suite) -> Self {
        Self::new(suite, Kind::Original)
    }

    pub fn transactional(suite: Suite) -> Self {
        Self::new(suite, Kind::Transactional)
    }

    /// A path of the chroot, for this process.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.within("root").join(inside.trim_start_matches('/'))
    }

    /// A path below the place where the chroot is mounted, which only its namespace has.
    fn within(&self, name: &str) -> PathBuf {
        let namespace = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        namespace.join(self.top.strip_prefix("/").unwrap()).join(name)
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.in_words()))
    }

    /// Writes a file, with the directories above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Puts a file of the project into the chroot's /root; its path there.
    pub fn bring(&self, file: &str) -> String {
        let from = project().join(file);
        let there = format!("/root/{}", from.file_name().unwrap().display());
        fs::copy(from, self.path(&there)).unwrap();
        there
    }

    /// Mounts a directory of this machine in the chroot, at a path that is made; `access` is `ro` or `rw`.
    pub fn shows(&self, directory: &Path, inside: &str, access: &str) {
        let there = self.path(inside);
        fs::create_dir_all(&there).unwrap();
        let mut mount = Command::new("nsenter");
        mount
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .args(["mount", "--bind", "-o", access]);
        mount.arg(directory).arg(self.top.join("root").join(inside.trim_start_matches('/')));
        assert!(mount.status().unwrap().success(), "cannot mount {}", directory.display());
    }

    /// The bytecode below directories, as paths.
    pub fn pycs(&self, directories: &[&str]) -> BTreeSet<String> {
        let root = self.path("/");
        let walk = |directory: &&str| WalkDir::new(self.path(directory)).into_iter().flatten();
        let all = directories.iter().flat_map(walk);
        let pycs = all.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".pyc"));
        pycs.map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap();
            format!("/{}", path.as_os_str().as_encoded_bytes().escape_ascii())
        })
        .collect()
    }

    /// A command in the chroot, with nothing of this process's environment.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_under(&[], words)
    }

    /// A command in the chroot, run by another one outside it, such as `strace`.
    pub fn command_under(&self, outer: &[&str], words: &[&str]) -> Command {
        let namespaces = format!("/proc/{}/ns", self.holder.id());
        let enter = [
            "nsenter".to_owned(),
            format!("--mount={namespaces}/mnt"),
            format!("--pid={namespaces}/pid_for_children"),
            format!("--net={namespaces}/net"),
            "chroot".to_owned(),
            self.top.join("root").display().to_string(),
        ];
        let mut all = outer.iter().map(|word| (*word).to_owned()).chain(enter);
        let mut command = Command::new(all.next().unwrap());
        command.args(all).args(words).env_clear().envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
        ]);
        command
    }

    pub fn run(&self, words: &[&str]) -> Outcome<'_> {
        self.start(words).end()
    }

    /// Runs a shell script, which stops at its first failure.
    pub fn sh(&self, script: &str) -> Outcome<'_> {
        self.run(&["sh", "-ec", script])
    }

    pub fn start(&self, words: &[&str]) -> Running<'_> {
        self.start_command(self.command(words), &words.join(" "))
    }

    pub fn start_command(&self, mut command: Command, words: &str) -> Running<'_> {
        let (reader, writer) = pipe().unwrap();
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        Running {
            child,
            lines: BufReader::new(reader),
            output: String::new(),
            command: words.to_owned(),
            chroot: self,
        }
    }

    /// Installs packages from the archive.
    pub fn apt_install(&self, packages: &[&str]) -> Outcome<'_> {
        self.run(
            &[&["apt-get", "install", "-y", "--no-install-recommends", "--allow-downgrades"], packages]
                .concat(),
        )
    }

    /// Demands that modules of a tree can be imported from their bytecode, without compiling anything.
    #[track_caller]
    pub fn imports(&self, tree: &str, modules: &[&str]) {
        let script = self.bring("tests/real/imports.py");
        self.run(&[&["python3", "-B", "-S", &script, tree], modules].concat()).succeeds();
    }

    /// What has become of the chroot: packages that are not installed properly, what pyc-txn says, and
    /// the changed files of the places that matter, the first hundred.
    pub fn in_words(&self) -> String {
        let script = "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' | grep -v '^ii'
            if command -v pyc-txn >/dev/null; then pyc-txn status; pyc-txn log; fi";
        let output = self.command(&["sh", "-c", script]).output().unwrap();
        let mut words = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        words.push_str("changed:\n");
        for (directory, names) in self.changed().iter().take(100) {
            let _ = writeln!(words, "    /{directory}: {}", names.join(" "));
        }
        words
    }

    /// The names of files that are not as they were in the beginning, by directories; of the places that matter.
    fn changed(&self) -> BTreeMap<String, Vec<String>> {
        let upper = self.within("upper");
        let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in WalkDir::new(&upper).sort_by_file_name().into_iter().flatten() {
            let path = entry.path().strip_prefix(&upper).unwrap();
            let is_telling =
                ["srv", "var/lib/pyc-txn", "usr/lib/python3", "usr/bin/py3compile", "usr/bin/py3clean"]
                    .iter()
                    .any(|telling| path.starts_with(telling));
            if is_telling && !entry.file_type().is_dir() {
                let directory = path.parent().unwrap().display().to_string();
                changed.entry(directory).or_default().push(entry.file_name().display().to_string());
            }
        }
        changed
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        // The holder waits for this end of the pipe; with it go its namespaces, all processes, all mounts.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

impl<'a> Running<'a> {
    /// Reads the output up to a line that contains `text`; whether there was one.
    pub fn until(&mut self, text: &str) -> bool {
        loop {
            let before = self.output.len();
            let mut line = Vec::new();
            self.lines.read_until(b'\n', &mut line).unwrap();
            self.output.push_str(&String::from_utf8_lossy(&line));
            if line.is_empty() || self.output[before..].contains(text) {
                return !line.is_empty();
            }
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills every process of the chroot.
    pub fn kill_all(self) -> Outcome<'a> {
        // With signal -1 goes everything but the namespace's first process and the killer itself.
        self.chroot.command(&["sh", "-c", "kill -KILL -1"]).status().unwrap();
        self.end()
    }

    /// Waits until nobody writes to the output any more: the command has ended and all that it started.
    pub fn end(mut self) -> Outcome<'a> {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        self.output.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().unwrap();
        Outcome { status, output: self.output, command: self.command, chroot: self.chroot }
    }
}

impl Outcome<'_> {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Demands an exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "exit status\n{}", self.context());
        self
    }

    /// Demands that it failed, in whatever way.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "it succeeded\n{}", self.context());
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.output.contains(text), "it does not say {text:?}\n{}", self.context());
        self
    }

    #[track_caller]
    pub fn says_nothing(self) -> Self {
        assert_eq!(self.output, "", "{}", self.context());
        self
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(!self.output.contains(text), "it says {text:?}\n{}", self.context());
        self
    }

    /// The command, what it printed, and what the chroot is like, for the message of a failure.
    pub fn context(&self) -> String {
        let Self { status, output, command, chroot } = self;
        let (suite, kind) = (chroot.suite, chroot.kind);
        format!("--- {suite:?}, {kind:?}: {command}\n{output}--- {status}\n{}", chroot.in_words())
    }
}
