//! Idempotency keys of writes outside the ledger: which record a request made or changed.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::pg_error::{DbFault, Failure};
use crate::db::schema::request_key;
use crate::error::Error;
use crate::types::content::ContentHash;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// An idempotency key, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Within whom it is unique.
    pub owner: OwnerId,
    /// Of which call.
    pub rpc: &'static str,
    /// As the caller gave it.
    pub request_id: String,
    /// What it stands for.
    pub content: ContentHash,
}

/// The record that a key stands for, if it was used before.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] if it stands for other content.
pub async fn replayed(
    connection: &mut AsyncPgConnection,
    key: &Key,
) -> Result<Option<Uuid>, Failure> {
    let found: Option<(Vec<u8>, Uuid)> = request_key::table
        .find((key.owner.0, key.rpc, &key.request_id))
        .select((request_key::content_hash, request_key::record_id))
        .first(connection)
        .await
        .optional()?;
    match found {
        Some((hash, record)) if hash == key.content.0 => Ok(Some(record)),
        Some(_) => {
            let field = "request_id";
            Err(Error::IdempotencyKeyReused { field }.into())
        }
        None => Ok(None),
    }
}

/// Keeps a key for the record that its call made or changed.
///
/// # Errors
/// [`DbFault::Serialization`] if another call kept it since it was looked for: run again, the transaction finds it.
pub async fn keep(
    connection: &mut AsyncPgConnection,
    key: &Key,
    record: Uuid,
    now: Time,
) -> Result<(), Failure> {
    let kept = diesel::insert_into(request_key::table)
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
    if kept == 0 {
        return Err(DbFault::Serialization.into());
    }
    Ok(())
}
