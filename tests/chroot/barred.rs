//! A place below the public modules that cannot be written, in real apt runs.

use crate::chroot::{Chroot, Suite};

const PUBLIC: &str = "/usr/lib/python3/dist-packages";

/// A developer's checkout, mounted read-only as containers have it, with a source that has no bytecode.
fn mount_read_only(chroot: &Chroot) {
    let checkout = format!("{PUBLIC}/checkout");
    chroot.sh(&format!("mkdir {checkout}; mount -t tmpfs none {checkout}")).succeeds();
    chroot.write(&format!("{checkout}/m.py"), "x = 1\n");
    chroot.run(&["mount", "-o", "remount,ro", &checkout]).succeeds();
}

#[test]
fn a_read_only_mount_below_the_modules_costs_itself_and_no_package() {
    for suite in Suite::ALL {
        let chroot = Chroot::transactional(suite);
        mount_read_only(&chroot);
        let installed = chroot.apt_install(&["python3-six"]).succeeds().says("Read-only file system");
        let tag = suite.tag();
        let bytecode = format!("{PUBLIC}/__pycache__/six.{tag}.pyc");
        assert!(chroot.exists(&bytecode), "{}", installed.context());
        chroot.imports(PUBLIC, &["six"]);
        chroot
            .run(&["pyc-txn", "status"])
            .succeeds()
            .says("no transaction is open")
            .says("Read-only file system");
        // It was told; and nothing of it stops the next run.
        let again = chroot.apt_install(&["python3-idna"]).succeeds().does_not_say("Read-only file system");
        assert!(chroot.exists(&format!("{PUBLIC}/idna/__pycache__/core.{tag}.pyc")), "{}", again.context());
        let removed = chroot.run(&["apt-get", "purge", "-y", "python3-six", "python3-idna"]).succeeds();
        assert!(
            !chroot.exists(&bytecode) && !chroot.exists(&format!("{PUBLIC}/idna")),
            "{}",
            removed.context()
        );
        chroot.run(&["mount", "-o", "remount,rw", &format!("{PUBLIC}/checkout")]).succeeds();
        chroot.run(&["pyc-txn", "commit"]).succeeds().says("compiled 1");
        chroot.run(&["pyc-txn", "status"]).succeeds().does_not_say("could not be");
    }
}
