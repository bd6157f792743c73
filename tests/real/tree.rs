//! A tree of real sources, compiled by the program and then by Python's own `compileall`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use pyc_txn::python::marshal::{self, Format};
use serde_json::Value;
use walkdir::WalkDir;

/// The interpreter that compiles and judges.
pub const PYTHON: &str = "/usr/bin/python3";

/// Where each directory's bytecode goes to make room for that of `compileall`; `compare.py` knows it too.
pub const COMMITTED: &str = ".committed";

const LEVELS: [&str; 3] = ["0", "1", "2"];

/// Sources without bytecode in a directory of their own, which is removed at the end.
pub struct Tree {
    directory: tempfile::TempDir,
}

/// How the files of a tree are made from those of another.
#[derive(Clone, Copy)]
pub enum Copying {
    Bytes,
    /// As further names of the same files, where the filesystem can.
    Links,
}

/// Sources, each with a level at which it has no bytecode.
type Missing = BTreeSet<(String, u64)>;

/// What `compare.py` found.
#[derive(Debug)]
pub struct Verdict {
    pub sources: usize,
    pub pycs: usize,
    /// Pycs of the same bytes.
    pub identical: usize,
    /// What `compileall` did not compile.
    pub without: Missing,
    /// The number of differences, and the first of them.
    pub different: usize,
    pub differences: Vec<String>,
}

impl Tree {
    /// A tree without a file.
    pub fn empty() -> Self {
        let directory =
            tempfile::Builder::new().prefix("real-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        Self { directory }
    }

    /// The sources of another tree, symlinks to such as they are, and nothing else of it.
    pub fn of(original: &Path, copying: Copying) -> Self {
        let tree = Self::empty();
        for entry in
            WalkDir::new(original).into_iter().filter_entry(|entry| entry.file_name() != "__pycache__")
        {
            let entry = entry.unwrap();
            if entry.path().extension().is_none_or(|extension| extension != "py")
                || entry.file_type().is_dir()
            {
                continue;
            }
            let copy = tree.path().join(entry.path().strip_prefix(original).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            if entry.path_is_symlink() {
                symlink(fs::read_link(entry.path()).unwrap(), copy).unwrap();
            } else if matches!(copying, Copying::Bytes) || fs::hard_link(entry.path(), &copy).is_err() {
                fs::copy(entry.path(), copy).unwrap();
            }
        }
        tree
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// Demands all that there is to demand of a tree of real sources: what the program commits is imported, and
    /// is the same as what `compileall` writes.
    pub fn is_compiled_as_by_compileall(&self, name: &str, modules: &[&str]) -> Verdict {
        let mut clock = Clock::new(name);
        let failed = self.commit();
        clock.tell("commit");
        self.imports(modules);
        clock.tell("imports");
        self.set_aside();
        self.compileall();
        clock.tell("compileall");
        let verdict = self.compare();
        clock.tell("compare");
        self.is_same_when_canonical();
        clock.tell("canonical");
        println!(
            "{name}: {} sources, {} pycs ({} of the same bytes), {} without",
            verdict.sources,
            verdict.pycs,
            verdict.identical,
            verdict.without.len()
        );
        assert_eq!(verdict.different, 0, "differences in {name}\n{}", verdict.differences.join("\n"));
        assert_eq!(failed, verdict.without, "what does not compile in {name}");
        assert_eq!(verdict.pycs + verdict.without.len(), verdict.sources * LEVELS.len());
        verdict
    }

    /// Demands that the bytecode that is there now is what was set aside, byte for byte, when it is canonical.
    fn is_same_when_canonical(&self) {
        let format = format();
        for (name, theirs) in self.bytecode_beside() {
            let (header, code) = theirs.0.split_at(16);
            let mut code = code.to_vec();
            let canonical = marshal::canonicalize(&mut code, format).unwrap();
            let same = [header, canonical.bytes()].concat() == theirs.1;
            assert!(same, "{} is another when it is canonical", name.display());
        }
    }

    /// Demands that the program makes the same of the tree with another number of workers, in other surroundings.
    /// What is to be compared with has been set aside.
    pub fn is_the_same_elsewhere(&self) {
        let mut commit = self.program("commit");
        commit.args(["--quiet", "-f", "-j", "7", "--python", PYTHON]).arg(self.path());
        commit.env_clear().current_dir("/");
        commit.envs([("LC_ALL", "C.UTF-8"), ("TZ", "Asia/Kathmandu"), ("PYTHONHASHSEED", "4711")]);
        let output = run(&mut commit);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", words(&output));
        let pycs = self.bytecode_beside().filter(|(name, _)| !name.to_string_lossy().contains(".opt-"));
        let mut count = 0;
        for (name, (now, before)) in pycs {
            assert!(now == before, "{} is another elsewhere", name.display());
            count += 1;
        }
        assert!(count > 0);
    }

    /// Each pyc that is there now, and what was set aside in its place.
    fn bytecode_beside(&self) -> impl Iterator<Item = (PathBuf, (Vec<u8>, Vec<u8>))> {
        let files = WalkDir::new(self.path()).into_iter().map(|entry| entry.unwrap().into_path());
        let pycs = files.filter(|path| path.parent().is_some_and(|folder| folder.ends_with("__pycache__")));
        pycs.map(|path| {
            let aside = path.parent().unwrap().with_file_name(COMMITTED).join(path.file_name().unwrap());
            let both = (fs::read(&path).unwrap(), fs::read(aside).unwrap());
            (path, both)
        })
    }

    /// Compiles the tree with the program at all levels, in one transaction; what it says did not compile.
    fn commit(&self) -> Missing {
        let mut commit = self.program("commit");
        for level in LEVELS {
            commit.args(["-O", level]);
        }
        let output = run(commit.args(["--quiet", "--python", PYTHON]).arg(self.path()));
        let mut log = self.program("log");
        let log = succeed(log.args(["1", "--json"]));
        let log: Value = serde_json::from_slice(&log.stdout).unwrap();
        assert_eq!(log["state"], "committed");
        let failed: Missing = log["intents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|intent| intent["outcome"] != "compiled")
            // Up to 3.11 the parser raises MemoryError for what is nested too deeply: as if memory were short.
            .inspect(|intent| {
                let wanted = if intent["message"] == "MemoryError" { "lost" } else { "refused" };
                assert_eq!(intent["outcome"], wanted, "{intent}");
            })
            .map(|intent| (string(&intent["path"]), intent["level"].as_u64().unwrap()))
            .collect();
        let status = i32::from(!failed.is_empty());
        assert_eq!(output.status.code(), Some(status), "{}", words(&output));
        failed
    }

    fn program(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyc-txn"));
        command.arg("--state-dir").arg(self.directory.path().join("state")).arg(subcommand);
        command
    }

    /// Demands that modules can be imported from the bytecode at each level, without compiling anything.
    fn imports(&self, modules: &[&str]) {
        for options in [&[][..], &["-O"], &["-OO"]] {
            let output = succeed(&mut self.importer(options, modules));
            let count: usize = words(&output).trim().parse().unwrap();
            assert!(count >= modules.len(), "{}", words(&output));
        }
    }

    /// A command that imports modules, and fails if Python would compile one for that.
    pub fn importer(&self, options: &[&str], modules: &[&str]) -> Command {
        let mut command = python(options);
        command.args(["-B", "-S"]).arg(script("imports.py")).arg(self.path()).args(modules);
        command
    }

    /// Moves the bytecode of each directory to where [`Tree::compare`] looks for it.
    pub fn set_aside(&self) {
        let caches: Vec<PathBuf> = WalkDir::new(self.path())
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_name() == "__pycache__")
            .map(walkdir::DirEntry::into_path)
            .collect();
        for cache in caches {
            fs::rename(&cache, cache.with_file_name(COMMITTED)).unwrap();
        }
    }

    /// Compiles the tree with Python at all levels.
    pub fn compileall(&self) {
        let mut command = python(&["-m", "compileall", "-qq", "-j", "0"]);
        for level in LEVELS {
            command.args(["-o", level]);
        }
        let output = run(command.arg(self.path()));
        // It exits with 1 also because of a source that does not compile.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", words(&output));
    }

    /// Compares what was set aside with what is there now.
    pub fn compare(&self) -> Verdict {
        let mut command = python(&["-I", "-B"]);
        let output = succeed(command.arg(script("compare.py")).arg(self.path()));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| usize::try_from(verdict[name].as_u64().unwrap()).unwrap();
        let list = |name: &str| verdict[name].as_array().unwrap().iter();
        Verdict {
            sources: number("sources"),
            pycs: number("pycs"),
            identical: number("identical"),
            without: list("without").map(|each| (string(&each[0]), each[1].as_u64().unwrap())).collect(),
            different: number("different"),
            differences: list("differences").map(string).collect(),
        }
    }
}

/// Says how long each part of a test took; `--nocapture` shows it.
struct Clock<'a> {
    name: &'a str,
    began: Instant,
}

impl<'a> Clock<'a> {
    fn new(name: &'a str) -> Self {
        let began = Instant::now();
        Self { name, began }
    }

    fn tell(&mut self, part: &str) {
        println!("{}: {part} {:.1} s", self.name, self.began.elapsed().as_secs_f64());
        self.began = Instant::now();
    }
}

/// Python, without what the surroundings would make it do otherwise.
pub fn python(options: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    // With the arithmetic of every processor, as the program's own workers have it: scipy's tests have powers to fold.
    command.args(options).env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-FMA,-FMA4");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PYTHON") || name == "SOURCE_DATE_EPOCH" {
            command.env_remove(name);
        }
    }
    command
}

/// The format of [`PYTHON`]'s code.
fn format() -> Format {
    let minor = words(&succeed(python(&["-I", "-c"]).arg("import sys; print(sys.version_info[1], end='')")));
    Format::of(3, minor.parse().unwrap()).unwrap()
}

/// The cache tag of [`PYTHON`].
pub fn cache_tag() -> String {
    let program = "import sys; print(sys.implementation.cache_tag, end='')";
    words(&succeed(python(&["-I", "-c"]).arg(program)))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name)
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must not fail.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}", words(&output));
    output
}

pub fn words(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
