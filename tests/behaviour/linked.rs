//! Packages whose directories are reached through symlinks: the administrator has moved one, or `/lib` is `usr/lib`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aid::{is_root, mount, names, with_mounts};
use crate::installation::{Installation, PUBLIC};
use crate::oracle;
use crate::support::{Outcome, PYTHON, python};
use crate::twins::a_python_of_the_next_version;

/// A system, and what its paths begin with.
struct System {
    system: Installation,
    prefix: PathBuf,
}

/// Has `test` done in another root, and, where this is root's run, in the host's own: there the paths are whole ones.
fn in_both(files: &[&str], links: &[(&str, &str)], test: impl Fn(&System) + Sync) {
    for is_host in [false, true] {
        let system = Installation::with_programs();
        let prefix = if is_host { system.root() } else { PathBuf::new() };
        for (at, to) in links {
            fs::create_dir_all(system.at(at).parent().unwrap()).unwrap();
            fs::create_dir_all(system.at(at).parent().unwrap().join(to)).unwrap();
            symlink(to, system.at(at)).unwrap();
        }
        let listed: Vec<String> = files.iter().map(|file| format!("{}{file}\n", prefix.display())).collect();
        files.iter().for_each(|file| drop(system.write(file, "x = 1\n")));
        system.write("/var/lib/dpkg/info/pkg.list", &listed.concat());
        let system = System { system, prefix };
        if !is_host {
            test(&system);
        } else if is_root("the host's own root") {
            with_mounts(|| {
                mount(&["-t", "tmpfs", "-o", "mode=755", "none", "/var/lib"]);
                test(&system);
            });
        }
    }
}

impl System {
    /// A path as packages have it.
    fn named(&self, path: &str) -> String {
        format!("{}{path}", self.prefix.display())
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Outcome {
        let mut command: Command = self.system.called(name, arguments);
        if self.prefix != Path::new("") {
            command.env_remove("DPKG_ROOT");
        }
        self.system.world.outcome(command)
    }

    fn pyc(&self, source: &str) -> PathBuf {
        self.system.world.pyc(self.system.at(source))
    }

    /// Demands that exactly this source has bytecode, with its own path inside.
    #[track_caller]
    fn is_compiled(&self, source: &str, outcome: &Outcome) {
        let pyc = self.pyc(source);
        assert!(pyc.exists(), "{}", outcome.context());
        assert_eq!(oracle::filename(&pyc), self.named(source));
    }
}

/// A public package that the administrator has moved, with a directory that is elsewhere again.
const MOVED: [(&str, &str); 2] =
    [("/usr/lib/python3/dist-packages/pkg", "../../../../srv/pkg"), ("/srv/pkg/sub", "../other/sub")];

const MODULES: [&str; 2] =
    ["/usr/lib/python3/dist-packages/pkg/m.py", "/usr/lib/python3/dist-packages/pkg/sub/n.py"];

#[test]
fn a_package_that_was_moved_is_compiled_verified_and_cleaned_where_it_is() {
    let package = format!("{PUBLIC}/pkg");
    in_both(&MODULES, &MOVED, |system| {
        let outcome = system.call("py3compile", &["-p", "pkg"]).exits(0);
        assert_eq!(outcome.stderr, "", "{}", outcome.context());
        system.is_compiled("/srv/pkg/m.py", &outcome);
        system.is_compiled("/srv/other/sub/n.py", &outcome);
        system.call("pyc-txn", &["verify", "-p", "pkg"]).exits(0).says("pyc-txn: valid 2 in");
        system.call("pyc-txn", &["commit", "-p", "pkg", "--python", PYTHON]).exits(0).says("(2 up to date)");
        let source = system.named(MODULES[0]);
        for path in [system.pyc("/srv/pkg/m.py").display().to_string(), source] {
            system.call("pyc-txn", &["owner", &path]).exits(0).says("pkg, from");
        }
        system.call("py3clean", &["-p", "pkg"]).exits(0);
        assert!(!system.system.at("/srv/pkg/__pycache__").exists());
        assert!(!system.system.at("/srv/other/sub/__pycache__").exists());
        system.call("pyc-txn", &["commit", "-p", "pkg", "--python", PYTHON]).exits(0).says("compiled 2 ");
        system.call("py3clean", &["-p", "pkg", &system.named(&package)]).exits(0);
        assert!(!system.pyc("/srv/pkg/m.py").exists() && !system.pyc("/srv/other/sub/n.py").exists());
        system.call("pyc-txn", &["commit", "-p", "pkg", "--python", PYTHON]).exits(0).says("compiled 2 ");
        system.call("pyc-txn", &["clean", "-p", "pkg"]).exits(0).says("removed 2 ");
    });
}

#[test]
fn what_is_owned_is_known_by_the_name_that_dpkg_has() {
    in_both(&MODULES[..1], &MOVED[..1], |system| {
        let place = system.named("/srv/pkg");
        system.call("pyc-txn", &["commit", "--python", PYTHON, &place]).exits(0).says("compiled 1 ");
        system.call("pyc-txn", &["owner", &system.named("/srv/pkg/m.py")]).exits(0).says(": pkg, from");
    });
}

#[test]
fn private_modules_are_found_by_either_name() {
    let files = ["/lib/x/m.py"];
    in_both(&files, &[("/lib", "usr/lib")], |system| {
        for name in ["/lib/x", "/usr/lib/x"] {
            let name = system.named(name);
            let outcome = system.call("py3compile", &["-p", "pkg", &name]).exits(0);
            assert_eq!(outcome.stderr, "", "{}", outcome.context());
            system.is_compiled("/usr/lib/x/m.py", &outcome);
            let outcome = system.call("py3clean", &["-p", "pkg", &name]).exits(0);
            assert!(!system.pyc("/usr/lib/x/m.py").exists(), "{}", outcome.context());
        }
        let script = format!("#!/bin/sh\npy3compile -p pkg {}\n", system.named("/lib/x"));
        system.system.write("/var/lib/dpkg/info/pkg.postinst", &script);
        let place = system.named("/usr/lib/x");
        for what in [&["-p", "pkg"][..], &[&place]] {
            let outcome = system.call("pyc-txn", &[&["commit", "--python", PYTHON], what].concat());
            system.is_compiled("/usr/lib/x/m.py", &outcome.exits(0).says("compiled 1 "));
            system.call("pyc-txn", &[&["verify"], what].concat()).exits(0).says("pyc-txn: valid 1 in");
            system.call("pyc-txn", &[&["clean"], what].concat()).exits(0).says("removed 1 ");
        }
    });
}

#[test]
fn a_pattern_is_about_the_path_as_it_is_named() {
    let links = [("/usr/share/pkg", "../../srv/pkg")];
    in_both(&["/usr/share/pkg/a.py", "/usr/share/pkg/b.py"], &links, |system| {
        let directory = system.named("/usr/share/pkg");
        let pattern = format!("{directory}/a");
        let outcome = system.call("py3compile", &["-p", "pkg", &directory, "-X", &pattern]).exits(0);
        system.is_compiled("/srv/pkg/b.py", &outcome);
        assert!(!system.pyc("/srv/pkg/a.py").exists(), "{}", outcome.context());
        let script = format!("#!/bin/sh\npy3compile -p pkg {directory} -X {pattern}\n");
        system.system.write("/var/lib/dpkg/info/pkg.postinst", &script);
        let outcome = system.call("pyc-txn", &["commit", "-p", "pkg"]).exits(0).says("nothing to do");
        assert!(!system.pyc("/srv/pkg/a.py").exists(), "{}", outcome.context());
    });
}

#[test]
fn what_is_below_a_directory_is_walked_without_following_symlinks() {
    in_both(&MODULES, &MOVED, |system| {
        let package = system.named(&format!("{PUBLIC}/pkg"));
        system.call("pyc-txn", &["commit", "--python", PYTHON, &package]).exits(0).says("compiled 1 ");
        assert!(!system.pyc("/srv/other/sub/n.py").exists());
    });
}

#[test]
fn public_directories_may_be_symlinks() {
    for to in ["/srv/dist", "../../../srv/dist"] {
        let system = Installation::with_programs();
        fs::remove_dir(system.at(PUBLIC)).unwrap();
        symlink(to, system.at(PUBLIC)).unwrap();
        system.write("/srv/dist/pkg/m.py", "x = 1\n");
        let pyc = system.world.pyc(system.at("/srv/dist/pkg/m.py"));
        let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
        assert!(pyc.exists() && outcome.stderr.is_empty(), "{}", outcome.context());
        system.call("pyc-txn", &["verify"]).exits(0).says("valid 1 ");
        fs::remove_file(&pyc).unwrap();
        system.call("pyc-txn", &["verify"]).exits(1).says("missing 1 ");
        system.call("pyc-txn", &["commit", PUBLIC]).exits(0).says("compiled 1 ");
    }
}

#[test]
fn a_public_directory_of_one_version_is_for_that_one_wherever_it_is() {
    let system = Installation::with_programs();
    let (next, tag) = a_python_of_the_next_version(&|path| system.at(path));
    let public = system.at(&format!("/usr/lib/{next}/dist-packages"));
    fs::create_dir_all(public.parent().unwrap()).unwrap();
    symlink("/srv/next", &public).unwrap();
    system.write("/srv/next/m.py", "x = 1\n");
    // Another name of what has a meaning of its own changes nothing about that.
    symlink("../python3/dist-packages", public.with_file_name("site-packages")).unwrap();
    system.install("pkg", &["both.py"]);
    let outcome = system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 3 ");
    let cache = names(&system.at("/srv/next/__pycache__"));
    assert_eq!(cache, [format!("m.{tag}.pyc")], "{}", outcome.context());
    let both = [format!("both.{}.pyc", python::cache_tag()), format!("both.{tag}.pyc")];
    assert_eq!(names(&system.at(&format!("{PUBLIC}/__pycache__"))), both);
    system.call("pyc-txn", &["verify"]).exits(0).says("valid 3 ");
}
