//! Mounts: which one a directory is on, and whether that one is there.
//!
//! Owns the answer to what a missing directory means: it was deleted, or its filesystem is not mounted just now. Device
//! numbers cannot tell, because the next boot may give others, nor can `f_fsid`, which is a device number on xfs and
//! random on tmpfs. The path of a mount point can. Kernels before 5.8 do not say on which mount a directory is; there
//! everything that is missing counts as deleted. Changes nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FsWord, Statx, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

/// The type of the filesystem at the mount point of an automounter, until that has mounted the real one.
const AUTOFS: FsWord = 0x0187;

/// Finds the mount points of directories below a top directory.
#[derive(Debug)]
pub struct Mounts<'a> {
    top: &'a Path,
    /// By the kernel's numbers of the mounts, which hold for as long as they are mounted.
    points: HashMap<u64, PathBuf>,
}

impl<'a> Mounts<'a> {
    /// Those below `top`, an absolute path.
    #[must_use]
    pub fn below(top: &'a Path) -> Self {
        let number = number(top);
        Self { top, points: number.map(|number| (number, top.to_owned())).into_iter().collect() }
    }

    /// The mount point of the filesystem that the directory `path` is on; the top, if that is on the same one. `None`
    /// where there is no such directory, or the kernel does not say.
    pub fn point(&mut self, path: &Path) -> Option<&Path> {
        let found = number(path)?;
        let find = || {
            let is_on_it = |above: &&Path| number(above) == Some(found);
            let above = path.ancestors().take_while(|above| above.starts_with(self.top));
            above.take_while(is_on_it).last().unwrap_or(path).to_owned()
        };
        Some(self.points.entry(found).or_insert_with(find))
    }
}

/// Whether a filesystem is mounted on the directory `point`.
#[must_use]
pub fn is_mounted(point: &Path) -> bool {
    // This has an automounter mount it.
    let Ok(filesystem) = rustix::fs::statfs(point) else { return false };
    if filesystem.f_type == AUTOFS {
        return false;
    }
    match examine(point) {
        Ok(facts) => {
            let is_told = facts.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
            !is_told || facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        }
        Err(errno) => errno == Errno::NOSYS,
    }
}

/// The kernel's number of the mount that `path` is on.
fn number(path: &Path) -> Option<u64> {
    let facts = examine(path).ok()?;
    StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::MNT_ID).then_some(facts.stx_mnt_id)
}

fn examine(path: &Path) -> rustix::io::Result<Statx> {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)
}
