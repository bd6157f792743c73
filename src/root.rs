//! The root: the prefix in front of every path (`--root`, `DPKG_ROOT`).
//!
//! Owns the way between a path as packages and bytecode have it (without the prefix) and the path on disk.
//! Symlinks in a root lead to what they name inside it, not on the host.

mod located;
mod steps;

pub use located::{Located, Resolver};

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::disk::{self, Identity, patiently};
use steps::Steps;

/// How a component of a path is opened.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The root of the system whose Python trees are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The root at `path`, with symlinks resolved.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn new(path: &Path) -> io::Result<Self> {
        path.canonicalize().map(Self)
    }

    /// The path of this root itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is the host's own.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a path without the prefix is on disk.
    #[must_use]
    pub fn on_disk(&self, path: &Path) -> PathBuf {
        if self.is_host() {
            return path.to_owned();
        }
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether nothing is mounted at `mount` (without the prefix), the mount point of a directory's filesystem: then it is
    /// not known what has become of the directory. `None`: it is on the root's own.
    #[must_use]
    pub fn is_out_of_reach(&self, mount: Option<&Path>) -> bool {
        mount.is_some_and(|mount| !disk::is_mounted(&self.on_disk(mount)))
    }

    /// Whether a directory is missing, or is a bare mount point, because its filesystem is not mounted.
    #[must_use]
    pub fn misses(&self, directory: &Path, mount: Option<&Path>) -> bool {
        let is_bare = || mount == Some(directory) || !self.on_disk(directory).exists();
        self.is_out_of_reach(mount) && is_bare()
    }

    /// What a person or a script means by `path`: one inside the root, with or without its prefix; relative
    /// ones are taken from the current directory. Symlinks in it are resolved, except for a last component
    /// that is no directory (a source may be a symlink), as is a part of the path that does not exist.
    ///
    /// # Errors
    /// The current directory is gone.
    pub fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolve(&self.inside(&std::path::absolute(path)?))
    }

    /// An absolute path without the root's prefix, if it has it; symlinks are left as they are.
    #[must_use]
    pub fn inside(&self, absolute: &Path) -> PathBuf {
        match absolute.strip_prefix(&self.0) {
            Ok(inside) if !self.is_host() => Path::new("/").join(inside),
            _ => absolute.to_owned(),
        }
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        if let Some(directory) = self.directory(path)? {
            return Ok(directory);
        }
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(self.resolve(parent)?.join(name)),
            _ => Ok(path.to_owned()),
        }
    }

    /// The directory at `path`, symlinks resolved; `None` where there is none.
    fn directory(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if self.is_host() {
            return if path.is_dir() { path.canonicalize().map(Some) } else { Ok(None) };
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match openat2(&self.open_top()?, path, flags) {
            Ok(opened) => opened,
            Err(errno) if is_refused(errno) => return Ok(self.resolve_by_hand(path)),
            Err(_) => return Ok(None),
        };
        let Ok(on_disk) = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())) else {
            // There is no /proc.
            return Ok(self.resolve_by_hand(path));
        };
        let outside = || io::Error::other("it is not in the root any more");
        let inside = on_disk.strip_prefix(&self.0).map_err(|_| outside())?;
        Ok(Some(Path::new("/").join(inside)))
    }

    /// The directory at `path`, found one component after the other.
    fn resolve_by_hand(&self, path: &Path) -> Option<PathBuf> {
        let mut steps = Steps::from(self.open_top().ok()?);
        steps.follow(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).ok()?;
        Some(steps.path())
    }

    /// Opens the file at `path` (without the prefix) for reading; never waits for the other end of a FIFO.
    ///
    /// # Errors
    /// What `open(2)` says.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.is_host() {
            return Ok(File::from(patiently(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?));
        }
        self.open_in_root(path, flags)
    }

    /// Symlinks lead to what they name inside the root, and `..` not out of it.
    fn open_in_root(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let top = self.open_top()?;
        let opened = match openat2(&top, path, flags) {
            Err(errno) if is_refused(errno) => Steps::from(top).follow(path, flags),
            opened => opened,
        };
        Ok(File::from(opened?))
    }

    fn open_top(&self) -> io::Result<OwnedFd> {
        let open = || rustix::fs::openat(CWD, &self.0, PLACE.union(OFlags::DIRECTORY), Mode::empty());
        Ok(patiently(open)?)
    }

    /// What stands at `path` (without the prefix), through symlinks.
    ///
    /// # Errors
    /// What `open(2)` or `stat(2)` say.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        if self.is_host() { std::fs::metadata(path) } else { self.open(path)?.metadata() }
    }

    /// The identity of the regular file at `path` (without the prefix), through symlinks; `None` where there is
    /// no such file.
    ///
    /// # Errors
    /// What `open(2)` or `stat(2)` say.
    pub fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        match self.metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Identity::of_metadata(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn openat2(top: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    patiently(|| rustix::fs::openat2(top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT))
}

/// Whether the call itself is not to be had: kernels before 5.6, and seccomp filters that have not heard of it.
fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM)
}

/// Whether the error says that nothing stands at a path.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_with_and_without_the_prefix() {
        let root = Root::new(Path::new("/usr")).unwrap();
        for path in ["/usr/lib", "/lib"] {
            assert_eq!(root.locate(Path::new(path)).unwrap(), Path::new("/lib"), "{path}");
        }
        assert_eq!(root.on_disk(Path::new("/lib")), Path::new("/usr/lib"));
    }
}
