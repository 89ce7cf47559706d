//! Authentication and authorisation: tokens, the keys that sign them, their claims, and the scopes that each RPC needs.

pub mod caller;
pub mod claims;
#[cfg(feature = "dev")]
pub mod dev_key;
pub mod jwks;
#[cfg(test)]
#[path = "../tests/it/support/key_server.rs"]
mod key_server;
pub mod scope;
pub mod token;
