//! The only code that changes the filesystem.
//!
//! Owns how a change is made: relative to an open directory that no symlink led to, with an explicit mode, with
//! an error that names its path, and as a numbered step ([`fault`]) so that the crash tests can stop before each.
//! It must not know what a change is for: no transaction, no Python.
//!
//! The process runs with umask 0 (see `main`), so a mode given here is the mode on disk from the first instant;
//! there is no moment at which a directory exists with a mode that a later `chmod` has to correct.

mod changes;
mod dir;
mod error;
pub mod fault;
mod identity;
mod look;
mod manner;
mod mount;
mod patience;
mod quote;

pub use changes::{Durable, sync, sync_apart};
pub use dir::{Dir, Renamed};
pub use error::{Error, cause};
pub use identity::{Identity, seconds};
pub use look::{Kind, examine, read};
pub use manner::{Manner, Owners, has_acl};
pub use mount::{Mounts, is_mounted};
pub use patience::patiently;
pub use quote::{Escaped, Lines, Quoted, Text, is_command};

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::process::Resource;

/// What is kept open for the sake of speed takes no more than this part of the descriptors that this process may have, and
/// no more than this number.
const PART: u64 = 8;
const MOST_OPEN: usize = 64;

/// How many files this process may keep open for the sake of speed, at a time and for a purpose.
#[must_use]
pub fn spare_descriptors() -> usize {
    static SPARE: OnceLock<usize> = OnceLock::new();
    *SPARE.get_or_init(|| {
        let limit = rustix::process::getrlimit(Resource::Nofile).current;
        let part = limit.and_then(|limit| usize::try_from(limit / PART).ok());
        part.map_or(MOST_OPEN, |part| part.clamp(1, MOST_OPEN))
    })
}

type Result<T> = std::result::Result<T, Error>;

/// Whether this process syncs.
static IS_DURABLE: AtomicBool = AtomicBool::new(true);

/// From here on nothing is synced: for whoever said that speed is all that counts. What is written is as whole as
/// before for everybody but a power cut.
pub fn renounce_durability() {
    IS_DURABLE.store(false, Ordering::Relaxed);
}

/// Whether what is written is to survive a power cut.
#[must_use]
pub fn is_durable() -> bool {
    IS_DURABLE.load(Ordering::Relaxed)
}

/// Has the kernel write everything on every filesystem (`sync(2)`, which reports no error): evidence of nothing.
pub fn sync_all() {
    if is_durable() {
        rustix::fs::sync();
    }
}

/// Opens the directory at `path`, after creating it for this user alone, and what is missing above it. Symlinks
/// on the way are followed: this is for pyc-txn's own state directory, whose place the administrator chose.
///
/// # Errors
/// What `mkdir(2)` or `open(2)` say.
pub fn create_state_dir(path: &Path) -> Result<Dir> {
    for ancestor in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if ancestor.as_os_str().is_empty() || ancestor.is_dir() {
            continue;
        }
        // Whoever can open a SQLite file for reading can also keep others from writing it.
        let mode = if ancestor == path { 0o700 } else { 0o755 };
        create_directory(ancestor, mode)?;
    }
    let resolved = path.canonicalize().map_err(|cause| Error::new("open", path, cause))?;
    Dir::open(&resolved)
}

/// Creates the directory `path` with `mode`, unless something has that name already.
///
/// # Errors
/// What `mkdir(2)` says.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    fault::step("create directory", path).map_err(|cause| Error::new("create", path, cause))?;
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(mode)) {
        Ok(()) => note_parent(path),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::new("create", path, errno)),
    }
}

/// Notes that the directory above `path` was changed; symlinks lead there as they led to `path`.
fn note_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let opened = File::open(parent).map_err(|cause| Error::new("open", parent, cause))?;
    changes::note_directory(opened.as_fd(), parent)
}

/// Opens the lock file `path`, creating it with `mode` if it is missing; it is never replaced or removed. Who can
/// open it can hold the lock.
///
/// # Errors
/// What `open(2)` says.
pub fn open_lock_file(path: &Path, mode: u32) -> Result<File> {
    fault::step("open lock", path)
        .and_then(|()| {
            File::options().read(true).write(true).create(true).truncate(false).mode(mode).open(path)
        })
        .map_err(|cause| Error::new("open", path, cause))
}

/// Writes over the beginning of an open file, in one go; `path` is its path.
///
/// # Errors
/// What `write(2)` says.
pub fn overwrite(file: &File, path: &Path, bytes: &[u8]) -> Result<()> {
    fault::step("write file", path)
        .and_then(|()| file.write_all_at(bytes, 0))
        .map_err(|cause| Error::new("write", path, cause))
}

/// Sets the modification time of an open file to now; `path` is its path.
///
/// # Errors
/// What `futimens(2)` says.
pub fn touch(file: &File, path: &Path) -> Result<()> {
    fault::step("touch file", path)
        .and_then(|()| file.set_modified(SystemTime::now()))
        .map_err(|cause| Error::new("touch", path, cause))
}

/// Moves a file of the state directory aside to a free name `PATH.SUFFIX`, `PATH.SUFFIX-2`, …; says which.
///
/// # Errors
/// What `rename(2)` says.
pub fn set_aside(path: &Path, suffix: &str) -> Result<PathBuf> {
    let mut free = path.as_os_str().to_owned();
    free.push(format!(".{suffix}"));
    let mut count = 1;
    while Path::new(&free).exists() {
        count += 1;
        free = path.as_os_str().to_owned();
        free.push(format!(".{suffix}-{count}"));
    }
    let free = PathBuf::from(free);
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fault::step("set aside", path)
        .and_then(|()| std::fs::rename(path, &free))
        .map_err(|cause| Error::rename(path, &free, cause))?;
    Ok(free)
}
