//! CasAllocationService: allocations of book building.

mod convert;
mod document;
pub mod field;
mod json;
mod like;
mod model;
mod operand;
mod patch;
mod search;
mod search_cost;
mod service;
mod store;
mod string_enum;
mod validate;
mod write;

pub use service::CasAllocationService;
