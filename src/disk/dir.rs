//! An open directory: the place that every change is made relative to.
//!
//! Owns how files and directories are made, renamed and removed in it. Each change is a step.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Error, Identity, Kind, Manner, Owners, Result, fault, patiently};

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The permission bits of everybody who may read a file.
const READ: u32 = 0o444;

/// An open directory, and the path it was opened by, for messages.
#[derive(Debug)]
pub struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    /// Whether what is changed in it may be lost in a power cut.
    pub(super) is_fleeting: bool,
}

/// What became of a rename.
#[derive(Debug, PartialEq, Eq)]
pub enum Renamed {
    /// The name has moved.
    Moved,
    /// There was nothing under the old name.
    Gone,
    /// The two directories are not on one filesystem; nothing changed.
    OtherFilesystem,
}

impl Dir {
    /// Opens the directory at the absolute `path`, which no component may reach through a symlink.
    ///
    /// # Errors
    /// What `openat2(2)` says; `ELOOP` or `ENOTDIR` where a component is a symlink.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || rustix::fs::openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let opened = patiently(|| match open() {
            // Kernels before 5.6, and seccomp filters that have not heard of the call.
            Err(Errno::NOSYS | Errno::PERM) => open_by_component(path),
            opened => opened,
        });
        match opened {
            Ok(fd) => Ok(Self { fd, path: path.to_owned(), is_fleeting: false }),
            Err(errno) => Err(Error::new("open", path, errno)),
        }
    }

    /// Opens the directory `name` in this one; not through a symlink.
    ///
    /// # Errors
    /// What `openat(2)` says; `ENOTDIR` where `name` is a symlink or a file.
    pub fn open_child(&self, name: impl AsRef<OsStr>) -> Result<Self> {
        let path = self.path.join(name.as_ref());
        match patiently(|| rustix::fs::openat(&self.fd, name.as_ref(), DIRECTORY, Mode::empty())) {
            Ok(fd) => Ok(Self { fd, path, is_fleeting: self.is_fleeting }),
            Err(errno) => Err(Error::new("open", &path, errno)),
        }
    }

    /// Opens the directory `name` in this one, after creating it with `mode` if it is missing.
    ///
    /// # Errors
    /// As [`Dir::open_child`], or what `mkdirat(2)` says.
    pub fn create_child(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self> {
        let path = self.path.join(name.as_ref());
        fault::step("create directory", &path).map_err(|cause| Error::new("create", &path, cause))?;
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        match rustix::fs::mkdirat(&self.fd, name.as_ref(), Mode::from_raw_mode(mode)) {
            Ok(()) => {
                self.note()?;
                self.open_child(name)
            }
            Err(Errno::EXIST) => self.open_child(name),
            Err(errno) => Err(Error::new("create", &path, errno)),
        }
    }

    /// The path this directory was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `stat(2)` of the directory itself.
    ///
    /// # Errors
    /// What `fstat(2)` says.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd).map_err(|errno| Error::new("examine", &self.path, errno))
    }

    /// Lets everybody read and search this directory who may do so with `other`, if it is ours to decide.
    ///
    /// # Errors
    /// What `fstat(2)` or `fchmod(2)` say.
    pub fn open_to_all_of(&self, other: &Self) -> Result<()> {
        const LOOK: u32 = 0o555;
        let (own, theirs) = (self.stat()?, other.stat()?);
        let us = rustix::process::geteuid();
        let is_ours = us.is_root() || own.st_uid == us.as_raw();
        if !is_ours || theirs.st_mode & LOOK & !own.st_mode == 0 {
            return Ok(());
        }
        let mode = Mode::from_raw_mode((own.st_mode | theirs.st_mode & LOOK) & 0o7777);
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        fault::step("change permissions", &self.path)
            .and_then(|()| Ok(rustix::fs::fchmod(&self.fd, mode)?))
            .map_err(|cause| Error::new("change permissions of", &self.path, cause))?;
        self.note()
    }

    /// Creates the file `name`, which must not exist, with `mode` and the bytes of `parts`, and says what it is
    /// on disk. Nothing is synced: that is done for all that was written at once (see [`sync`](super::sync)).
    ///
    /// # Errors
    /// What `openat(2)` or `write(2)` say; a file that was begun is left for the caller's clean-up.
    pub fn create_file(&self, name: impl AsRef<OsStr>, mode: u32, parts: &[&[u8]]) -> Result<Identity> {
        self.create_file_as(name, &Manner { mode, home: None, owners: None }, parts)
    }

    /// As [`Dir::create_file`], in this manner.
    ///
    /// # Errors
    /// As [`Dir::create_file`].
    pub fn create_file_as(
        &self,
        name: impl AsRef<OsStr>,
        manner: &Manner<'_>,
        parts: &[&[u8]],
    ) -> Result<Identity> {
        let path = self.path.join(name.as_ref());
        let failed = |cause: io::Error| Error::new("write", &path, cause);
        fault::step("create file", &path).map_err(failed)?;
        if let Some(created) = self.create_at_home(name.as_ref(), manner, parts)? {
            return Ok(created);
        }
        let mut file = self.begin_file(&path, name.as_ref(), manner.mode)?;
        write_parts(&mut file, parts).map_err(failed)?;
        manner.apply(&file, &path, false).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        self.note_file(name, file)?;
        Ok(Identity::of(&stat))
    }

    /// Creates the file without a name in its home, and gives it the name in this directory; `None` where there is no
    /// home, or it cannot be done that way.
    fn create_at_home(&self, name: &OsStr, manner: &Manner<'_>, parts: &[&[u8]]) -> Result<Option<Identity>> {
        let path = self.path.join(name);
        let failed = |cause: io::Error| Error::new("write", &path, cause);
        let Some(home) = manner.home else { return Ok(None) };
        let Some(unnamed) = home.create_unnamed(manner.mode)? else { return Ok(None) };
        let mut file = File::from(unnamed);
        fault::step("write file", &path).map_err(failed)?;
        write_parts(&mut file, parts).map_err(failed)?;
        manner.apply(&file, &path, true).map_err(failed)?;
        fault::step("name file", &path).map_err(failed)?;
        match self.link(&file, name).map_err(|errno| failed(errno.into())) {
            Ok(()) => {}
            Err(error) if error.is_full() => return Err(error),
            Err(_) => return Ok(None),
        }
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        self.note_file(name, file)?;
        Ok(Some(Identity::of(&stat)))
    }

    /// Creates the file `name` at `path`, which must not exist, and announces that it is written.
    fn begin_file(&self, path: &Path, name: &OsStr, mode: u32) -> Result<File> {
        let failed = |cause: io::Error| Error::new("write", path, cause);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let open = || rustix::fs::openat(&self.fd, name, flags, mode);
        let fd = patiently(open).map_err(|errno| failed(errno.into()))?;
        fault::step("write file", path).map_err(failed)?;
        Ok(File::from(fd))
    }

    /// Writes over the beginning of the file `name`, which is there and no symlink, in one go.
    ///
    /// # Errors
    /// What `openat(2)` or `write(2)` say.
    pub fn overwrite_file(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name.as_ref());
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty())
            .map_err(|errno| Error::new("open", &path, errno))?;
        let file = File::from(fd);
        super::overwrite(&file, &path, bytes)?;
        self.note_file(name, file)
    }

    /// Renames `name` in this directory to `to_name` in `to`, over whatever file stands there.
    ///
    /// # Errors
    /// What `renameat(2)` says, except for the outcomes that [`Renamed`] names.
    pub fn rename(&self, name: impl AsRef<OsStr>, to: &Self, to_name: impl AsRef<OsStr>) -> Result<Renamed> {
        let (from, onto) = (self.path.join(name.as_ref()), to.path.join(to_name.as_ref()));
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        let renamed = fault::step("rename", &onto)
            .and_then(|()| Ok(rustix::fs::renameat(&self.fd, name.as_ref(), &to.fd, to_name.as_ref())?));
        match renamed.map_err(|cause| (Errno::from_io_error(&cause), cause)) {
            Ok(()) => {
                self.note_around(name.as_ref())?;
                to.note_around(to_name.as_ref())?;
                Ok(Renamed::Moved)
            }
            Err((Some(Errno::NOENT), _)) => Ok(Renamed::Gone),
            Err((Some(Errno::XDEV), _)) => Ok(Renamed::OtherFilesystem),
            Err((_, cause)) => Err(Error::rename(&from, &onto, cause)),
        }
    }

    /// Renames the directory `name` in this one to `to_name` in `to`, if nothing has that name there and it can be done;
    /// says whether it did.
    ///
    /// # Errors
    /// There is no space left.
    pub fn move_child(&self, name: impl AsRef<OsStr>, to: &Self, to_name: impl AsRef<OsStr>) -> Result<bool> {
        let (from, onto) = (self.path.join(name.as_ref()), to.path.join(to_name.as_ref()));
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        let moved = fault::step("rename", &onto).and_then(|()| {
            let (name, to_name) = (name.as_ref(), to_name.as_ref());
            Ok(rustix::fs::renameat_with(&self.fd, name, &to.fd, to_name, RenameFlags::NOREPLACE)?)
        });
        match moved.map_err(|cause| Error::rename(&from, &onto, cause)) {
            Ok(()) => {
                self.note_around(name.as_ref())?;
                to.note_around(to_name.as_ref())?;
                Ok(true)
            }
            Err(error) if error.is_full() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Removes the file `name`; says whether there was one.
    ///
    /// # Errors
    /// What `unlinkat(2)` says, except that a missing file is none.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<bool> {
        self.unlink("remove file", name.as_ref(), AtFlags::empty())
    }

    /// Removes the directory `name` if it is empty; says whether it did.
    ///
    /// # Errors
    /// What `unlinkat(2)` says, except that a missing directory and one with something in it are none.
    pub fn remove_empty_child(&self, name: impl AsRef<OsStr>) -> Result<bool> {
        self.unlink("remove directory", name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, step: &str, name: &OsStr, flags: AtFlags) -> Result<bool> {
        let path = self.path.join(name);
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        let unlinked =
            fault::step(step, &path).and_then(|()| Ok(rustix::fs::unlinkat(&self.fd, name, flags)?));
        match unlinked.map_err(|cause| (Errno::from_io_error(&cause), cause)) {
            Ok(()) => {
                self.note_around(name)?;
                Ok(true)
            }
            Err((Some(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST), _)) => Ok(false),
            Err((_, cause)) => Err(Error::new("remove", &path, cause)),
        }
    }

    /// Removes the directory `name` with all that is in it; a missing one is none of its errors.
    ///
    /// # Errors
    /// What reading or removing says.
    pub fn remove_child_with_all(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let child = match self.open_child(name.as_ref()) {
            Err(error) if error.is_missing() => return Ok(()),
            child => child?,
        };
        // Nobody needs to know after a power cut which names went first.
        let child = child.fleeting();
        for (name, kind) in child.entries()? {
            match kind {
                Kind::Directory => child.remove_child_with_all(name)?,
                _ => drop(child.remove_file(name)?),
            }
        }
        self.remove_empty_child(name).map(drop)
    }

    /// The error that says that this directory is not there any more.
    #[must_use]
    pub fn gone(&self) -> Error {
        Error::new("open", &self.path, Errno::NOENT)
    }

    /// Copies the file `name` of `from` to `to_name` in this directory, which must not exist, with its
    /// permissions; one that not everybody may read with its owners, too.
    ///
    /// # Errors
    /// As [`Dir::create_file`], or what reading says.
    pub fn copy_file(&self, from: &Self, name: impl AsRef<OsStr>, to_name: impl AsRef<OsStr>) -> Result<()> {
        let path = from.path.join(name.as_ref());
        let failed = |cause: io::Error| Error::new("read", &path, cause);
        let mut source = from.open_file(name).map_err(failed)?;
        let stat = rustix::fs::fstat(&source).map_err(|errno| failed(errno.into()))?;
        let mode = stat.st_mode & 0o7777;
        let owners = Owners::of(&source, (stat.st_uid, stat.st_gid)).map_err(failed)?;
        let owners = (mode & READ != READ).then_some(&owners);
        let path = self.path.join(to_name.as_ref());
        let failed = |cause: io::Error| Error::new("write", &path, cause);
        fault::step("create file", &path).map_err(failed)?;
        let mut copy = self.begin_file(&path, to_name.as_ref(), mode)?;
        io::copy(&mut source, &mut copy).map_err(failed)?;
        Manner { mode, home: None, owners }.apply(&copy, &path, false).map_err(failed)?;
        self.note_file(to_name, copy)
    }

    /// Whether a file of `self` can be renamed into `other`, found out without changing `other`: an unnamed file
    /// is made there (`O_TMPFILE`) and linked under a name here, which mounts, subvolumes and quota projects
    /// refuse just as they refuse the rename. Where `O_TMPFILE` is not to be had the answer is no.
    ///
    /// # Errors
    /// There is no space left; any other failure is a no.
    pub fn shares_filesystem(&self, other: &Self) -> Result<bool> {
        const TRIAL: &str = "trial";
        let Some(unnamed) = other.create_unnamed(0o600)? else { return Ok(false) };
        match self.link(&unnamed, TRIAL) {
            Ok(()) => self.remove_file(TRIAL),
            Err(errno) => no_unless_full(Error::new("try", &self.path, errno)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn link(&self, file: impl AsFd, name: impl AsRef<OsStr>) -> rustix::io::Result<()> {
        use std::os::fd::AsRawFd;
        let (file, name) = (file.as_fd(), name.as_ref());
        // AT_EMPTY_PATH needs a capability; /proc needs to be mounted. One of the two is nearly always there.
        rustix::fs::linkat(file, "", &self.fd, name, AtFlags::EMPTY_PATH).or_else(|_| {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, path, &self.fd, name, AtFlags::SYMLINK_FOLLOW)
        })
    }
}

fn no_unless_full(error: Error) -> Result<bool> {
    if error.is_full() { Err(error) } else { Ok(false) }
}

/// Opens `path` one component after the other, none of them a symlink.
fn open_by_component(path: &Path) -> rustix::io::Result<OwnedFd> {
    let mut fd = rustix::fs::openat(CWD, "/", DIRECTORY, Mode::empty())?;
    for component in path.components() {
        if let std::path::Component::Normal(name) = component {
            fd = rustix::fs::openat(fd.as_fd(), name, DIRECTORY, Mode::empty())?;
        }
    }
    Ok(fd)
}

fn write_parts(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut written = file.write_vectored(&slices)?;
    if written == total {
        return Ok(());
    }
    // A short write: go on where it ended; the call that follows says why, if there is a why.
    for part in parts {
        let skip = written.min(part.len());
        file.write_all(&part[skip..])?;
        written -= skip;
    }
    Ok(())
}
