//! Finds the bucket that a command is about.

use crate::error::{Error, Result};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::model::Bucket;
use crate::ledger::bucket::records::BucketRecords;
use crate::types::ids::OwnerId;

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
