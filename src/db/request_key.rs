//! Idempotency keys of writes outside of the ledger: the table `request_key`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::pg_error::{DbError, TransactionError};
use crate::db::schema::request_key;
use crate::error::{Error, KeyHolder};
use crate::types::content::ContentHash;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// An idempotency key, and the content that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The owner within which the key is unique, together with `rpc`.
    pub owner: OwnerId,
    /// The path of the method that was called.
    pub rpc: &'static str,
    /// The caller's `request_id`, of at most `limits::ID_CHARS_MAX` characters.
    pub request_id: String,
    /// The hash of the command, by which a repeated call is told from another one with the same key.
    pub content: ContentHash,
}

/// An earlier use of a key with the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The id of the record that the call created or changed.
    pub record: Uuid,
    /// When it did; of a creation the record's own time of creation.
    pub at: Time,
}

/// The earlier use of this key; `None` if the key is new.
///
/// # Errors
/// [`Error::RecordKeyReused`] if the key was used with other content; else the database's error.
pub async fn find_use(
    connection: &mut AsyncPgConnection,
    key: &RequestKey,
) -> Result<Option<KeyUse>, TransactionError> {
    let found: Option<(Vec<u8>, Uuid, DateTime<Utc>)> = request_key::table
        .find((key.owner.0, key.rpc, &key.request_id))
        .select((
            request_key::content_hash,
            request_key::record_id,
            request_key::created_at,
        ))
        .first(connection)
        .await
        .optional()?;
    match found {
        Some((hash, record, at)) if hash == key.content.0 => Ok(Some(KeyUse {
            record,
            at: at.into(),
        })),
        Some((_, record, _)) => Err(Error::RecordKeyReused {
            field: "request_id",
            holder: KeyHolder {
                id: record.to_string(),
                version: None,
            },
        }
        .into()),
        None => Ok(None),
    }
}

/// Stores a key for the record that its call created or changed. The row of the key's owner must exist.
///
/// # Errors
/// [`DbError::Serialization`] if another call has stored the key since [`find_use`]: the transaction must be run
/// again and then finds it. Else the database's error.
pub async fn store(
    connection: &mut AsyncPgConnection,
    key: &RequestKey,
    record: Uuid,
    now: Time,
) -> Result<(), TransactionError> {
    let stored = diesel::insert_into(request_key::table)
        .values((
            request_key::owner_id.eq(key.owner.0),
            request_key::rpc.eq(key.rpc),
            request_key::request_id.eq(&key.request_id),
            request_key::content_hash.eq(key.content.0.as_slice()),
            request_key::record_id.eq(record),
            request_key::created_at.eq(now.to_chrono()),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    if stored == 0 {
        return Err(DbError::Serialization.into());
    }
    Ok(())
}
