//! Adjustments: deposits to a client's custody and withdrawals from it, made by its custodian.

mod kind;
pub mod model;
mod records;
pub mod request;
mod statements;
mod verification;
