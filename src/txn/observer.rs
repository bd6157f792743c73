//! Who watches a transaction: a progress bar, a log of phases, nobody.

use std::time::Duration;

/// Told what goes on, from any thread.
pub trait Observer: Sync {
    /// Compiling begins, of so many sources with so many bytes.
    fn begin(&self, sources: usize, bytes: u64);
    /// A source with so many bytes is done.
    fn advance(&self, bytes: u64);
    /// A phase is over, and took so long.
    fn phase(&self, name: &str, took: Duration);
    /// Something that is not as it should be, and keeps nothing from going on.
    fn note(&self, line: &str);
}

/// Watches nothing.
#[derive(Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64) {}
    fn phase(&self, _: &str, _: Duration) {}
    fn note(&self, _: &str) {}
}
