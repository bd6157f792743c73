//! What Debian defines: which Pythons are supported and where public modules are, what a package owns and asks for, what
//! is not to be compiled, and how dpkg and its maintainer scripts are spoken with.
//!
//! Nothing in here knows what a transaction is or how anything is compiled.

pub mod dpkg;
pub mod excludes;
pub mod packages;
pub mod pythons;
pub mod scripts;
mod shell;
pub mod systemd;
pub mod versions;
