//! What the commands of the network share: the locks of their owners, and the ids of new records.

use uuid::Uuid;

use crate::db::pg_error::TransactionError;
use crate::db::record_write::WriteContext;
use crate::db::write::ensure_owner;
use crate::types::ids::{OwnerId, ordered_id};
use crate::types::time::Time;

/// Locks the owner of the key and, if there is one, the owner of the record; returns false if the latter has no row.
///
/// # Errors
/// Those of the database, as `TransactionError::Database`.
pub(super) async fn lock(
    write: &mut WriteContext<'_>,
    owner: Option<OwnerId>,
) -> Result<bool, TransactionError> {
    let key_owner = write.key_owner();
    if let Some(key_owner) = key_owner
        && !write.validate_only
    {
        ensure_owner(write.connection, key_owner).await?;
    }
    let found = write
        .lock_owners(key_owner.into_iter().chain(owner))
        .await?;
    Ok(owner.is_none_or(|id| found.contains(&id)))
}

/// A new id. Ids sort by the microsecond of their creation, so lists in the order of ids are in that of creation.
pub(super) fn new_id(now: Time) -> Uuid {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    ordered_id(now, random.to_be_bytes())
}
