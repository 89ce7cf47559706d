//! Authentication and authorisation: tokens, the keys that sign them, their claims, and the scopes that each RPC needs.

pub mod caller;
#[cfg(feature = "dev")]
pub mod dev_key;
pub mod jwks;
pub mod scope;
pub mod token;
