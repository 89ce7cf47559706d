//! AllocationService: what a client sets aside for its partners.

pub mod convert;
pub mod model;
pub mod service;
pub mod store;
