//! `py3clean` in a maintainer script, and the commit at the end of the dpkg run that takes back what is still right:
//! stopped at every step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::rounds::memory;
use crate::support::{Outcome, PYTHON, World};
use crate::trace::{self, Step};
use crate::witness::Witness;

const PUBLIC: &str = "usr/lib/python3/dist-packages";

/// An installed system whose root is the world's directory: public modules, and private ones in the tree.
struct System {
    world: World,
    witness: Witness,
}

impl System {
    fn new() -> Self {
        let system = Self { world: World::new_in(&memory()), witness: Witness::new() };
        let at = |path: &str| system.world.beside(path);
        fs::create_dir_all(at("var/lib/dpkg/info")).unwrap();
        fs::write(at("var/lib/dpkg/info/pyc-txn.list"), "/.\n").unwrap();
        symlink("../../state", at("var/lib/pyc-txn")).unwrap();
        fs::create_dir_all(at("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_pyc-txn"), at("bin/py3clean")).unwrap();
        fs::write(at("bin/dpkg-trigger"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at("bin/dpkg-trigger"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(at(PUBLIC).join("pkg")).unwrap();
        fs::write(at(PUBLIC).join("pkg/a.py"), "VERSION = 1\n").unwrap();
        fs::write(at(PUBLIC).join("b.py"), "VERSION = 2\n").unwrap();
        system.world.write("private.py", "VERSION = 3\n");
        system
    }

    fn root(&self) -> PathBuf {
        self.world.tree().parent().unwrap().to_owned()
    }

    /// The source that the package's new version does not have.
    fn dropped(&self) -> PathBuf {
        self.root().join(PUBLIC).join("pkg/dropped.py")
    }

    /// All bytecode, as it is before the upgrade.
    fn install(&mut self) -> BTreeMap<String, String> {
        fs::write(self.dropped(), "VERSION = 4\n").unwrap();
        let mut private = self.command(&["commit", "--python", PYTHON], None);
        private.arg(self.world.tree());
        self.world.outcome(private).exits(0);
        let outcome = self.commit(None).exits(0);
        let all = self.bytecode(outcome.context());
        assert_eq!(all.len(), 4, "{}", outcome.context());
        all
    }

    fn command(&self, arguments: &[&str], fault: Option<&str>) -> Command {
        let mut command = self.world.command(arguments);
        command.arg("--root").arg(self.root());
        command.envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        command
    }

    /// The commit of everything.
    fn commit(&self, fault: Option<&str>) -> Outcome {
        self.world.outcome(self.command(&["commit", "-j", "1", "--python", PYTHON], fault))
    }

    /// `py3clean` of everything, in a maintainer script.
    fn retire(&self, fault: Option<&str>) -> Outcome {
        self.retire_below(&[self.root().join(PUBLIC), self.world.tree()], fault)
    }

    fn retire_below(&self, places: &[PathBuf], fault: Option<&str>) -> Outcome {
        let root = self.root();
        let mut command = Command::new(root.join("bin/py3clean"));
        command.args(places).env("PATH", root.join("bin"));
        command.env("DPKG_ROOT", &root).env("DPKG_ADMINDIR", root.join("var/lib/dpkg"));
        command.env("DPKG_MAINTSCRIPT_PACKAGE", "pkg").env_remove("DPKG_FORCE");
        command.env_remove("PYC_TXN_FAULT").envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        self.world.outcome(command)
    }

    /// Every pyc and what is in it; each has to load.
    #[track_caller]
    fn bytecode(&mut self, context: &str) -> BTreeMap<String, String> {
        let root = self.root();
        self.witness.look(&root, context)
    }

    fn committed(&self) -> i64 {
        self.world.query("SELECT count(*) FROM transactions WHERE state = 'committed'")
    }

    /// The commit at the end of the dpkg run: all is there but what the new version does not have, and nothing is
    /// retired any more.
    #[track_caller]
    fn is_upgraded(&mut self, all: &BTreeMap<String, String>) -> Outcome {
        let outcome = self.commit(None).exits(0);
        let mut expected = all.clone();
        expected.retain(|name, _| !name.contains("dropped"));
        assert_eq!(self.bytecode(outcome.context()), expected, "{}", outcome.context());
        let kept = fs::read_dir(self.world.state().join("retired")).map(Iterator::count).unwrap_or_default();
        assert_eq!(kept, 0, "files are kept\n{}", outcome.context());
        assert_eq!(self.world.query::<i64>("SELECT count(*) FROM retired"), 0, "{}", outcome.context());
        outcome
    }
}

#[test]
fn retiring_stopped_at_any_step_keeps_everything_or_retires_everything() {
    let mut system = System::new();
    for step in 1.. {
        let all = system.install();
        let before = system.committed();
        let stopped = system.retire(Some(&format!("abort@{step}")));
        let found = system.bytecode(stopped.context());
        assert!(found.iter().all(|(name, what)| all.get(name) == Some(what)), "{}", stopped.context());
        let recovered = system.world.run(&["recover", "--root", system.root().to_str().unwrap()]).exits(0);
        let context = format!("{}{}", stopped.context(), recovered.context());
        let is_retired = system.committed() > before;
        let expected = if is_retired { BTreeMap::new() } else { all.clone() };
        assert_eq!(system.bytecode(&context), expected, "{context}");
        fs::remove_file(system.dropped()).unwrap();
        let upgraded = system.is_upgraded(&all).does_not_say("compiled");
        if is_retired {
            upgraded.says("reused 3");
        }
        if stopped.signal.is_none() {
            assert!(step > 8, "only {step} steps\n{context}");
            stopped.exits(0);
            return;
        }
    }
}

#[test]
fn retiring_more_stopped_at_any_step_keeps_or_retires_all_of_that_and_loses_nothing_else() {
    let mut system = System::new();
    let is_private = |name: &str| name.contains("private");
    for step in 1.. {
        let all = system.install();
        system.retire_below(&[system.root().join(PUBLIC)], None).exits(0);
        let stopped = system.retire_below(&[system.world.tree()], Some(&format!("abort@{step}")));
        let found = system.bytecode(stopped.context());
        assert!(found.iter().all(|(name, _)| is_private(name)), "{}", stopped.context());
        // Now and then the next package is not the end of the run.
        if step % 2 == 0 {
            system.retire_below(&[system.root().join(PUBLIC)], None).exits(0);
        }
        let recovered = system.world.run(&["recover", "--root", system.root().to_str().unwrap()]).exits(0);
        let context = format!("{}{}", stopped.context(), recovered.context());
        let is_retired = system.world.query::<i64>("SELECT count(*) FROM retired") == 4;
        let mut expected = all.clone();
        expected.retain(|name, _| is_private(name) && !is_retired);
        assert_eq!(system.bytecode(&context), expected, "{context}");
        fs::remove_file(system.dropped()).unwrap();
        let reused = if is_retired { "reused 3" } else { "reused 2" };
        system.is_upgraded(&all).does_not_say("compiled").says(reused);
        if stopped.signal.is_none() {
            assert!(step > 4 && is_retired, "only {step} steps\n{context}");
            stopped.exits(0);
            return;
        }
    }
}

#[test]
fn taking_back_stopped_at_any_step_loses_nothing_that_is_right() {
    let mut system = System::new();
    for step in 1.. {
        let all = system.install();
        system.retire(None).exits(0);
        fs::remove_file(system.dropped()).unwrap();
        let stopped = system.commit(Some(&format!("abort@{step}")));
        let found = system.bytecode(stopped.context());
        assert!(found.iter().all(|(name, what)| all.get(name) == Some(what)), "{}", stopped.context());
        let ended = stopped.signal.is_none();
        system.is_upgraded(&all);
        if ended {
            assert!(step > 20, "only {step} steps\n{}", stopped.context());
            stopped.exits(0).says("reused 3");
            return;
        }
    }
}

#[test]
fn what_is_retired_and_forgotten_goes_before_the_next_dpkg_run_though_its_removal_was_interrupted() {
    let mut system = System::new();
    let prepare = |system: &mut System| {
        system.install();
        system.retire(None).exits(0);
        fs::remove_file(system.dropped()).unwrap();
    };
    prepare(&mut system);
    let trace = system.world.beside("trace");
    let mut command = system.command(&["commit", "-j", "1", "--python", PYTHON], None);
    system.world.outcome({
        command.env("PYC_TXN_TRACE", &trace);
        command
    });
    let is_removal = |step: &&Step| step.name == "remove file" && step.path.contains("/retired/");
    let steps = trace::read(&trace);
    let removal = steps.iter().find(is_removal).unwrap();
    let retired = system.world.state().join("retired");
    for hook in ["before", "boot"] {
        prepare(&mut system);
        let stopped = system.commit(Some(&format!("abort@{}", removal.number)));
        assert!(stopped.signal.is_some(), "{}", stopped.context());
        assert_eq!(fs::read_dir(&retired).unwrap().count(), 1, "{}", stopped.context());
        let outcome = system.world.outcome(system.command(&["hook", hook], None)).exits(0);
        assert_eq!(fs::read_dir(&retired).unwrap().count(), 0, "{}", outcome.context());
    }
}

#[test]
fn a_failure_at_any_step_of_retiring_fails_no_maintainer_script() {
    for fault in ["ENOSPC", "EIO", "EROFS"] {
        let mut system = System::new();
        for step in 1.. {
            let all = system.install();
            let failed = system.retire(Some(&format!("{fault}@{step}"))).exits(0);
            let found = system.bytecode(failed.context());
            assert!(found.iter().all(|(name, what)| all.get(name) == Some(what)), "{}", failed.context());
            fs::remove_file(system.dropped()).unwrap();
            system.is_upgraded(&all);
            if failed.stderr.is_empty() {
                assert!(step > 8, "only {step} steps\n{}", failed.context());
                break;
            }
            assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.context());
        }
    }
}
