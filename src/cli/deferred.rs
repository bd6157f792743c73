//! What a maintainer script leaves for the end of the dpkg run.

use anyhow::Result;

use crate::debian::dpkg::Activation;

use super::session::Run;

/// Does `work` and has dpkg call pyc-txn when it is done with the packages; both at the same time, because each
/// waits some milliseconds for the disk.
pub(super) fn with_trigger<T>(run: &Run<'_>, program: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let activation = run.reporter.timed("start dpkg-trigger", Activation::begin);
    let done = work();
    let activated = run.reporter.timed("wait for dpkg-trigger", || activation.and_then(Activation::end));
    if let Err(why) = activated {
        run.reporter.failure(&format!("{program}: {why}; the next 'pyc-txn commit' does what is left to do"));
    }
    done
}
