//! dpkg: what it tells maintainer scripts and hooks, and the trigger by which it calls pyc-txn at the end of a run
//! (dpkg(1), deb-triggers(5)).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::disk::{self, Text, cause};
use crate::root::Root;

/// The name of the package, and of its explicit trigger.
const PACKAGE: &str = "pyc-txn";

/// What programs of others are run with: this process itself has none.
const USUAL_UMASK: Mode = Mode::from_raw_mode(0o022);

/// How much of the complaints of `dpkg-trigger` is read, in bytes.
const MOST_SAID: u64 = 64 << 10;

/// Whether this runs in a maintainer script.
#[must_use]
pub fn is_maintainer_script() -> bool {
    value("DPKG_MAINTSCRIPT_PACKAGE").is_some()
}

/// Whether a frontend (apt) holds dpkg's lock over several runs: it has a hook of its own at the end.
#[must_use]
pub fn has_frontend() -> bool {
    value("DPKG_FRONTEND_LOCKED").is_some()
}

/// The root of a maintainer script that is not run in its chroot (`DPKG_ROOT`).
#[must_use]
pub fn script_root() -> Option<PathBuf> {
    value("DPKG_ROOT").map(PathBuf::from)
}

/// Whether the administrator renounced durability for speed (`DPKG_FORCE` with `unsafe-io`).
#[must_use]
pub fn is_unsafe_io() -> bool {
    let force = value("DPKG_FORCE").and_then(|force| force.into_string().ok()).unwrap_or_default();
    force.split(',').any(|word| word == "unsafe-io")
}

/// Where dpkg's database is: `DPKG_ADMINDIR`, else below the root.
#[must_use]
pub fn admin_dir(root: &Root) -> PathBuf {
    let given = value("DPKG_ADMINDIR").map(PathBuf::from);
    given.unwrap_or_else(|| root.on_disk(Path::new("/var/lib/dpkg")))
}

/// Whether pyc-txn is a package of this dpkg, so that activating its trigger leads to a commit.
#[must_use]
pub fn knows_us(root: &Root) -> bool {
    admin_dir(root).join(format!("info/{PACKAGE}.list")).exists()
}

/// Reads a file of dpkg's database, or one that a package has put beside it.
///
/// # Errors
/// It cannot be read, or is longer than any of these.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    /// In bytes. The longest is the status file: some 20 MB where everything is installed.
    const LONGEST: u64 = 256 << 20;
    disk::read(path, LONGEST)
}

/// Whether dpkg is still going to call us: our trigger is pending, or our package is to be configured.
#[must_use]
pub fn will_call_us(root: &Root) -> bool {
    let admin = admin_dir(root);
    let deferred = read(&admin.join("triggers/Unincorp")).unwrap_or_default();
    let is_ours =
        |line: &[u8]| line.strip_prefix(PACKAGE.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
    if deferred.split(|&byte| byte == b'\n').any(is_ours) {
        return true;
    }
    let status = read(&admin.join("status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ours = format!("Package: {PACKAGE}");
    let stanza = status.split("\n\n").find(|stanza| stanza.lines().next() == Some(ours.as_str()));
    stanza.is_some_and(|stanza| {
        let state =
            |word: &str| stanza.lines().any(|line| line.starts_with("Status:") && line.ends_with(word));
        state(" triggers-pending") || state(" unpacked") || state(" half-configured")
    })
}

/// The activation of our trigger, under way.
#[derive(Debug)]
pub struct Activation(Child);

impl Activation {
    /// Begins to activate the trigger, for a package that need not wait for what it does.
    ///
    /// # Errors
    /// In one line: `dpkg-trigger` cannot be started.
    pub fn begin() -> Result<Self, String> {
        let mut command = Command::new("dpkg-trigger");
        command.args(["--no-await", PACKAGE]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // dpkg's own file is about to be written.
        let child = with_usual_umask(|| command.spawn());
        child.map(Self).map_err(|error| format!("cannot run dpkg-trigger: {}", cause(&error)))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// In one line: what `dpkg-trigger` said.
    pub fn end(mut self) -> Result<(), String> {
        let mut said = Vec::new();
        if let Some(stderr) = &mut self.0.stderr {
            let _ = stderr.take(MOST_SAID).read_to_end(&mut said);
        }
        // What it says beyond that it finds nobody to read, and ends.
        drop(self.0.stderr.take());
        let said = Text(&String::from_utf8_lossy(&said).trim().replace('\n', " ")).to_string();
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if said.is_empty() => Err(format!("dpkg-trigger failed ({status})")),
            Ok(_) => Err(said),
            Err(error) => Err(format!("cannot wait for dpkg-trigger: {}", cause(&error))),
        }
    }
}

/// Does `work` with the umask that others' programs expect.
pub fn with_usual_umask<T>(work: impl FnOnce() -> T) -> T {
    let ours = umask(USUAL_UMASK);
    let done = work();
    umask(ours);
    done
}

/// Gives this process the umask that others' programs expect: it is about to become one.
pub fn restore_umask() {
    umask(USUAL_UMASK);
}

fn value(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
