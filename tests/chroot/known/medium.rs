//! The medium: full disks, power cuts, kills in the middle.

use super::{SUITE, TREE, compiled, eight};
use crate::chroot::{Chroot, Outcome, project};

mod r1 {
    use super::*;

    /// A source whose bytecode does not fit beside it, compiled; then there is room.
    fn nearly_full(chroot: &Chroot) {
        chroot.sh(&format!("mkdir {TREE}; mount -t tmpfs -o size=80k small {TREE}")).succeeds();
        chroot.write(&format!("{TREE}/big.py"), format!("x = '{}'\n", "a".repeat(50_000)));
    }

    fn make_room(chroot: &Chroot) {
        chroot.run(&["mount", "-o", "remount,size=1m", TREE]).succeeds();
    }

    fn import(chroot: &Chroot) -> Outcome<'_> {
        chroot.sh(&format!("cd {TREE}; python3 -B -c 'import big'"))
    }

    #[test]
    fn today_a_full_disk_leaves_bytecode_that_nothing_repairs() {
        let chroot = Chroot::original(SUITE);
        nearly_full(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        import(&chroot).fails().says("EOFError");
        make_room(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        import(&chroot).fails().says("EOFError");
    }

    #[test]
    fn a_full_disk_leaves_no_bytecode_and_is_made_up_for() {
        let chroot = Chroot::transactional(SUITE);
        nearly_full(&chroot);
        chroot.run(&["py3compile", TREE]).fails().says("No space left on device");
        assert!(compiled(&chroot).is_empty(), "{}", chroot.in_words());
        import(&chroot).succeeds();
        make_room(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        chroot.imports(TREE, &["big"]);
    }
}

mod r2 {
    use super::*;

    /// What is synced, and what is renamed, by py3compile over the sources of [`eight`], in order.
    fn traced(chroot: &Chroot) -> Vec<&'static str> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("trace").display().to_string();
        let calls = "trace=fsync,fdatasync,sync,syncfs,rename,renameat,renameat2";
        let strace = ["/usr/bin/strace", "-f", "-qq", "-y", "-o", &file, "-e", calls];
        let command = chroot.command_under(&strace, &["py3compile", TREE]);
        chroot.start_command(command, "strace … py3compile").end().succeeds();
        let trace = std::fs::read_to_string(file).unwrap();
        let kind = |line: &str| match line {
            _ if line.contains("rename") && [".pyc", "__pycache__"].iter().any(|of| line.contains(of)) => {
                Some("rename")
            }
            _ if line.contains("syncfs(") => Some("sync"),
            // The journal syncs its own.
            _ if line.contains("sync(") && !["/staging/", TREE].iter().any(|of| line.contains(of)) => None,
            _ if line.contains("sync(") => Some("sync"),
            _ => None,
        };
        trace.lines().filter_map(kind).collect()
    }

    #[test]
    fn today_nothing_is_synced() {
        let chroot = Chroot::original(SUITE);
        eight(&chroot);
        assert_eq!(traced(&chroot), ["rename"; 8]);
    }

    #[test]
    fn bytecode_is_durable_before_it_is_in_place_and_its_place_before_the_end() {
        // All of a new __pycache__ comes into place at once; into one that is there each file comes by itself.
        for (is_there, renames) in [(false, 1), (true, 8)] {
            let chroot = Chroot::transactional(SUITE);
            eight(&chroot);
            if is_there {
                chroot.run(&["mkdir", &format!("{TREE}/__pycache__")]).succeeds();
            }
            let calls = traced(&chroot);
            let first = calls.iter().position(|call| *call == "rename").unwrap();
            let last = calls.iter().rposition(|call| *call == "rename").unwrap();
            assert_eq!(calls.iter().filter(|call| **call == "rename").count(), renames, "{calls:?}");
            assert!(calls[..first].contains(&"sync"), "{calls:?}");
            assert!(calls[last..].contains(&"sync"), "{calls:?}");
        }
    }
}

mod r24 {
    use super::*;

    /// Compiles eight sources, and is killed in place of a rename of bytecode: the second of the process. There is a
    /// `__pycache__`, so that each file is renamed by itself.
    fn killed_in_the_middle(chroot: &Chroot) {
        eight(chroot);
        chroot.run(&["mkdir", &format!("{TREE}/__pycache__")]).succeeds();
        let inject = "inject=rename,renameat,renameat2:signal=SIGKILL:when=2";
        let strace = [
            "/usr/bin/strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=rename,renameat,renameat2",
            "-e",
            inject,
        ];
        let command = chroot.command_under(&strace, &["py3compile", TREE]);
        chroot.start_command(command, "strace … py3compile").end();
    }

    /// All that the tree has beside its sources and whole bytecode.
    fn strays(chroot: &Chroot) -> Vec<String> {
        let all = walkdir::WalkDir::new(chroot.path(TREE)).into_iter().map(Result::unwrap);
        let files = all.filter(|entry| entry.file_type().is_file());
        let names = files.map(|entry| entry.file_name().to_str().unwrap().to_owned());
        names.filter(|name| !name.ends_with(".py") && !name.ends_with(".pyc")).collect()
    }

    #[test]
    fn today_a_temporary_file_stays() {
        let chroot = Chroot::original(SUITE);
        killed_in_the_middle(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        assert_eq!(compiled(&chroot).len(), 8);
        assert_eq!(strays(&chroot).len(), 1);
    }

    #[test]
    fn the_next_run_leaves_nothing_of_a_killed_one() {
        let chroot = Chroot::transactional(SUITE);
        killed_in_the_middle(&chroot);
        assert!(compiled(&chroot).len() < 8, "{}", chroot.in_words());
        chroot.run(&["py3compile", TREE]).succeeds();
        assert_eq!(compiled(&chroot).len(), 8);
        assert_eq!(strays(&chroot), [""; 0]);
        let staging = chroot.path("/var/lib/pyc-txn/staging");
        assert!(std::fs::read_dir(staging).map_or(0, Iterator::count) == 0, "{}", chroot.in_words());
    }
}

mod r18 {
    use super::*;

    #[test]
    fn today_a_broken_body_behind_a_valid_header_is_for_ever() {
        let chroot = Chroot::original(SUITE);
        eight(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        let pyc = format!("{TREE}/__pycache__/m1.{}.pyc", SUITE.tag());
        let whole = chroot.read(&pyc);
        chroot.write(&pyc, &whole[..whole.len() - 9]);
        chroot.run(&["py3compile", TREE]).succeeds();
        chroot.sh(&format!("cd {TREE}; python3 -c 'import m1'")).fails().says("EOFError");
    }

    #[test]
    fn force_mends_a_broken_body() {
        let chroot = Chroot::transactional(SUITE);
        eight(&chroot);
        chroot.run(&["py3compile", TREE]).succeeds();
        let pyc = format!("{TREE}/__pycache__/m1.{}.pyc", SUITE.tag());
        let whole = chroot.read(&pyc);
        chroot.write(&pyc, &whole[..whole.len() - 9]);
        chroot.run(&["py3compile", "-f", TREE]).succeeds();
        assert_eq!(chroot.read(&pyc), whole);
        chroot.imports(TREE, &["m1"]);
    }
}

#[test]
fn the_project_has_the_programs_that_these_tests_look_through() {
    for file in ["tests/real/compare.py", "tests/real/imports.py"] {
        assert!(project().join(file).is_file(), "{file}");
    }
}
