//! What an interpreter is allowed when pyc-txn runs it: nothing but its pipes.
//!
//! pyc-txn starts itself under the name [`PROGRAM`]; that process ties its life to its parent's, gives up the
//! right to write files, and becomes the interpreter. A step of its own is needed because such settings belong
//! between `fork` and `exec`, where Rust's standard library offers the change of user and nothing else.
//! It knows nothing of what the interpreter is asked to do.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

/// The name (`argv[0]`) under which the program confines itself and becomes an interpreter.
pub const PROGRAM: &str = "pyc-txn-worker";

/// Debian's `nobody` and `nogroup` (base-passwd; policy section 9.2.2): they own no file.
const NOBODY: u32 = 65534;

/// The stack of an interpreter, in bytes: as much as Linux gives by default.
const STACK: u64 = 8 << 20;

/// Rights of an interpreter that pyc-txn starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// User `nobody`: where pyc-txn runs as root.
    Nobody,
    /// The user who runs pyc-txn: an ordinary one, or root with an interpreter that `nobody` cannot reach (in
    /// a home directory) or where there is no such user (a user namespace).
    Own,
}

impl Rights {
    /// What to try, the fewest rights first.
    #[must_use]
    pub fn to_try() -> &'static [Self] {
        if rustix::process::geteuid().is_root() { &[Self::Nobody, Self::Own] } else { &[Self::Own] }
    }
}

/// What every script begins with: `python -c` puts the current directory first among the places of modules, and
/// our caller's open files (debconf's, apt's pipes) are nobody else's. Closing them is left to the interpreter
/// because Rust has no safe way to close what it did not open.
const PROLOGUE: &str = "import posix, sys\n\
    posix.closerange(3, 1024)\n\
    sys.path[:] = [path for path in sys.path if path]\n";

/// This program, also after an upgrade has replaced or removed its file. The name that the caller gave it is no way to
/// find it: whoever calls can give any.
const SELF: &str = "/proc/self/exe";

/// Starts `command`, which [`command`] has made.
///
/// # Errors
/// What `fork(2)` and `execve(2)` say; that `/proc` is needed where it is not mounted.
pub fn start(command: &mut Command) -> std::io::Result<Child> {
    command.spawn().map_err(|error| {
        if error.kind() == ErrorKind::NotFound && Path::new(SELF).symlink_metadata().is_err() {
            return std::io::Error::other("/proc is needed for that, and is not mounted");
        }
        error
    })
}
/// What the C library is told, so that a compiler that folds `a ** b` computes the same on every processor of an
/// architecture. On amd64 glibc has `pow`, `exp` and their like in variants with fused multiply-add, whose last digits are
/// others, and takes them where the processor has it; these names switch them off (tried with glibc 2.36 and
/// 2.41). AVX2 stays: of it strings and memory are faster, and no double is another one. On arm64, where every processor has
/// fused multiply-add, there is one variant of each (glibc's sysdeps/aarch64/fpu), and the setting is unknown; another C
/// library takes no notice of it.
const ARITHMETIC: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-FMA,-FMA4");
/// What keeps an interpreter from the bytecode of its own standard library, which may be torn, or another code's: it
/// compiles the ten or so modules that it needs to start from their sources, in 4 to 12 ms. Nobody, root included, can
/// create anything below a device, so that the place of [`PLACE`] is empty for ever. Python 3.6 and 3.7 know no such
/// place; but they look for bytecode of the level they run at, and nobody makes any for this one. The level of what a
/// worker compiles is another thing: each request names it.
const PLACE: (&str, &str) = ("PYTHONPYCACHEPREFIX", "/dev/null/pyc-txn");
const LEVEL: (&str, &str) = ("PYTHONOPTIMIZE", "20131");

/// A command that runs `interpreter`, confined, with three pipes and a clean environment.
#[must_use]
pub fn command(interpreter: &Path, rights: Rights, script: &str) -> Command {
    let mut command = Command::new(SELF);
    command.arg0(PROGRAM);
    command.arg(rustix::process::getpid().to_string()).arg(interpreter);
    // -S: no site, no .pth files; -s: no user site; -B: writes no bytecode. Not -I, which would have Python
    // ignore PYTHONHASHSEED: sets in constants would come out in another order each time.
    command.args(["-S", "-s", "-B", "-c"]).arg([PROLOGUE, script].concat());
    command.env_clear().env("PYTHONHASHSEED", "0").env("LC_ALL", "C.UTF-8").env("PATH", "/usr/bin:/bin");
    command.envs([ARITHMETIC, PLACE, LEVEL]);
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if rights == Rights::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Becomes the interpreter: `arguments` are the parent's process id, the interpreter, and its arguments.
/// Returns only if that is not possible, with the message.
pub fn become_interpreter(mut arguments: impl Iterator<Item = OsString>) -> String {
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    let (Some(parent), Some(interpreter)) = (parent, arguments.next()) else {
        return format!("{PROGRAM} is started by pyc-txn itself");
    };
    if let Err(cause) = confine(parent) {
        return format!("cannot confine a worker: {cause}");
    }
    let cause = Command::new(&interpreter).args(arguments).exec();
    format!("cannot execute {}: {}", crate::disk::Quoted(interpreter.as_ref()), crate::disk::cause(&cause))
}

fn confine(parent: i32) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().map(rustix::process::Pid::as_raw_pid) != Some(parent) {
        return Err(std::io::Error::other("pyc-txn has ended"));
    }
    rustix::thread::set_no_new_privs(true)?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Fsize, none)?;
    setrlimit(Resource::Core, none)?;
    // How deeply a source may be nested depends on the stack, from Python 3.14 on; it is not the caller's to say.
    let most = getrlimit(Resource::Stack).maximum;
    let stack = Rlimit { current: Some(most.map_or(STACK, |most| most.min(STACK))), maximum: most };
    setrlimit(Resource::Stack, stack)?;
    Ok(())
}
