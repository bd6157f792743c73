//! Retire: what `py3clean` in a maintainer script does with bytecode.

use anyhow::Result;

use crate::txn::intent::Group;

use super::Status;
use super::clean;
use super::session::Run;

/// Takes the bytecode that `groups` name out of the tree.
pub(super) fn retire(run: &Run<'_>, groups: &[Group]) -> Result<Status> {
    run.with_writer(|writer| clean::remove(run, writer, groups))
}
