//! The configuration file, and what has precedence over it.

use crate::installation::{Installation, PUBLIC};
use crate::support::{World, python};

const FILE: &str = "/etc/pyc-txn.conf";

/// A system with two modules of a package, and this configuration.
fn system(configuration: &str) -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py", "test/b.py"]);
    system.write(FILE, configuration);
    system
}

fn pyc(system: &Installation, ending: &str) -> bool {
    system.at(&format!("{PUBLIC}/__pycache__/a.{}{ending}", python::cache_tag())).exists()
}

#[test]
fn levels_and_mode_are_the_file_s_unless_the_command_line_says_otherwise() {
    let configuration = "optimize = [0, 2]\ninvalidation = 'unchecked-hash'\n";
    let hashed = system(configuration);
    hashed.call("pyc-txn", &["commit", "-p", "pkg"]).exits(0).says("compiled 4 ");
    assert!(pyc(&hashed, ".pyc") && pyc(&hashed, ".opt-2.pyc"));
    let flags = std::fs::read(hashed.pyc("a.py")).unwrap()[4];
    assert_eq!(flags, 1);
    let said = system(configuration);
    said.call("pyc-txn", &["commit", "-p", "pkg", "-O", "1", "--invalidation", "timestamp"]).exits(0);
    assert!(pyc(&said, ".opt-1.pyc") && !pyc(&said, ".pyc"));
    let front_end = system(configuration);
    front_end.call("py3compile", &["-O", "-p", "pkg"]).exits(0);
    assert!(pyc(&front_end, ".opt-1.pyc") && !pyc(&front_end, ".pyc"));
    front_end.call("py3compile", &["-p", "pkg"]).exits(0);
    assert!(pyc(&front_end, ".pyc") && pyc(&front_end, ".opt-2.pyc"));
}

#[test]
fn without_levels_there_is_no_bytecode() {
    let system = system("optimize = []\n");
    system.call_in_script("py3compile", &["-p", "pkg"]).exits(0);
    system.call("pyc-txn", &["hook", "triggered"]).exits(0);
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
    assert!(!pyc(&system, ".pyc"));
}

#[test]
fn what_is_excluded_is_compiled_by_nobody() {
    let system = system("exclude = ['/tests?/']\n");
    system.call("py3compile", &["-p", "pkg"]).exits(0);
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do (1 up to date)");
    system.call("pyc-txn", &["record", "-p", "pkg"]).exits(0).says("nothing to record");
    assert!(system.pyc("a.py").exists() && !system.pyc("test/b.py").exists());
}

#[test]
fn switched_off_it_records_and_a_later_commit_makes_up_for_it() {
    for (configuration, suspend) in [("enabled = false\n", None), ("", Some("1"))] {
        let system = system(configuration);
        let call = |name: &str, arguments: &[&str]| {
            let mut command = system.called(name, arguments);
            if let Some(value) = suspend {
                command.env("PYC_TXN_SUSPEND", value);
            }
            system.world.outcome(command).exits(0)
        };
        call("py3compile", &["-p", "pkg"]).says("compiling is switched off: 2 pending");
        assert_eq!(system.pending(), 2);
        call("pyc-txn", &["commit"]).says("compiling is switched off: 2 pending");
        call("pyc-txn", &["stage"]).says("compiling is switched off: 2 pending");
        let outcome = call("pyc-txn", &["hook", "triggered"]).says("compiling is switched off: 2 pending");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
        assert!(!system.pyc("a.py").exists() && system.pending() == 2, "{}", outcome.context());
        // It is said once in a run of apt.
        call("pyc-txn", &["hook", "after-apt"]).does_not_say("pyc-txn");
        let mut command = system.called("pyc-txn", &["hook", "triggered"]);
        command.env("PYC_TXN_SUSPEND", "0");
        system.world.outcome(command).exits(0).says("compiled 2 ");
    }
}

#[test]
fn what_is_not_understood_is_reported_with_its_line_and_the_rest_counts() {
    let system = system("colour = 1\njobs = 'many'\noptimize = [1]\n");
    let file = system.at(FILE);
    let outcome = system.call("pyc-txn", &["commit", "-p", "pkg"]).exits(0).says("compiled 2 ");
    for (line, what) in [(1, "unknown key 'colour'"), (2, "bad value of 'jobs'")] {
        assert!(
            outcome.stderr.contains(&format!("{}:{line}: {what}", file.display())),
            "{}",
            outcome.context()
        );
    }
    assert!(pyc(&system, ".opt-1.pyc"));
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["commit", "--config", "/no/such/file"]).exits(3).says("cannot open '/no/such/file'");
    let file = world.beside("configuration");
    std::fs::write(&file, "optimize = [2]\n").unwrap();
    world.run_on_tree(&["commit", "--config", file.to_str().unwrap()]).exits(0).says("compiled 1 ");
    let name = format!("tree/__pycache__/a.{}.opt-2.pyc", python::cache_tag());
    assert!(world.files().contains(&name));
}

#[test]
fn the_time_limit_of_the_file_holds() {
    let world = World::new();
    let fake = crate::fake::Fake::new(&world);
    world.write("a.py", "# worker: held()\n");
    let file = world.beside("configuration");
    std::fs::write(&file, "timeout = 1\n").unwrap();
    let arguments = ["commit", "--python", fake.path(), "--config", file.to_str().unwrap()];
    world.run_on_tree(&arguments).exits(1).says("a.py");
}

#[test]
fn once_a_week_everything_is_mended_unless_the_settings_say_otherwise() {
    let system = system("");
    system.call("pyc-txn", &["commit"]).exits(0);
    let tear = || {
        let bytes = std::fs::read(system.pyc("a.py")).unwrap();
        std::fs::write(system.pyc("a.py"), &bytes[..bytes.len() / 2]).unwrap();
    };
    let weekly = || system.call("pyc-txn", &["--quiet", "hook", "weekly"]);
    tear();
    let outcome = weekly().exits(0);
    assert_eq!(outcome.stdout + &outcome.stderr, "");
    system.call("pyc-txn", &["verify"]).exits(0);
    tear();
    system.write(FILE, "weekly = false\n");
    weekly().exits(0);
    system.call("pyc-txn", &["verify"]).exits(1);
    system.write(FILE, "enabled = false\n");
    // The unit fails, so that somebody looks.
    weekly().exits(1).says("a.cpython");
}
