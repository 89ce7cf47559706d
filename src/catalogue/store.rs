//! The SQL statements on catalogues.

mod reads;
mod writes;

pub(super) use reads::{allocation, allocations, languages};
pub(super) use writes::execute;
