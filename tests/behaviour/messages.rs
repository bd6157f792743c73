//! Words from elsewhere: they are bounded, and no terminal obeys them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fake::Fake;
use crate::installation::Installation;
use crate::support::{Outcome, World};

/// Demands that what was printed has no control character but the ends of lines, and no line of many characters.
#[track_caller]
fn is_harmless(outcome: Outcome) -> Outcome {
    let printed = outcome.stdout.clone() + &outcome.stderr;
    let is_command = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!printed.contains(is_command), "{printed:?}\n{}", outcome.context());
    let longest = printed.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(longest < 800, "{longest}\n{}", outcome.context());
    outcome
}

/// What a terminal obeys: its screen is cleared, its title set, and the line is read backwards.
const COMMANDS: &str = "\\x1b[2J\\x1b]0;owned\\x07\\x9b1m\\u202e";

#[test]
fn of_many_failures_the_first_are_printed_and_status_has_all() {
    let world = World::new();
    for number in 0..150 {
        world.write(format!("{number:03}.py"), "= =\n");
    }
    for _ in 0..2 {
        let outcome = world.commit().exits(1).says("failed 150");
        assert_eq!(outcome.stderr.matches("SyntaxError").count(), 100, "{}", outcome.context());
        outcome.says("pyc-txn: and 50 more; 'pyc-txn status' has what could not be compiled");
    }
    let outcome = world.run(&["status"]).exits(0).says("150 could not be compiled");
    assert_eq!(outcome.stdout.matches("SyntaxError").count(), 150, "{}", outcome.context());
}

#[test]
fn what_a_worker_refuses_a_source_with_is_a_line_of_the_program_s_own() {
    let world = World::new();
    let fake = Fake::new(&world);
    world.write(
        "a.py",
        format!("# worker: raise ValueError('{COMMANDS}' + 'x' * 1000000 + '\\nfake: line')\n"),
    );
    world.write("b.py", format!("# worker: raise SyntaxError('first\\nfake: line {COMMANDS}')\n"));
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    let outcome = is_harmless(world.outcome(command).exits(1).says("failed 2"));
    assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.context());
    let longest: i64 = world.query("SELECT max(length(message)) FROM intents");
    assert!((100..=500).contains(&longest), "{longest}");
    for arguments in
        [&["status"][..], &["status", "--json"], &["log", "1"], &["log", "1", "--json"], &["log"]]
    {
        let outcome = is_harmless(world.run(arguments).exits(0));
        assert!(!outcome.stdout.lines().any(|line| line.starts_with("fake")), "{}", outcome.context());
    }
}

#[test]
fn a_refusal_that_no_worker_gives_is_not_taken() {
    let world = World::new();
    let fake = Fake::new(&world);
    let frame = "(1).to_bytes(4, 'little') + (1 << 24).to_bytes(4, 'little') + b'\\0' * 4 + b'x' * (1 << 24)";
    world.write("a.py", format!("# worker: os.write(1, {frame})\n"));
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    world.outcome(command).exits(1).says("the worker answered garbage: a frame that is none");
}

#[test]
fn what_an_older_journal_has_is_harmless_too() {
    let world = World::new();
    world.write("a.py", "= =\n");
    world.commit().exits(1);
    let message = format!("1: Error: \u{1b}[2J\nfake \u{9b}1m \u{202e}{}", "x".repeat(100_000));
    for table in ["intents", "failures", "transactions"] {
        // The past cannot be changed, but by a program that knows nothing of this rule.
        let journal = world.journal();
        let triggers: Vec<String> = journal
            .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
            .unwrap();
        triggers.iter().for_each(|name| drop(journal.execute(&format!("DROP TRIGGER \"{name}\""), [])));
        journal.execute(&format!("UPDATE {table} SET message = ?1"), [&message]).unwrap();
    }
    for arguments in [&["status"][..], &["log", "1"], &["log"]] {
        let outcome = is_harmless(world.run(arguments).exits(0));
        assert!(!outcome.stdout.lines().any(|line| line.starts_with("fake")), "{}", outcome.context());
    }
    for arguments in [&["status", "--json"][..], &["log", "1", "--json"]] {
        let outcome = world.run(arguments).exits(0).says("\\u001b[2J\\nfake \\u009b1m \\u202exxx");
        assert!(!outcome.stdout.contains('\u{9b}'), "{}", outcome.context());
    }
}

#[test]
fn of_many_warnings_the_first_are_kept_and_all_are_counted() {
    let world = World::new();
    world.write("a.py", "assert (1, 'always')\n".repeat(250));
    world.write("b.py", "assert (1, 'always')\n".repeat(2));
    world.commit().exits(0).says("compiled 2 ");
    world.run(&["status"]).exits(0).says("252 warnings in 2 sources");
    let outcome = world.run(&["log", "1"]).exits(0).says("    line 100: assertion is always true");
    let outcome = outcome.says("    and 150 more\n").does_not_say("    line 101: ");
    assert_eq!(outcome.stdout.matches("    line ").count(), 102, "{}", outcome.context());
}

#[test]
fn the_last_words_of_a_worker_are_harmless() {
    let world = World::new();
    let fake = Fake::new(&world);
    let words = format!("os.write(2, '{COMMANDS}{{}}'.format('x' * 3000).encode())");
    world.write("a.py", format!("# worker: {words}; os._exit(7)\n"));
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree());
    is_harmless(world.outcome(command).exits(1).says("the worker exited with status 7 ("));
}

#[test]
fn what_lists_settings_and_dpkg_say_is_harmless() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system.script("dpkg-trigger", "printf '\\033[2Jno\\007\\n' >&2; head -c 1000000 /dev/zero >&2; exit 1");
    let outcome = is_harmless(system.call_in_script("py3compile", &["-p", "pkg"]).exits(0));
    outcome.says(r"\u{1b}[2Jno\u{7}");
    system.script("dpkg-trigger", "exit 0");
    let list: String = (0..300).map(|n| format!("re|-\u{1b}[2J{n}{}|/|x\n", "y".repeat(1000))).collect();
    system.write("/usr/share/python3/bcep/list", &list);
    let outcome = is_harmless(system.call("py3compile", &["-p", "pkg"]).exits(0));
    assert!(outcome.stderr.lines().count() <= 101, "{}", outcome.context());
    outcome.says("bcep/list:100: ").says("and 200 more");
    fs::remove_dir_all(system.at("/usr/share/python3/bcep")).unwrap();
    let settings: String = (0..300).map(|n| format!("\"\\u001b[2J{n}{}\" = 1\n", "y".repeat(1000))).collect();
    system.write("/etc/pyc-txn.conf", &settings);
    let outcome = is_harmless(system.call("pyc-txn", &["commit"]).exits(0));
    assert_eq!(outcome.stderr.lines().count(), 101, "{}", outcome.context());
    outcome.says("pyc-txn.conf:100: unknown key").says("and 200 more");
}

#[test]
fn names_in_lists_are_harmless() {
    let system = Installation::with_programs();
    let source = system.write("/usr/lib/python3/dist-packages/a\u{1b}[2J\u{202e}.py", "= =\n");
    system.write("/usr/lib/python3/dist-packages/b.py", "x = 1\n");
    let owned = "/usr/lib/python3/dist-packages/b.py\n";
    system.write("/var/lib/dpkg/info/p\u{1b}[2J.list", owned);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o644)).unwrap();
    for arguments in [
        &["commit"][..],
        &["status"],
        &["log", "1"],
        &["verify", "-v"],
        &["owner", "/usr/lib/python3/dist-packages/b.py"],
        &["owner", "--json", "/usr/lib/python3/dist-packages/b.py"],
        &["owner", "/nothing\u{1b}[2J"],
        &["commit", "-p", "nobody\u{1b}[2J"],
        &["commit", "--python", "nobody\u{1b}[2J"],
    ] {
        is_harmless(system.call("pyc-txn", arguments));
    }
}
