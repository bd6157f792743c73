//! What a worker may do, and what of its caller's surroundings reaches it: nothing.

use std::fs;
use std::process::Command;

use crate::aid::{is_root, set_mode};
use crate::fake::Fake;
use crate::oracle::is_what_py_compile_writes;
use crate::support::{Outcome, PYTHON, World};

/// What a worker finds when it evaluates `expression`.
#[track_caller]
fn worker_says(world: &World, expression: &str) -> Outcome {
    let fake = Fake::new(world);
    world.write("a.py", format!("# worker: raise SyntaxError(str({expression}))\n"));
    let mut command = world.command(&["commit", "--python", fake.path()]);
    command.arg(world.tree()).current_dir(world.tree()).env("PYTHONSTARTUP", "/no/such").env("SECRET", "x");
    world.outcome(command).exits(1)
}

#[test]
fn a_worker_is_nobody_where_the_driver_is_root() {
    if !is_root("the user of workers") {
        return;
    }
    worker_says(&World::new(), "(os.getresuid(), os.getresgid(), os.getgroups())")
        .says("SyntaxError: ((65534, 65534, 65534), (65534, 65534, 65534), [])");
}

#[test]
fn a_worker_has_an_environment_of_its_own() {
    worker_says(&World::new(), "sorted(os.environ)").says(
        "['GLIBC_TUNABLES', 'LC_ALL', 'PATH', 'PYTHONHASHSEED', 'PYTHONOPTIMIZE', 'PYTHONPYCACHEPREFIX']",
    );
    worker_says(&World::new(), "os.getcwd()").says("SyntaxError: /");
}

#[test]
fn a_worker_has_its_three_pipes_and_no_other_file() {
    let world = World::new();
    let fake = Fake::new(&world);
    let open = "sorted(fd for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd))";
    world.write("a.py", format!("# worker: raise SyntaxError(str({open}))\n"));
    let mut plain = world.command(&["commit", "--python", fake.path()]);
    plain.arg(world.tree());
    // Our caller may have more files open than it closes for us, as debconf has its third.
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3</dev/null 9</dev/null; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    world.outcome(command).exits(1).says("SyntaxError: ['0', '1', '2']");
}

#[test]
fn a_worker_cannot_create_files_in_the_tree() {
    if !is_root("files made by workers") {
        return;
    }
    let world = World::new();
    let file = world.tree().join("made");
    worker_says(&world, &format!("open({file:?}, 'w')")).says("PermissionError: ");
    assert!(!file.exists());
}

#[test]
fn a_worker_cannot_write_even_where_everybody_may() {
    let world = World::new();
    let file = world.write("everybodys", "as it was");
    set_mode(&file, 0o666);
    worker_says(&world, &format!("os.write(os.open({file:?}, os.O_WRONLY), b'broken')"))
        .says("File too large");
    assert_eq!(fs::read(file).unwrap(), b"as it was");
}

#[test]
fn nothing_of_the_callers_environment_changes_what_is_compiled() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    let trap = "open('SPRUNG', 'w'); raise SystemExit('sprung')\n";
    let traps = world.beside("traps");
    fs::create_dir_all(traps.join("encodings")).unwrap();
    for module in ["encodings/__init__", "imp", "warnings", "marshal", "gc", "sitecustomize", "usercustomize"]
    {
        let trap = trap.replace("SPRUNG", world.beside("sprung").to_str().unwrap());
        fs::write(traps.join(module).with_extension("py"), trap).unwrap();
    }
    let mut command = world.command(&["commit"]);
    command
        .arg(world.tree())
        .current_dir(&traps)
        .env("PYTHONPATH", &traps)
        .env("PYTHONHOME", &traps)
        .env("PYTHONSTARTUP", traps.join("imp.py"))
        .env("PYTHONPYCACHEPREFIX", world.beside("prefix"))
        .env("PYTHONOPTIMIZE", "2")
        .env("PYTHONWARNINGS", "error")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONINSPECT", "1")
        .env("PYTHONUTF8", "0")
        .env("PYTHONHASHSEED", "12345")
        .env("SOURCE_DATE_EPOCH", "1")
        .env("LC_ALL", "tr_TR.ISO-8859-9")
        .env("LD_LIBRARY_PATH", &traps)
        .env("TMPDIR", "/no/such/directory");
    let outcome = world.outcome(command).exits(0).says("compiled 1 ");
    assert!(!world.beside("sprung").exists() && !world.beside("prefix").exists(), "{}", outcome.context());
    is_what_py_compile_writes(PYTHON.as_ref(), "timestamp", 0, &[source], outcome.context());
}

#[test]
fn an_environment_variable_compiles_nothing_again() {
    let world = World::new();
    world.write("a.py", "x = 1\n");
    world.commit().exits(0).says("compiled 1 ");
    for (variable, value) in [
        ("SOURCE_DATE_EPOCH", "1"),
        ("PYTHONPYCACHEPREFIX", "/tmp"),
        ("PYTHONHASHSEED", "7"),
        ("PYTHONOPTIMIZE", "1"),
    ] {
        let mut command = world.command(&["commit"]);
        command.arg(world.tree()).env(variable, value);
        world.outcome(command).exits(0).says("nothing to do (1 up to date)");
    }
}
