//! The statements on CAS allocations.

mod reads;
mod rows;
mod search;
mod writes;

pub(super) use reads::get;
pub(super) use search::search;
pub(super) use writes::{Turns, carry_out};
