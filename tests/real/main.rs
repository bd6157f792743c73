//! Real sources: what this machine has, and a big tree from the Debian archive, against Python's own `compileall`.
//!
//! These tests take minutes and fetch packages, so they run only with
//! `cargo test --release --features real-input --test real`.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

mod judging;
mod odd;
mod tree;

use std::path::{Path, PathBuf};

use tree::{Copying, Tree, python, succeed};

#[test]
fn the_standard_library_is_compiled_as_by_compileall() {
    let program = "import sysconfig; print(sysconfig.get_path('stdlib'), end='')";
    let output = succeed(python(&["-I", "-c"]).arg(program));
    let library = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    let modules = [
        "json",
        "email.message",
        "asyncio",
        "unittest.mock",
        "xml.etree.ElementTree",
        "concurrent.futures",
        "decimal",
        "http.server",
        "logging.handlers",
        "multiprocessing.pool",
        "pydoc",
        "argparse",
    ];
    let verdict = Tree::of(&library, Copying::Bytes).is_compiled_as_by_compileall("stdlib", &modules);
    assert!(verdict.sources > 400);
}

#[test]
fn the_machine_s_packages_are_compiled_as_by_compileall() {
    let packages = Path::new("/usr/lib/python3/dist-packages");
    let modules: Vec<&str> = ["pkg_resources", "setuptools", "pip", "pygments.lexers", "yaml", "six"]
        .into_iter()
        .filter(|name| {
            let path = packages.join(name.split('.').next().unwrap());
            path.is_dir() || path.with_extension("py").is_file()
        })
        .collect();
    assert!(!modules.is_empty(), "please install: python3-setuptools");
    Tree::of(packages, Copying::Bytes).is_compiled_as_by_compileall("dist-packages", &modules);
}

#[test]
fn a_big_tree_from_the_archive_is_compiled_as_by_compileall() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("target/corpus");
    succeed(std::process::Command::new(here.join("tests/corpus/fetch")).arg(&corpus));
    let modules = [
        "ansible.release",
        "chardet",
        "click",
        "docutils.core",
        "idna",
        "mpmath",
        "networkx",
        "parso",
        "pygments.formatters",
        "sqlalchemy",
        "sympy",
        "tornado.web",
        "yaml",
    ];
    let tree = Tree::of(&corpus.join("tree"), Copying::Links);
    let verdict = tree.is_compiled_as_by_compileall("corpus", &modules);
    assert!(verdict.sources > 20_000);
    tree.is_the_same_elsewhere();
}
