//! Deletes request ids that are older than they are kept: those of `request_key`, the writes outside of the ledger.
//!
//! What is deleted must not be needed any more. A key of a call that created a record stands as long as the record does,
//! however old it is: sent again, the call would create a second one. It is recognised by its time, which is the record's
//! time of creation. A key of any other call stands for the time that is given: it keeps a repetition from doing the same
//! twice, and who repeats a call does so within hours. Keys of the ledger (external ids, and the request ids of buckets) are
//! part of its records and are not deleted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::error_text::chain;
use crate::limits::REQUEST_KEYS_BATCH;
use crate::types::time::Time;

/// Request ids that were deleted, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredRequestKeys {
    /// How many there are.
    pub count: u64,
    /// All of them are from before this time.
    pub before: Time,
}

/// Why old request ids could not be deleted. What was deleted before stays so.
#[derive(Debug, Error)]
pub enum RequestKeyError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement failed, for example because the role does not own the table.
    #[error("old request ids cannot be deleted: {}", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// What is done with the keys that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKeyAction {
    /// They are deleted, batch by batch.
    Delete,
    /// They are counted only.
    Count,
}

/// Goes through all request ids, and takes those that are older than `kept`, by the database's clock, and not needed any more.
///
/// Each batch reads at most [`REQUEST_KEYS_BATCH`] keys, in a transaction of its own, and locks those that it deletes. So
/// servers go on meanwhile, and an interrupted run has deleted what it has come to. The role must own the table.
///
/// # Errors
/// Either variant of [`RequestKeyError`].
pub async fn expire(
    url: &str,
    kept: Duration,
    action: RequestKeyAction,
) -> Result<ExpiredRequestKeys, RequestKeyError> {
    let session = Session {
        application_name: "earmark-maintain",
        ..Session::default()
    };
    let (client, driver) = Connector::with_session(url, &session)?.connect().await?;
    let expired = walk(&client, kept, action).await?;
    drop(client);
    _ = driver.await;
    Ok(expired)
}

async fn walk(
    client: &Client,
    kept: Duration,
    action: RequestKeyAction,
) -> Result<ExpiredRequestKeys, tokio_postgres::Error> {
    let now = client.query_one("SELECT clock_timestamp()", &[]).await?;
    let now: DateTime<Utc> = now.try_get(0)?;
    let kept = TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let before = now
        .checked_sub_signed(kept)
        .unwrap_or(Time::MIN.to_chrono());
    let statement = client.prepare(&text(action)).await?;
    let mut count = 0;
    let mut last = (Uuid::nil(), String::new(), String::new());
    let limit = i64::from(REQUEST_KEYS_BATCH);
    loop {
        let (owner, rpc, request_id) = &last;
        let row = client
            .query_opt(&statement, &[owner, rpc, request_id, &limit, &before])
            .await?;
        let Some(row) = row else {
            let before = Time::from(before);
            return Ok(ExpiredRequestKeys { count, before });
        };
        count += u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
        last = key(&row)?;
    }
}

/// The owner, the call and the request id of the last key of a batch.
fn key(row: &Row) -> Result<(Uuid, String, String), tokio_postgres::Error> {
    Ok((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
}

/// The keys that follow one, in the order of their index, and of these the ones to take. Answers how many were taken, and the
/// last key; no row at the end.
fn text(action: RequestKeyAction) -> String {
    let taken = match action {
        RequestKeyAction::Delete => {
            "DELETE FROM request_key k USING old o \
             WHERE k.owner_id = o.owner_id AND k.rpc = o.rpc AND k.request_id = o.request_id \
               AND k.created_at = o.created_at \
             RETURNING k.owner_id"
        }
        RequestKeyAction::Count => "SELECT owner_id FROM old",
    };
    let created = |table: &str, of_owner: &str| {
        format!(
            "EXISTS (SELECT FROM {table} r WHERE r.id = b.record_id{of_owner} AND r.created_at = b.created_at)"
        )
    };
    let stands = [
        created("enterprise", ""),
        created("client", ""),
        created("partner", ""),
        created("connection", ""),
        created("cas_allocation", " AND r.owner_id = b.owner_id"),
    ]
    .join(" OR ");
    format!(
        "WITH batch AS MATERIALIZED (\
            SELECT * FROM request_key \
            WHERE (owner_id, rpc, request_id) > ($1, $2, $3) ORDER BY owner_id, rpc, request_id LIMIT $4\
        ), old AS MATERIALIZED (\
            SELECT * FROM batch b WHERE b.created_at < $5 AND NOT ({stands})\
        ), taken AS ({taken}) \
        SELECT (SELECT count(*) FROM taken), owner_id, rpc, request_id FROM batch \
        ORDER BY owner_id DESC, rpc DESC, request_id DESC LIMIT 1"
    )
}
