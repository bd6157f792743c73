//! Where the settings of a run come from, for every program.

use std::io;
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::config::{Settings, file};
use crate::debian::dpkg;
use crate::disk::{Quoted, cause};
use crate::root::Root;

use super::report;

/// The root that is named, else that of the maintainer script this is called from, else the host's.
pub(super) fn root(named: Option<&Path>) -> Result<Root> {
    let of_script = if named.is_none() { dpkg::script_root() } else { None };
    let path = named.or(of_script.as_deref()).unwrap_or(Path::new("/"));
    Root::new(path).map_err(|error| failed(path, &error))
}

/// What the file and the environment say. What of the file cannot be understood is said here; only a file that was
/// named has to be there.
pub(super) fn read(root: &Root, named: Option<&Path>) -> Result<Settings> {
    let default = root.on_disk(Path::new(file::PATH));
    let path = named.unwrap_or(&default);
    let mut settings = match file::read(path) {
        Ok((settings, complaints)) => {
            report::complain_of(&complaints);
            settings
        }
        Err(error) if named.is_some() => return Err(failed(path, &error)),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                report::complain(&format!("pyc-txn: {}; the defaults are used", failed(path, &error)));
            }
            Settings::default()
        }
    };
    // As every path in the file, it is one below the root. That in the environment is the caller's.
    if let Some(path) = settings.cache.path.take_if(|_| !root.is_host()) {
        settings.cache.path = Some(root.on_disk(&root.locate(&path).map_err(|error| failed(&path, &error))?));
    }
    Ok(settings.with_environment())
}

fn failed(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("cannot open {}: {}", Quoted(path), cause(error))
}
