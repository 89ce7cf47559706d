//! Book building: the allocations of a firm's deals.

pub mod json;
pub mod patch;
