//! An installed system in a directory: a root with dpkg's database, the programs under their names, and what dpkg
//! would tell a maintainer script.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aid::{let_the_clock_go_on, names, skipped};
use crate::support::private::Private;
use crate::support::{Outcome, PYTHON, World, python};

pub const PUBLIC: &str = "/usr/lib/python3/dist-packages";

/// A root with dpkg's database, as it were an installed system.
pub struct Installation {
    pub world: World,
}

impl Installation {
    pub fn new() -> Self {
        let installation = Self { world: World::new() };
        fs::create_dir_all(installation.at("/var/lib/dpkg/info")).unwrap();
        fs::create_dir_all(installation.at(PUBLIC)).unwrap();
        installation
    }

    /// One with a Python, with pyc-txn and its state at their places, and a `dpkg-trigger` that notes its arguments.
    pub fn with_programs() -> Self {
        let system = Self::new();
        let binary = fs::canonicalize(PYTHON).unwrap();
        let name = binary.file_name().unwrap().to_str().unwrap().to_owned();
        system.write(&format!("/usr/bin/{name}"), "");
        system.write("/var/lib/dpkg/info/pyc-txn.list", "/.\n");
        symlink("root/var/lib/pyc-txn", system.world.state()).unwrap();
        fs::create_dir(system.world.beside("bin")).unwrap();
        let ours = system.program("pyc-txn");
        if fs::hard_link(env!("CARGO_BIN_EXE_pyc-txn"), &ours).is_err() {
            fs::copy(env!("CARGO_BIN_EXE_pyc-txn"), &ours).unwrap();
        }
        for name in ["py3compile", "py3clean"] {
            symlink("pyc-txn", system.program(name)).unwrap();
        }
        system.script("dpkg-trigger", "echo \"$@\" >>triggered");
        system
    }

    /// One whose only Python is one that the host does not have, with a standard library that its package compiled;
    /// `None` where this machine has no such Python.
    pub fn with_a_python() -> Option<(Self, Private)> {
        let is_other = |(minor, _): &(u8, PathBuf)| !Path::new(&format!("/usr/bin/python3.{minor}")).exists();
        let Some((minor, original)) = python::all().into_iter().rev().find(is_other) else {
            skipped("a system with a Python of its own (needs one that is not in /usr/bin)");
            return None;
        };
        let system = Self::with_programs();
        for name in names(&system.at("/usr/bin")) {
            fs::remove_file(system.at("/usr/bin").join(name)).unwrap();
        }
        let private = Private::install(&original, minor, &system.root());
        private.compile();
        Some((system, private))
    }

    /// A program beside pyc-txn.
    pub fn program(&self, name: &str) -> PathBuf {
        self.world.beside("bin").join(name)
    }

    /// Puts a shell script beside pyc-txn; it runs in the directory above.
    pub fn script(&self, name: &str, body: &str) {
        let path = self.program(name);
        fs::write(&path, format!("#!/bin/sh\ncd \"$(dirname \"$0\")/..\"\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts originals there that note how they were called.
    pub fn divert_originals(&self) {
        for name in ["py3compile", "py3clean"] {
            self.script(&format!("{name}.distrib"), "echo \"$(umask) $@\" >original");
        }
    }

    /// What a script has noted, if it was run.
    pub fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.world.beside(name)).ok()
    }

    /// A program as the administrator calls it.
    pub fn called(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program(name));
        let path = std::env::var("PATH").unwrap();
        command.args(arguments).env("PATH", format!("{}:{path}", self.world.beside("bin").display()));
        command.env("DPKG_ROOT", self.root()).env("DPKG_ADMINDIR", self.at("/var/lib/dpkg"));
        for name in ["DPKG_MAINTSCRIPT_PACKAGE", "DPKG_FORCE", "DPKG_FRONTEND_LOCKED", "PYC_TXN_SUSPEND"] {
            command.env_remove(name);
        }
        for name in ["DEBPYTHON3_SUPPORTED", "DEBPYTHON3_DEFAULT", "PYC_TXN_CACHE"] {
            command.env_remove(name);
        }
        command
    }

    /// A program as a maintainer script of `pkg` calls it.
    pub fn in_script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.called(name, arguments);
        command.env("DPKG_MAINTSCRIPT_PACKAGE", "pkg");
        command
    }

    /// Runs a program as the administrator does.
    pub fn call(&self, name: &str, arguments: &[&str]) -> Outcome {
        self.world.outcome(self.called(name, arguments))
    }

    /// Runs a program as a maintainer script of `pkg` does.
    pub fn call_in_script(&self, name: &str, arguments: &[&str]) -> Outcome {
        self.world.outcome(self.in_script(name, arguments))
    }

    /// How many intents are pending.
    pub fn pending(&self) -> i64 {
        self.world
            .query("SELECT count(*) FROM intents JOIN transactions t ON t.id = txn WHERE state = 'recording'")
    }

    pub fn root(&self) -> PathBuf {
        self.world.tree().with_file_name("root")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Installs files under the public directory; `list` is the name of the list without `.list`.
    pub fn install(&self, list: &str, modules: &[&str]) {
        let mut files = String::from("/.\n/usr\n/usr/lib\n");
        for module in modules {
            let path = format!("{PUBLIC}/{module}");
            self.write(&path, "x = 1\n");
            files += &format!("{path}\n");
        }
        self.write(&format!("/var/lib/dpkg/info/{list}.list"), &files);
    }

    /// Waits until the directories of bytecode of these sources, those that are there, have been left alone for so long
    /// that they can be sealed.
    pub fn rest<'a>(&self, sources: impl Iterator<Item = &'a String>) {
        let caches = sources.map(|source| self.at(source).with_file_name("__pycache__"));
        let caches = caches.filter(|cache| cache.exists());
        let last = caches.max_by_key(|cache| fs::metadata(cache).unwrap().modified().unwrap()).unwrap();
        let_the_clock_go_on(&self.world, &last, 3);
    }

    /// Installs files, sources all of them, as those of `pkg`; its script has these lines.
    pub fn install_private(&self, files: &[&str], script: &str) {
        files.iter().for_each(|file| drop(self.write(file, "x = 1\n")));
        self.write("/var/lib/dpkg/info/pkg.list", &format!("/.\n{}\n", files.join("\n")));
        self.write("/var/lib/dpkg/info/pkg.postinst", &format!("#!/bin/sh\nset -e\n{script}\n"));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.arg("--root").arg(self.root());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.world.outcome(self.command(arguments))
    }

    /// The bytecode of a public module.
    pub fn pyc(&self, module: &str) -> PathBuf {
        self.world.pyc(self.at(&format!("{PUBLIC}/{module}")))
    }
}
