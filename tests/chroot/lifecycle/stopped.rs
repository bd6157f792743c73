//! Scripts that are killed before each of their commands, and what dpkg does between the scripts.

use super::edition::Edition;
use super::files::{is_as_before, snapshot};
use super::in_each_suite;
use crate::chroot::Chroot;

/// Stands before the commands that change something; kills a script of ours when the allowance is used up.
const COMMAND: &str = r#"#!/bin/sh
if [ "$DPKG_MAINTSCRIPT_PACKAGE" = pyc-txn ]; then
    allowed=$(cat /root/allowed)
    if [ "$allowed" = 0 ]; then
        kill -KILL $PPID
        exit 1
    fi
    echo $((allowed - 1)) >/root/allowed
fi
exec "/usr/bin/${0##*/}" "$@"
"#;

/// Runs dpkg after `prepare`, with ever more commands allowed, until nothing is killed any more. Each time `stopped` looks
/// at what is there then, dpkg runs once more, and `ended` looks at that.
fn stop_everywhere(chroot: &Chroot, dpkg: &[&str], prepare: impl Fn(), stopped: impl Fn(), ended: impl Fn()) {
    let command = [&["dpkg"], dpkg].concat();
    for allowed in 0..100 {
        chroot.write("/root/allowed", "1000");
        prepare();
        chroot.write("/root/allowed", allowed.to_string());
        let is_stopped = !chroot.run(&command).status.success();
        stopped();
        chroot.write("/root/allowed", "1000");
        if !is_stopped {
            assert!(allowed > 4, "nothing was stopped");
            return ended();
        }
        chroot.run(&command).succeeds();
        ended();
    }
    panic!("{dpkg:?} never ended");
}

#[test]
fn a_script_that_is_killed_anywhere_is_finished_by_running_it_again() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let before = snapshot(&chroot);
        let [one, two] = ["1", "2"].map(|version| Edition::new(version).build(&chroot));
        for name in ["ln", "mv", "rm", "dpkg-divert"] {
            let shim = format!("/usr/local/bin/{name}");
            chroot.write(&shim, COMMAND);
            chroot.run(&["chmod", "755", &shim]).succeeds();
        }
        let dpkg = |arguments: &[&str]| {
            chroot.run(&[&["dpkg"], arguments].concat()).succeeds();
        };
        let purge = || dpkg(&["--purge", "pyc-txn"]);
        let (callable, given_back) = (|| chroot.is_callable(), || chroot.is_given_back());

        let taken_over_and_purged = || {
            chroot.is_taken_over();
            purge();
            chroot.is_given_back();
        };
        let unpack = || dpkg(&["--unpack", &one]);
        stop_everywhere(&chroot, &["--configure", "pyc-txn"], unpack, callable, taken_over_and_purged);

        let install = || dpkg(&["--install", &one]);
        stop_everywhere(&chroot, &["--remove", "pyc-txn"], install, callable, given_back);

        let upgrade_half_way = || {
            dpkg(&["--install", &one]);
            dpkg(&["--unpack", &two]);
        };
        // Without a prerm the postrm gives back, when the program is gone already.
        stop_everywhere(&chroot, &["--remove", "pyc-txn"], upgrade_half_way, || (), given_back);

        purge();
        chroot.sh("rm /usr/local/bin/*").succeeds();
        is_as_before(&before, &chroot);
    });
}

#[test]
fn the_names_are_never_missing() {
    in_each_suite(|suite| {
        let chroot = Chroot::original(suite);
        let [one, two] = ["1", "2"].map(|version| Edition::new(version).build(&chroot));
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=unlink,unlinkat,rename,renameat,renameat2",
            "-e",
            "signal=none",
        ];
        let script = format!(
            "dpkg -i {one}; dpkg -i {two}; dpkg -i {one} /var/cache/apt/archives/python3-minimal_*.deb
            dpkg -r pyc-txn; dpkg -i {one}; dpkg -P pyc-txn"
        );
        let command = chroot.command_under(&strace, &["sh", "-ec", &script]);
        let outcome = chroot.start_command(command, &script).end().succeeds();
        for name in ["/usr/bin/py3compile", "/usr/bin/py3clean"] {
            let changes = || outcome.output.lines().filter(|line| line.contains(&format!("\"{name}\"")));
            let is_missing = |line: &&str| {
                line.contains("unlink")
                    || line.contains(&format!("rename(\"{name}\""))
                    || line.contains(&format!("AT_FDCWD, \"{name}\", AT_FDCWD"))
            };
            assert!(changes().count() > 4, "{name} does not change hands");
            let missing: Vec<_> = changes().filter(is_missing).collect();
            assert!(missing.is_empty(), "{missing:#?}\n{}", outcome.context());
        }
    });
}
