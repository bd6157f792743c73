//! Interpreters that misbehave on demand.
//!
//! A fake is a script that answers what it is through the real Python, and as a worker does what the first line
//! of a source says: `# worker: STATEMENT`. The statement may set `code` (what to answer instead of the compiled
//! source) and `dump` (how to marshal it), and may call `ready()`, `held()` and `token()`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use crate::support::{PYTHON, World};

const PROGRAM: &str = r##"
import builtins, marshal, os, signal, sys, time

script = sys.argv[-1]
is_worker = "pyc-txn worker" in script
real_dumps = marshal.dumps
orders = {}

def ready():
    "Says that this worker is at it."
    with open(HERE + "/ready", "w") as pipe:
        pipe.write("%d\n" % os.getpid())

def held():
    "Waits until the test lets go."
    ready()
    with open(HERE + "/release", "rb", 0) as pipe:
        pipe.read(1)

def token():
    "Whether the test has laid out a token; it is taken."
    try:
        return bool(os.read(os.open(HERE + "/release", os.O_RDONLY | os.O_NONBLOCK), 1))
    except BlockingIOError:
        return False

def compile(source, name, *rest, **options):
    orders.clear()
    orders.update(source=source, name=name)
    first = source.split(b"\n")[0]
    if first.startswith(b"# worker: "):
        exec(first[10:].decode(), globals(), orders)
    if "code" in orders:
        return orders["code"]
    return builtins.compile(source, name, *rest, **options)

marshal.dumps = lambda code: orders.get("dump", real_dumps)(code)
if is_worker:
    exec(STARTUP)
exec(script, {"compile": compile, "__name__": "__main__"})
"##;

/// A fake interpreter in a world.
pub struct Fake {
    path: PathBuf,
    ready: File,
    release: File,
}

impl Fake {
    /// One that greets as a worker does.
    pub fn new(world: &World) -> Self {
        Self::starting(world, "pass")
    }

    /// One that as a worker does `startup` before anything else.
    pub fn starting(world: &World, startup: &str) -> Self {
        let path = world.beside("python");
        let program = PROGRAM
            .replace("HERE", &format!("{:?}", path.parent().unwrap()))
            .replace("STARTUP", &format!("{startup:?}"));
        fs::write(&path, format!("#!{PYTHON} -sSB\n{program}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let (ready, release) = (fifo(&world.beside("ready")), fifo(&world.beside("release")));
        Self { path, ready, release }
    }

    /// Its path, as an argument.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits until a worker says that it is ready; which process that is.
    #[track_caller]
    pub fn worker(&self) -> Pid {
        let mut fds = [PollFd::new(&self.ready, PollFlags::IN)];
        let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "no worker has got ready");
        let mut line = String::new();
        while !line.ends_with('\n') {
            let mut byte = [0];
            (&self.ready).read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        Pid::from_raw(line.trim().parse().unwrap()).unwrap()
    }

    /// How many times workers have said that they are ready since this was last asked.
    pub fn times_ready(&self) -> usize {
        let mut said = [0; 4096];
        let length = (&self.ready).read(&mut said).unwrap_or_default();
        said[..length].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Lets one worker that is held go on, or lays out a token for one that asks.
    pub fn release(&self) {
        (&self.release).write_all(b"!").unwrap();
    }
}

/// A FIFO that anybody can write to, open at both ends: nobody waits for the other one in `open`.
fn fifo(path: &Path) -> File {
    rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o666)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    File::options().read(true).write(true).custom_flags(flags).open(path).unwrap()
}
