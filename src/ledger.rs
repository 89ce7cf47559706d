//! The double-entry ledger and its group-commit writer. The invariants L1 to L8 are stated in `lib.rs`.
//!
//! Services hand a [`kind::Command`] to the [`engine::Writer`]. A writer takes the commands that wait, locks their owners,
//! reads what they name, lets each command's kind judge it in order, writes the changes, commits, and answers.
//!
//! `engine` treats all kinds of records alike, through the traits in `kind`. The folders `oes`, `adjustment` and `bucket`
//! are the kinds; `kinds` is their registry.

pub mod account;
pub mod adjustment;
#[cfg(feature = "archive")]
pub mod archive;
pub mod books;
pub mod breach;
pub mod bucket;
pub mod claim;
pub mod engine;
mod enterprise;
pub mod expiry;
pub mod invariant;
pub mod kind;
pub mod kinds;
pub mod oes;
pub mod reservation_sampling;
pub mod seal;
mod store_error;
mod stored_enum;
mod stored_key;
mod table;
#[cfg(test)]
mod tests;
pub mod verification;
pub mod verify;
