//! Who calls, and what they may do.

pub mod caller;
pub mod dev_key;
pub mod jwks;
pub mod scope;
pub mod token;
