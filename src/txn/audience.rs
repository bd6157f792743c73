//! Who may read bytecode: who may read its source, and nobody else.
//!
//! Owns the rule, for staging, adoption and verification alike:
//!
//! * The permission bits are the source's, as CPython has them.
//! * Where these let everybody read, bytecode is in all else as a file created at its place would be: its group, its ACL, its
//!   label (`crate::disk::Manner`). Nobody's right to read depends on them.
//! * Otherwise it depends on whose the file is, so bytecode gets the source's user, group and ACL. CPython leaves there
//!   the user and the group of who compiles: the same bits would let other people read, and shut out some who may.
//! * Where it cannot be given to them (only root may give files away), it is for its own user alone.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::disk::Owners;

/// The permission bits of everybody who may read a file.
const READ: u32 = 0o444;

/// Who may read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Audience {
    /// Its permission bits.
    pub(super) mode: u32,
    /// Its user.
    pub(super) uid: u32,
    /// User, group and ACL, if the bits do not let everybody read.
    owners: Option<Owners>,
}

impl Audience {
    /// The audience of an open file.
    ///
    /// # Errors
    /// Its ACL cannot be read.
    pub(super) fn of(file: &File, metadata: &Metadata) -> io::Result<Self> {
        if let Some(everybody) = Self::everybody(metadata) {
            return Ok(everybody);
        }
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let owners = Some(Owners::of(file, (uid, gid))?);
        Ok(Self { mode: metadata.mode() & 0o7777, uid, owners })
    }

    /// The audience of a file, if its permission bits let everybody read.
    pub(super) fn everybody(metadata: &Metadata) -> Option<Self> {
        let (mode, uid) = (metadata.mode() & 0o7777, metadata.uid());
        (mode & READ == READ).then_some(Self { mode, uid, owners: None })
    }

    /// The owners that the bytecode of this source is to have, if not everybody may read it.
    pub(super) fn owners(&self) -> Option<&Owners> {
        self.owners.as_ref()
    }

    /// The permission bits of the bytecode of this source: as CPython's `_calc_mode` and `_write_atomic` have it, without
    /// the umask.
    pub(super) fn mode_of_bytecode(&self) -> u32 {
        (self.mode | 0o200) & 0o666
    }

    /// The reason why a pyc has another audience than this one of its source; `None` if it has the same, or another
    /// one could not be given to it by this user.
    pub(super) fn misfit(&self, pyc: &Self) -> Option<String> {
        let (is, should) = (pyc.mode, self.mode_of_bytecode());
        let instead = || format!("its permissions are {is:04o} instead of {should:04o}");
        if should & READ & !is != 0 {
            let is_all_we_can =
                !rustix::process::geteuid().is_root() && self.owners.is_some() && is & 0o477 == 0o400;
            return (!is_all_we_can).then(instead);
        }
        let theirs = self.owners.as_ref()?;
        if is & READ & !should != 0 {
            return Some(format!("more may read it than its source: {}", instead()));
        }
        let ours = pyc.owners.as_ref()?;
        // A class of users that has no other right than everybody else need not be looked at.
        let depends_on_group = (is >> 3 ^ is) & 0o4 != 0;
        let depends_on_user = is & 0o4 == 0 && rustix::process::geteuid().is_root();
        let other =
            |what: &str, is: u32, should: u32| Some(format!("its {what} is {is} instead of {should}"));
        match () {
            () if depends_on_group && ours.gid != theirs.gid => other("group", ours.gid, theirs.gid),
            () if depends_on_user && ours.uid != theirs.uid => other("user", ours.uid, theirs.uid),
            () if ours.acl != theirs.acl => Some("its ACL is another one than its source's".into()),
            () => None,
        }
    }
}
