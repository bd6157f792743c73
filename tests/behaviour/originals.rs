//! Debian's own `py3compile` and `py3clean` and ours, over the same system: the same targets, but for what the
//! manuals list as different.
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
use crate::support::{World, python};

/// A package with public modules for all versions and for one, and private ones.
const FILES: [&str; 9] = [
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
const PLACES: [&str; 5] = [
    PUBLIC,
    "/usr/lib/pythonHERE/dist-packages",
    "/usr/lib/pythonNEXT/dist-packages",
    "/usr/share/cmp",
    "/usr/share/cmp-more",
];

type Environment<'a> = &'a [(&'a str, &'a str)];

/// A Python of the next version: the installed one under another name.
const NEXT: &str = r#"#!/usr/bin/python3 -S
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
    code += script
os.execv("/usr/bin/python3", ["python3", *options, "-c", code])
"#;

/// What one of both is run on.
#[derive(Clone, Copy)]
struct Case<'a> {
    program: &'a str,
    arguments: &'a [&'a str],
    environment: Environment<'a>,
    /// A list of exclusions.
    bcep: &'a str,
    /// Files to make beforehand.
    files: &'a [&'a str],
    directory: &'a str,
    /// Whether the machine's own public modules are out of sight.
    is_alone: bool,
}

const CASE: Case<'_> = Case {
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
struct Result {
    status: Option<i32>,
    bytecode: BTreeSet<String>,
}

/// `HERE` and `NEXT` in texts become the version that is installed and the one after it, `here` and `next` with a
/// `~` before them the tags of both.
fn filled(text: &str) -> String {
    let here = python::version();
    let minor: u8 = here.split('.').nth(1).unwrap().parse().unwrap();
    let (next, tag) = (format!("3.{}", minor + 1), format!("cpython-3{}", minor + 1));
    text.replace("~here", python::cache_tag())
        .replace("~next", &tag)
        .replace("HERE", &here)
        .replace("NEXT", &next)
}

fn write(path: &str, content: &str) {
    let path = PathBuf::from(filled(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Lays overlays over `/usr` and `/var` and puts the package there.
fn set_up(world: &World, case: &Case<'_>) {
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
    let version = format!("({}, 0, 'final', 0)", filled("NEXT").replace('.', ", "));
    write("/usr/bin/pythonNEXT", &filled(&NEXT.replace("TAG", "~next").replace("VERSION", &version)));
    fs::set_permissions(filled("/usr/bin/pythonNEXT"), fs::Permissions::from_mode(0o755)).unwrap();
    if !case.bcep.is_empty() {
        write("/usr/share/python3/bcep/cmp", &filled(case.bcep));
    }
    case.files.iter().for_each(|path| write(path, ""));
}

/// Runs one of both in a system of its own.
fn run(case: &Case<'_>, is_ours: bool) -> Result {
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

fn both(case: &Case<'_>) -> (Result, Result) {
    (run(case, false), run(case, true))
}

/// Whether they can be compared here; else says what is left out.
fn can_compare() -> bool {
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
fn same(case: &Case<'_>) -> usize {
    let (original, ours) = both(case);
    assert_eq!(ours, original, "left is ours, right the original: {} {:?}", case.program, case.arguments);
    ours.bytecode.len()
}

#[test]
fn the_same_is_compiled() {
    if !can_compare() {
        return;
    }
    let cases: [(&[&str], usize); 29] = [
        (&["-p", "cmp"], 8),
        (&["-p", "cmp", "-V", "NEXT"], 4),
        (&["-p", "cmp", "-V", "HERE-"], 8),
        (&["-p", "cmp", "-V", "HERE-NEXT"], 4),
        (&["-p", "cmp", "-V", "-NEXT"], 4),
        (&["-p", "cmp", "-V-4.0"], 8),
        (&["-p", "cmp", "-V", ""], 8),
        (&["-p", "cmp", "-V", "3.2"], 0),
        (&["-p", "cmp", "-V", "4.0-"], 0),
        (&["-p", "cmp", "-V", "NEXT-HERE"], 0),
        (&["-qfp", "cmp"], 8),
        (&["-O", "-p", "cmp"], 8),
        (&["-p", "cmp", "/usr/share/cmp"], 4),
        (&["-p", "cmp", "/usr/share/cmp/"], 3),
        (&["-p", "cmp", "/usr/share/cmp/", "/usr/share/cmp-more"], 4),
        (&["-p", "cmp", "/usr/share/cmp/", "-V", "NEXT-"], 3),
        (&["-p", "cmp", "/usr/share/cmp/", "-X", "tests/"], 2),
        (&["-p", "cmp", "/usr/share/cmp/", "-X", "t.py", "-X", "/usr/share/cmp/p"], 2),
        (&["-p", "cmp", "/usr/share/cmp/", "--exclude=(?!/)(?!q)"], 1),
        (&["-p", "cmp", "/usr/share/nope"], 0),
        (&["-p", "cmp", "-X", "x"], 0),
        (&["/usr/share/cmp"], 6),
        (&["-V", "NEXT", "/usr/share/cmp", "-X", ".*/t\\.py$"], 2),
        (&["/usr/share/cmp/p.py", "/usr/share/cmp-more"], 4),
        (&["/usr/share/cmp/p.py", "-X", "p", "-X", "/usr"], 2),
        (&["/usr/share/nope"], 0),
        (&["-V", "HERE", "/usr/lib/python3/dist-packages/cmp"], 3),
        (&["--nonsense"], 0),
        (&[], 0),
    ];
    for (arguments, count) in cases {
        let case = Case { program: "py3compile", arguments, ..CASE };
        assert_eq!(same(&case), count, "{arguments:?}");
    }
}

#[test]
fn the_same_versions_are_supported_and_preferred() {
    if !can_compare() {
        return;
    }
    let cases: [(&[&str], Environment<'_>, usize); 6] = [
        (&["-p", "cmp"], &[("DEBPYTHON3_SUPPORTED", "HERE")], 4),
        (&["-p", "cmp"], &[("DEBPYTHON3_SUPPORTED", "3.1, NEXT")], 4),
        (&["-p", "cmp", "-V", "NEXT"], &[("DEBPYTHON3_SUPPORTED", "HERE")], 4),
        (&["-p", "cmp"], &[("DEBPYTHON3_SUPPORTED", ""), ("DEBPYTHON3_DEFAULT", "")], 4),
        (&["-p", "cmp", "/usr/share/cmp/"], &[("DEBPYTHON3_DEFAULT", "NEXT")], 3),
        (&["-p", "cmp", "/usr/share/cmp/"], &[("DEBPYTHON3_DEFAULT", "9.9")], 3),
    ];
    for (arguments, environment, count) in cases {
        let case = Case { program: "py3compile", arguments, environment, ..CASE };
        assert_eq!(same(&case), count, "{arguments:?} {environment:?}");
    }
}

#[test]
fn the_same_is_left_out_by_the_lists_of_packages() {
    if !can_compare() {
        return;
    }
    let public = "/usr/lib/python3/dist-packages";
    let cases: [(String, &[&str], usize); 8] = [
        (format!("# comment\ndir|-|{public}/cmp/sub\n"), &["-p", "cmp"], 6),
        (format!("dir|-NEXT|{public}/cmp\n"), &["-p", "cmp"], 5),
        (format!("file|-|{public}/cmp/a.py\n"), &["-p", "cmp"], 6),
        (format!("re|-|{public}/cmp|[ab]\\.py\n"), &["-p", "cmp"], 4),
        (format!("re|-|{public}|.*/[bc]\\.py\n"), &["-p", "cmp"], 4),
        (format!("re|3.2|{public}/cmp|.*\nre|-|{public}|(\n"), &["-p", "cmp"], 8),
        ("dir|-|/usr/share/cmp/tests|\n".to_owned(), &["-p", "cmp", "/usr/share/cmp/"], 2),
        ("re|HERE|/usr/share|cmp/tests\n".to_owned(), &["/usr/share/cmp", "-X", "p"], 3),
    ];
    for (bcep, arguments, count) in cases {
        let case = Case { program: "py3compile", arguments, bcep: &bcep, ..CASE };
        assert_eq!(same(&case), count, "{bcep} {arguments:?}");
    }
}

#[test]
fn of_a_real_package_the_same_is_compiled() {
    let is_real = |list: &String| {
        let text = fs::read_to_string(list).unwrap_or_default();
        text.lines().any(|line| line.starts_with("/usr/lib/python3/dist-packages/") && line.ends_with(".py"))
    };
    let lists = fs::read_dir("/var/lib/dpkg/info").into_iter().flatten().flatten();
    let lists = lists.map(|entry| entry.path().display().to_string()).filter(|path| path.ends_with(".list"));
    let Some(list) = lists.filter(is_real).min() else {
        return skipped("comparison over a real package (needs one with public modules)");
    };
    if !can_compare() {
        return;
    }
    let package = list.rsplit('/').next().unwrap().trim_end_matches(".list");
    let here = [("DEBPYTHON3_SUPPORTED", "HERE")];
    let arguments = ["-p", package];
    let case =
        Case { program: "py3compile", arguments: &arguments, environment: &here, is_alone: false, ..CASE };
    assert!(same(&case) > 0, "{package}");
}

/// Bytecode of two versions of the package's modules.
const BYTECODE: [&str; 7] = [
    "/usr/lib/python3/dist-packages/cmp/__pycache__/a.~here.pyc",
    "/usr/lib/python3/dist-packages/cmp/__pycache__/a.~next.pyc",
    "/usr/lib/python3/dist-packages/cmp/__pycache__/other.~here.pyc",
    "/usr/share/cmp/__pycache__/p.~here.pyc",
    "/usr/share/cmp/__pycache__/p.~next.pyc",
    "/usr/share/cmp/__pycache__/q.~here.opt-1.pyc",
    "/usr/share/cmp-more/__pycache__/m.~next.pyc",
];

#[test]
fn the_same_is_removed() {
    if !can_compare() {
        return;
    }
    let cases: [(&[&str], usize); 12] = [
        (&["-p", "cmp"], 1),
        (&["-p", "cmp", "/usr/share/cmp"], 4),
        (&["-qp", "cmp", "/usr/share/cmp", "/usr/share/cmp-more"], 3),
        (&["/usr/share/cmp"], 4),
        (&["/usr/share/cmp/p.py"], 5),
        (&["-V", "NEXT", "-p", "cmp"], 4),
        (&["-V", "NEXT", "/usr/share/cmp"], 6),
        (&["-V", "3.1", "-p", "cmp"], 7),
        (&["-V", "9.9", "-p", "cmp"], 7),
        (&["/usr/share/nope"], 7),
        (&["--nonsense"], 7),
        (&[], 7),
    ];
    for (arguments, count) in cases {
        let case = Case { program: "py3clean", arguments, files: &BYTECODE, ..CASE };
        assert_eq!(same(&case), count, "{arguments:?}");
    }
}

/// One row of the tables in the manuals: what the original leaves or makes, and what we do.
struct Difference<'a> {
    case: Case<'a>,
    original: (i32, &'a [&'a str]),
    ours: (i32, &'a [&'a str]),
}

#[test]
fn what_is_different_is_what_the_manuals_say() {
    if !can_compare() {
        return;
    }
    const P: &str = "/usr/share/cmp/__pycache__/p.~here.pyc";
    const Q: &str = "/usr/share/cmp/__pycache__/q.~here.pyc";
    const Q1: &str = "/usr/share/cmp/__pycache__/q.~here.opt-1.pyc";
    const P_LEFT: &str = "/usr/share/cmp/__pycache__/p.~here.pyc.140221";
    const P_OTHER: &str = "/usr/share/cmp/__pycache__/p.f-1.py311.nbi";
    const P_BAR: &str = "/usr/share/cmp/__pycache__/p.bar.~here.pyc";
    const A1: &str = "/usr/share/cmp/__pycache__/a1.~here.pyc";
    const P_OLD: &str = "/usr/share/cmp/__pycache__/p.cpython-39.pyc";
    const T: &str = "/usr/share/cmp/tests/__pycache__/t.~here.pyc";
    let clean = Case { program: "py3clean", arguments: &["-p", "cmp"], ..CASE };
    let compile = Case { program: "py3compile", ..CASE };
    let here: &[&str] = &["-V", "HERE", "-p", "cmp"];
    let brackets: &[&str] = &["/usr/share/cmp/a[1].py", "/usr/share/cmp/a1.py", A1];
    let differences = [
        Difference {
            case: Case { files: &[P, P_BAR, "/usr/share/cmp/p.bar.py"], ..clean },
            original: (0, &[]),
            ours: (0, &[P_BAR]),
        },
        Difference {
            case: Case { files: brackets, arguments: &["/usr/share/cmp/a[1].py"], ..clean },
            original: (0, &[]),
            ours: (0, &[A1]),
        },
        Difference {
            case: Case { files: &[P, P_LEFT, Q1], arguments: here, ..clean },
            original: (0, &[P_LEFT, Q1]),
            ours: (0, &[]),
        },
        Difference {
            case: Case { files: &[P_OLD], arguments: &["-V", "3.9", "-p", "cmp"], ..clean },
            original: (4, &[P_OLD]),
            ours: (0, &[]),
        },
        Difference {
            case: Case { files: &[P, P_OTHER], ..clean },
            original: (0, &[]),
            ours: (0, &[P_OTHER]),
        },
        Difference {
            case: Case {
                arguments: &["-V", "HERE", "cmp", "-X", "[pt]"],
                directory: "/usr/share",
                ..compile
            },
            original: (0, &[P, Q, T]),
            ours: (0, &[Q]),
        },
        Difference {
            case: Case { arguments: &["-V", "HERE", "/usr/share/cmp"], bcep: "nonsense\n", ..compile },
            original: (1, &[]),
            ours: (0, &[P, Q, T]),
        },
        Difference {
            case: Case { arguments: &["-V", "HERE", "/usr/lib/pythonNEXT/dist-packages"], ..compile },
            original: (1, &[]),
            ours: (0, &[]),
        },
    ];
    for Difference { case, original, ours } in differences {
        let expected = |(status, bytecode): (i32, &[&str])| Result {
            status: Some(status),
            bytecode: bytecode.iter().map(|path| filled(path)).collect(),
        };
        let is = both(&case);
        assert_eq!(is, (expected(original), expected(ours)), "{} {:?}", case.program, case.arguments);
    }
}
