//! Debian's own `py3compile` and `py3clean` and ours, over the same system: the same targets, but for what the
//! manuals list as different.

use std::fs;

use crate::aid::skipped;
use crate::twins::{CASE, Case, Environment, Result, both, can_compare, filled, same};

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
