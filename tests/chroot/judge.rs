//! Judges the bytecode of a chroot: against that of its twin, or against what Python itself makes of the sources.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use walkdir::WalkDir;

use crate::chroot::Chroot;

/// Where `compare.py` looks for the one of two sets of bytecode.
const COMMITTED: &str = ".committed";

impl Chroot {
    /// Demands that another chroot has the same bytecode below a directory as this one, code object by code object.
    /// Gives the number of pycs.
    #[track_caller]
    pub fn is_judge_of(&self, other: &Self, directory: &str) -> u64 {
        let (from, to) = (other.path("/"), self.path("/"));
        for entry in WalkDir::new(other.path(directory)).into_iter().map(Result::unwrap) {
            if entry.file_name() == "__pycache__" {
                let relative = entry.path().strip_prefix(&from).unwrap();
                copy_directory(entry.path(), &to.join(relative).with_file_name(COMMITTED));
            }
        }
        let count = self.compared(directory, other);
        self.sh(&format!("find {directory} -name {COMMITTED} -prune -exec rm -r {{}} +")).succeeds();
        count
    }

    /// Demands that there is bytecode of all sources below directories, none else, and that it is what Python makes
    /// of them. The bytecode is as it was afterwards.
    #[track_caller]
    pub fn is_complete(&self, directories: &[&str]) {
        for directory in directories {
            self.for_each_cache(directory, "__pycache__", COMMITTED);
            // With the arithmetic of every processor, as our workers have it. 1: some sources do not compile, as they do not
            // for us.
            let compileall = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-FMA4 python3 -I -m compileall -q";
            self.sh(&format!("{compileall} {directory} || [ $? -eq 1 ]")).succeeds();
            self.compared(directory, self);
            self.sh(&format!("find {directory} -name __pycache__ -prune -exec rm -r {{}} +")).succeeds();
            self.for_each_cache(directory, COMMITTED, "__pycache__");
        }
    }

    fn for_each_cache(&self, directory: &str, name: &str, new: &str) {
        let rename = format!("mv \"$1\" \"${{1%/*}}/{new}\"");
        self.run(&["find", directory, "-name", name, "-prune", "-exec", "sh", "-c", &rename, "-", "{}", ";"])
            .succeeds();
    }

    #[track_caller]
    fn compared(&self, directory: &str, accused: &Self) -> u64 {
        let script = self.bring("tests/real/compare.py");
        let outcome = self.run(&["python3", "-I", "-B", &script, directory]).succeeds();
        let verdict: Value = serde_json::from_str(&outcome.output).unwrap();
        let differences = verdict["differences"].as_array().unwrap();
        let lines: Vec<&str> = differences.iter().map(|line| line.as_str().unwrap()).collect();
        assert!(
            lines.is_empty(),
            "differences below {directory}\n{}\n{}",
            lines.join("\n"),
            accused.in_words()
        );
        verdict["pycs"].as_u64().unwrap()
    }

    /// Demands that every pyc below a directory is one that loads.
    #[track_caller]
    pub fn has_only_whole_bytecode(&self, directory: &str) {
        let program = "import marshal, pathlib, sys
for pyc in pathlib.Path(sys.argv[1]).rglob('*.pyc'):
    try:
        marshal.loads(pyc.read_bytes()[16:])
    except Exception as error:
        sys.exit(f'{pyc}: {error!r}')";
        self.run(&["python3", "-I", "-B", "-c", program, directory]).succeeds();
    }

    /// Every path below a directory.
    pub fn listing(&self, directory: &str) -> BTreeSet<String> {
        let top = self.path(directory);
        let paths = WalkDir::new(&top).into_iter().flatten();
        paths.map(|entry| entry.path().strip_prefix(&top).unwrap().display().to_string()).collect()
    }
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
