//! Pythons that do not start any more, because the bytecode of their standard library is torn: they compile all the
//! same, and so they can be healed.

use std::fs;

use crate::support::private::Private;
use crate::support::{World, python};

/// Every Python of this machine, each as a copy of its own.
fn for_each(test: impl Fn(&World, &Private)) {
    for (minor, path) in python::all() {
        let world = World::new();
        let private = Private::copy(&path, minor, &world.beside("private"));
        assert!(private.start().status.success(), "3.{minor}: {:?}", private.start());
        test(&world, &private);
    }
}

/// The source of a new module is compiled by `private`.
#[track_caller]
fn compiles(world: &World, private: &Private, module: &str) {
    world.write(module, "x = 1\n");
    world.run_on_tree(&["commit", "--python", private.name()]).exits(0).says("compiled 1 ");
}

#[test]
fn a_worker_starts_with_every_pyc_of_its_library_torn_missing_or_forged() {
    for_each(|world, private| {
        compiles(world, private, "missing.py");
        private.write_bytecode("marshal.dumps(code)[:9]");
        assert!(!private.start().status.success(), "{}", private.name());
        compiles(world, private, "torn.py");
        private.write_bytecode("marshal.dumps(compile('import posix; posix._exit(66)', source, 'exec'))");
        assert_eq!(private.start().status.code(), Some(66), "{}", private.name());
        compiles(world, private, "forged.py");
    });
}

#[test]
fn a_dead_python_is_mended_by_verify_and_commits_go_on() {
    for_each(|world, private| {
        private.write_bytecode("marshal.dumps(code)");
        assert!(private.start().status.success());
        let pyc = private.pyc("encodings/__init__.py");
        let bytes = fs::read(&pyc).unwrap();
        fs::write(&pyc, &bytes[..bytes.len() / 2]).unwrap();
        assert!(!private.start().status.success(), "{}", private.name());
        let verify = |more: &[&str]| {
            let mut command = world.command(&["verify", "--python", private.name()]);
            command.args(more).arg(&private.library);
            world.outcome(command)
        };
        verify(&[]).exits(1).says("broken 1");
        compiles(world, private, "before.py");
        verify(&["--repair"]).exits(0).says("(repaired 1)");
        assert!(private.start().status.success(), "{}", private.name());
        verify(&[]).exits(0);
        compiles(world, private, "after.py");
    });
}
