//! The way through a root, one component after the other.
//!
//! Owns what `openat2(2)` with `RESOLVE_IN_ROOT` does, for kernels and seccomp filters that do not have it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::PLACE;

/// As many symlinks as the kernel follows in a path.
const MOST_LINKS: usize = 40;

/// The way through a root that `openat2(2)` with `RESOLVE_IN_ROOT` takes, in the calls that every kernel has: no step is
/// through a symlink; these are read, and what they name is looked for below the root.
pub(super) struct Steps {
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
    pub(super) fn follow(&mut self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
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
    pub(super) fn path(&self) -> PathBuf {
        Path::new("/").join(self.below.iter().map(|(name, _)| name).collect::<PathBuf>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Root, openat2};
    use super::*;

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
