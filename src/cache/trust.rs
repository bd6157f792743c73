//! Whose directory it is: nobody else than root and the user may be able to put anything into the cache, or to put
//! another directory into its place.
//!
//! Owns the walk along the path, symlinks and what they lead to included: each directory belongs to root or the
//! user, and others may not write to it. Above the cache others may write where the sticky bit keeps them from what
//! is not theirs, as in `/tmp`. What is missing is made on the way, below what was found good, so that nobody can
//! have it made elsewhere.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::disk::{self, Dir, Quoted};

/// Write permission for the group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Others may write, but remove and rename only what is theirs.
const STICKY: u32 = 0o1000;

/// The permissions of directories that are made above the cache.
const ABOVE: u32 = 0o755;

/// As many symlinks as the kernel follows in a path.
const MOST_LINKS: usize = 40;

/// Why a directory is not used.
#[derive(Debug)]
pub enum Refused {
    /// It, or one above it, belongs to the user of this number.
    Foreign(PathBuf, u32),
    /// It, or one above it, can be written by others; the permissions.
    Writable(PathBuf, u32),
    /// It cannot be made or opened.
    Failed(disk::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(path, user) => {
                write!(f, "{} belongs to user {user}, neither root nor the one who runs this", Quoted(path))
            }
            Self::Writable(path, mode) => {
                let path = Quoted(path);
                write!(f, "{path} can be written by others than its owner (mode {mode:o}); chmod go-w {path}")
            }
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<disk::Error> for Refused {
    fn from(error: disk::Error) -> Self {
        Self::Failed(error)
    }
}

/// The directory at the absolute `path`, which is made with `mode` if it is missing.
pub(super) fn create(path: &Path, mode: u32) -> Result<Dir, Refused> {
    Walk { make: Some(mode), links: MOST_LINKS }.along(path, true)?;
    open(path)
}

/// The directory at the absolute `path`, if there is one.
pub(super) fn find(path: &Path) -> Result<Option<Dir>, Refused> {
    match (Walk { make: None, links: MOST_LINKS }).along(path, true) {
        Err(Refused::Failed(error)) if error.is_missing() => Ok(None),
        walked => walked.and_then(|()| open(path)).map(Some),
    }
}

/// A walk to the cache's directory.
struct Walk {
    /// With which permissions to make the directory, if it is missing.
    make: Option<u32>,
    /// How many symlinks may still be followed.
    links: usize,
}

impl Walk {
    /// Looks at all directories of a path, the highest first; the last of them may be the cache itself.
    fn along(&mut self, path: &Path, is_cache: bool) -> Result<(), Refused> {
        let mut prefixes: Vec<&Path> = path.ancestors().collect();
        prefixes.reverse();
        for prefix in prefixes {
            let is_cache = is_cache && prefix == path;
            let metadata = self.examine(prefix, is_cache)?;
            if !is_ours(&metadata) {
                return Err(Refused::Foreign(prefix.to_owned(), metadata.uid()));
            }
            let mode = metadata.mode() & 0o7777;
            if metadata.is_symlink() {
                self.follow(prefix, is_cache)?;
            } else if mode & OTHERS_WRITE != 0 && (is_cache || mode & STICKY == 0) {
                return Err(Refused::Writable(prefix.to_owned(), mode));
            }
        }
        Ok(())
    }

    fn examine(&self, path: &Path, is_cache: bool) -> Result<Metadata, Refused> {
        let examine = || path.symlink_metadata();
        let metadata = match (examine(), self.make) {
            (Err(error), Some(mode)) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_directory(path, if is_cache { mode } else { ABOVE })?;
                examine()
            }
            (metadata, _) => metadata,
        };
        metadata.map_err(|cause| disk::Error::new("examine", path, cause).into())
    }

    fn follow(&mut self, link: &Path, is_cache: bool) -> Result<(), Refused> {
        let failed = |cause: io::Error| disk::Error::new("open", link, cause);
        self.links = self.links.checked_sub(1).ok_or_else(|| failed(Errno::LOOP.into()))?;
        let target = link.read_link().map_err(failed)?;
        let beside = link.parent().unwrap_or(Path::new("/"));
        self.along(&beside.join(target), is_cache)
    }
}

/// Whether a file belongs to root or the user, and nobody else may write it.
pub(super) fn is_ours_alone(metadata: &Metadata) -> bool {
    is_ours(metadata) && metadata.mode() & OTHERS_WRITE == 0
}

fn is_ours(metadata: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

fn open(path: &Path) -> Result<Dir, Refused> {
    let resolved = path.canonicalize().map_err(|cause| disk::Error::new("open", path, cause))?;
    Ok(Dir::open(&resolved)?.fleeting())
}
