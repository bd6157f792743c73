//! Stopped anywhere: every numbered step of a run is made to abort the process, or to fail.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod contents;
mod damaged;
mod demands;
mod durable;
mod elsewhere;
mod failing;
mod held;
mod history;
mod leftovers;
mod order;
mod portions;
mod powercut;
mod recorded;
mod repaired;
mod retired;
mod rounds;
mod stopped;
mod trace;
mod witness;
