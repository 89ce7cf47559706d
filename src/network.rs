//! NetworkService: who may hold balances. Enterprises, their clients and partners, and the connections between them.

mod convert;
pub mod model;
mod service;
mod store;

pub use service::NetworkService;
