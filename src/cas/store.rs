//! The SQL statements on allocations.

mod locks;
mod reads;
mod rows;
mod search;
mod writes;

pub(super) use locks::RecordLocks;
pub(super) use reads::get;
pub(super) use search::search;
pub(super) use writes::{change, create};
