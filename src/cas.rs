//! CasAllocationService: allocations of book building.

pub mod json;
pub mod model;
pub mod patch;
