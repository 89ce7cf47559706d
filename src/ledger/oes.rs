//! Off-exchange settlement (OES): allocations of a client's custody to a trading partner, and deallocations back.

mod close;
mod create;
mod judge;
mod kind;
pub mod model;
pub(in crate::ledger) mod records;
mod release_due;
pub mod request;
mod statements;
mod verification;
