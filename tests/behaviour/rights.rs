//! Who may read bytecode, and whose it is: group, ACL and label are those of a file created at its place, and who may read
//! it are those who may read the source.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::aid::{self, NOBODY, is_root, mode, set_mode, skipped};
use crate::installation::{Installation, PUBLIC};
use crate::support::{Outcome, PYTHON, World, python};

/// A group that nobody here is in.
const GROUP: u32 = 4711;

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const LABEL: &str = "security.selinux";

/// An ACL as the kernel has it, which lets `nobody` read, and gives others these permissions.
fn acl(others: u16) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let entries = [(1, 7, NO_ID), (2, 5, NOBODY), (4, 5, NO_ID), (0x10, 5, NO_ID), (0x20, others, NO_ID)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(permissions));
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// User, group, permission bits, ACL and label.
type Rights = (u32, u32, u32, Option<Vec<u8>>, Option<Vec<u8>>);

fn rights(path: &Path) -> Rights {
    let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let acl = attribute(path, ACL);
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777, acl, attribute(path, LABEL))
}

/// The rights of a file that is created beside this one, with these permission bits.
fn rights_beside(path: &Path, mode: u32) -> Rights {
    let probe = path.with_file_name("probe");
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&probe).unwrap();
    let rights = rights(&probe);
    drop(file);
    fs::remove_file(probe).unwrap();
    rights
}

/// Whether `nobody`, without groups, can read a file.
fn nobody_reads(path: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]).arg(path);
    command.output().unwrap().status.success()
}

/// A world whose tree is a directory with these permission bits and this group.
fn world(bits: u32, group: u32) -> World {
    let world = World::new();
    chown(world.tree(), None, Some(group)).unwrap();
    set_mode(&world.tree(), bits);
    world
}

/// Demands that nothing is wrong with what is published, and nothing is to be done.
#[track_caller]
fn is_right(world: &World) -> Outcome {
    world.commit().exits(0).says("nothing to do (1 up to date)");
    world.run_on_tree(&["verify"]).exits(0).says("valid 1 ")
}

#[test]
fn bytecode_has_the_group_that_a_file_created_there_has() {
    if !is_root("groups") {
        return;
    }
    for (has_cache, bits) in [(false, 0o640), (true, 0o640), (false, 0o644), (true, 0o644)] {
        let world = world(0o2755, GROUP);
        let source = world.write("a.py", "x = 1\n");
        set_mode(&source, bits);
        if has_cache {
            fs::create_dir(world.tree().join("__pycache__")).unwrap();
        }
        let outcome = world.commit().exits(0).says("compiled 1 ");
        let pyc = world.pyc("a.py");
        assert_eq!(rights(&pyc), rights_beside(&pyc, bits), "{has_cache} {bits:o}\n{}", outcome.context());
        assert_eq!(rights(&pyc).1, GROUP);
        assert_eq!(mode(pyc.parent().unwrap()) & 0o2000, 0o2000, "{}", outcome.context());
        is_right(&world);
    }
}

#[test]
fn bytecode_has_the_acl_that_a_file_created_there_has() {
    if !is_root("ACLs") {
        return;
    }
    for has_cache in [false, true] {
        let world = World::new();
        set_attribute(&world.tree(), DEFAULT_ACL, &acl(5));
        let source = world.write("a.py", "x = 1\n");
        rustix::fs::removexattr(&source, ACL).unwrap();
        set_mode(&source, 0o644);
        if has_cache {
            fs::create_dir(world.tree().join("__pycache__")).unwrap();
        }
        let outcome = world.commit().exits(0).says("compiled 1 ");
        let pyc = world.pyc("a.py");
        assert!(rights(&pyc).3.is_some(), "{}", outcome.context());
        assert_eq!(rights(&pyc), rights_beside(&pyc, 0o644), "{}", outcome.context());
        is_right(&world);
    }
}

#[test]
fn an_acl_that_is_passed_on_shuts_out_nobody_and_lets_in_nobody() {
    if !is_root("ACLs") {
        return;
    }
    for (others, bits, reads) in [(0, 0o644, true), (5, 0o600, false), (5, 0o640, false)] {
        let world = World::new();
        let source = world.write("a.py", "x = 1\n");
        set_mode(&source, bits);
        set_attribute(&world.tree(), DEFAULT_ACL, &acl(others));
        let outcome = world.commit().exits(0).says("compiled 1 ");
        set_mode(&world.tree().join("__pycache__"), 0o755);
        let pyc = world.pyc("a.py");
        assert_eq!((nobody_reads(&source), nobody_reads(&pyc)), (reads, reads), "{}", outcome.context());
        assert_eq!(mode(&pyc), bits, "{}", outcome.context());
        is_right(&world);
    }
}

#[test]
fn bytecode_of_a_source_that_not_everybody_may_read_is_for_the_same_people() {
    if !is_root("other users") {
        return;
    }
    type Change = fn(&Path);
    let changes: [(Change, bool); 4] = [
        (|source| chown(source, None, Some(GROUP)).unwrap(), false),
        (|source| chown(source, None, Some(NOBODY)).unwrap(), true),
        (|source| chown(source, Some(NOBODY), None).unwrap(), true),
        (|source| set_attribute(source, ACL, &acl(0)), true),
    ];
    for (number, (change, reads)) in changes.into_iter().enumerate() {
        // Also in a directory that gives another group.
        for group in [0, 815] {
            let world = world(0o2755, group);
            let source = world.write("a.py", "x = 1\n");
            set_mode(&source, 0o640);
            chown(&source, None, Some(0)).unwrap();
            change(&source);
            let outcome = world.commit().exits(0).says("compiled 1 ");
            let pyc = world.pyc("a.py");
            let context = format!("{number} {group}\n{}", outcome.context());
            assert_eq!((nobody_reads(&source), nobody_reads(&pyc)), (reads, reads), "{context}");
            let (theirs, ours) = (rights(&source), rights(&pyc));
            assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{context}");
            assert_eq!(ours.3.is_some(), theirs.3.is_some(), "{context}");
            is_right(&world);
        }
    }
}

#[test]
fn verify_finds_bytecode_that_other_people_may_read_than_its_source() {
    if !is_root("other users") {
        return;
    }
    type Change = fn(&Path, &Path);
    let changes: [(Change, &str); 5] = [
        (|source, _| chown(source, None, Some(GROUP)).unwrap(), "its group is 0 instead of 4711"),
        (|source, _| chown(source, Some(NOBODY), None).unwrap(), "its user is 0 instead of 65534"),
        (
            |_, pyc| set_mode(pyc, 0o644),
            "more may read it than its source: its permissions are 0644 instead of 0640",
        ),
        (|_, pyc| set_mode(pyc, 0o600), "its permissions are 0600 instead of 0640"),
        (|_, pyc| set_attribute(pyc, ACL, &acl(0)), "its ACL is another one than its source's"),
    ];
    for (change, reason) in changes {
        let world = World::new();
        let source = world.write("a.py", "x = 1\n");
        set_mode(&source, 0o640);
        python::run(PYTHON, &format!("import py_compile; py_compile.compile({source:?}, doraise=True)"));
        world.run_on_tree(&["verify"]).exits(0);
        change(&source, &world.pyc("a.py"));
        world.run_on_tree(&["verify"]).exits(1).says("unreadable").says(reason);
        // Nor is it adopted.
        world.commit().exits(0).says("compiled 1 ");
        is_right(&world);
        change(&source, &world.pyc("a.py"));
        world.run_on_tree(&["verify", "--repair"]).exits(0);
        world.run_on_tree(&["verify"]).exits(0).says("valid 1 ");
    }
}

#[test]
fn who_cannot_give_bytecode_to_the_group_of_its_source_keeps_it() {
    if !is_root("other users") {
        return;
    }
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let command = aid::as_user(&world, &world.command(&["commit", world.tree().to_str().unwrap()]));
    set_mode(&source, 0o640);
    chown(&source, None, Some(GROUP)).unwrap();
    let outcome = world.outcome(command).exits(0).says("compiled 1 ");
    assert_eq!(rights(&world.pyc("a.py")).2, 0o600, "{}", outcome.context());
    let command = aid::as_user(&world, &world.command(&["verify", world.tree().to_str().unwrap()]));
    world.outcome(command).exits(0).says("valid 1 ");
}

#[test]
fn bytecode_that_is_taken_back_has_the_group_of_its_place() {
    if !is_root("groups") {
        return;
    }
    let system = Installation::with_programs();
    chown(system.at(PUBLIC), None, Some(GROUP)).unwrap();
    set_mode(&system.at(PUBLIC), 0o2755);
    system.install("pkg", &["a.py", "b.py"]);
    system.call("pyc-txn", &["hook", "configure"]).exits(0).says("compiled 2 ");
    system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
    let source = system.at(&format!("{PUBLIC}/b.py"));
    set_mode(&source, 0o640);
    chown(&source, None, Some(NOBODY)).unwrap();
    let outcome = system.call("pyc-txn", &["hook", "configure"]).exits(0).says("reused 2 ");
    assert_eq!(rights(&system.pyc("a.py")).1, GROUP, "{}", outcome.context());
    assert_eq!(rights(&system.pyc("b.py")).1, NOBODY, "{}", outcome.context());
}

#[test]
fn bytecode_has_the_label_that_a_file_created_there_has() {
    let what = "SELinux labels";
    if !is_root(what) {
        return;
    }
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return skipped(&format!("{what} (this kernel gives none)"));
    }
    for has_cache in [false, true] {
        let world = World::new();
        set_attribute(&world.tree(), LABEL, b"system_u:object_r:lib_t:s0\0");
        world.write("a.py", "x = 1\n");
        if has_cache {
            fs::create_dir(world.tree().join("__pycache__")).unwrap();
        }
        let outcome = world.commit().exits(0).says("compiled 1 ");
        let pyc = world.pyc("a.py");
        assert_eq!(rights(&pyc), rights_beside(&pyc, 0o644), "{}", outcome.context());
    }
}
