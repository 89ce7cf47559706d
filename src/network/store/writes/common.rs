//! What the commands of the network share: the locks of their owners, the ids of new records, repetitions, and changes.

use std::future::Future;

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::db::pg_error::TransactionError;
use crate::db::record_write::{WriteContext, WrittenRecord, require_version};
use crate::db::write::ensure_owner;
use crate::error::Error;
use crate::network::model::NetworkTimes;
use crate::types::ids::{OwnerId, ordered_id};
use crate::types::time::Time;

/// A record of the network as commands need it.
pub(super) trait StoredRecord: Clone + PartialEq + Send {
    /// The record with this id; `None` if there is none.
    fn find(
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Self>, TransactionError>> + Send;

    /// The error of a call that needs the record with this id, which does not exist.
    fn not_found(id: Uuid) -> Error;

    /// The number of its writes.
    fn version_mut(&mut self) -> &mut i64;

    /// The times of its first and its last write.
    fn times_mut(&mut self) -> &mut NetworkTimes;
}

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

/// The record that an earlier call with the same key wrote, as it is now; `None` if the key is new.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`], which names that record, if the call had other content; those of the database.
pub(super) async fn replayed<R: StoredRecord>(
    write: &mut WriteContext<'_>,
) -> Result<Option<WrittenRecord<R>>, TransactionError> {
    let Some(used) = write.key_use().await? else {
        return Ok(None);
    };
    let mut found = R::find(write.connection, used.record).await?;
    used.require_same(found.as_mut().map(|record| *record.version_mut()))?;
    let record = found.ok_or_else(|| R::not_found(used.record))?;
    Ok(Some(WrittenRecord::replayed(record)))
}

/// What a command that changes a record has found.
pub(super) enum RecordToChange<R> {
    /// An earlier call with the same key and content has changed it.
    Replayed(WrittenRecord<R>),
    /// The record as it is now.
    Stored(R),
}

/// Locks the owner of a record, which never changes and so was read before, and finds the record; or finds the earlier
/// call with the same key.
///
/// # Errors
/// That of a record which is not there; those of [`replayed`] and of the database.
pub(super) async fn begin_change<R: StoredRecord>(
    write: &mut WriteContext<'_>,
    id: Uuid,
    owner: Option<OwnerId>,
) -> Result<RecordToChange<R>, TransactionError> {
    lock(write, owner).await?;
    if let Some(replayed) = replayed(write).await? {
        return Ok(RecordToChange::Replayed(replayed));
    }
    let found = match owner {
        Some(_) => R::find(write.connection, id).await?,
        // A record that was created since is not locked; this call began before it existed.
        None => None,
    };
    Ok(RecordToChange::Stored(
        found.ok_or_else(|| R::not_found(id))?,
    ))
}

/// What becomes of a record that a command changes.
pub(super) enum RecordChange<R> {
    /// Nothing more is to be done: the record is as it was, or the change was only to be validated.
    Finished(WrittenRecord<R>),
    /// The record is to be stored in this form, and the key to be kept at this time.
    Store(R, Time),
}

/// Judges a change of a stored record, whose owner is locked. A change after which the record has the same content leaves
/// it as it is: its version and its times too.
///
/// # Errors
/// [`Error::VersionMismatch`]; those of the database.
pub(super) async fn change<R: StoredRecord>(
    write: &mut WriteContext<'_>,
    id: Uuid,
    mut stored: R,
    expected_version: Option<i64>,
    apply: impl FnOnce(&mut R),
) -> Result<RecordChange<R>, TransactionError> {
    require_version(id, expected_version, *stored.version_mut())?;
    let mut record = stored.clone();
    apply(&mut record);
    if record == stored {
        if !write.validate_only {
            let now = write.now().await?;
            write.keep_key(id, now).await?;
        }
        return Ok(RecordChange::Finished(WrittenRecord::applied(stored)));
    }
    *record.version_mut() += 1;
    let times = *record.times_mut();
    if write.validate_only {
        *record.times_mut() = times.change_validated();
        return Ok(RecordChange::Finished(WrittenRecord::applied(record)));
    }
    let now = write.now().await?;
    *record.times_mut() = times.changed(now);
    Ok(RecordChange::Store(record, now))
}
