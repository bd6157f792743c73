//! What the program does, seen from outside, in worlds that these tests make.

#[path = "../support/mod.rs"]
mod support;

mod commit;
