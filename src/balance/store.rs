//! The SQL of the service's reads: a file for each.
//!
//! What a read may see is found first, what it shows comes second; what has expired is released in between.

mod accounts;
mod client;
mod entries;
mod entry_statements;
mod get;
mod opening_statements;
mod partner;
mod reservations;

pub(super) use client::client_balances;
pub(super) use entries::{entries, visible};
pub(super) use get::{BalanceKey, BalanceSnapshot, BalancesByKey, FoundBalance};
pub(super) use partner::{balances, connections};
pub(super) use reservations::reservations;
