//! An independent judge: Python itself says which bytecode loads.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::PYTHON;

/// Reads a path a line; answers with the number of .pyc files below it in `__pycache__`, or with the first of
/// them that does not load.
const PROGRAM: &str = r#"
import marshal, os, sys, types
for line in sys.stdin.buffer:
    count, broken = 0, None
    for path, _, names in os.walk(os.fsencode(line[:-1].decode('utf-8', 'surrogateescape'))):
        if os.path.basename(path) != b'__pycache__':
            continue
        for name in names:
            if not name.endswith(b'.pyc'):
                continue
            count += 1
            try:
                with open(os.path.join(path, name), 'rb') as file:
                    data = file.read()
                if not isinstance(marshal.loads(data[16:]), types.CodeType):
                    broken = broken or (path, name, 'no code')
            except Exception as error:
                broken = broken or (path, name, repr(error))
    print(count if broken is None else 'broken: %r' % (broken,), flush=True)
"#;

/// A Python process that judges as often as it is asked.
pub struct Judge {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
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

    /// Demands that every pyc below `tree` loads; how many there are.
    #[track_caller]
    pub fn every_pyc_loads(&mut self, tree: &Path, context: &str) -> usize {
        writeln!(self.questions, "{}", tree.display()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap_or_else(|_| panic!("{answer}{context}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
