//! CasAllocationService: allocations of book building.

pub mod model;
