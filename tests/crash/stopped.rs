//! The process is stopped at step 1, 2, 3 … until the run survives.

use crate::support::World;
use crate::support::judge::Judge;

#[test]
fn a_first_commit_stopped_at_any_step_is_completed_by_the_next() {
    let mut judge = Judge::new();
    for step in 1.. {
        let world = World::new();
        world.write("a.py", "x = 1\n");
        let mut command = world.command(&["commit", "-j", "1"]);
        command
            .arg(world.tree())
            .env("PYC_TXN_FAULT", format!("abort@{step}"));
        let stopped = world.outcome(command);
        judge.every_pyc_loads(&world.tree(), stopped.context());
        if stopped.status == Some(0) {
            assert!(step > 10, "only {step} steps\n{}", stopped.context());
            return;
        }
        world.run(&["recover"]).exits(0);
        world.commit().exits(0);
        assert!(world.pyc("a.py").exists());
    }
}
