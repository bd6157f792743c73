//! Versions of the real package that differ in what fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::chroot::Chroot;
use crate::package::the_deb;

/// Where in a script something fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Start,
    End,
}

/// The package under another version number, with changes.
#[derive(Clone, Default)]
pub(super) struct Edition {
    version: String,
    fields: String,
    failures: Vec<(&'static str, &'static str, Place)>,
    file: Option<&'static str>,
}

impl Edition {
    pub(super) fn new(version: &str) -> Self {
        Self { version: version.to_owned(), ..Self::default() }
    }

    /// Lets a script fail, the first time that it is called with this argument.
    pub(super) fn failing(mut self, script: &'static str, argument: &'static str, place: Place) -> Self {
        self.failures.push((script, argument, place));
        self
    }

    /// Adds a file; one that is another package's cannot be unpacked.
    pub(super) fn file(mut self, path: &'static str) -> Self {
        self.file = Some(path);
        self
    }

    pub(super) fn field(mut self, line: &str) -> Self {
        self.fields += &format!("{line}\n");
        self
    }

    /// Builds it into the chroot's /root; the path of the .deb there.
    pub(super) fn build(&self, chroot: &Chroot) -> String {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        dpkg_deb(&[Path::new("--raw-extract"), &the_deb(), &tree]);
        let control = tree.join("DEBIAN/control");
        let lines = fs::read_to_string(&control).unwrap();
        let lines = lines.lines().filter(|line| !line.starts_with("Version: "));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(control, format!("Version: {}\n{}{lines}", self.version, self.fields)).unwrap();
        for (script, argument, place) in &self.failures {
            self.let_fail(&tree.join("DEBIAN").join(script), argument, *place);
        }
        if let Some(path) = self.file {
            fs::write(tree.join(path.trim_start_matches('/')), "").unwrap();
        }
        let deb = format!("/root/pyc-txn_{}.deb", self.version);
        dpkg_deb(&[
            Path::new("-Znone"),
            Path::new("--root-owner-group"),
            Path::new("--build"),
            &tree,
            &chroot.path(&deb),
        ]);
        deb
    }

    fn let_fail(&self, script: &Path, argument: &str, place: Place) {
        let old = fs::read_to_string(script).unwrap_or_else(|_| "#!/bin/sh\nexit 0\n".to_owned());
        let mark =
            format!("/root/failed-{}-{}-{argument}", self.version, script.file_name().unwrap().display());
        let failure = format!("if [ \"$1\" = {argument} ] && [ ! -e {mark} ]; then >{mark}; exit 1; fi\n");
        let new = match place {
            Place::Start => old.replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{failure}"), 1),
            Place::End => old.replace("\nexit 0\n", &format!("\n{failure}exit 0\n")),
        };
        assert!(new.contains(&mark), "{new}");
        fs::write(script, new).unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn dpkg_deb(arguments: &[&Path]) {
    let output = Command::new("dpkg-deb").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
