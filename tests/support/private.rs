//! A Python of a test's own, with the part of its standard library that it needs to start and to compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Makes bytecode of the library's modules, of the `LEVELS`, with headers that are right; `BODY` is the expression for
/// what stands behind them, of the code object `code` of the source. The names inside are without `ROOT`.
const BYTECODE: &str = r#"
import importlib.util, marshal, os, sys

def write(source):
    stat = os.stat(source)
    flags = b"" if sys.version_info < (3, 7) else b"\0\0\0\0"
    words = [int(stat.st_mtime) & 0xffffffff, stat.st_size]
    with open(source, "rb") as file:
        code = compile(file.read(), source[len(ROOT):], "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + flags + b"".join(word.to_bytes(4, "little") for word in words)
    bytecode = header + BODY
    for level in LEVELS:
        pyc = importlib.util.cache_from_source(source, optimization=level)
        os.makedirs(os.path.dirname(pyc), exist_ok=True)
        with open(pyc, "wb") as file:
            file.write(bytecode)

for directory in [LIBRARY, os.path.join(LIBRARY, "encodings")]:
    for name in os.listdir(directory):
        if name.endswith(".py"):
            write(os.path.join(directory, name))
"#;

/// The modules outside of packages that one version or another imports when it starts, or for a warning; `os` is how
/// Python recognizes its library.
const MODULES: [&str; 19] = [
    "__future__",
    "_bootlocale",
    "_collections_abc",
    "_py_warnings",
    "_weakrefset",
    "abc",
    "codecs",
    "contextlib",
    "functools",
    "genericpath",
    "io",
    "linecache",
    "os",
    "posixpath",
    "reprlib",
    "stat",
    "tokenize",
    "types",
    "warnings",
];

/// A Python that finds its standard library beside itself.
pub struct Private {
    /// The one that it is a copy of.
    original: PathBuf,
    /// Its executable.
    pub path: PathBuf,
    /// Its standard library.
    pub library: PathBuf,
    /// What stands in front of the names inside bytecode, on disk.
    root: PathBuf,
}

impl Private {
    /// Copies `original`, a Python 3 of this minor version, to the directory `place`.
    pub fn copy(original: &Path, minor: u8, place: &Path) -> Self {
        let name = format!("python3.{minor}");
        let original = original.canonicalize().unwrap();
        let (path, library) = (place.join("bin").join(&name), place.join("lib").join(&name));
        fs::create_dir_all(place.join("bin")).unwrap();
        fs::create_dir_all(library.join("lib-dynload")).unwrap();
        fs::copy(&original, &path).unwrap();
        let from = original.parent().unwrap().with_file_name("lib").join(&name);
        copy_sources(&from, &library, |name| MODULES.contains(&name));
        copy_sources(&from.join("encodings"), &library.join("encodings"), |_| true);
        Self { original, path, library, root: PathBuf::new() }
    }

    /// Copies `original` to where Debian's packages have it, in a root.
    pub fn install(original: &Path, minor: u8, root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::copy(original, minor, &root.join("usr")) }
    }

    /// Its path, as an argument.
    pub fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Compiles its library, as the postinst of its package does.
    #[track_caller]
    pub fn compile(&self) {
        self.write("[\"\"]", "marshal.dumps(code)");
    }

    /// Gives the modules of its library bytecode of every level with right headers; `body` is a Python expression for
    /// what follows them.
    #[track_caller]
    pub fn write_bytecode(&self, body: &str) {
        self.write("[\"\", 1, 2]", body);
    }

    #[track_caller]
    fn write(&self, levels: &str, body: &str) {
        let script = BYTECODE
            .replace("LIBRARY", &format!("{:?}", self.library))
            .replace("ROOT", &format!("{:?}", self.root))
            .replace("LEVELS", levels)
            .replace("BODY", body);
        super::python::run(self.original.to_str().unwrap(), &script);
    }

    /// Starts it as anybody would.
    pub fn start(&self) -> Output {
        Command::new(&self.path).args(["-S", "-s", "-B", "-c", "pass"]).output().unwrap()
    }

    /// The bytecode of a module of its library; `source` is relative to that.
    pub fn pyc(&self, source: &str) -> PathBuf {
        let source = self.library.join(source);
        let name = self.library.file_name().unwrap().to_str().unwrap();
        let tag = name.replace("python3.", "cpython-3");
        let stem = source.file_stem().unwrap().to_str().unwrap();
        source.with_file_name("__pycache__").join(format!("{stem}.{tag}.pyc"))
    }
}

fn copy_sources(from: &Path, to: &Path, is_meant: impl Fn(&str) -> bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.strip_suffix(".py").is_some_and(&is_meant) {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
