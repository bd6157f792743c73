//! `verify --repair`, stopped at every step: what it mends is damaged as before or as it should be, and all of it one
//! or the other once it is recovered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::rounds::memory;
use crate::stopped::FEWEST;
use crate::support::{Outcome, World, write_leftover};

/// All bytecode, by name.
type Bytecode = BTreeMap<String, Vec<u8>>;

struct Wreck {
    world: World,
    /// As it is damaged.
    old: Bytecode,
    /// As it should be.
    new: Bytecode,
}

impl Wreck {
    fn new() -> Self {
        let world = World::new_in(&memory());
        for name in ["broken", "missing", "altered", "gone", "deep/right", "deep/header", "unreadable/one"] {
            world.write(format!("{name}.py"), "VERSION = 1\n");
        }
        world.run_on_tree(&["commit", "-j", "1"]).exits(0);
        let mut wreck = Self { world, old: Bytecode::new(), new: Bytecode::new() };
        wreck.new = wreck.bytecode();
        wreck.new.retain(|name, _| !name.contains("gone"));
        wreck
    }

    /// Damages everything anew.
    fn damage(&mut self) {
        let world = &self.world;
        world.write("gone.py", "VERSION = 1\n");
        world.run_on_tree(&["commit", "-j", "1"]).exits(0);
        fs::remove_file(world.tree().join("gone.py")).unwrap();
        let change = |name: &str, how: fn(Vec<u8>) -> Vec<u8>| {
            let pyc = world.pyc(name);
            fs::write(&pyc, how(fs::read(&pyc).unwrap())).unwrap();
        };
        change("broken.py", |bytes| bytes[..bytes.len() - 1].to_vec());
        change("altered.py", |bytes| [&bytes[..16], &renamed(&bytes[16..])[..]].concat());
        change("deep/header.py", |bytes| bytes[..9].to_vec());
        fs::remove_file(world.pyc("missing.py")).unwrap();
        write_leftover(&world.pyc("deep/right.py").with_extension("pyc.140237"));
        let closed = world.tree().join("unreadable/__pycache__");
        fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
        self.old = self.bytecode();
    }

    fn repair(&self, fault: Option<&str>) -> Outcome {
        let mut command = self.world.command(&["verify", "--repair", "-j", "1"]);
        command.arg(self.world.tree()).envs(fault.map(|fault| ("PYC_TXN_FAULT", fault)));
        self.world.outcome(command)
    }

    fn bytecode(&self) -> Bytecode {
        let names = self.world.tree_files().into_iter();
        let pycs = names.filter(|name| name.contains("__pycache__/"));
        pycs.map(|name| (name.clone(), fs::read(self.world.tree().join(&name)).unwrap())).collect()
    }

    /// Demands that each file is as it was or as it should be; says whether all of them are the one or the other.
    #[track_caller]
    fn is_sound(&self, context: &str) -> bool {
        let now = self.bytecode();
        let names = now.keys().chain(self.old.keys()).chain(self.new.keys());
        for name in names {
            let [is, was, should] = [&now, &self.old, &self.new].map(|state| state.get(name));
            assert!(is == was || is == should, "{name} is neither old nor new\n{context}");
        }
        now == self.old || now == self.new
    }

    #[track_caller]
    fn is_mended(&self, context: &str) {
        assert!(self.bytecode() == self.new, "not all is mended\n{context}");
        self.world.run_on_tree(&["verify"]).exits(0);
        let staging = fs::read_dir(self.world.state().join("staging")).unwrap().count();
        assert_eq!(staging, 0, "staging directories are left\n{context}");
    }
}

/// Whole code, with another name for its variable.
fn renamed(code: &[u8]) -> Vec<u8> {
    let at = code.windows(7).position(|seven| seven == b"VERSION").unwrap();
    [&code[..at], b"PERSION", &code[at + 7..]].concat()
}

#[test]
fn a_repair_stopped_at_any_step_is_recovered_to_all_or_nothing_and_completed_by_the_next() {
    let mut wreck = Wreck::new();
    for step in 1.. {
        wreck.damage();
        let stopped = wreck.repair(Some(&format!("abort@{step}")));
        if stopped.signal.is_none() {
            assert!(step > FEWEST, "only {step} steps\n{}", stopped.context());
            let stopped = stopped.exits(0);
            wreck.is_mended(stopped.context());
            return;
        }
        wreck.is_sound(stopped.context());
        let recovery = wreck.world.run(&["recover"]).exits(0);
        let context = format!("{}{}", stopped.context(), recovery.context());
        assert!(wreck.is_sound(&context), "recovered to a mixture\n{context}");
        let completed = wreck.repair(None).exits(0);
        wreck.is_mended(&format!("{context}{}", completed.context()));
    }
}
