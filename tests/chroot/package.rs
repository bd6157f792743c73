//! Small packages that tests make, with the maintainer scripts that dh_python3 makes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::chroot::{Chroot, project};

pub const MODULES: &str = "/usr/lib/python3/dist-packages";

/// When the files of a package were last changed: clamped, as Debian's reproducible builds do it.
const CLAMPED: Duration = Duration::from_secs(1_600_000_000);

/// A package that is being put together.
#[derive(Clone)]
pub struct Package {
    pub name: String,
    version: String,
    architecture: String,
    fields: String,
    files: Vec<(OsString, File)>,
    /// What each maintainer script does, by its name.
    scripts: Vec<(&'static str, String)>,
}

#[derive(Clone)]
enum File {
    Content(Vec<u8>),
    Executable(Vec<u8>),
    Link(String),
}

impl Package {
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            fields: String::new(),
            files: Vec::new(),
            scripts: Vec::new(),
        }
    }

    /// A package with public modules, and the snippets for them.
    pub fn public(name: &str, version: &str, modules: &[(&str, &str)]) -> Self {
        let mut package = Self::new(name, version);
        for (module, source) in modules {
            package = package.file(format!("{MODULES}/{module}"), source);
        }
        package.snippets("")
    }

    pub fn file(mut self, path: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.as_ref().to_owned(), File::Content(content.as_ref().to_owned())));
        self
    }

    pub fn executable(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.into(), File::Executable(content.into())));
        self
    }

    pub fn link(mut self, path: &str, to: &str) -> Self {
        self.files.push((path.into(), File::Link(to.to_owned())));
        self
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        if name == "Architecture" {
            value.clone_into(&mut self.architecture);
        } else {
            self.fields += &format!("{name}: {value}\n");
        }
        self
    }

    /// Adds to a maintainer script.
    pub fn script(mut self, name: &'static str, lines: &str) -> Self {
        let index = self.scripts.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.scripts.push((name, "#!/bin/sh\nset -e\n".to_owned()));
            self.scripts.len() - 1
        });
        self.scripts[index].1 += &format!("{lines}\n");
        self
    }

    /// Adds what dh_python3 would: py3compile with `arguments` behind the package's name, and py3clean.
    pub fn snippets(self, arguments: &str) -> Self {
        let same = self.fields.contains("Multi-Arch: same");
        let name = if same { format!("{}:{}", self.name, self.architecture) } else { self.name.clone() };
        self.script(
            "postinst",
            &format!(
                "if command -v py3compile >/dev/null 2>&1; then\n\tpy3compile -p {name} {arguments}\nfi"
            ),
        )
        .script("prerm", &format!("if command -v py3clean >/dev/null 2>&1; then\n\tpy3clean -p {name}\nfi"))
    }

    /// Builds the package into the chroot's /root; the path of the .deb there.
    pub fn build(&self, chroot: &Chroot) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (path, file) in &self.files {
            let relative = path.as_bytes().strip_prefix(b"/").unwrap_or(path.as_bytes());
            file.write(&directory.path().join(OsStr::from_bytes(relative)));
        }
        let control = directory.path().join("DEBIAN");
        fs::create_dir(&control).unwrap();
        fs::write(control.join("control"), self.control()).unwrap();
        for (name, script) in &self.scripts {
            write_executable(&control.join(name), script.as_bytes());
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let deb = format!("/root/{}_{}_{}.deb", self.name, self.version, self.architecture);
        let output = Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Znone"])
            .args([directory.path(), &chroot.path(&deb)])
            .env("SOURCE_DATE_EPOCH", CLAMPED.as_secs().to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        deb
    }

    fn control(&self) -> String {
        let Self { name, version, architecture, fields, .. } = self;
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{fields}\
             Maintainer: A test <test@localhost>\nDescription: made by a test\n"
        )
    }
}

impl File {
    fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match self {
            Self::Content(content) => fs::write(path, content).unwrap(),
            Self::Executable(content) => write_executable(path, content),
            Self::Link(to) => return symlink(to, path).unwrap(),
        }
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + CLAMPED).unwrap();
    }
}

fn write_executable(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Chroot {
    /// Builds packages and gives them to `dpkg --install`.
    pub fn dpkg_install(&self, packages: &[&Package]) -> crate::chroot::Outcome<'_> {
        let debs: Vec<String> = packages.iter().map(|package| package.build(self)).collect();
        let debs: Vec<&str> = debs.iter().map(String::as_str).collect();
        self.run(&[&["dpkg", "--install"], &debs[..]].concat())
    }
}

/// The package that `tests/package` has made.
pub fn the_deb() -> PathBuf {
    let entries = fs::read_dir(project().join("target/package")).unwrap().flatten();
    let mut debs = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("pyc-txn_") && name.ends_with(".deb")
    });
    debs.next().expect("tests/package makes the package")
}
