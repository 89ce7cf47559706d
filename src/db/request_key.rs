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

/// What a key was used for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The id of the record that the call created or changed.
    pub record: Uuid,
    /// When it did; of a creation the record's own time of creation.
    pub at: Time,
    /// Whether the call had the same content.
    pub is_same: bool,
}

impl KeyUse {
    /// Makes sure that this is a repetition. `version` is that of the record, if it has one and the caller may see it.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the key was used with other content.
    pub fn require_same(self, version: Option<i64>) -> Result<(), Error> {
        if self.is_same {
            return Ok(());
        }
        Err(Error::IdempotencyKeyReused {
            field: "request_id",
            holder: Some(KeyHolder {
                id: self.record.to_string(),
                version,
            }),
            stored: Vec::new(),
        })
    }
}

/// What an earlier call used this key for; `None` if the key is new.
///
/// # Errors
/// Those of the statement that looks for it.
pub async fn find(
    connection: &mut AsyncPgConnection,
    key: &RequestKey,
) -> QueryResult<Option<KeyUse>> {
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
    Ok(found.map(|(hash, record, at)| KeyUse {
        record,
        at: at.into(),
        is_same: hash == key.content.0,
    }))
}

/// Stores a key for the record that its call created or changed. The row of the key's owner must exist.
///
/// # Errors
/// [`DbError::Serialization`] if another call has stored the key since [`find`]: the transaction must be run
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
