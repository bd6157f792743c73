//! pyc-txn byte-compiles Python transactionally.
//!
//! The layers, arrows pointing down only:
//!
//! ```text
//! main.rs            which program was I called as; exit status
//! cli/               what people and scripts type
//! txn/               the protocol: state, journal, lock, plan, stage, decide, publish, recover
//! cache/             the shared bytecode cache: code by what it was compiled from
//! python/  debian/   what CPython defines; what Debian defines
//! disk.rs            the only code that changes the filesystem
//! root.rs, interrupt.rs, parallel.rs, buffer.rs, config.rs
//! ```

pub mod buffer;
pub mod cache;
pub mod cli;
pub mod config;
pub mod debian;
pub mod disk;
pub mod interrupt;
pub mod parallel;
pub mod python;
pub mod root;
pub mod txn;
