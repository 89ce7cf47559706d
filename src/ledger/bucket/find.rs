//! Finds the bucket that a command is about, and what has its idempotency key.

use crate::error::{Error, KeyHolder, Result};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::model::Bucket;
use crate::ledger::bucket::records::BucketRecords;
use crate::types::ids::{AccountId, OwnerId};

/// The bucket and its owner; `id` names it in the error.
pub(super) fn find<'a>(
    books: &'a mut Books,
    records: &BucketRecords,
    owner: OwnerId,
    id: &str,
) -> Result<(&'a mut Owner, Bucket)> {
    let not_found = || Error::BucketNotFound(id.into());
    let owner = books.owners.get_mut(&owner).ok_or_else(not_found)?;
    let bucket = records.bucket().cloned().ok_or_else(not_found)?;
    Ok((owner, bucket))
}

/// The error for a key that a record has which was made by another request.
pub(super) fn key_reused(holder: KeyHolder) -> Error {
    Error::IdempotencyKeyReused {
        field: "request_id",
        holder: Some(holder),
        stored: Vec::new(),
    }
}

/// The bucket as the holder of a key.
pub(super) fn holder(bucket: &Bucket, owner: &Owner) -> KeyHolder {
    let balance = owner.balance(AccountId::OWN, &bucket.unit);
    KeyHolder {
        id: bucket.id.clone(),
        version: Some(bucket.version_with(&balance)),
    }
}
