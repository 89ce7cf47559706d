//! Idempotency keys as the tables of keys have them.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The beginning of a hash of the kind of record and of the caller's key. The database has the same function for each
/// kind, `allocation_key_of` and `bucket_action_key_of`.
pub(super) fn stored_key(kind: &str, caller_key: &str) -> Uuid {
    let hash = Sha256::new()
        .chain_update(kind)
        .chain_update(" ")
        .chain_update(caller_key)
        .finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(key)
}
