//! What the program does, seen from outside, in worlds that these tests make.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

#[path = "../support/mod.rs"]
mod support;

mod commit;
