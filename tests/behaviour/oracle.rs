//! What an interpreter itself says of bytecode: the header that its `py_compile` writes, the code that it compiles,
//! whether it imports.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::World;

/// Arguments: invalidation mode, level, then sources. Each pyc is compared with what `py_compile` writes now.
const COMPARE: &str = r#"
import importlib.util, marshal, os, py_compile, sys, tempfile, types
mode, level = sys.argv[1], int(sys.argv[2])
options = {}
if sys.version_info >= (3, 7):
    options["invalidation_mode"] = py_compile.PycInvalidationMode[mode.upper().replace("-", "_")]
length = 16 if sys.version_info >= (3, 7) else 12

def normal(value):
    if isinstance(value, types.CodeType):
        names = sorted(name for name in dir(value) if name.startswith("co_") and name != "co_lnotab")
        fields = [(name, getattr(value, name)) for name in names]
        return [(name, list(each()) if callable(each) else normal(each)) for name, each in fields]
    if isinstance(value, tuple):
        return ("tuple", [normal(each) for each in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(map(repr, map(normal, value))))
    return (type(value).__name__, repr(value))

for source in sys.argv[3:]:
    pyc = importlib.util.cache_from_source(source, optimization="" if level == 0 else level)
    with tempfile.TemporaryDirectory() as scratch:
        other = os.path.join(scratch, "x.pyc")
        py_compile.compile(source, cfile=other, doraise=True, optimize=level, **options)
        theirs = open(other, "rb").read()
    ours = open(pyc, "rb").read()
    if ours[:length] != theirs[:length]:
        sys.exit("header of %r: %r, not %r" % (pyc, ours[:length], theirs[:length]))
    a, b = marshal.loads(ours[length:]), marshal.loads(theirs[length:])
    if a.co_filename != source or normal(a) != normal(b):
        sys.exit("code of %r: %r, not %r" % (pyc, normal(a), normal(b)))
"#;

/// Demands that the bytecode of `sources` is what `py_compile` of this Python writes.
#[track_caller]
pub fn is_what_py_compile_writes(python: &Path, mode: &str, level: u8, sources: &[PathBuf], context: &str) {
    let output = Command::new(python)
        .args(["-B", "-s", "-c", COMPARE, mode, &level.to_string()])
        .args(sources)
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {mode} -O {level}: {complaint}\n{context}", python.display());
}

/// Demands that importing a module of the world's tree takes its code from the pyc. (-B: an import at another level
/// would write bytecode of the standard library.)
#[track_caller]
pub fn imports_from_bytecode(world: &World, python: &Path, flags: &[&str], module: &str, pyc: &Path) {
    let output = Command::new(python)
        .args(flags)
        .args(["-S", "-s", "-B", "-v", "-c", &format!("import {module}")])
        .current_dir("/")
        .env("PYTHONPATH", world.tree())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let loaded = format!("code object from '{}'", pyc.display());
    assert!(
        output.status.success() && log.contains(&loaded),
        "{}: no {loaded:?} in\n{log}",
        python.display()
    );
}

/// The value that a pyc gives a global variable, as Python shows it.
#[track_caller]
pub fn value(pyc: &Path, variable: &str) -> String {
    evaluate(pyc, &format!("names = {{}}; exec(code, names); print(ascii(names[{variable:?}]), end='')"))
}

/// The file name inside a pyc, non-ASCII bytes escaped.
#[track_caller]
pub fn filename(pyc: &Path) -> String {
    evaluate(pyc, "print(ascii(os.fsencode(code.co_filename))[2:-1], end='')")
}

/// The modification time in a pyc's header.
#[track_caller]
pub fn header_mtime(pyc: &Path) -> u64 {
    let word = std::fs::read(pyc).unwrap()[8..12].try_into().unwrap();
    u64::from(u32::from_le_bytes(word))
}

#[track_caller]
fn evaluate(pyc: &Path, statement: &str) -> String {
    let program = format!(
        "import marshal, os, sys\ncode = marshal.loads(open(sys.argv[1], 'rb').read()[16:])\n{statement}"
    );
    let output = Command::new(crate::support::PYTHON)
        .args([OsStr::new("-ISBc"), OsStr::new(&program), pyc.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {output:?}", pyc.display());
    String::from_utf8(output.stdout).unwrap()
}
