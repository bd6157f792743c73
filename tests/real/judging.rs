//! The judges are judged: what differs, however little, is found.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::tree::{COMMITTED, Tree, cache_tag, run, words};

/// Pairs of sources of the same length, and where the difference of their code is.
const PAIRS: &[(&str, &str, &str)] = &[
    ("x = 0.0 ", "x = -0.0", "-0.0"),
    ("x = 1.0 ", "x = 1   ", "1.0"),
    ("x = 1   ", "x = True", "True"),
    ("x = 1j  ", "x = 1.0 ", "1j"),
    ("x = 'a' ", "x = b'a'", "b'a'"),
    ("f(... ) ", "f(None) ", "co_c"),
    ("x = 1,  ", "x = 1,1 ", "1 items instead of 2"),
    ("x in{0} ", "x in{0.}", "frozenset"),
    ("x in{0,1,2}", "x in{0,1,3}", "frozenset"),
    ("x = 1   ", "y = 1   ", "co_names"),
    ("x = 1   ", "x =  1  ", "co_linetable"),
    ("x = 1\n\n", "\nx = 1\n", "co_"),
    ("def f(): x ", "def g(): x ", "co_"),
    ("def f(a):0 ", "def f(*a):0", "co_"),
    ("lambda: 0.0 ", "lambda: -0.0", "co_consts"),
];

#[test]
fn every_planted_difference_is_found() {
    let tree = Tree::empty();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let write = |n: usize, content: &str| {
        let path = tree.path().join(format!("pair_{n:02}.py"));
        fs::write(&path, content).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    };
    for (n, (ours, ..)) in PAIRS.iter().enumerate() {
        write(n, ours);
    }
    for name in ["same.py", "header.py", "missing.py", "stray.py", "level.py", "cut.py"] {
        fs::write(tree.path().join(name), "assert x\n").unwrap();
    }
    tree.compileall();
    tree.set_aside();
    for (n, (_, theirs, _)) in PAIRS.iter().enumerate() {
        write(n, theirs);
    }
    tree.compileall();

    let edit = |path: &std::path::Path, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    let tag = cache_tag();
    let committed = tree.path().join(COMMITTED);
    let at = |name: &str, level: &str| committed.join(format!("{name}.{tag}{level}.pyc"));
    edit(&at("header", ""), &|bytes| bytes[8] ^= 1);
    fs::remove_file(at("missing", ".opt-2")).unwrap();
    fs::copy(at("stray", ""), at("stray", ".opt-3")).unwrap();
    fs::copy(at("level", ".opt-1"), at("level", "")).unwrap();
    edit(&at("cut", ".opt-1"), &|bytes| bytes.truncate(bytes.len() - 1));

    let verdict = tree.compare();
    let findings = |name: &str| {
        let mut all = verdict.differences.iter();
        all.find(|line| line.contains(name)).cloned().unwrap_or_default()
    };
    let context = verdict.differences.join("\n");
    for (n, (_, _, where_)) in PAIRS.iter().enumerate() {
        assert!(findings(&format!("pair_{n:02}")).contains(where_), "pair {n}\n{context}");
    }
    for (name, what) in [
        ("header", ": header "),
        ("missing", "is missing"),
        ("stray", "is bytecode of no source"),
        ("level", "co_"),
        ("cut", "EOFError"),
    ] {
        assert!(findings(&format!("{name}.{tag}")).contains(what), "{name}\n{context}");
    }
    assert_eq!(findings("/same."), "");
    assert_eq!(verdict.different, PAIRS.len() * 3 + 5, "{context}");
}

#[test]
fn an_import_that_would_compile_is_found() {
    let tree = Tree::empty();
    fs::write(tree.path().join("some.py"), "x = 1\n").unwrap();
    tree.compileall();
    for (level, options) in [("", &[][..]), (".opt-1", &["-O"]), (".opt-2", &["-OO"])] {
        let mut importer = tree.importer(options, &["some"]);
        let output = run(&mut importer);
        assert!(output.status.success(), "{}", words(&output));
        let pyc = format!("__pycache__/some.{}{level}.pyc", cache_tag());
        fs::remove_file(tree.path().join(pyc)).unwrap();
        let output = run(&mut importer);
        assert!(words(&output).contains("some.py is compiled anew"), "{}", words(&output));
    }
}
