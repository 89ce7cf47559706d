//! The SQL of the service's reads: a file for each.
//!
//! What a read may see is found first, what it shows comes second; what has expired is released in between.

mod accounts;
mod client;
mod entries;
mod entry_statements;
mod get;
mod partner;

pub(super) use client::client_balances;
pub(super) use entries::{entries, visible};
pub(super) use get::{BalanceSnapshot, account, snapshot};
pub(super) use partner::{balances, connections};
