//! Who calls, and what they may do.

pub mod caller;
#[cfg(feature = "dev")]
pub mod dev_key;
pub mod jwks;
pub mod scope;
pub mod token;
