//! BalanceService: what a client holds in custody, and what stands with its connections.

mod convert;
mod model;
mod service;
mod store;

pub use service::BalanceService;
