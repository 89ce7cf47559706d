//! BalanceService: what a client holds in custody, and what stands with its connections.

pub mod convert;
pub mod model;
pub mod service;
pub mod store;
