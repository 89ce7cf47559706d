//! Who calls, and what they may do.

pub mod caller;
pub mod scope;
