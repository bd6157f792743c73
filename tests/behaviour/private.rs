//! Private modules: a package's script says which there are and how they are compiled, and that counts for every
//! command.

use std::fs;

use crate::aid::{has_program, is_root, mount, names, through, with_mounts};
use crate::installation::{Installation, PUBLIC};
use crate::oracle;
use crate::support::{PYTHON, python};
use crate::twins::a_python_of_the_next_version;

const FILES: [&str; 2] = ["/usr/share/pkg/p.py", "/usr/share/pkg/tests/t.py"];

/// The words of dh_python3.
const SCRIPT: &str = "if command -v py3compile >/dev/null 2>&1; then\n\tpy3compile -p pkg /usr/share/pkg -X 'tests/'\nfi\n\
                      if command -v pypy3compile >/dev/null 2>&1; then\n\tpypy3compile -p pkg /usr/share/pkg || true\nfi";

fn system(script: &str) -> Installation {
    let system = Installation::with_programs();
    system.install_private(&FILES, script);
    system
}

fn pyc(system: &Installation, source: &str) -> std::path::PathBuf {
    system.world.pyc(system.at(source))
}

/// Demands that of the package's modules the first one has bytecode.
#[track_caller]
fn the_first_is_compiled(system: &Installation, context: &str) {
    assert!(pyc(system, FILES[0]).exists() && !pyc(system, FILES[1]).exists(), "{context}");
}

#[test]
fn a_commit_of_everything_has_what_packages_ask_for_in_their_scripts() {
    for arguments in [["hook", "triggered"], ["hook", "configure"], ["commit", "-v"]] {
        let system = system(SCRIPT);
        let outcome = system.call("pyc-txn", &arguments).exits(0).says("compiled 1 ");
        the_first_is_compiled(&system, outcome.context());
        assert_eq!(oracle::filename(&pyc(&system, FILES[0])), FILES[0]);
        assert_eq!(system.world.query::<String>("SELECT DISTINCT owner FROM ledger"), "pkg");
        system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do (1 up to date)");
        fs::remove_file(pyc(&system, FILES[0])).unwrap();
        system.call("pyc-txn", &["verify"]).exits(1).says("missing 1 ");
        let outcome = system.call("pyc-txn", &["verify", "--repair"]).exits(0).says("repaired 1");
        the_first_is_compiled(&system, outcome.context());
        system.call("pyc-txn", &["verify"]).exits(0).says("pyc-txn: valid 1 in");
    }
}

#[test]
fn verify_misses_what_was_never_compiled() {
    let system = system(SCRIPT);
    system
        .call("pyc-txn", &["verify"])
        .exits(1)
        .says("missing 1 ")
        .says("p.cpython")
        .does_not_say("t.cpython");
    system.call("pyc-txn", &["verify", "--repair"]).exits(0).says("repaired 1");
    the_first_is_compiled(&system, "");
}

#[test]
fn what_a_package_has_said_counts_for_a_path_and_for_the_package() {
    for what in [
        &["/usr/share/pkg"][..],
        &["/usr/share"],
        &["-p", "pkg"],
        &FILES,
        &["/usr/share/pkg/tests", FILES[0]],
    ] {
        let system = system(SCRIPT);
        system.call("pyc-txn", &[&["record"], what].concat()).exits(0).says("recorded 1 ");
        let outcome = system.call("pyc-txn", &[&["commit"], what].concat()).exits(0).says("compiled 1 ");
        the_first_is_compiled(&system, outcome.context());
        system.call("pyc-txn", &[&["verify"], what].concat()).exits(0).says("valid 1 ");
        system
            .call("pyc-txn", &[&["commit", "-f", "--python", PYTHON], what].concat())
            .exits(0)
            .says("compiled 1 ");
        let outcome = system.call("pyc-txn", &[&["clean"], what].concat()).exits(0).says("removed 1 ");
        assert!(!pyc(&system, FILES[0]).exists(), "{}", outcome.context());
    }
}

#[test]
fn a_range_without_an_installed_version_asks_for_nothing() {
    let system = system("py3compile -p pkg /usr/share/pkg -V 3.2-3.3");
    for what in [&[][..], &["/usr/share/pkg"], &["-p", "pkg"]] {
        system.call("pyc-txn", &[&["commit"], what].concat()).exits(0).says("nothing to do");
        system.call("pyc-txn", &[&["verify"], what].concat()).exits(0).says("nothing to verify");
    }
    // Who names an interpreter means it.
    let outcome = system.call("pyc-txn", &["commit", "--python", PYTHON, "-p", "pkg"]).exits(0);
    outcome.says("compiled 2 ");
}

#[test]
fn private_modules_are_for_one_version_and_that_is_the_one_in_the_range() {
    for (range, is_next) in [("", false), ("-V -4.0", false), ("-V NEXT", true), ("-V NEXT-", true)] {
        for what in [&["hook", "triggered"][..], &["commit", "/usr/share/pkg"], &["commit", "-p", "pkg"]] {
            let system = Installation::with_programs();
            let (next, tag) = a_python_of_the_next_version(&|path| system.at(path));
            let here = python::version();
            let defaults = format!(
                "[DEFAULT]\ndefault-version = python{here}\nsupported-versions = {next}, python{here}\n"
            );
            system.write("/usr/share/python3/debian_defaults", &defaults);
            let range = range.replace("NEXT", next.trim_start_matches("python"));
            system.install_private(&FILES[..1], &format!("py3compile -p pkg /usr/share/pkg {range}"));
            let outcome = system.call("pyc-txn", what).exits(0).says("compiled 1 ");
            let tag = if is_next { tag.as_str() } else { python::cache_tag() };
            let cache = names(&system.at("/usr/share/pkg/__pycache__"));
            assert_eq!(cache, [format!("p.{tag}.pyc")], "{}", outcome.context());
            system.call("pyc-txn", &["verify"]).exits(0).says("valid 1 ");
        }
    }
}

#[test]
fn a_change_of_what_a_package_asks_for_is_not_hidden_by_seals() {
    let system = Installation::with_programs();
    let sources: Vec<String> = (0..130).map(|number| format!("/usr/share/pkg/p{number}/a.py")).collect();
    let files: Vec<&str> = sources.iter().map(String::as_str).collect();
    system.install_private(&files, "py3compile -p pkg /usr/share/pkg -X p7/");
    let commit = || system.call("pyc-txn", &["commit", "-v", "/usr/share/pkg"]).exits(0);
    commit().says("compiled 129 ");
    system.rest(sources.iter());
    commit().says("sealed ");
    commit().does_not_say("sealed ").says("(129 up to date)");
    system.install_private(&[], "py3compile -p pkg /usr/share/pkg");
    system.write("/var/lib/dpkg/info/pkg.list", &format!("{}\n", sources.join("\n")));
    commit().says("compiled 1 ");
}

#[test]
fn two_calls_for_one_module_are_both_right() {
    let system = system(&format!("{SCRIPT}\npy3compile -p pkg /usr/share/pkg/tests/ -X 'nothing'"));
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 2 ");
}

#[test]
fn a_package_that_is_gone_asks_for_nothing() {
    let system = system(SCRIPT);
    fs::remove_file(system.at("/var/lib/dpkg/info/pkg.list")).unwrap();
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
    let system = self::system(SCRIPT);
    fs::remove_file(system.at("/var/lib/dpkg/info/pkg.postinst")).unwrap();
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
    system.call("pyc-txn", &["commit", "/usr/share/pkg"]).exits(0).says("compiled 2 ");
}

#[test]
fn a_call_that_cannot_be_read_asks_for_nothing_and_hides_no_other() {
    let script =
        format!("py3compile -p pkg \"$dir\"\npy3compile -p pkg -V nonsense /usr/share/pkg\n{SCRIPT}");
    let system = system(&script);
    system.write(
        "/var/lib/dpkg/info/other.postinst",
        "#!/usr/bin/perl\nsystem 'py3compile -p pkg /usr/share';\n",
    );
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    the_first_is_compiled(&system, outcome.context());
    assert_eq!(outcome.stderr, "");
}

#[test]
fn public_modules_are_nobody_s_private_ones() {
    let system = Installation::with_programs();
    let source = format!("{PUBLIC}/m.py");
    system.install_private(&[&source], &format!("py3compile -p pkg {PUBLIC} -V 3.2-3.3 -X m"));
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    assert!(system.pyc("m.py").exists());
}

/// Demands that a call that could record nothing says what mends it, has dpkg call the trigger, and that the trigger makes
/// up for it.
#[track_caller]
fn is_made_up_for(system: &Installation, outcome: &crate::support::Outcome) {
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
    assert!(outcome.stderr.contains("'pyc-txn commit'"), "{}", outcome.context());
    assert_eq!(system.note("original"), None, "{}", outcome.context());
    assert_eq!(system.note("triggered").as_deref(), Some("--no-await pyc-txn\n"), "{}", outcome.context());
    let outcome = system.call_in_script("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    the_first_is_compiled(system, outcome.context());
}

const CALL: [&str; 5] = ["-p", "pkg", "/usr/share/pkg", "-X", "tests/"];

#[test]
fn what_could_not_be_recorded_on_a_full_disk_is_made_up_for() {
    if !is_root("a full disk") {
        return;
    }
    let system = system(SCRIPT);
    system.divert_originals();
    let state = system.at("/var/lib/pyc-txn");
    fs::create_dir_all(&state).unwrap();
    let mut outcome = None;
    with_mounts(|| {
        mount(&["-t", "tmpfs", "-o", "size=16k,mode=700", "none", state.to_str().unwrap()]);
        fs::write(state.join("filler"), vec![0; 12 << 10]).unwrap();
        outcome = Some(system.call_in_script("py3compile", &CALL).exits(0));
        let hook = system.call_in_script("pyc-txn", &["hook", "triggered"]).exits(0);
        let hook = hook.says("once there is room, 'pyc-txn commit'");
        assert_eq!(hook.stderr.lines().count(), 1, "{}", hook.context());
        system.call("py3compile", &CALL).exits(3);
    });
    is_made_up_for(&system, &outcome.unwrap());
}

#[test]
fn the_trigger_makes_up_for_it_also_where_nothing_is_deferred() {
    if !has_program("strace", "writes that fail") {
        return;
    }
    let system = system(SCRIPT);
    system.write("/etc/pyc-txn.conf", "defer = false\n");
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=pwrite64",
        "-e",
        "inject=pwrite64:error=ENOSPC",
    ];
    let command = through(&wrapper, &system.in_script("py3compile", &CALL));
    is_made_up_for(&system, &system.world.outcome(command).exits(0));
}

#[test]
fn a_write_that_fails_is_as_a_full_disk() {
    if !has_program("strace", "writes that fail") {
        return;
    }
    for (call, error) in
        [("pwrite64", "ENOSPC"), ("pwrite64", "EDQUOT"), ("pwrite64", "EIO"), ("fdatasync,fsync", "EDQUOT")]
    {
        let system = system(SCRIPT);
        system.divert_originals();
        let inject = format!("inject={call}:error={error}");
        let wrapper =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let command = through(&wrapper, &system.in_script("py3compile", &CALL));
        is_made_up_for(&system, &system.world.outcome(command).exits(0));
    }
}

#[test]
fn what_was_lost_or_unreadable_is_asked_for_again() {
    let system = system(SCRIPT);
    let source = system.at(FILES[0]);
    system.call_in_script("py3compile", &CALL).exits(0);
    fs::rename(&source, system.at("/aside.py")).unwrap();
    system.call("pyc-txn", &["hook", "triggered"]).exits(0);
    fs::rename(system.at("/aside.py"), &source).unwrap();
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    the_first_is_compiled(&system, outcome.context());
}
