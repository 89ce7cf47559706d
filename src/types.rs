//! The value types of the domain. They use no async code, no SQL and no proto.

pub mod amount;
pub mod content;
pub mod ids;
pub mod nearest;
pub mod page;
pub mod period;
pub mod principal;
pub mod read_class;
pub(crate) mod text;
pub mod time;
pub mod unit;
