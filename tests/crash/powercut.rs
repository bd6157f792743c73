//! Power cuts on real filesystems: one in a file, which is shut down in the moment when the program has ended, or copied
//! where it cannot be shut down. What it had in memory only is lost. Its own recovery runs when it is mounted again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rounds::memory;
use crate::support::{PYTHON, World};

/// A filesystem: its name, what makes it, how it is mounted so that it writes as late as it may, and its size in MiB.
type Kind = (&'static str, &'static [&'static str], &'static str, u64);

const KINDS: [Kind; 3] = [
    ("ext4", &["mkfs.ext4", "-q", "-F"], "loop,noauto_da_alloc,commit=300", 64),
    ("xfs", &["mkfs.xfs", "-q", "-f"], "loop", 320),
    ("btrfs", &["mkfs.btrfs", "-q", "-f"], "loop,commit=300", 128),
];

/// Fewer than are synced one by one, and more.
const SOURCES: [usize; 2] = [12, 120];

#[test]
fn what_is_called_committed_survives_a_power_cut() {
    with_mounts(|| {
        for kind in KINDS {
            for count in SOURCES {
                let Some(disk) = Disk::new(kind) else { continue };
                let world = disk.world(count);
                let outcome = world.commit().exits(0).says(&format!("compiled {count} "));
                disk.cut();
                assert_eq!(values(&world, count), vec!["2"; count], "{kind:?}\n{}", outcome.context());
                world.commit().exits(0).says(&format!("nothing to do ({count} up to date)"));
            }
        }
    });
}

#[test]
fn what_is_decided_is_finished_after_a_power_cut() {
    with_mounts(|| {
        for kind in KINDS {
            for (count, fault) in
                [(SOURCES[0], "rename"), (SOURCES[0], "journal: committed"), (SOURCES[1], "rename")]
            {
                let Some(disk) = Disk::new(kind) else { continue };
                let world = disk.world(count);
                stop(&world, fault);
                disk.cut();
                // All the old ones are there, or all the new ones; before anything is recovered.
                let found = values(&world, count);
                assert!(
                    found.iter().all(|value| value == "1" || value == "2"),
                    "{kind:?} {fault}: {found:?}"
                );
                let outcome = world.run(&["recover"]).exits(0).says("is finished now");
                assert_eq!(
                    values(&world, count),
                    vec!["2"; count],
                    "{kind:?} {fault}\n{}",
                    outcome.context()
                );
                world.commit().exits(0).says(&format!("nothing to do ({count} up to date)"));
            }
        }
    });
}

#[test]
fn without_the_syncs_a_power_cut_would_be_noticed() {
    with_mounts(|| {
        let Some(disk) = Disk::new(KINDS[0]) else { return };
        let world = disk.world(SOURCES[0]);
        let mut command = world.command(&["commit"]);
        command.arg(world.tree()).env("PYC_TXN_FAULT", "abort@sync");
        world.outcome(command);
        disk.cut();
        let staged: Vec<String> =
            world.files().into_iter().filter(|file| file.starts_with("state/staging/")).collect();
        let is_whole = |file: &String| fs::metadata(world.beside(file)).is_ok_and(|file| file.len() > 16);
        let files = staged.iter().filter(|file| is_whole(file)).count();
        assert!(files < SOURCES[0], "what was not synced is there: {staged:?}");
    });
}

/// Runs `test`, where it may have mounts of its own, which nobody else sees: a filesystem that somebody else still has
/// mounted would not begin anew.
fn with_mounts(test: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: power cuts (needs root)");
        return;
    }
    let run = || {
        #[expect(deprecated, reason = "file descriptors stay shared, so nothing here is unsafe")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
        let private = Command::new("mount").args(["--make-rprivate", "/"]).status();
        assert!(private.unwrap().success());
        test();
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs a commit that is stopped before each step of this name.
fn stop(world: &World, step: &str) {
    let mut command = world.command(&["commit"]);
    command.arg(world.tree()).env("PYC_TXN_FAULT", format!("abort@{step}"));
    let outcome = world.outcome(command);
    assert!(outcome.signal.is_some(), "it is not stopped\n{}", outcome.context());
}

/// What each source's bytecode has for `VERSION`: it is read as Python reads it.
fn values(world: &World, count: usize) -> Vec<String> {
    const PROGRAM: &str = "import marshal, sys
for path in sys.argv[1:]:
    names = {}
    exec(marshal.loads(open(path, 'rb').read()[16:]), names)
    print(names['VERSION'])";
    let pycs = (0..count).map(|number| world.pyc(name(number)));
    let output = Command::new(PYTHON).args(["-c", PROGRAM]).args(pycs).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

fn name(number: usize) -> String {
    format!("package{}/module{number}.py", number % 3)
}

/// A filesystem in a file, mounted.
struct Disk {
    directory: tempfile::TempDir,
    options: String,
}

impl Disk {
    /// Says so where there is none to be had.
    fn new((name, make, options, size): Kind) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("pyc-txn-disk-").tempdir_in(memory()).unwrap();
        fs::create_dir(directory.path().join("mount")).unwrap();
        let disk = Self { directory, options: options.to_owned() };
        fs::File::create(disk.image()).unwrap().set_len(size << 20).unwrap();
        let made = Command::new(make[0]).args(&make[1..]).arg(disk.image()).stdout(Stdio::null()).status();
        if made.is_ok_and(|made| made.success()) && disk.mount() {
            return Some(disk);
        }
        eprintln!("SKIPPED: a power cut on {name}: it cannot be made or mounted here");
        None
    }

    /// A world on it whose sources are compiled, and are others since; all of that is durable.
    fn world(&self, count: usize) -> World {
        let world = World::new_in(&self.mount_point());
        for version in [1, 2] {
            for number in 0..count {
                // Of another length, so that each second of a test is a new one for Python.
                world.write(name(number), format!("VERSION = {version}{}\n", " ".repeat(version)));
            }
            if version == 1 {
                world.commit().exits(0);
            }
        }
        assert!(Command::new("sync").arg("-f").arg(self.mount_point()).status().unwrap().success());
        world
    }

    /// The power is cut, and comes back.
    fn cut(&self) {
        let copy = (!self.shuts_down()).then(|| {
            let copy = self.directory.path().join("copy");
            let copied = Command::new("cp").arg("--sparse=always").arg(self.image()).arg(&copy).status();
            assert!(copied.unwrap().success());
            copy
        });
        self.unmount();
        if let Some(copy) = copy {
            fs::rename(copy, self.image()).unwrap();
        }
        assert!(self.mount(), "it cannot be mounted after a power cut");
    }

    /// Has the filesystem write nothing any more, not even its own journal, if it can do that.
    fn shuts_down(&self) -> bool {
        // FS_IOC_SHUTDOWN with FS_SHUTDOWN_FLAGS_NOLOGFLUSH, as ext4, xfs and f2fs know it.
        const PROGRAM: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        let output = Command::new(PYTHON).args(["-c", PROGRAM]).arg(self.mount_point()).output().unwrap();
        output.status.success()
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn mount(&self) -> bool {
        let mount = |image: &Path| {
            Command::new("mount").args(["-o", &self.options]).arg(image).arg(self.mount_point()).output()
        };
        mount(&self.image()).is_ok_and(|mounted| mounted.status.success())
    }

    fn unmount(&self) {
        let unmounted = Command::new("umount").arg(self.mount_point()).status();
        assert!(unmounted.unwrap().success(), "it cannot be unmounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mount_point()).stderr(Stdio::null()).status();
    }
}
