//! How long the walker takes: its side of tests/benchmark/marshal.
//!
//! Arguments: the minor version of Python, how many rounds, directories. Reads all bytecode below them into memory,
//! and prints for each round the seconds for `check` and for `canonicalize`, after a line with the number of pycs and
//! their bytes.

use std::time::Instant;

use pyc_txn::python::marshal::{self, Format};
use walkdir::WalkDir;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [minor, rounds, directories @ ..] = &arguments[..] else {
        anyhow::bail!("MINOR ROUNDS DIRECTORY…")
    };
    let format = Format::of(3, minor.parse()?).ok_or_else(|| anyhow::anyhow!("not known: 3.{minor}"))?;
    let mut codes = Vec::new();
    for entry in directories.iter().flat_map(WalkDir::new) {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(&format!(".cpython-3{minor}.pyc")) {
            codes.push(std::fs::read(entry.path())?.split_off(16));
        }
    }
    println!("{} {}", codes.len(), codes.iter().map(Vec::len).sum::<usize>());
    for _ in 0..rounds.parse()? {
        let start = Instant::now();
        for code in &codes {
            marshal::check(code, format)?;
        }
        let check = start.elapsed();
        // In place, so from a copy, which is not its part.
        let mut copies = codes.clone();
        let start = Instant::now();
        for code in &mut copies {
            marshal::canonicalize(code, format)?;
        }
        println!("{} {}", check.as_secs_f64(), start.elapsed().as_secs_f64());
    }
    Ok(())
}
