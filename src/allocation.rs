//! AllocationService: what a client sets aside for its partners.

mod convert;
mod model;
mod service;
mod store;

pub use service::AllocationService;
