//! AllocationService: value that clients reserve for their partners.

mod convert;
mod model;
mod service;
mod store;

pub use service::AllocationService;
