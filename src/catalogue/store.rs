//! The catalogue's statements.

mod reads;
mod writes;

pub(super) use reads::{allocation, allocations, languages};
pub(super) use writes::carry_out;
