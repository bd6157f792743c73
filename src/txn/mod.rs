//! The protocol: how a set of bytecode files comes into place as a whole, and stays whole whatever happens.
//!
//! A request goes one way: [`plan`] compares it with what is there, [`journal`] records the intents, [`stage`]
//! compiles them, [`decide`] makes the decision durable, [`publish`] renames and settles; [`recover`] does the
//! rest of that way for a run that was stopped. What was published and is out of the tree for a while is [`retired`];
//! [`verify`] looks at what is in it. Nothing in here knows what a maintainer script is.

mod adopt;
mod audience;
mod compare;
mod compile;
pub mod compilers;
pub mod decide;
pub mod evidence;
mod flush;
mod freeing;
pub mod intent;
pub mod journal;
pub mod lock;
pub mod observer;
mod opened;
pub mod plan;
pub mod publish;
mod pyc;
pub mod reach;
pub mod recover;
pub mod retired;
mod reuse;
pub mod seal;
pub mod shutdown;
mod site;
pub mod source;
pub mod stage;
pub mod staging;
pub mod state;
mod supply;
mod team;
pub mod tree;
pub mod verify;
pub mod walk;
