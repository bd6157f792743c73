//! Paths as packages and people name them, and where they are.
//!
//! Owns how the symlinks in many paths are resolved. It opens no file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Root;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
