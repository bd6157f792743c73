//! Files of any length: none takes memory or time by it.

use std::fs::{self, File};
use std::process::Command;

use crate::aid::{limited, on_tree, set_mtime};
use crate::installation::Installation;
use crate::oracle;
use crate::support::{PYTHON, World};

/// Makes a file that is so long and has nothing but what it had.
fn stretch(path: &std::path::Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// More than the program may have, here and on the machines that test it.
const HUGE: u64 = 20 << 30;

/// Two gigabytes of addresses: enough for every honest input.
const ADDRESSES: &str = "-v 2000000";

#[test]
fn a_pyc_longer_than_an_honest_one_is_invalid_without_being_read() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    world.commit().exits(0);
    // One that the ledger has, one that has a good header and is nobody's, one without a source.
    let foreign = world.write("c.py", "x = 3\n");
    let stray = world.pyc("gone.py");
    assert!(Command::new(PYTHON).args(["-m", "py_compile"]).arg(&foreign).status().unwrap().success());
    fs::copy(world.pyc("b.py"), &stray).unwrap();
    for pyc in [world.pyc("a.py"), world.pyc("c.py"), stray] {
        stretch(&pyc, HUGE);
    }
    limited(&world, ADDRESSES, &on_tree(&world, &["verify"]))
        .exits(1)
        .says("invalid 2")
        .says("a.cpython-")
        .says("it is longer than bytecode of its source can be");
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 2 ");
    for (name, value) in [("a.py", "1"), ("c.py", "3")] {
        assert_eq!(oracle::value(&world.pyc(name), "x"), value);
    }
    stretch(&world.pyc("c.py"), HUGE);
    limited(&world, ADDRESSES, &on_tree(&world, &["verify", "--repair"])).exits(0).says("(repaired 1)");
}

#[test]
fn a_pyc_that_is_too_long_is_not_adopted_and_not_reused() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    world.commit().exits(0);
    // Its source is only touched: what was published would be reused.
    stretch(&world.pyc("a.py"), HUGE);
    set_mtime(&source, 1_700_000_000, 0);
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 1 ");
    // Nobody's, with a header that fits.
    fs::remove_dir_all(world.state()).unwrap();
    stretch(&world.pyc("a.py"), HUGE);
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"])).exits(0).says("compiled 1 ");
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "1");
}

#[test]
fn entries_of_the_cache_settings_and_lists_of_any_length_are_not_read() {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    let cache = system.world.beside("cache");
    let cached = |command: &mut Command| {
        command.env("PYC_TXN_CACHE", &cache);
        limited(&system.world, ADDRESSES, command)
    };
    cached(&mut system.called("pyc-txn", &["commit"])).exits(0).says("compiled 1 ");
    let find = "find \"$0\" -type f -size +0 -not -name tally -exec truncate -s 20G {} +; truncate -s 20G \"$0\"/tally";
    assert!(Command::new("sh").args(["-c", find]).arg(&cache).status().unwrap().success());
    fs::remove_file(system.pyc("a.py")).unwrap();
    cached(&mut system.called("pyc-txn", &["commit", "-f"])).exits(0).says("compiled 1 ");
    fs::remove_dir_all(system.at("/var/lib/pyc-txn")).unwrap();
    fs::remove_file(system.pyc("a.py")).unwrap();
    cached(&mut system.called("pyc-txn", &["commit"])).exits(0);
    stretch(&system.write("/etc/pyc-txn.conf", "optimize = [1]\n"), HUGE);
    let outcome = cached(&mut system.called("pyc-txn", &["commit", "-p", "pkg"])).exits(0);
    outcome.says("pyc-txn.conf': File too large; the defaults are used");
    stretch(&system.at("/var/lib/dpkg/info/pkg.list"), HUGE);
    cached(&mut system.called("pyc-txn", &["commit", "-p", "pkg"]))
        .exits(1)
        .says("pkg.list': File too large");
}

#[test]
fn a_source_above_the_limit_is_an_outcome_and_harms_no_other() {
    let world = World::new();
    let large = world.write("large.py", "x = 1\n");
    world.write("small.py", "x = 1\n");
    stretch(&large, 40_000_000);
    let larger = "large.py: larger than 32.00 MB";
    limited(&world, ADDRESSES, &on_tree(&world, &["commit"]))
        .exits(1)
        .says(larger)
        .says("compiled 1, failed 1");
    assert_eq!(world.query::<String>("SELECT outcome FROM failures"), "unreadable");
    world
        .run_on_tree(&["verify", "-v"])
        .exits(0)
        .says("its source is larger than 32.00 MB")
        .says("unreadable 1");
    let configuration = world.beside("configuration");
    fs::write(&configuration, "largest = 1\n").unwrap();
    fs::write(&large, format!("x = '{}'\n", "y".repeat(1_000_000))).unwrap();
    let configuration = configuration.to_str().unwrap();
    world.run_on_tree(&["commit", "--config", configuration]).exits(1).says("large.py: larger than 1.00 MB");
    fs::write(configuration, "largest = 0\n").unwrap();
    world.run_on_tree(&["commit", "--config", configuration]).exits(0).says("compiled 1 ");
    // Bytecode of a source that has become too large is judged as far as it can be.
    fs::write(configuration, "largest = 1\n").unwrap();
    world.run_on_tree(&["verify", "--config", configuration]).exits(0).says("valid 2");
    fs::write(world.pyc("large.py"), "damage").unwrap();
    let outcome = world.run_on_tree(&["verify", "--repair", "--config", configuration]).exits(0);
    assert!(!world.pyc("large.py").exists(), "{}", outcome.context());
}

#[test]
fn bytecode_that_explodes_is_refused_and_remembered() {
    let world = World::new();
    let nested = |depth: usize| -> String {
        let part = |n: usize| format!("{0}try:\n{0} x\n{0}finally:\n", " ".repeat(n));
        (0..depth).map(part).collect::<String>() + &" ".repeat(depth) + "x\n"
    };
    world.write("bomb.py", nested(17));
    world.write("tame.py", nested(3));
    world.write("z.py", "x = 1\n");
    world.commit().exits(1).says("bomb.py: its bytecode has ").says("compiled 2, failed 1");
    world.commit().exits(1).says("failed 1 (2 up to date)").says("bomb.py: its bytecode has ");
}
