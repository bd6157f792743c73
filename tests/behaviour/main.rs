//! What the program does, seen from outside, in worlds that these tests make.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

#[path = "../support/mod.rs"]
mod support;

mod aid;
mod fake;
mod oracle;

mod adoption;
mod commands;
mod commit;
mod compiling;
mod concurrency;
mod confinement;
mod filesystems;
mod journals;
mod ledger;
mod names;
mod packages;
mod publishing;
mod removal;
mod reuse;
mod signals;
mod sources;
mod workers;
