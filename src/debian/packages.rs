//! What a package owns: dpkg's file lists and diversions, read natively (`dpkg -L` is slow and speaks the
//! user's language).

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::dpkg;
use crate::disk::{Quoted, cause};
use crate::root::{Located, Resolver, Root};

/// The Python sources of an installed package (`NAME` or `NAME:ARCH`), where its diversions and the symlinks in their
/// directories put them. Which of them are on disk is not known here: dpkg may have been told to leave some out.
///
/// # Errors
/// It is not installed, or dpkg's database cannot be read.
pub fn sources(root: &Root, package: &str) -> Result<Vec<Located>> {
    let admin = dpkg::admin_dir(root);
    let list = file_list(&admin, package)?;
    let diversions = diversions(&admin, package)?;
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| end == "py");
    let divert = |path| diversions.get(&path).cloned().unwrap_or(path);
    let mut resolver = Resolver::new(root);
    let sources = lines(&list).into_iter().map(divert).filter(is_source);
    Ok(sources.map(|named| resolver.file(named)).collect())
}

/// Those of a package's sources that are below a directory. As with the original, a directory that is named without a
/// slash at its end is the beginning of other paths, too.
pub fn below<'a>(sources: &'a [Located], directory: &'a Located) -> impl Iterator<Item = &'a Located> {
    let beginning = directory.named.as_os_str().as_bytes();
    let is_below = move |source: &&Located| {
        source.named.as_os_str().as_bytes().starts_with(beginning) || source.path.starts_with(&directory.path)
    };
    sources.iter().filter(is_below)
}

/// The installed packages that own these sources, as far as there are such.
///
/// # Errors
/// dpkg's database cannot be read.
pub fn owners(root: &Root, sources: &HashSet<PathBuf>) -> Result<HashMap<PathBuf, String>> {
    let admin = dpkg::admin_dir(root);
    let names: HashSet<_> = sources.iter().filter_map(|path| path.file_name()).collect();
    let is_candidate = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
    let (mut owners, mut resolver) = (HashMap::new(), Resolver::new(root));
    let mut entries: Vec<_> = std::fs::read_dir(admin.join("info")).into_iter().flatten().flatten().collect();
    entries.sort_unstable_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(package) = name.to_str().and_then(|name| name.strip_suffix(".list")) else { continue };
        let list = read(&entry.path())?;
        let diversions = diversions(&admin, package)?;
        let owned = lines(&list).into_iter().map(|path| diversions.get(&path).cloned().unwrap_or(path));
        let located = owned.filter(is_candidate).map(|path| resolver.file(path).path);
        let ours = located.filter(|path| sources.contains(path));
        owners.extend(ours.map(|path| (path, package.to_owned())));
    }
    Ok(owners)
}

fn file_list(admin: &Path, package: &str) -> Result<Vec<u8>> {
    read(&list_path(admin, package)?)
}

/// The path of an installed package's file list; its scripts are beside it.
pub(super) fn list_path(admin: &Path, package: &str) -> Result<PathBuf> {
    let info = admin.join("info");
    let plain = info.join(format!("{package}.list"));
    let name = package.split(':').next().unwrap_or(package);
    if package.contains('/') {
        bail!("'{package}' is no package name");
    }
    // Multi-Arch: same has the architecture in the name of its list, everything else has not. The directory is read
    // for the former only: it has some files for each installed package.
    let named = [plain, info.join(format!("{name}.list"))].into_iter().find(|path| path.exists());
    let list = named.or_else(|| of_any_architecture(&info, name));
    list.ok_or_else(|| anyhow!("package '{package}' is not installed"))
}

fn of_any_architecture(info: &Path, name: &str) -> Option<PathBuf> {
    let prefix = format!("{name}:");
    let entries = std::fs::read_dir(info).ok()?.flatten().map(|entry| entry.file_name());
    let mut lists: Vec<OsString> =
        entries.filter(|list| list.to_str().is_some_and(|list| is_list(list, &prefix))).collect();
    lists.sort_unstable();
    lists.first().map(|list| info.join(list))
}

fn is_list(file: &str, prefix: &str) -> bool {
    file.starts_with(prefix) && file.ends_with(".list")
}

/// Where other packages' diversions put this package's files: three lines each, from, to, by whom.
fn diversions(admin: &Path, package: &str) -> Result<HashMap<PathBuf, PathBuf>> {
    let path = admin.join("diversions");
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let name = package.split(':').next().unwrap_or(package);
    let lines = lines(&read(&path)?);
    let others = lines.chunks_exact(3).filter(|entry| entry[2].as_os_str() != name);
    Ok(others.map(|entry| (entry[0].clone(), entry[1].clone())).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    dpkg::read(path).map_err(|error| anyhow!("cannot read {}: {}", Quoted(path), cause(&error)))
}

fn lines(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| PathBuf::from(OsString::from_vec(line.to_vec()))).collect()
}
