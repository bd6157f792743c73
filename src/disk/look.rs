//! What an open directory can be asked without changing anything.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::{Dir, Error, Identity, Result, patiently};

/// Room for the entries that the kernel gives at a time; more than most directories have.
const ENTRIES: usize = 16 << 10;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink, wherever it leads.
    Symlink,
    /// A FIFO, a socket, a device.
    Other,
}

impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// The bytes of the file at `path`, if they are not more than `longest`. Its length costs nothing: it can be anything, as
/// that of a sparse file.
///
/// # Errors
/// What `open(2)` or `read(2)` say; `EFBIG` where it is longer, `ENOMEM` where there is not so much memory.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?, longest)
}

fn read_all(file: File, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest { Err(Errno::FBIG.into()) } else { Ok(bytes) }
}

/// What stands at `path`, without following a symlink in its last component; `None` where there is nothing.
///
/// # Errors
/// What `lstat(2)` says.
pub fn examine(path: &Path) -> Result<Option<(Kind, Identity)>> {
    examined(rustix::fs::lstat(path)).map_err(|errno| Error::new("examine", path, errno))
}

/// What an answer of `stat(2)` says; `None` where it says that there is nothing.
fn examined(answer: rustix::io::Result<Stat>) -> rustix::io::Result<Option<(Kind, Identity)>> {
    match answer {
        Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode).into(), Identity::of(&stat)))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Dir {
    /// What the name stands for, without following a symlink; `None` where there is nothing.
    ///
    /// # Errors
    /// What `fstatat(2)` says.
    pub fn examine(&self, name: impl AsRef<OsStr>) -> Result<Option<(Kind, Identity)>> {
        examined(rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| Error::new("examine", &self.path.join(name.as_ref()), errno))
    }

    /// The names in this directory, without `.` and `..`, sorted, and what they stand for.
    ///
    /// # Errors
    /// What `getdents(2)` says, or `fstatat(2)` on a filesystem whose directories do not say what a name stands for.
    pub fn entries(&self) -> Result<Vec<(OsString, Kind)>> {
        let failed = |errno| Error::new("read", &self.path, errno);
        rustix::fs::seek(&self.fd, SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); ENTRIES];
        let mut raw = RawDir::new(&self.fd, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                FileType::Unknown => self.examine(&name)?.map(|(kind, _)| kind),
                known => Some(known.into()),
            };
            entries.extend(kind.map(|kind| (name, kind)));
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// The names in this directory, without `.` and `..`, sorted.
    ///
    /// # Errors
    /// As [`Dir::entries`].
    pub fn names(&self) -> Result<Vec<OsString>> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Whether there is a file of this name, not a symlink to one.
    #[must_use]
    pub fn has_file(&self, name: impl AsRef<OsStr>) -> bool {
        matches!(self.examine(name), Ok(Some((Kind::File, _))))
    }

    /// The permissions of a `__pycache__` or whatever is made in this directory for its files: its own, so that who can
    /// use the one can use the other.
    ///
    /// # Errors
    /// What `fstat(2)` says.
    pub fn mode_of_child(&self) -> Result<u32> {
        Ok(self.stat()?.st_mode & 0o1777)
    }

    /// Makes sure that this process can put files into the directory `name` in this one, or make it where it is
    /// missing; says whether it is there.
    ///
    /// # Errors
    /// It cannot, and why: `ENOTDIR` where something else has that name, `EACCES`, `EROFS`.
    pub fn writable_child(&self, name: impl AsRef<OsStr>) -> Result<bool> {
        let path = self.path.join(name.as_ref());
        let (path, there, answer) = match self.examine(name.as_ref())? {
            Some((Kind::Directory, _)) => (&path, true, self.may_write(name.as_ref())),
            Some(_) => (&path, true, Err(Errno::NOTDIR)),
            None => (&self.path, false, self.may_write(".".as_ref())),
        };
        answer.map(|()| there).map_err(|errno| Error::new("write to", path, errno))
    }

    /// Whether this process can put files into the directory `name` in this one.
    fn may_write(&self, name: &OsStr) -> rustix::io::Result<()> {
        let may = |flags| rustix::fs::accessat(&self.fd, name, Access::WRITE_OK | Access::EXEC_OK, flags);
        match may(AtFlags::EACCESS) {
            // Seccomp filters that have not heard of `faccessat2`. The older call asks for the real user: here it is the
            // same one, for nobody has reason to make this program setuid.
            Err(Errno::PERM | Errno::NOSYS) => may(AtFlags::empty()),
            answer => answer,
        }
    }

    /// The bytes of the file `name`, not through a symlink: one of this program's own, of a few lines.
    ///
    /// # Errors
    /// What `openat(2)` or `read(2)` say; `EFBIG` where it is longer than any of these.
    pub fn read_file(&self, name: impl AsRef<OsStr>) -> Result<Vec<u8>> {
        const LONGEST: u64 = 64 << 10;
        let read = self.open_file(name.as_ref()).and_then(|file| read_all(file, LONGEST));
        read.map_err(|cause| Error::new("read", &self.path.join(name.as_ref()), cause))
    }

    /// Holds on to the file `name`, so that it is not freed when its name goes to another one; `None` where there is
    /// none, or it cannot be done.
    #[must_use]
    pub fn hold(&self, name: impl AsRef<OsStr>) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty()).ok()
    }

    /// Opens the file `name` for reading: not through a symlink, and without waiting for the other end of a FIFO.
    ///
    /// # Errors
    /// What `openat(2)` says.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(patiently(|| rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty()))?))
    }
}
