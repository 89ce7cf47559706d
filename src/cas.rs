//! CasAllocationService: allocations of book building.

mod convert;
pub mod document;
pub mod field;
pub mod json;
pub mod model;
pub mod patch;
pub mod search;
mod service;
mod store;

pub use service::CasAllocationService;
