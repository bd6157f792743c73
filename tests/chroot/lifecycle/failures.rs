//! Each script fails once, at each of its calls; dpkg goes back, and what it could not finish is done again.

use super::edition::{Edition, Place};
use super::files::{is_as_before, snapshot};
use super::in_each_suite;
use crate::chroot::{Chroot, Kind, Suite};
use crate::package::Package;

use Place::{End, Start};

/// Who has py3compile.
#[derive(Clone, Copy)]
enum Owner {
    Ours,
    Theirs,
}

use Owner::{Ours, Theirs};

/// A file that no other package can have.
const FOREIGN: &str = "/usr/bin/env";

impl Owner {
    #[track_caller]
    fn has(self, chroot: &Chroot) {
        match self {
            Ours => chroot.is_taken_over(),
            Theirs => chroot.is_given_back(),
        }
        chroot.is_callable();
    }
}

/// A chroot with the first edition in it, if that can be, and the way back to what was there before it.
struct Story {
    chroot: Chroot,
    before: std::collections::BTreeMap<String, String>,
}

impl Story {
    fn new(suite: Suite) -> Self {
        let chroot = Chroot::new(suite, Kind::Original);
        let before = snapshot(&chroot);
        Self { chroot, before }
    }

    /// After an installation of `edition` that succeeds.
    fn with(suite: Suite, edition: &Edition) -> Self {
        let story = Self::new(suite);
        story.dpkg(&["--install", &edition.build(&story.chroot)]);
        Ours.has(&story.chroot);
        story
    }

    #[track_caller]
    fn dpkg(&self, arguments: &[&str]) {
        self.chroot.run(&[&["dpkg"], arguments].concat()).succeeds();
    }

    #[track_caller]
    fn dpkg_fails(&self, arguments: &[&str], owner: Owner) {
        self.chroot.run(&[&["dpkg"], arguments].concat()).fails();
        owner.has(&self.chroot);
    }

    #[track_caller]
    fn install_fails(&self, edition: &Edition, owner: Owner) {
        self.dpkg_fails(&["--install", &edition.build(&self.chroot)], owner);
    }

    /// However it went: the next version can be installed, and leaves nothing behind when it is purged.
    #[track_caller]
    fn ends_well(self) {
        self.dpkg(&["--install", &Edition::new("9").build(&self.chroot)]);
        Ours.has(&self.chroot);
        self.dpkg(&["--purge", "pyc-txn"]);
        Theirs.has(&self.chroot);
        is_as_before(&self.before, &self.chroot);
    }
}

#[test]
fn an_installation_that_fails_leaves_the_original_or_ours() {
    in_each_suite(|suite| {
        let failing = [
            (Edition::new("1").failing("preinst", "install", Start), Theirs),
            (Edition::new("1").file(FOREIGN), Theirs),
            (Edition::new("1").file(FOREIGN).failing("postrm", "abort-install", End), Theirs),
            (Edition::new("1").failing("postinst", "configure", Start), Theirs),
            (Edition::new("1").failing("postinst", "configure", End), Ours),
        ];
        for (edition, owner) in failing {
            let story = Story::new(suite);
            story.install_fails(&edition, owner);
            story.ends_well();
        }
    });
}

#[test]
fn a_package_that_was_never_configured_can_be_purged() {
    in_each_suite(|suite| {
        for place in [Start, End] {
            let story = Story::new(suite);
            let edition = Edition::new("1").failing("postinst", "configure", place);
            story.install_fails(&edition, if matches!(place, Start) { Theirs } else { Ours });
            story.dpkg(&["--purge", "pyc-txn"]);
            is_as_before(&story.before, &story.chroot);
            story.dpkg(&["--unpack", &edition.build(&story.chroot)]);
            Theirs.has(&story.chroot);
            story.dpkg(&["--purge", "pyc-txn"]);
            is_as_before(&story.before, &story.chroot);
        }
    });
}

#[test]
fn an_upgrade_that_fails_leaves_py3compile_ours() {
    in_each_suite(|suite| {
        let old = || Edition::new("1");
        let new = || Edition::new("2");
        let failing = [
            (old(), new().failing("preinst", "upgrade", Start)),
            (old(), new().file(FOREIGN)),
            (old(), new().failing("postinst", "configure", Start)),
            (old(), new().failing("postinst", "configure", End)),
            (old().failing("prerm", "upgrade", End), new().failing("prerm", "failed-upgrade", Start)),
            (old().failing("postrm", "upgrade", End), new().failing("postrm", "failed-upgrade", Start)),
            (old().failing("preinst", "abort-upgrade", Start), new().file(FOREIGN)),
            (old(), new().file(FOREIGN).failing("postrm", "abort-upgrade", Start)),
            (old().failing("postinst", "abort-upgrade", Start), new().failing("preinst", "upgrade", Start)),
            (old().failing("postinst", "abort-upgrade", End), new().failing("preinst", "upgrade", Start)),
        ];
        for (old, new) in failing {
            let story = Story::with(suite, &old);
            story.install_fails(&new, Ours);
            story.ends_well();
        }
    });
}

#[test]
fn a_removal_that_fails_can_be_repeated() {
    in_each_suite(|suite| {
        let edition = || Edition::new("1");
        let failing = [
            (edition().failing("prerm", "remove", Start), Ours),
            (edition().failing("prerm", "remove", End), Ours),
            (edition().failing("prerm", "remove", End).failing("postinst", "abort-remove", Start), Theirs),
            (edition().failing("prerm", "remove", End).failing("postinst", "abort-remove", End), Ours),
            (edition().failing("postrm", "remove", Start), Theirs),
            (edition().failing("postrm", "remove", End), Theirs),
            (edition().failing("postrm", "purge", Start), Theirs),
            (edition().failing("postrm", "purge", End), Theirs),
        ];
        for (edition, owner) in failing {
            let story = Story::with(suite, &edition);
            story.dpkg_fails(&["--purge", "pyc-txn"], owner);
            story.dpkg(&["--purge", "pyc-txn"]);
            is_as_before(&story.before, &story.chroot);
            story.ends_well();
        }
    });
}

#[test]
fn a_package_that_is_upgraded_but_not_configured_gives_back_when_it_is_removed() {
    in_each_suite(|suite| {
        let story = Story::with(suite, &Edition::new("1"));
        story.dpkg(&["--unpack", &Edition::new("2").build(&story.chroot)]);
        Ours.has(&story.chroot);
        story.dpkg(&["--remove", "pyc-txn"]);
        Theirs.has(&story.chroot);
        story.ends_well();
    });
}

#[test]
fn a_package_that_is_deconfigured_gives_back_and_takes_over_again() {
    in_each_suite(|suite| {
        let story = Story::new(suite);
        let chroot = &story.chroot;
        let needed = Package::new("needed", "1").build(chroot);
        let foe = Package::new("foe", "1").field("Conflicts", "needed").field("Replaces", "needed");
        story.dpkg(&["--install", &needed, &Edition::new("1").field("Depends: needed").build(chroot)]);
        Ours.has(chroot);

        let failing = foe.clone().script("preinst", "exit 1").build(chroot);
        chroot.run(&["dpkg", "--auto-deconfigure", "--install", &failing]).fails();
        Ours.has(chroot);

        let foe = foe.script("preinst", "test ! -L /usr/bin/py3compile; py3compile --help").build(chroot);
        // What we need is gone, so dpkg cannot configure us again.
        story.dpkg_fails(&["--auto-deconfigure", "--install", &foe], Theirs);
        story.dpkg(&["--purge", "foe"]);
        story.dpkg(&["--install", &needed]);
        story.dpkg(&["--configure", "-a"]);
        Ours.has(chroot);
        story.dpkg(&["--purge", "pyc-txn", "needed"]);
        is_as_before(&story.before, chroot);
    });
}
