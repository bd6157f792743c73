//! apt, killed with SIGKILL: alone, so that dpkg goes on without it, or with all that it started.
//!
//! dpkg tells its progress by `--status-fd`, one write a line, so a line that was read is a point of the run.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::chroot::{Chroot, Outcome, Running, Suite};
use crate::package::{MODULES, Package};

const SUITE: Suite = Suite::Bookworm;
const PRIVATE: &str = "/usr/share/killed";
const PACKAGES: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Apt,
    Everything,
}

#[derive(Clone, Copy, Debug)]
enum Mending {
    Configure,
    Boot,
}

/// Packages with public modules, the last with private ones too. All but the first source differ between versions.
fn packages(version: &str) -> Vec<Package> {
    let one = |number: usize| {
        let mut package = Package::new(&format!("killed{number}"), version);
        for module in 0..8 {
            let content = if module == 0 { "same".to_owned() } else { format!("version {version}") };
            let source = format!("x = '{content}'\ndef f(a):\n    return a, {module}\n");
            package = package.file(format!("{MODULES}/killed{number}/m{module}.py"), &source);
            if number == PACKAGES - 1 {
                package = package.file(format!("{PRIVATE}/m{module}.py"), source);
            }
        }
        let private = if number == PACKAGES - 1 { PRIVATE } else { "" };
        let package = package.snippets("");
        if private.is_empty() { package } else { package.snippets(private) }
    };
    (0..PACKAGES).map(one).collect()
}

/// A chroot with the first version of the packages, and the second to be installed.
struct Scene {
    chroot: Chroot,
    debs: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let chroot = Chroot::transactional(SUITE);
        let old = packages("1");
        chroot.dpkg_install(&old.iter().collect::<Vec<_>>()).succeeds();
        let debs = packages("2").iter().map(|package| package.build(&chroot)).collect();
        Self { chroot, debs }
    }

    /// Starts the upgrade; apt's process number is in /srv/apt.
    fn start(&self) -> Running<'_> {
        let script = "echo $$ >/srv/apt; exec apt-get -y -o Dpkg::Options::=--status-fd=1 install \"$@\"";
        let debs: Vec<&str> = self.debs.iter().map(String::as_str).collect();
        self.chroot.start(&[&["sh", "-c", script, "apt"], &debs[..]].concat())
    }

    fn kill<'a>(&'a self, running: Running<'a>, victim: Victim) -> Outcome<'a> {
        match victim {
            Victim::Everything => running.kill_all(),
            Victim::Apt => {
                self.chroot.sh("kill -KILL $(cat /srv/apt)");
                running.end()
            }
        }
    }

    /// Demands that nothing is broken; mends it; demands that nothing is missing. `context` is of the run that was
    /// killed.
    fn is_mended(&self, mending: Mending, context: &str) {
        println!("{context}");
        self.chroot.has_only_whole_bytecode("/usr");
        if matches!(mending, Mending::Boot) {
            self.chroot.run(&["pyc-txn", "hook", "boot"]).succeeds();
            self.chroot.has_only_whole_bytecode("/usr");
        }
        let configure = self.chroot.run(&["dpkg", "--configure", "-a"]);
        if !configure.output.contains("reinstall it before attempting configuration") {
            configure.succeeds();
        }
        self.configured_packages_are_complete();
        // What dpkg had not finished to unpack has to be unpacked again; that is dpkg's rule.
        let debs: Vec<&str> = self.debs.iter().map(String::as_str).collect();
        self.chroot.run(&[&["apt-get", "-y", "--reinstall", "install"], &debs[..]].concat()).succeeds();
        self.chroot.is_complete(&[MODULES, PRIVATE]);
        self.chroot.run(&["dpkg", "--audit"]).succeeds();
        let mut purge = vec!["dpkg".to_owned(), "--purge".to_owned()];
        purge.extend((0..PACKAGES).map(|number| format!("killed{number}")));
        let purge: Vec<&str> = purge.iter().map(String::as_str).collect();
        self.chroot.run(&purge).succeeds().does_not_say("not empty");
        assert!(!self.chroot.exists(PRIVATE) && self.chroot.pycs(&[MODULES]).is_empty());
    }

    fn configured_packages_are_complete(&self) {
        let list = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' 'killed*'";
        let installed = self.chroot.sh(list).succeeds().output;
        let whole: Vec<&str> = installed.lines().filter_map(|line| line.strip_prefix("ii ")).collect();
        if whole.len() == PACKAGES {
            self.chroot.is_complete(&[MODULES]);
        } else {
            for package in whole {
                self.chroot.is_complete(&[&format!("{MODULES}/{}", package.trim())]);
            }
        }
    }
}

/// Kills an upgrade when dpkg has printed these lines, in this order, and mends what is left.
fn killed_at(lines: &[&str], victim: Victim, mending: Mending) {
    let scene = Scene::new();
    let mut running = scene.start();
    for line in lines {
        assert!(running.until(line), "no line {line:?}\n{}", running.end().context());
    }
    let context = scene.kill(running, victim).context();
    scene.is_mended(mending, &context);
}

#[test]
fn apt_is_killed_during_unpack() {
    let point = ["processing: upgrade: killed3", "status: killed3: half-installed"];
    killed_at(&point, Victim::Apt, Mending::Configure);
    killed_at(&point, Victim::Everything, Mending::Configure);
    killed_at(&["Unpacking killed3", "status: killed3: unpacked"], Victim::Everything, Mending::Boot);
}

#[test]
fn apt_is_killed_during_configure() {
    let point = ["processing: configure: killed2", "status: killed2: half-configured"];
    killed_at(&point, Victim::Apt, Mending::Configure);
    killed_at(&point, Victim::Everything, Mending::Configure);
    killed_at(
        &["processing: configure: killed2", "status: killed2: installed"],
        Victim::Everything,
        Mending::Boot,
    );
}

#[test]
fn apt_is_killed_when_the_trigger_begins() {
    let point = ["processing: trigproc: pyc-txn"];
    killed_at(&point, Victim::Apt, Mending::Configure);
    killed_at(&point, Victim::Everything, Mending::Configure);
    killed_at(&point, Victim::Everything, Mending::Boot);
}

#[test]
fn apt_is_killed_during_the_trigger_s_commit() {
    for mending in [Mending::Configure, Mending::Boot] {
        let scene = Scene::new();
        // A module that takes seconds to compile, so that the commit is still at it.
        let slow = scene.chroot.path(&format!("{MODULES}/slow.py"));
        std::fs::write(&slow, format!("x = [{}]\n", "lambda: 'y', ".repeat(200_000))).unwrap();
        let mut running = scene.start();
        assert!(running.until("processing: trigproc: pyc-txn"), "{}", running.end().context());
        // A staging directory is there from before the first worker starts until the bytecode is in place.
        let staging = scene.chroot.path("/var/lib/pyc-txn/staging");
        let is_staging = || std::fs::read_dir(&staging).is_ok_and(|mut entries| entries.next().is_some());
        while !is_staging() && !running.has_ended() {
            std::thread::yield_now();
        }
        let context = scene.kill(running, Victim::Everything).context();
        assert!(is_staging(), "the commit was over\n{context}");
        std::fs::remove_file(slow).unwrap();
        scene.is_mended(mending, &context);
    }
}

#[test]
fn apt_is_killed_at_random_points() {
    let scene = Scene::new();
    let all = scene.start().end().succeeds();
    let lines: Vec<&str> = all.output.lines().filter(|line| line.starts_with("status: ")).collect();
    let given = std::env::var("PYC_TXN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("PYC_TXN_SEED={seed}");
    let mut random = seed;
    for round in 0..6 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The lines up to the point, so that it is the right one of several of the same words.
        let point = &lines[..=usize::try_from(random >> 33).unwrap() % lines.len()];
        let victim = if round % 3 == 0 { Victim::Apt } else { Victim::Everything };
        let mending = if round % 2 == 0 { Mending::Configure } else { Mending::Boot };
        println!(
            "killed at line {} of {}, {:?}: {victim:?}, {mending:?}",
            point.len(),
            lines.len(),
            point.last()
        );
        killed_at(point, victim, mending);
    }
}
