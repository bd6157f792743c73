//! Committing a tree.

use crate::support::World;

#[test]
fn a_commit_compiles_the_tree_and_says_so() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.write("package/b.py", "y = 2\n");
    world.commit().exits(0).says("compiled 2");
    assert!(world.pyc("a.py").exists() && world.pyc("package/b.py").exists());
    world.commit().exits(0).says("nothing to do (2 up to date)");
}

#[test]
fn a_source_that_does_not_compile_does_not_stop_the_others() {
    let world = World::new();
    world.write("good.py", "x = 1\n");
    let bad = world.write("bad.py", "x = 1\ny = = 2\n");
    world.commit().exits(1).says("compiled 1, failed 1").says(&format!("{}:2: SyntaxError", bad.display()));
    assert!(world.pyc("good.py").exists());
}
