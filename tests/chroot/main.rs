//! Real packages, real dpkg and apt, in chroots of Debian 12 and 13: what py3compile does today, and what it does
//! once the package is installed.
//!
//! These tests need root, and the package that `tests/package` makes, so they run only with
//! `cargo test --features chroot --test chroot`.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

mod chroot;
mod judge;
mod package;

mod archive;
mod barred;
mod dead_python;
mod fresh;
mod killed;
mod known;
mod lifecycle;
mod packages;
mod together;
