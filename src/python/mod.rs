//! What CPython defines: interpreters, names and headers of bytecode, marshalled code, and compiling.
//!
//! Nothing in here knows what a transaction, a package or a ledger is.

mod bench;
pub mod confine;
pub mod header;
pub mod interpreter;
pub mod marshal;
pub mod pattern;
pub mod pool;
mod process;
pub mod pycache;
pub mod worker;
