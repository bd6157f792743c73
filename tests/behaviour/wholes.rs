//! A `__pycache__` that is not there yet is staged as a whole, and published by one rename.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::aid::{commit_staged, mode, names, set_mode, skipped, stage, staged};
use crate::oracle;
use crate::support::World;

/// The default ACL of a directory (acl(5)).
const ACL: &str = "system.posix_acl_default";

/// A world with two sources in one directory, staged.
fn two() -> World {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("b.py", "x = 2\n");
    stage(&world);
    world
}

fn cache_of(world: &World) -> PathBuf {
    world.tree().join("__pycache__")
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// The directory that the staged files are in.
fn whole_of(world: &World) -> PathBuf {
    staged(world)[0].parent().unwrap().to_owned()
}

#[test]
fn it_is_the_directory_that_was_staged() {
    let world = two();
    set_mode(&world.tree(), 0o750);
    let whole = inode(&whole_of(&world));
    let outcome = commit_staged(&world).exits(0).says("compiled 2");
    assert_eq!(inode(&cache_of(&world)), whole, "{}", outcome.context());
    assert_eq!(names(&cache_of(&world)).len(), 2);
    world.commit().exits(0).says("2 up to date");
}

#[test]
fn one_that_is_there_stays() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    fs::create_dir(cache_of(&world)).unwrap();
    let before = inode(&cache_of(&world));
    stage(&world);
    let outcome = commit_staged(&world).exits(0);
    assert_eq!(inode(&cache_of(&world)), before, "{}", outcome.context());
    assert_eq!(names(&cache_of(&world)).len(), 1);
}

#[test]
fn one_that_came_meanwhile_stays_with_what_is_in_it() {
    for foreign in [None, Some("foreign")] {
        let world = two();
        let cache = cache_of(&world);
        fs::create_dir(&cache).unwrap();
        set_mode(&cache, 0o711);
        foreign.into_iter().for_each(|name| fs::write(cache.join(name), "").unwrap());
        let outcome = commit_staged(&world).exits(0).says("compiled 2");
        assert_eq!(mode(&cache), 0o711, "{}", outcome.context());
        assert_eq!(names(&cache).len(), 2 + foreign.iter().count());
        assert_eq!(oracle::value(&world.pyc("b.py"), "x"), "2");
    }
}

#[test]
fn nothing_else_that_is_in_the_staging_directory_comes_into_the_tree() {
    let world = two();
    fs::write(whole_of(&world).join("c.cpython-311.pyc"), "no bytecode").unwrap();
    let outcome = commit_staged(&world).exits(0).says("compiled 2");
    let cache = names(&cache_of(&world));
    assert_eq!(cache.len(), 2, "{cache:?}\n{}", outcome.context());
    assert!(names(&world.state().join("staging")).is_empty());
}

#[test]
fn a_source_that_vanished_has_no_bytecode_in_it() {
    let world = two();
    fs::remove_file(world.tree().join("b.py")).unwrap();
    let outcome = commit_staged(&world).exits(0).says("compiled 1");
    assert!(world.pyc("a.py").exists() && !world.pyc("b.py").exists(), "{}", outcome.context());
}

#[test]
fn a_source_that_changed_has_its_new_bytecode_in_it() {
    let world = two();
    let whole = inode(&whole_of(&world));
    world.write("b.py", "x = 22\n");
    let outcome = commit_staged(&world).exits(0).says("compiled 2");
    assert_eq!(oracle::value(&world.pyc("b.py"), "x"), "22", "{}", outcome.context());
    assert_eq!(inode(&cache_of(&world)), whole);
}

#[test]
fn a_directory_of_refused_sources_gets_none() {
    let world = World::new();
    world.write("a.py", "x =\n");
    let outcome = world.commit().exits(1).says("failed 1");
    assert!(!cache_of(&world).exists(), "{}", outcome.context());
}

#[test]
fn it_has_the_acl_that_one_made_in_its_place_would_have() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    // Version 2; user::rwx, user:nobody:rwx, group::r-x, mask::rwx, other::r-x.
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 7, 65534), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    match rustix::fs::setxattr(world.tree(), ACL, &acl, XattrFlags::empty()) {
        Err(Errno::NOTSUP) => return skipped("ACLs (not on this filesystem)"),
        set => set.unwrap(),
    }
    let outcome = world.commit().exits(0).says("compiled 1");
    let mut found = vec![0; acl.len()];
    let length = rustix::fs::getxattr(cache_of(&world), ACL, &mut found[..]);
    assert_eq!((length, found), (Ok(acl.len()), acl), "{}", outcome.context());
}
