//! BalanceService: balances in custody and of connections, and the journal behind them.

mod convert;
mod model;
mod service;
mod store;

pub use service::BalanceService;
