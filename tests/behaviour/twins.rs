//! One of two programs on a system of its own: Debian's `py3compile` or `py3clean`, or ours.
//!
//! Each program runs with an overlay of its own over `/usr` and `/var`, so that it finds packages, exclusions and
//! interpreters where it looks for them, and leaves the machine alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aid::{is_root, mount, skipped, with_mounts};
use crate::installation::PUBLIC;
use crate::support::{World, make_older, python};

/// A package with public modules for all versions and for one, and private ones.
pub const FILES: [&str; 9] = [
    "/usr/lib/python3/dist-packages/cmp/a.py",
    "/usr/lib/python3/dist-packages/cmp/b.py",
    "/usr/lib/python3/dist-packages/cmp/sub/c.py",
    "/usr/lib/pythonHERE/dist-packages/cmp-here.py",
    "/usr/lib/pythonNEXT/dist-packages/cmp-next.py",
    "/usr/share/cmp/p.py",
    "/usr/share/cmp/q.py",
    "/usr/share/cmp/tests/t.py",
    "/usr/share/cmp-more/m.py",
];

/// Where bytecode is looked for.
pub const PLACES: [&str; 5] = [
    PUBLIC,
    "/usr/lib/pythonHERE/dist-packages",
    "/usr/lib/pythonNEXT/dist-packages",
    "/usr/share/cmp",
    "/usr/share/cmp-more",
];

pub type Environment<'a> = &'a [(&'a str, &'a str)];

/// A Python of another version: the installed one under another name. Its bytecode for us has instructions that every
/// version takes for whole, since the last one of a module may have another number in another version. As a worker it does
/// WORKER first.
const OTHER: &str = r#"#!/usr/bin/python3 -S
import os, sys
arguments = sys.argv[1:]
options = [each for each in arguments if each in ("-O", "-S", "-s", "-B")]
code = "import sys; sys.implementation.cache_tag = 'TAG'\n"
if "-m" in arguments:
    code += "import runpy; sys.argv = ['py_compile', '-']; runpy.run_module('py_compile', run_name='__main__')"
else:
    script = arguments[arguments.index("-c") + 1]
    if "version_info" in script:
        code += "sys.version_info = VERSION\n"
    code += """import builtins
def compile(*arguments, **options):
    return builtins.compile(*arguments, **options).replace(co_code=bytes(2))
"""
    code += (WORKER if "pyc-txn worker" in script else "") + script
os.execv("/usr/bin/python3", ["python3", *options, "-c", code])
"#;

/// What one of both is run on.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub program: &'a str,
    pub arguments: &'a [&'a str],
    pub environment: Environment<'a>,
    /// A list of exclusions.
    pub bcep: &'a str,
    /// Files to make beforehand.
    pub files: &'a [&'a str],
    pub directory: &'a str,
    /// Whether the machine's own public modules are out of sight.
    pub is_alone: bool,
}

pub const CASE: Case<'_> = Case {
    program: "",
    arguments: &[],
    environment: &[],
    bcep: "",
    files: &[],
    directory: "/",
    is_alone: true,
};

/// Its exit status, and the bytecode that is there then.
#[derive(Debug, PartialEq, Eq)]
pub struct Result {
    pub status: Option<i32>,
    pub bytecode: BTreeSet<String>,
}

/// `HERE` and `NEXT` in texts become the version that is installed and the one after it, `here` and `next` with a
/// `~` before them the tags of both.
pub fn filled(text: &str) -> String {
    let here = python::version();
    let minor: u8 = here.split('.').nth(1).unwrap().parse().unwrap();
    let (next, tag) = (format!("3.{}", minor + 1), format!("cpython-3{}", minor + 1));
    text.replace("~here", python::cache_tag())
        .replace("~next", &tag)
        .replace("HERE", &here)
        .replace("NEXT", &next)
}

pub fn write(path: &str, content: &str) {
    let path = PathBuf::from(filled(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Installs a Python of the next version in a system whose files are where `at` says; its name and its tag.
pub fn a_python_of_the_next_version(at: &dyn Fn(&str) -> PathBuf) -> (String, String) {
    let name = filled("pythonNEXT");
    write_python(&at(&format!("/usr/bin/{name}")), &filled("NEXT"), "");
    (name, filled("~next"))
}

/// Writes a Python of another version (`3.12`), which does `startup` when it is started as a worker.
pub fn write_python(path: &Path, version: &str, startup: &str) {
    let tuple = format!("({}, 0, 'final', 0)", version.replace('.', ", "));
    let tag = format!("cpython-{}", version.replace('.', ""));
    let program = OTHER.replace("TAG", &tag).replace("VERSION", &tuple);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, program.replace("WORKER", &format!("{:?}", format!("{startup}\n")))).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Lays overlays over `/usr` and `/var` and puts the package there.
pub fn set_up(world: &World, case: &Case<'_>) {
    let upper = world.beside("upper");
    fs::create_dir_all(&upper).unwrap();
    mount(&["-t", "tmpfs", "none", upper.to_str().unwrap()]);
    for name in ["usr", "var"] {
        let directory = |kind: &str| {
            let path = upper.join(format!("{name}-{kind}"));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        let (changed, work) = (directory("changed"), directory("work"));
        let options = format!("lowerdir=/{name},upperdir={changed},workdir={work}");
        mount(&["-t", "overlay", "overlay", "-o", &options, &format!("/{name}")]);
    }
    if case.is_alone {
        mount(&["-t", "tmpfs", "-o", "mode=755", "none", PUBLIC]);
    } else {
        let clear = [PUBLIC, "-depth", "-name", "__pycache__", "-exec", "rm", "-r", "{}", ";"];
        assert!(Command::new("find").args(clear).status().unwrap().success());
    }
    for path in FILES {
        write(path, "x = 1\n");
    }
    let status = "\nPackage: cmp\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\n\
                  Version: 1\nDescription: x\n";
    let database = fs::read_to_string("/var/lib/dpkg/status").unwrap();
    write("/var/lib/dpkg/status", &format!("{database}{status}"));
    write("/var/lib/dpkg/info/cmp.list", &filled(&format!("/.\n{}\n", FILES.join("\n"))));
    a_python_of_the_next_version(&|path| PathBuf::from(path));
    if !case.bcep.is_empty() {
        write("/usr/share/python3/bcep/cmp", &filled(case.bcep));
    }
    for path in case.files {
        write(path, "");
        // Temporary files are those of writers that were killed.
        make_older(Path::new(&filled(path)));
    }
}

/// Runs one of both in a system of its own.
pub fn run(case: &Case<'_>, is_ours: bool) -> Result {
    let world = World::new();
    let (name, diverted) = (case.program, format!("/usr/bin/{}.distrib", case.program));
    let program = if is_ours {
        let program = world.beside(name);
        symlink(env!("CARGO_BIN_EXE_pyc-txn"), &program).unwrap();
        program
    } else if Path::new(&diverted).exists() {
        diverted.into()
    } else {
        Path::new("/usr/bin").join(name)
    };
    let mut result = None;
    with_mounts(|| {
        set_up(&world, case);
        let mut command = Command::new(program);
        command.args(case.arguments.iter().map(|argument| filled(argument)));
        command.current_dir(case.directory);
        command.env("DEBPYTHON3_SUPPORTED", filled("HERE,NEXT")).env("DEBPYTHON3_DEFAULT", filled("HERE"));
        // The original is a Python program: what it imports through a .pth file is not what it was asked to compile.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        for name in
            ["DPKG_MAINTSCRIPT_PACKAGE", "DPKG_ROOT", "DPKG_ADMINDIR", "DPKG_FORCE", "SOURCE_DATE_EPOCH"]
        {
            command.env_remove(name);
        }
        command.envs(case.environment.iter().map(|(name, value)| (name, filled(value))));
        let status = command.output().unwrap().status.code();
        let find = ["-path", "*/__pycache__/*"];
        let found = Command::new("find").args(PLACES.map(filled)).args(find).output().unwrap();
        let found = String::from_utf8_lossy(&found.stdout);
        result = Some(Result { status, bytecode: found.lines().map(str::to_owned).collect() });
    });
    result.unwrap()
}

pub fn both(case: &Case<'_>) -> (Result, Result) {
    (run(case, false), run(case, true))
}

/// Whether they can be compared here; else says what is left out.
pub fn can_compare() -> bool {
    let what = "comparison with the original py3compile and py3clean";
    if !is_root(what) {
        return false;
    }
    let mut possible = Path::new("/usr/bin/py3compile").exists();
    with_mounts(|| {
        let world = World::new();
        let [upper, work] =
            ["upper", "work"].map(|name| world.beside("tmpfs").join(name).display().to_string());
        fs::create_dir(world.beside("tmpfs")).unwrap();
        mount(&["-t", "tmpfs", "none", world.beside("tmpfs").to_str().unwrap()]);
        fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).unwrap();
        let options = format!("lowerdir=/usr,upperdir={upper},workdir={work}");
        let mounted =
            Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options, "/usr"]).output();
        possible &= mounted.unwrap().status.success();
    });
    if !possible {
        skipped(&format!("{what} (needs /usr/bin/py3compile and overlay mounts)"));
    }
    possible
}

/// Both give the same; says how many files there are, so that no case is about nothing.
#[track_caller]
pub fn same(case: &Case<'_>) -> usize {
    let (original, ours) = both(case);
    assert_eq!(ours, original, "left is ours, right the original: {} {:?}", case.program, case.arguments);
    ours.bytecode.len()
}
