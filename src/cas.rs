//! CasAllocationService: allocations of book building.

pub mod document;
pub mod json;
pub mod model;
pub mod patch;
