//! The SQL: one statement after the other.

use earmark::error::{Error, Result};
use earmark::types::ids::ordered_id;
use rust_decimal::Decimal;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};
use uuid::Uuid;

use super::super::store::{TextbookSession, failed};
use super::{TextbookAction, TextbookBucket, TextbookDone, TextbookRequest};

const OWN: Uuid = Uuid::from_u128(1);
const WORLD: Uuid = Uuid::from_u128(2);

const LOCK: &str = "SELECT owner_id FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE";
/// The bucket, if it can be used, with its accounts.
const BUCKET: &str = "\
    SELECT b.name, b.usage_type, b.party_account_id, b.details::text, b.version, own.available, own.held, own.version, \
           world.available, world.version, clock_timestamp() \
    FROM bucket b \
    JOIN account own ON own.owner_id = b.owner_id AND own.account_id = $3 AND own.unit = b.unit \
    JOIN account world ON world.owner_id = b.owner_id AND world.account_id = $4 AND world.unit = b.unit \
    WHERE b.owner_id = $1 AND b.unit = $2 AND b.status = 'ACTIVE' \
      AND coalesce(b.valid_from <= clock_timestamp(), true) AND coalesce(b.valid_to >= clock_timestamp(), true)";
const KEY: &str =
    "SELECT id FROM bucket_action WHERE owner_id = $1 AND request_id = $2 AND type = $3";
const INSERT_ACTION: &str = "\
    INSERT INTO bucket_action (owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, \
                               unit, amount, remaining_amount, own_version, details, initiated_by, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb, $15, $16, $16)";
const INSERT_RESERVE_ENTRY: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time) \
    VALUES ($1, $2, $3, $4, -($5::numeric), $5, $6, $7, 'RESERVE', $8, $9)";
const INSERT_DEDUCT_ENTRIES: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time) \
    VALUES ($1, $2, $3, $4, -($5::numeric), 0, $6, $7, 'DEDUCT', $8, $9), \
           ($1, $10, $3, $11, $5, 0, $12, 0, 'DEDUCT', $8, $9)";
const UPDATE_ACCOUNT: &str = "\
    UPDATE account SET available = $4, held = $5, version = $6 WHERE owner_id = $1 AND account_id = $2 AND unit = $3";
const UPDATE_ACCOUNTS: &str = "\
    UPDATE account a SET available = n.available, version = n.version \
    FROM (VALUES ($3::uuid, $4::numeric, $5::bigint), ($6::uuid, $7::numeric, $8::bigint)) \
         n(account_id, available, version) \
    WHERE a.owner_id = $1 AND a.account_id = n.account_id AND a.unit = $2";

/// Prepared when a connection is made.
pub(in crate::textbook) struct BucketStatements {
    lock: Statement,
    bucket: Statement,
    key: Statement,
    insert_action: Statement,
    insert_reserve_entry: Statement,
    insert_deduct_entries: Statement,
    update_account: Statement,
    update_accounts: Statement,
}

impl BucketStatements {
    pub(in crate::textbook) async fn prepare(
        client: &Client,
    ) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            bucket: client.prepare(BUCKET).await?,
            key: client.prepare(KEY).await?,
            insert_action: client.prepare(INSERT_ACTION).await?,
            insert_reserve_entry: client.prepare(INSERT_RESERVE_ENTRY).await?,
            insert_deduct_entries: client.prepare(INSERT_DEDUCT_ENTRIES).await?,
            update_account: client.prepare(UPDATE_ACCOUNT).await?,
            update_accounts: client.prepare(UPDATE_ACCOUNTS).await?,
        })
    }
}

impl TextbookSession {
    /// One interactive transaction; what fails in it rolls it back.
    pub(super) async fn act(&mut self, act: TextbookRequest) -> Result<TextbookDone> {
        let db = self.client.transaction().await.map_err(failed)?;
        let done = judge(&db, &self.buckets, act).await?;
        write(&db, &self.buckets, &done).await.map_err(failed)?;
        db.commit().await.map_err(failed)?;
        Ok(done)
    }
}

/// Locks, reads, and refuses what cannot be done.
async fn judge(
    db: &Transaction<'_>,
    statements: &BucketStatements,
    act: TextbookRequest,
) -> Result<TextbookDone> {
    let one = async |statement, parameters: &[&(dyn ToSql + Sync)]| {
        db.query_opt(statement, parameters).await.map_err(failed)
    };
    let owner = act.owner.0;
    let locked = one(&statements.lock, &[&owner]).await?;
    locked.ok_or_else(|| Error::BucketNotFound(act.bucket.clone()))?;
    let row = one(&statements.bucket, &[&owner, &act.unit, &OWN, &WORLD]).await?;
    let row = row.ok_or_else(|| Error::internal("the bench's buckets can all be used"))?;
    let used = one(&statements.key, &[&owner, &act.key, &act.action.name()]).await?;
    if used.is_some() {
        return Err(Error::IdempotencyKeyReused {
            field: "request_id",
        });
    }
    let mut bucket = TextbookBucket {
        name: row.get(0),
        usage_type: row.get(1),
        party_account: row.get(2),
        details: row.get(3),
        updates: row.get(4),
        available: row.get(5),
        held: row.get(6),
        version: row.get(7),
        world: row.get(8),
        world_version: row.get(9),
        clock: row.get(10),
    };
    if bucket.available < act.amount {
        return Err(Error::internal("the bench's buckets never run dry"));
    }
    bucket.available -= act.amount;
    bucket.version += 1;
    match act.action {
        TextbookAction::Reserve => bucket.held += act.amount,
        TextbookAction::Deduct => {
            bucket.world += act.amount;
            bucket.world_version += 1;
        }
    }
    Ok(TextbookDone {
        id: ordered_id(bucket.clock.into(), fastrand::u64(..).to_be_bytes()),
        act,
        bucket,
    })
}

/// Writes the action, the entries and the accounts.
async fn write(
    db: &Transaction<'_>,
    statements: &BucketStatements,
    TextbookDone { act, id, bucket }: &TextbookDone,
) -> Result<(), tokio_postgres::Error> {
    let (owner, unit, time) = (&act.owner.0, &act.unit, &bucket.clock);
    let details = act.details.json();
    let remaining: Option<Decimal> = (act.action == TextbookAction::Reserve).then_some(act.amount);
    let action: [&(dyn ToSql + Sync); 16] = [
        owner,
        id,
        &act.tenant.0,
        &act.bucket,
        &bucket.party_account,
        &act.action.name(),
        &act.action.status(),
        &act.key,
        &&act.content(&details)[..],
        unit,
        &act.amount,
        &remaining,
        &bucket.version,
        &details,
        &act.subject,
        time,
    ];
    db.execute(&statements.insert_action, &action).await?;
    let (available, held, version) = (&bucket.available, &bucket.held, &bucket.version);
    let (world, world_version) = (&bucket.world, &bucket.world_version);
    let own_entry: [&(dyn ToSql + Sync); 9] = [
        owner,
        &OWN,
        unit,
        version,
        &act.amount,
        available,
        held,
        id,
        time,
    ];
    match act.action {
        TextbookAction::Reserve => {
            db.execute(&statements.insert_reserve_entry, &own_entry)
                .await?;
            let account: [&(dyn ToSql + Sync); 6] = [owner, &OWN, unit, available, held, version];
            db.execute(&statements.update_account, &account).await?;
        }
        TextbookAction::Deduct => {
            let world_entry: [&(dyn ToSql + Sync); 3] = [&WORLD, world_version, world];
            let entries = [&own_entry[..], &world_entry].concat();
            db.execute(&statements.insert_deduct_entries, &entries)
                .await?;
            let accounts: [&(dyn ToSql + Sync); 8] = [
                owner,
                unit,
                &OWN,
                available,
                version,
                &WORLD,
                world,
                world_version,
            ];
            db.execute(&statements.update_accounts, &accounts).await?;
        }
    }
    Ok(())
}
