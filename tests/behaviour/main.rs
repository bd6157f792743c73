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
mod installation;
mod oracle;

mod adoption;
mod boot;
mod cache;
mod cache_room;
mod cache_trust;
mod commands;
mod commit;
mod compiling;
mod concurrency;
mod configuration;
mod confinement;
mod dead_python;
mod excluded;
mod filesystems;
mod history;
mod hooks;
mod interpreters;
mod journals;
mod ledger;
mod lengths;
mod limits;
mod linked;
mod messages;
mod names;
mod originals;
mod owner;
mod packages;
mod payloads;
mod places;
mod private;
mod publishing;
mod py3clean;
mod py3compile;
mod releases;
mod removal;
mod reports;
mod reproducible;
mod retired;
mod reuse;
mod rights;
mod schemas;
mod seals;
mod signals;
mod sources;
mod standard_library;
mod times;
mod twins;
mod unexamined;
mod unmounted;
mod verify;
mod wholes;
mod workers;
