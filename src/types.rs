//! Pure words of the domain: no async, no SQL, no proto.

pub mod amount;
pub mod content;
pub mod ids;
pub mod page;
pub mod text;
pub mod time;
pub mod unit;
