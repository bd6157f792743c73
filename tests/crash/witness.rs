//! A witness: Python itself says which bytecode a tree has, that all of it loads, and what is in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::PYTHON;

/// Reads a path a line; answers with a line `PATH\tWHAT` for each .pyc below it in `__pycache__`, and a line `.`.
/// WHAT is the value of the module's VERSION, with `stale` behind it where the header is not that of the source.
const PROGRAM: &str = r#"
import marshal, os, sys, types
from importlib.util import MAGIC_NUMBER

def look(path, name):
    with open(os.path.join(path, name), 'rb') as file:
        data = file.read()
    if data[:8] != MAGIC_NUMBER + bytes(4):
        return 'broken: a header %r' % data[:8]
    code = marshal.loads(data[16:])
    if type(code) is not types.CodeType:
        return 'broken: no code'
    module = {}
    exec(code, module)
    try:
        status = os.stat(os.path.join(os.path.dirname(path), name.split('.')[0] + '.py'))
        header = b''.join((int(word) & 0xFFFFFFFF).to_bytes(4, 'little') for word in (status.st_mtime, status.st_size))
        fresh = data[8:16] == header
    except FileNotFoundError:
        fresh = False
    return '%d%s' % (module['VERSION'], '' if fresh else ' stale')

for line in sys.stdin:
    top = line[:-1]
    for path, _, names in os.walk(top):
        if os.path.basename(path) != '__pycache__':
            continue
        for name in names:
            if name.endswith('.pyc'):
                try:
                    what = look(path, name)
                except Exception as error:
                    what = 'broken: %r' % error
                print(os.path.relpath(os.path.join(path, name), top), what, sep='\t')
    print('.', flush=True)
"#;

/// A Python process that looks as often as it is asked.
pub struct Witness {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Witness {
    pub fn new() -> Self {
        let mut process = Command::new(PYTHON)
            .args(["-I", "-S", "-B", "-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, questions, answers }
    }

    /// What each pyc below `tree` holds; demands that every one loads.
    #[track_caller]
    pub fn look(&mut self, tree: &Path, context: &str) -> BTreeMap<String, String> {
        writeln!(self.questions, "{}", tree.display()).unwrap();
        let mut seen = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).unwrap();
            let Some((path, what)) = line.trim_end().split_once('\t') else {
                assert_eq!(line, ".\n", "the witness is gone");
                return seen;
            };
            assert!(!what.starts_with("broken"), "{path} is {what}\n{context}");
            seen.insert(path.to_owned(), what.to_owned());
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
