//! The heart: what value does, and who may make it do so. See `lib.rs` for the invariants.
//!
//! Services hand a `Command` to the `Writer`; it takes all that waits, locks the owners, reads their `State`, lets
//! `decide` judge each command in order, writes the effects, commits, and only then answers.

pub mod claim;
pub mod command;
pub mod decide;
pub mod expiry;
pub mod invariant;
pub mod model;
pub mod state;
pub mod store;
pub mod verify;
pub mod writer;
