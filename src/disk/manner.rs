//! How a file is created that is to be renamed to another place: with the rights that it would have if it were created
//! there.
//!
//! Owns what a file gets beside its permission bits: owner and group, ACL (acl(5)), security label. A file keeps all of
//! it when it is renamed, and it gets it when it is created, from its directory and from the kernel's policy. So it
//! is created in the directory it will end in, without a name (`O_TMPFILE`), which nobody sees, and gets its name where it
//! is staged. That is the kernel's own answer, whatever it depends on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result, fault};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const LABEL: &str = "security.selinux";

/// The permission bits of the owner alone.
const OWN: u32 = 0o700;

/// How a file is created.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// Its permission bits.
    pub mode: u32,
    /// The directory whose own it is to be; `None`: it would get nothing from there ([`Dir::passes_on`]).
    pub home: Option<&'a Dir>,
    /// The owners of a file that not everybody may read; `None`: this process and what `home` says.
    pub owners: Option<&'a Owners>,
}

/// The owners of a file: they have the rights that its permission bits do not give to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its ACL, as the kernel gives it, without what the permission bits say.
    pub acl: Option<Vec<u8>>,
}

impl Owners {
    /// Those of an open file, of which `fstat(2)` has said this.
    ///
    /// # Errors
    /// What `fgetxattr(2)` says.
    pub fn of(file: impl AsFd, (uid, gid): (u32, u32)) -> io::Result<Self> {
        Ok(Self { uid, gid, acl: attribute(file, ACL)?.map(without_bits) })
    }

    /// Gives the file to them. Only root can give it to another user, who would else be shut out; one that belongs to us
    /// is in our hands.
    fn take_over(&self, file: &File, now: &Stat) -> rustix::io::Result<()> {
        let uid = if rustix::process::geteuid().is_root() { self.uid } else { now.st_uid };
        if (now.st_uid, now.st_gid) != (uid, self.gid) {
            chown(file, Some(uid), self.gid)?;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        match &self.acl {
            Some(acl) => rustix::fs::fsetxattr(file, ACL, acl, XattrFlags::empty()),
            None => match rustix::fs::fremovexattr(file, ACL) {
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                removed => removed,
            },
        }
    }
}

impl Manner<'_> {
    /// Gives a file that was just created to those whose it is to be; `path` is what it is created for, `is_at_home` says
    /// whether that was in its home. Where it cannot be given away it is opened to nobody else.
    pub(super) fn apply(&self, file: &File, path: &Path, is_at_home: bool) -> io::Result<()> {
        if self.home.is_none() && self.owners.is_none() {
            return Ok(());
        }
        fault::step("change owners", path)?;
        let mut mode = self.mode;
        let stat = rustix::fs::fstat(file)?;
        if let Some(owners) = self.owners {
            if owners.take_over(file, &stat).is_err() {
                let ours = Owners { uid: stat.st_uid, gid: stat.st_gid, acl: None };
                ours.take_over(file, &rustix::fs::fstat(file)?)?;
                mode &= OWN;
            }
        } else if let Some(home) = self.home.filter(|_| !is_at_home) {
            inherit_group(file, &stat, &home.stat().map_err(io::Error::other)?);
        }
        // An ACL that the directory passes on may have taken rights away.
        if rustix::fs::fstat(file)?.st_mode & 0o7777 != mode {
            #[expect(clippy::disallowed_methods, reason = "this is the place")]
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }
}

/// Gives a file the group that it would have in the directory with this `stat(2)`, as far as that is known; where we may
/// not, it keeps its own.
fn inherit_group(file: &File, stat: &Stat, directory: &Stat) {
    let is_passed_on = Mode::from_raw_mode(directory.st_mode).contains(Mode::SGID);
    if is_passed_on && stat.st_gid != directory.st_gid {
        let _ = chown(file, None, directory.st_gid);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn chown(file: &File, uid: Option<u32>, gid: u32) -> rustix::io::Result<()> {
    rustix::fs::fchown(file, uid.map(Uid::from_raw), Some(Gid::from_raw(gid)))
}

/// An ACL without the permissions that are also in the permission bits: of user, mask and others. (A number of its
/// version, 4 bytes, then of each entry its kind and its permissions, 2 bytes each, and its id, 4 bytes.)
fn without_bits(mut acl: Vec<u8>) -> Vec<u8> {
    for entry in acl.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if let [0x01 | 0x10 | 0x20, 0, permissions, ..] = entry {
            *permissions = 0;
        }
    }
    acl
}

/// An extended attribute of an open file; `None` where it has none, or its filesystem has none.
fn attribute(file: impl AsFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    // Longer than any ACL of some 500 entries; most files have none at all.
    let mut value = vec![0; 4096];
    let length = match rustix::fs::fgetxattr(&file, name, &mut value[..0]) {
        // The last three are a filter of system calls, as old container runtimes have them.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => return Ok(None),
        length => length?,
    };
    value.resize(length.max(value.len()), 0);
    let length = rustix::fs::fgetxattr(&file, name, &mut value[..])?;
    value.truncate(length);
    Ok(Some(value))
}

/// Whether an open file has an ACL, or that cannot be found out.
#[must_use]
pub fn has_acl(file: &File) -> bool {
    !matches!(attribute(file, ACL), Ok(None))
}

impl Dir {
    /// Whether a file created in this directory gets more from it than its place: a group that is not ours, an ACL, or,
    /// where the kernel gives files labels (`labels`), one that depends on the directory. Where it may be a group, it is tried.
    ///
    /// # Errors
    /// What `fstat(2)` or `fgetxattr(2)` say; a failure of the medium.
    pub fn passes_on(&self, labels: bool) -> Result<bool> {
        let failed = |cause: io::Error| Error::new("examine", &self.path, cause);
        if labels || attribute(&self.fd, DEFAULT_ACL).map_err(failed)?.is_some() {
            return Ok(true);
        }
        let ours = rustix::process::getegid().as_raw();
        if self.stat()?.st_gid == ours {
            return Ok(false);
        }
        match self.create_unnamed(0o600)? {
            Some(file) => Ok(rustix::fs::fstat(file).map_err(|errno| failed(errno.into()))?.st_gid != ours),
            None => self.sets_group(),
        }
    }

    /// Whether what is created in this directory gets its group, and a directory the same bit.
    ///
    /// # Errors
    /// What `fstat(2)` says.
    pub fn sets_group(&self) -> Result<bool> {
        Ok(Mode::from_raw_mode(self.stat()?.st_mode).contains(Mode::SGID))
    }

    /// Whether the kernel gives files labels: the directory has one.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        matches!(attribute(&self.fd, LABEL), Ok(Some(_)))
    }

    /// An unnamed file in this directory; `None` where that is not to be had.
    ///
    /// # Errors
    /// A failure of the medium.
    pub(super) fn create_unnamed(&self, mode: u32) -> Result<Option<OwnedFd>> {
        let failed = |cause: io::Error| Error::new("try", &self.path, cause);
        fault::step("try filesystem", &self.path).map_err(failed)?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, ".", flags, Mode::from_raw_mode(mode)) {
            Ok(file) => Ok(Some(file)),
            Err(errno) => {
                let error = failed(errno.into());
                if error.is_medium() && !error.is_read_only() { Err(error) } else { Ok(None) }
            }
        }
    }
}
