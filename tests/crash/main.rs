//! Stopped anywhere: every numbered step of a run is made to abort the process, or to fail.

#[path = "../support/mod.rs"]
mod support;

mod stopped;
