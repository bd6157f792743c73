//! The root: the prefix in front of every path (`--root`, `DPKG_ROOT`).
//!
//! Owns the way between a path as packages and bytecode have it (without the prefix) and the path on disk.
//! Symlinks in a root lead to what they name inside it, not on the host.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::disk::{self, Identity, patiently};

/// How a component of a path is opened.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// As many symlinks as the kernel follows in a path.
const MOST_LINKS: usize = 40;

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

/// A path as a package or a person names it, and the same one without symlinks in its directory. Both are without the
/// root's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// As it is named: rules are about this one.
    pub named: PathBuf,
    /// Where it is: files are opened, and bytecode is published, by this one.
    pub path: PathBuf,
}

/// Resolves the symlinks in many paths. It examines every directory once, because a package's postinst has
/// milliseconds for hundreds of files.
#[derive(Debug)]
pub struct Resolver<'a> {
    root: &'a Root,
    known: HashMap<PathBuf, PathBuf>,
}

impl<'a> Resolver<'a> {
    /// A resolver for paths without the prefix of `root`.
    #[must_use]
    pub fn new(root: &'a Root) -> Self {
        Self { root, known: HashMap::new() }
    }

    /// Resolves the directory of a file; the file itself may be a symlink.
    pub fn file(&mut self, named: PathBuf) -> Located {
        let path = match (named.parent(), named.file_name()) {
            (Some(directory), Some(name)) => self.directory(directory).join(name),
            _ => named.clone(),
        };
        Located { named, path }
    }

    /// Resolves a directory. A part of the path that does not exist, or that cannot be resolved, stays as it is.
    pub fn directory(&mut self, named: &Path) -> PathBuf {
        if let Some(known) = self.known.get(named) {
            return known.clone();
        }
        let path = match (named.parent(), named.file_name()) {
            (Some(parent), Some(name)) => {
                let path = self.directory(parent).join(name);
                let stat = self.root.on_disk(&path).symlink_metadata();
                if stat.is_ok_and(|stat| stat.is_symlink()) {
                    self.root.resolve(&path).unwrap_or(path)
                } else {
                    path
                }
            }
            // The root itself, or `..` at the end.
            _ => self.root.resolve(named).unwrap_or_else(|_| named.to_owned()),
        };
        self.known.insert(named.to_owned(), path.clone());
        path
    }
}

fn openat2(top: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    patiently(|| rustix::fs::openat2(top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT))
}

/// Whether the call itself is not to be had: kernels before 5.6, and seccomp filters that have not heard of it.
fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM)
}

/// The way through a root that `openat2(2)` with `RESOLVE_IN_ROOT` takes, in the calls that every kernel has: no step is
/// through a symlink; these are read, and what they name is looked for below the root.
struct Steps {
    top: OwnedFd,
    /// The directories below the top, each in the one before, with their names.
    below: Vec<(OsString, OwnedFd)>,
    /// How many symlinks have been followed.
    links: usize,
}

impl From<OwnedFd> for Steps {
    fn from(top: OwnedFd) -> Self {
        Self { top, below: Vec::new(), links: 0 }
    }
}

impl Steps {
    /// Opens what is at `path` as `flags` say.
    fn follow(&mut self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut left: Vec<OsString> = Vec::new();
        self.put_before(&mut left, path);
        while let Some(name) = left.pop() {
            if name == ".." {
                self.below.pop();
                continue;
            }
            let place = rustix::fs::openat(self.here(), &name, PLACE | OFlags::NOFOLLOW, Mode::empty())?;
            match FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) {
                FileType::Symlink => self.follow_link(&place, &mut left)?,
                FileType::Directory => self.below.push((name, place)),
                _ if left.is_empty() => {
                    return rustix::fs::openat(self.here(), &name, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        rustix::fs::openat(self.here(), ".", flags, Mode::empty())
    }

    fn follow_link(&mut self, link: &OwnedFd, left: &mut Vec<OsString>) -> rustix::io::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        self.put_before(left, Path::new(OsStr::from_bytes(target.as_bytes())));
        Ok(())
    }

    /// Puts the names of `path` before those that are `left`, the last of which comes next. An absolute path begins at
    /// the top.
    fn put_before(&mut self, left: &mut Vec<OsString>, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => left.push(name.to_owned()),
                Component::ParentDir => left.push("..".into()),
                Component::RootDir => self.below.clear(),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    /// The directory where the way has led to.
    fn here(&self) -> &OwnedFd {
        self.below.last().map_or(&self.top, |(_, fd)| fd)
    }

    /// Its path, without the root's prefix.
    fn path(&self) -> PathBuf {
        Path::new("/").join(self.below.iter().map(|(name, _)| name).collect::<PathBuf>())
    }
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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes its own root")]
    fn symlinks_in_the_directory_of_a_file_are_resolved_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        std::fs::create_dir_all(top.join("srv/pkg/sub")).unwrap();
        std::fs::create_dir(top.join("usr")).unwrap();
        std::os::unix::fs::symlink("/srv/pkg", top.join("usr/pkg")).unwrap();
        std::os::unix::fs::symlink("usr/pkg/sub", top.join("link")).unwrap();
        let root = Root::new(top).unwrap();
        let mut resolver = Resolver::new(&root);
        for (named, path) in [
            ("/usr/pkg/a.py", "/srv/pkg/a.py"),
            ("/usr/pkg/sub/b.py", "/srv/pkg/sub/b.py"),
            ("/link/b.py", "/srv/pkg/sub/b.py"),
            ("/link/none/c.py", "/srv/pkg/sub/none/c.py"),
            ("/link", "/link"),
            ("/srv/../link/b.py", "/srv/pkg/sub/b.py"),
        ] {
            assert_eq!(resolver.file(named.into()).path, Path::new(path), "{named}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes its own world")]
    fn the_way_by_hand_leads_where_the_kernel_leads() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path()).unwrap();
        std::fs::create_dir_all(root.0.join("usr/lib/deep")).unwrap();
        std::fs::write(root.0.join("usr/lib/a.py"), "a").unwrap();
        for (target, link) in [
            ("/usr/lib", "lib"),
            ("../../../../../usr/lib/a.py", "usr/up.py"),
            ("/etc/../lib/a.py", "usr/missing.py"),
            ("/lib/../../lib/./a.py", "usr/lib/deep/b.py"),
            ("loop", "loop"),
            ("/etc/passwd", "outside"),
            ("a.py", "usr/lib/c.py"),
        ] {
            symlink(target, root.0.join(link)).unwrap();
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let inode = |fd: OwnedFd| rustix::fs::fstat(&fd).map(|stat| stat.st_ino);
        for path in [
            "/",
            "/usr",
            "/lib",
            "/lib/deep/..",
            "/../..",
            "/lib/a.py",
            "/lib/a.py/x",
            "/usr/up.py",
            "/usr/missing.py",
            "/usr/lib/deep/b.py",
            "/lib/c.py",
            "/loop",
            "/loop/x",
            "/outside",
            "/nothing",
        ] {
            let kernel = openat2(&root.open_top().unwrap(), Path::new(path), flags).and_then(inode);
            let by_hand =
                Steps::from(root.open_top().unwrap()).follow(Path::new(path), flags).and_then(inode);
            assert_eq!(by_hand, kernel, "{path}");
            let directory = root.directory(Path::new(path)).unwrap();
            assert_eq!(root.resolve_by_hand(Path::new(path)), directory, "{path}");
        }
    }

    #[test]
    fn a_part_that_does_not_exist_is_left_as_it_is() {
        let root = Root::new(Path::new("/")).unwrap();
        assert_eq!(root.locate(Path::new("/usr/./no/such.py")).unwrap(), Path::new("/usr/no/such.py"));
    }
}
