//! pyc-txn comes, changes and goes, and its scripts fail on the way: who is py3compile then, and what is left at the
//! end?

mod edition;
mod failures;
mod files;
mod orders;
mod stopped;

use crate::chroot::{Chroot, Suite};

/// The programs that change hands, and their pages.
const NAMES: [(&str, &str); 4] = [
    ("/usr/bin/py3compile", "/usr/bin/py3compile.distrib"),
    ("/usr/bin/py3clean", "/usr/bin/py3clean.distrib"),
    ("/usr/share/man/man1/py3compile.1.gz", "/usr/share/man/man1/py3compile.distrib.1.gz"),
    ("/usr/share/man/man1/py3clean.1.gz", "/usr/share/man/man1/py3clean.distrib.1.gz"),
];

/// Runs a test in both releases.
fn in_each_suite(test: impl Fn(Suite)) {
    Suite::ALL.into_iter().for_each(test);
}

impl Chroot {
    fn is_link(&self, path: &str) -> bool {
        self.path(path).is_symlink()
    }

    fn has_python(&self) -> bool {
        self.exists("/usr/bin/py3versions")
    }

    fn diversions(&self) -> String {
        String::from_utf8(self.read("/var/lib/dpkg/diversions")).unwrap()
    }

    /// Demands that the names are ours, that what Python's package installs is aside, and that the program runs.
    #[track_caller]
    fn is_taken_over(&self) {
        for (name, aside) in NAMES {
            assert!(self.is_link(name), "{name} is not our link\n{}", self.in_words());
            assert_eq!(self.exists(aside), self.has_python(), "{aside}\n{}", self.in_words());
            assert!(self.diversions().contains(&format!("{name}\n{aside}\npyc-txn\n")), "{name}");
        }
        self.run(&["py3compile", "--help"]).succeeds();
    }

    /// Demands that everything is as Python's package has it.
    #[track_caller]
    fn is_given_back(&self) {
        for (name, aside) in NAMES {
            assert!(!self.is_link(name), "{name} is our link\n{}", self.in_words());
            assert_eq!(self.exists(name), self.has_python(), "{name}\n{}", self.in_words());
            assert!(!self.exists(aside), "{aside} is there\n{}", self.in_words());
            assert!(!self.diversions().contains(name), "{name} is diverted");
        }
        if self.has_python() {
            self.run(&["py3compile", "--help"]).succeeds();
        }
    }

    /// Demands that scripts of other packages find something to run.
    #[track_caller]
    fn is_callable(&self) {
        self.sh("for name in py3compile py3clean; do $name --help; done").succeeds();
    }
}
