//! The SQL of the textbook's buckets, prepared when a connection is made.

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

pub(super) const OWN: Uuid = Uuid::from_u128(1);
pub(super) const WORLD: Uuid = Uuid::from_u128(2);

const LOCK: &str = "SELECT owner_id FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE";
/// The bucket, if it can be used, with its accounts.
const BUCKET: &str = "\
    SELECT b.name, b.usage_type, b.party_account_id, b.details::text, b.version, own.available, own.held, own.version, \
           own.reservation_count, world.available, world.version, clock_timestamp() \
    FROM bucket b \
    JOIN account own ON own.owner_id = b.owner_id AND own.account_id = $3 AND own.unit = b.unit \
    JOIN account world ON world.owner_id = b.owner_id AND world.account_id = $4 AND world.unit = b.unit \
    WHERE b.owner_id = $1 AND b.unit = $2 AND b.status = 'ACTIVE' \
      AND coalesce(b.valid_from <= clock_timestamp(), true) AND coalesce(b.valid_to >= clock_timestamp(), true)";
const KEY: &str =
    "SELECT id FROM bucket_action_key WHERE owner_id = $1 AND key = bucket_action_key_of($3, $2)";
/// Open reserves and final deductions are in tables of their own, and so are keys.
const INSERT_ACTION: &str = "\
    WITH keyed AS (INSERT INTO bucket_action_key VALUES ($1, bucket_action_key_of($6, $8), $2)) \
    INSERT INTO {table} (owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, unit, \
                         amount, remaining_amount, own_version, details, initiated_by, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb, $15, $16, $16)";
const INSERT_RESERVE_ENTRY: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time, reservation_count) \
    VALUES ($1, $2, $3, $4, -($5::numeric), $5, $6, $7, 'RESERVE', $8, $9, $10)";
const INSERT_DEDUCT_ENTRIES: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time, reservation_count) \
    VALUES ($1, $2, $3, $4, -($5::numeric), 0, $6, $7, 'DEDUCT', $8, $9, $10), \
           ($1, $11, $3, $12, $5, 0, $13, 0, 'DEDUCT', $8, $9, 0)";
const UPDATE_ACCOUNT: &str = "\
    UPDATE account SET available = $4, held = $5, version = $6, reservation_count = $7 \
    WHERE owner_id = $1 AND account_id = $2 AND unit = $3";
const UPDATE_ACCOUNTS: &str = "\
    UPDATE account a SET available = n.available, version = n.version \
    FROM (VALUES ($3::uuid, $4::numeric, $5::bigint), ($6::uuid, $7::numeric, $8::bigint)) \
         n(account_id, available, version) \
    WHERE a.owner_id = $1 AND a.account_id = n.account_id AND a.unit = $2";

fn insert_action(table: &str) -> String {
    INSERT_ACTION.replace("{table}", table)
}

/// Prepared when a connection is made.
pub(super) struct TextbookBucketStatements {
    pub(super) lock: Statement,
    pub(super) bucket: Statement,
    pub(super) key: Statement,
    pub(super) insert_reserve: Statement,
    pub(super) insert_deduct: Statement,
    pub(super) insert_reserve_entry: Statement,
    pub(super) insert_deduct_entries: Statement,
    pub(super) update_account: Statement,
    pub(super) update_accounts: Statement,
}

impl TextbookBucketStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            bucket: client.prepare(BUCKET).await?,
            key: client.prepare(KEY).await?,
            insert_reserve: client.prepare(&insert_action("open_bucket_action")).await?,
            insert_deduct: client
                .prepare(&insert_action("closed_bucket_action"))
                .await?,
            insert_reserve_entry: client.prepare(INSERT_RESERVE_ENTRY).await?,
            insert_deduct_entries: client.prepare(INSERT_DEDUCT_ENTRIES).await?,
            update_account: client.prepare(UPDATE_ACCOUNT).await?,
            update_accounts: client.prepare(UPDATE_ACCOUNTS).await?,
        })
    }
}
