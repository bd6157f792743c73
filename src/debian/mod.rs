//! What Debian defines: which Pythons are supported and where public modules are, and what a package owns.
//!
//! Nothing in here knows what a transaction is or how anything is compiled.

pub mod packages;
pub mod pythons;
