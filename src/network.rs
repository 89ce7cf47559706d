//! `NetworkService`: enterprises, their clients and partners, and the connections between them.

mod convert;
mod model;
mod service;
mod store;

pub use service::NetworkService;
