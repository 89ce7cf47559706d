//! Earmark is a gRPC ledger service on PostgreSQL that reserves value for a purpose.
//!
//! ```text
//! client ── HTTP/2 ──► server            request id · access log · panic → INTERNAL · deadline · load shedding · token + scope
//!                        │
//!                   <service>/service.rs      convert in, authorise, call, convert out: always these four
//!                        │
//!         reads ─────────┼─────────── writes that move value
//!           │                              │
//!    <service>/store.rs             ledger/engine        group commit: the commands that wait become one transaction
//!           │                              │
//!           │                       ledger/<kind>        pure judgement: state + command → reply + changes
//!           │                              │
//!           └───────────► Postgres ◄───────┘
//! ```
//!
//! Dependence runs downward only: `cli → server → services → rpc → ledger → db → types`; `auth` is beside `rpc`, `error`
//! and `limits` are beside `types`.
//!
//! The ledger's invariants, by these names in code, tests and `verify`:
//! - **L1 conservation**: per owner and unit, available + held over all accounts, world and transit included, is zero.
//! - **L2 no overdraft**: available ≥ 0 and held ≥ 0 on every account but world and transit.
//! - **L3 held is explained**: an account's held equals the sum of its open reservations.
//! - **L4 journal**: an account equals the sum of its entries; their versions run 1, 2, 3 … without a gap; times never
//!   go back.
//! - **L5 finality**: a final record never changes again: it has exactly one closing movement, and its status is that
//!   movement's. What closes a bucket's reserve is the action that used or gave back the last of it, or its expiry.
//! - **L6 once**: one key, one effect: a record or key has exactly one opening movement.
//! - **L7 transfer**: a movement's entries sum to zero over all its owners; per unit, all transit accounts sum to zero.
//! - **L8 seal**: a sealed period's digest is that of its entries, of the balances at its end, and of the period before; the
//!   carried balances are those of its accounts at its end. It is held by `verify` alone, since a dump has no seals.

#![warn(missing_docs)]

pub mod allocation;
pub mod app;
pub mod audit;
pub mod auth;
pub mod balance;
pub mod bucket;
pub mod cas;
pub mod catalogue;
pub mod cli;
mod config;
pub mod db;
#[cfg(feature = "dev")]
pub mod demo;
pub mod error;
pub mod ledger;
pub mod limits;
mod metrics;
pub mod network;
mod pem;
pub mod proto;
pub mod rpc;
pub mod server;
mod settings;
mod telemetry;
pub mod trace;
pub mod turns;
pub mod types;
pub mod version;
