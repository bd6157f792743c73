//! The shared bytecode cache: what one system compiled, the next one does not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::aid::{self, Damage, finish, names, set_mode, set_mtime, start};
use crate::fake::Fake;
use crate::installation::{Installation, PUBLIC};
use crate::oracle;
use crate::support::{Outcome, PYTHON, World, python};

/// The modification time of all sources, so that the same content gives the same bytecode.
pub const TIME: u64 = 1_700_000_000;

/// A cache's directory, which nobody has made yet.
pub struct Shared {
    home: World,
    pub path: PathBuf,
}

impl Shared {
    pub fn new() -> Self {
        let home = World::new();
        let path = home.tree().with_file_name("above").join("cache");
        Self { home, path }
    }

    /// Another place for it.
    pub fn at(path: &Path) -> Self {
        Self { home: World::new(), path: path.to_owned() }
    }

    /// The environment that names it.
    pub fn given_to(&self, mut command: Command) -> Command {
        command.env("PYC_TXN_CACHE", &self.path);
        command
    }

    /// Commits a system.
    pub fn commit(&self, system: &World, options: &[&str]) -> Outcome {
        system.outcome(self.given_to(commit(system, options)))
    }

    /// Runs `pyc-txn cache`.
    pub fn ask(&self, options: &[&str]) -> Outcome {
        let arguments = [&["cache"], options].concat();
        self.home.outcome(self.given_to(self.home.command(&arguments)))
    }

    /// What `pyc-txn cache --json` says under this name.
    #[track_caller]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str::<Value>(&self.ask(&["--json"]).stdout).unwrap()[name].clone()
    }

    /// The files of its entries, sorted.
    #[track_caller]
    pub fn entries(&self) -> Vec<PathBuf> {
        let is_shard = |name: &String| name.len() == 2;
        let shards = names(&self.path).into_iter().filter(is_shard).map(|name| self.path.join(name));
        let files = |shard: PathBuf| names(&shard).into_iter().map(move |name| shard.join(name));
        shards.flat_map(files).collect()
    }
}

/// A system with these sources, whose tree is its root: their paths are the same in every one.
pub fn system(sources: &[(&str, &str)]) -> World {
    let world = World::new();
    for (name, content) in sources {
        set_mtime(&world.write(name, content), TIME, 0);
    }
    world
}

pub fn commit(system: &World, options: &[&str]) -> Command {
    let mut command = system.command(&[&["commit"], options].concat());
    command.arg("--root").arg(system.tree()).arg(system.tree());
    command
}

fn bytecode(system: &World, sources: &[(&str, &str)]) -> Vec<Vec<u8>> {
    sources.iter().map(|(name, _)| fs::read(system.pyc(name)).unwrap()).collect()
}

/// An interpreter that is the usual one after this statement.
pub fn interpreter(system: &World, statement: &str) -> String {
    let path = system.beside("interpreter");
    let program = format!(
        "#!{PYTHON} -sSB\nimport sys, _frozen_importlib_external as external\n{statement}\nexec(sys.argv[-1])\n"
    );
    fs::write(&path, program).unwrap();
    set_mode(&path, 0o755);
    path.to_str().unwrap().to_owned()
}

/// Sources that no worker of a [`Fake`] survives.
const DEADLY: [(&str, &str); 3] = [
    ("a.py", "# worker: os._exit(3)\nx = 1\n"),
    ("pkg/__init__.py", ""),
    ("pkg/b.py", "# worker: os._exit(3)\ndef f(x): return [x for x in 'abc']\n"),
];

#[test]
fn a_system_that_is_made_again_is_not_compiled() {
    let shared = Shared::new();
    let (first, second, without) = (system(&DEADLY), system(&DEADLY), system(&DEADLY));
    shared.commit(&first, &[]).exits(0).says("compiled 3 ").does_not_say("reused");
    let fake = Fake::new(&second);
    let outcome = shared.commit(&second, &["--python", fake.path()]);
    let outcome = outcome.exits(0).says("reused 3 ").does_not_say("compiled");
    without.outcome(commit(&without, &[])).exits(0).says("compiled 3 ");
    let expected = bytecode(&without, &DEADLY);
    assert!(bytecode(&first, &DEADLY) == expected, "{}", outcome.context());
    assert!(bytecode(&second, &DEADLY) == expected, "{}", outcome.context());
    assert_eq!(oracle::filename(&second.pyc("pkg/b.py")), "/pkg/b.py");
    second.run(&["log"]).exits(0).says("3 reused");
    let outcome = second.run(&["verify", "--root", second.tree().to_str().unwrap()]).exits(0);
    outcome.says("valid 3");
}

#[test]
fn a_source_that_is_changed_or_elsewhere_is_compiled() {
    let shared = Shared::new();
    shared.commit(&system(&[("a.py", "x = 1\n")]), &[]).exits(0);
    for source in [("a.py", "x = 2\n"), ("b.py", "x = 1\n"), ("a/a.py", "x = 1\n")] {
        let other = system(&[source]);
        let outcome = shared.commit(&other, &[]).exits(0).says("compiled 1 ").does_not_say("reused");
        assert_eq!(oracle::filename(&other.pyc(source.0)), format!("/{}", source.0), "{}", outcome.context());
    }
    shared.commit(&system(&[("a.py", "x = 1\n")]), &[]).exits(0).says("reused 1 ");
}

#[test]
fn each_level_and_each_interpreter_has_its_own_code() {
    let shared = Shared::new();
    let sources = [("a.py", "'doc'\nassert True\n")];
    shared.commit(&system(&sources), &["-O", "0", "-O", "2"]).exits(0).says("compiled 2 ");
    let other = system(&sources);
    let outcome = shared.commit(&other, &["-O", "1", "-O", "2"]).exits(0).says("compiled 1, reused 1 ");
    assert_eq!(shared.entries().len(), 3, "{}", outcome.context());
    for statement in [
        "external.MAGIC_NUMBER = b'\\xff' + external.MAGIC_NUMBER[1:]",
        "sys.implementation.cache_tag = 'other-311'",
    ] {
        let other = system(&sources);
        let interpreter = interpreter(&other, statement);
        shared.commit(&other, &["--python", &interpreter]).exits(0).says("compiled 1 ");
        let outcome = other.run(&["clean", "--root", other.tree().to_str().unwrap(), "/"]).exits(0);
        outcome.says("removed 1");
        shared.commit(&other, &["--python", &interpreter]).exits(0).says("reused 1 ");
    }
    shared.commit(&system(&sources), &[]).exits(0).says("reused 1 ");
}

#[test]
fn the_mode_and_the_time_of_a_source_are_its_own() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n")];
    shared.commit(&system(&sources), &[]).exits(0);
    let other = system(&sources);
    let source = other.tree().join("a.py");
    set_mode(&source, 0o600);
    set_mtime(&source, TIME + 1, 0);
    let outcome = shared.commit(&other, &[]).exits(0).says("reused 1 ");
    assert_eq!(aid::mode(&other.pyc("a.py")), 0o600, "{}", outcome.context());
    assert_eq!(oracle::header_mtime(&other.pyc("a.py")), TIME + 1, "{}", outcome.context());
    let hashed = system(&sources);
    shared.commit(&hashed, &["--invalidation", "unchecked-hash"]).exits(0).says("reused 1 ");
    assert_eq!(fs::read(hashed.pyc("a.py")).unwrap()[4], 1);
}

#[test]
fn what_is_earlier_in_the_same_system_goes_first_and_with_force_it_is_compiled() {
    let shared = Shared::new();
    let world = system(&DEADLY);
    shared.commit(&world, &[]).exits(0).says("compiled 3 ");
    set_mtime(&world.tree().join("a.py"), TIME + 1, 0);
    shared.commit(&world, &[]).exits(0).says("reused 1 ");
    assert_eq!((shared.json("hits"), shared.json("misses")), (0.into(), 3.into()));
    let [a, ..] = &shared.entries()[..] else { panic!("no entries") };
    fs::write(a, "damaged").unwrap();
    shared.commit(&world, &["-f"]).exits(0).says("compiled 3 ");
    assert_eq!(shared.json("hits"), 0);
    assert_ne!(fs::read(a).unwrap(), b"damaged");
    shared.commit(&system(&DEADLY), &[]).exits(0).says("reused 3 ");
}

#[test]
fn what_the_compiler_refuses_or_is_lost_over_is_not_put_in() {
    let shared = Shared::new();
    let sources = [("bad.py", "def\n"), ("deadly.py", DEADLY[0].1)];
    for _ in 0..2 {
        let world = system(&sources);
        let fake = Fake::new(&world);
        let outcome = shared.commit(&world, &["--python", fake.path()]).exits(1);
        outcome.says("bad.py:1: SyntaxError").says("exited with status 3").says("failed 2");
    }
    assert_eq!(shared.json("entries"), 0);
}

#[test]
fn warnings_come_out_as_they_went_in() {
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\nassert (x, 'always')\n"), ("b.py", "x = 1\n")];
    let warnings = |world: &World| {
        let outcome = world.run(&["status", "--json"]).exits(0);
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()["warnings"].clone()
    };
    let (first, second) = (system(&sources), system(&sources));
    shared.commit(&first, &[]).exits(0).says("compiled 2 ");
    shared.commit(&second, &[]).exits(0).says("reused 2 ");
    assert_eq!(warnings(&first)[0]["path"], "/a.py");
    assert!(warnings(&first)[0]["warnings"].as_str().unwrap().starts_with("2\t"));
    assert_eq!(warnings(&second), warnings(&first));
    second.run(&["status"]).exits(0).says("1 warnings in 1 sources");
}

/// Commits a system of which so many entries were damaged, each in its own way.
#[track_caller]
fn damaged_entries_are_compiled_and_replaced(count: usize, damage: impl Fn(usize, &[u8]) -> Vec<u8>) {
    let shared = Shared::new();
    let names: Vec<String> = (0..count).map(|number| format!("m{number}.py")).collect();
    let sources: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), "x = 1\nassert (x, 'warns')\n")).collect();
    let first = system(&sources);
    shared.commit(&first, &[]).exits(0);
    let entries = shared.entries();
    let whole: Vec<Vec<u8>> = entries.iter().map(|entry| fs::read(entry).unwrap()).collect();
    assert_eq!(whole.len(), count);
    for (number, (entry, bytes)) in entries.iter().zip(&whole).enumerate() {
        fs::write(entry, damage(number, bytes)).unwrap();
    }
    let second = system(&sources);
    let outcome = shared.commit(&second, &[]).exits(0);
    let outcome = outcome.says(&format!("compiled {count} ")).does_not_say("reused");
    assert!(bytecode(&first, &sources) == bytecode(&second, &sources), "{}", outcome.context());
    for (entry, bytes) in entries.iter().zip(&whole) {
        assert!(fs::read(entry).unwrap() == *bytes, "{} is not replaced", entry.display());
    }
    shared.commit(&system(&sources), &[]).exits(0).says(&format!("reused {count} "));
}

#[test]
fn an_entry_with_any_byte_changed_is_compiled_and_replaced() {
    const SAMPLES: usize = 150;
    damaged_entries_are_compiled_and_replaced(SAMPLES, |number, bytes| {
        let mut other = bytes.to_vec();
        other[number * bytes.len() / SAMPLES] ^= 1 << (number % 8);
        other
    });
}

#[test]
fn an_entry_that_is_cut_off_longer_or_another_s_is_compiled_and_replaced() {
    let damages: [Damage; 8] = [
        |_| Vec::new(),
        |bytes| bytes[..1].to_vec(),
        |bytes| bytes[..35].to_vec(),
        |bytes| bytes[..36].to_vec(),
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        |bytes| [bytes, b"x"].concat(),
        |bytes| vec![0; bytes.len()],
    ];
    damaged_entries_are_compiled_and_replaced(damages.len(), |number, bytes| damages[number](bytes));
    let shared = Shared::new();
    let sources = [("a.py", "x = 1\n"), ("b.py", "x = 2\n")];
    shared.commit(&system(&sources), &[]).exits(0);
    let [a, b] = &shared.entries()[..] else { panic!("{:?}", shared.entries()) };
    fs::rename(a, b).unwrap();
    let world = system(&sources);
    let outcome = shared.commit(&world, &[]).exits(0).says("compiled 2 ");
    let values = sources.map(|(name, _)| oracle::value(&world.pyc(name), "x"));
    assert_eq!(values, ["1", "2"], "{}", outcome.context());
}

#[test]
fn many_writers_at_once_leave_all_trees_right_and_the_cache_whole() {
    const WRITERS: usize = 8;
    let shared = Shared::new();
    let sources: Vec<(String, String)> = (0..60)
        .map(|n| (format!("p{}/m{n}.py", n % 7), format!("x = {n}\n# {}\n", "-".repeat(n * 50))))
        .collect();
    let sources: Vec<(&str, &str)> = sources.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let systems: Vec<World> = (0..WRITERS).map(|_| system(&sources)).collect();
    // The cache's directory is yet to be made, by all of them.
    let running: Vec<_> =
        systems.iter().map(|world| start(shared.given_to(commit(world, &["-j", "3"])))).collect();
    for (world, running) in systems.iter().zip(running) {
        finish(world, running).exits(0).does_not_say("cache");
    }
    let alone = system(&sources);
    alone.outcome(commit(&alone, &[])).exits(0).says("compiled 60 ");
    let expected = bytecode(&alone, &sources);
    for world in &systems {
        assert!(bytecode(world, &sources) == expected);
    }
    let entries = shared.entries();
    assert_eq!(entries.len(), sources.len(), "{entries:?}");
    let last = system(&sources);
    shared.commit(&last, &[]).exits(0).says("reused 60 ").does_not_say("compiled");
    assert!(bytecode(&last, &sources) == expected);
}

/// A configuration file with this in it.
pub fn configured(world: &World, text: &str) -> PathBuf {
    let path = world.beside("configuration");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn none_is_used_unless_one_is_named() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.run(&["cache"]).exits(0).says("no cache is configured");
    world.run(&["cache", "--clear"]).exits(0).says("no cache is configured");
    let outcome = world.run(&["cache", "--json"]).exits(0);
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap()["path"], Value::Null);
    let place = world.tree().with_file_name("cache");
    let file = configured(&world, &format!("cache = '{}'\n", place.display()));
    for off in ["", "0"] {
        let mut command = world.command(&["commit", "-f", "--config", file.to_str().unwrap()]);
        command.arg(world.tree()).env("PYC_TXN_CACHE", off);
        world.outcome(command).exits(0).says("compiled 1 ").does_not_say("cache");
        assert!(!place.exists());
    }
    world.run_on_tree(&["commit", "--config", file.to_str().unwrap()]).exits(0).says("nothing to do");
    fs::remove_file(world.tree().join("a.py")).unwrap();
    world.run_on_tree(&["commit", "--config", file.to_str().unwrap()]).exits(0).says("removed 1");
    assert!(!place.exists(), "nothing was to be compiled");
    world.write("a.py", "x = 1\n");
    world.run_on_tree(&["commit", "-f", "--config", file.to_str().unwrap()]).exits(0).says("compiled 1 ");
    let entries = Shared::at(&place).entries();
    assert_eq!(entries.len(), 1);
    let modes = [&place, entries[0].parent().unwrap(), &entries[0], &place.join("tally")].map(aid::mode);
    assert_eq!(modes, [0o700, 0o700, 0o600, 0o600]);
}

/// A system with a module of a package.
fn installation() -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["a.py"]);
    system
}

#[test]
fn the_path_in_the_file_is_below_the_root_and_that_in_the_environment_is_the_caller_s() {
    let system = installation();
    system.write("/etc/pyc-txn.conf", "cache = '/var/cache/linked'\n");
    fs::create_dir_all(system.at("/var/cache")).unwrap();
    // What a symlink in a root names is in that root.
    std::os::unix::fs::symlink("/srv/cache", system.at("/var/cache/linked")).unwrap();
    fs::create_dir_all(system.at("/srv/cache")).unwrap();
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 1 ").does_not_say("cache");
    assert_eq!(Shared::at(&system.at("/srv/cache")).entries().len(), 1);
    let shared = Shared::new();
    system.world.outcome(shared.given_to(system.called("pyc-txn", &["commit", "-p", "pkg", "-f"]))).exits(0);
    assert_eq!(shared.entries().len(), 1);
}

#[test]
fn what_apt_and_dpkg_have_in_their_environment_reaches_the_trigger() {
    let shared = Shared::new();
    let trigger = |system: &Installation| {
        let record = shared.given_to(system.in_script("py3compile", &["-p", "pkg"]));
        system.world.outcome(record).exits(0);
        system.world.outcome(shared.given_to(system.in_script("pyc-txn", &["hook", "triggered"]))).exits(0)
    };
    trigger(&installation()).says("compiled 1 ");
    let second = installation();
    let outcome = trigger(&second).says("reused 1 ");
    assert!(second.pyc("a.py").exists(), "{}", outcome.context());
    let pyc = format!("{PUBLIC}/__pycache__/a.{}.pyc", python::cache_tag());
    assert!(second.at(&pyc).as_os_str().as_bytes().ends_with(pyc.as_bytes()));
    // At once, too.
    let third = installation();
    let at_once = shared.given_to(third.called("py3compile", &["-v", "-p", "pkg"]));
    third.world.outcome(at_once).exits(0).says("reused 1 ");
    // It fails no hook, and takes one line.
    set_mode(&shared.path, 0o777);
    let fourth = installation();
    let outcome = trigger(&fourth).says("compiled 1 ").says("is not used");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.context());
}
