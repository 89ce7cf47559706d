//! What a batch writes of buckets.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio::try_join;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::ledger::model::bucket::{
    BalanceAction, Bucket, BucketUpdate, Cost, Drawn, Performed, Reserve, ReserveClosing, Transfer,
    UsageType,
};
use crate::ledger::state::PrepaidChanges;
use crate::ledger::store::write::{column, expect_rows};
use crate::ledger::store::{PgResult, Store, StoreError};
use crate::types::time::Time;

pub(super) struct Statements {
    created: Statement,
    products: Statement,
    updated: Statement,
    updates: Statement,
    made: Statement,
    changed: Statement,
}

const CREATED: &str = "\
    INSERT INTO bucket (owner_id, tenant, id, name, description, status, usage_type, party_account_id, unit, valid_from, \
                        valid_to, details, initiated_by, content_hash, opened_amount, opened_version, version, created_at, \
                        updated_at) \
    SELECT o.owner_id, n.tenant, n.id, n.name, n.description, n.status, n.usage_type, n.party_account_id, n.unit, \
           n.valid_from, n.valid_to, n.details::jsonb, n.initiated_by, n.content_hash, n.opened_amount, \
           n.opened_version, n.version, n.created_at, n.updated_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
                $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::bytea[], \
                $15::numeric[], $16::bigint[], $17::bigint[], $18::timestamptz[], $19::timestamptz[]) \
         n(owner_id, tenant, id, name, description, status, usage_type, party_account_id, unit, valid_from, valid_to, \
           details, initiated_by, content_hash, opened_amount, opened_version, version, created_at, updated_at) \
    JOIN owner o ON o.owner_id = n.owner_id";

const PRODUCTS: &str = "\
    INSERT INTO bucket_product (owner_id, product_id, tenant, bucket_id, created_at) \
    SELECT o.owner_id, n.product_id, n.tenant, n.bucket_id, n.created_at \
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[]) \
         n(owner_id, product_id, tenant, bucket_id, created_at) \
    JOIN owner o ON o.owner_id = n.owner_id";

/// The version that was read is asked for again: a second wall behind the owner's lock.
const UPDATED: &str = "\
    UPDATE bucket b SET name = n.name, description = n.description, status = n.status, valid_from = n.valid_from, \
           valid_to = n.valid_to, version = n.version, updated_at = n.updated_at \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[], \
                $8::timestamptz[], $9::bigint[]) \
         n(owner_id, name, description, status, valid_from, valid_to, version, updated_at, stored_version) \
    WHERE b.owner_id = n.owner_id AND b.version = n.stored_version";

const UPDATES: &str = "\
    INSERT INTO bucket_update (owner_id, version, request_id, content_hash, own_version, initiated_by, created_at) \
    SELECT o.owner_id, n.version, n.request_id, n.content_hash, n.own_version, n.initiated_by, n.created_at \
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::timestamptz[]) \
         n(owner_id, version, request_id, content_hash, own_version, initiated_by, created_at) \
    JOIN owner o ON o.owner_id = n.owner_id";

const MADE: &str = "\
    INSERT INTO bucket_action (owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, \
                               unit, amount, remaining_amount, expire_time, reserve_id, returned_amount, \
                               receiver_owner_id, receiver_bucket_id, receiver_version, cost_amount, cost_owner, \
                               own_version, closed_cause, closed_by, details, initiated_by, created_at, updated_at) \
    SELECT o.owner_id, n.id, n.tenant, n.bucket_id, n.party_account_id, n.type, n.status, n.request_id, n.content_hash, \
           n.unit, n.amount, n.remaining_amount, n.expire_time, n.reserve_id, n.returned_amount, n.receiver_owner_id, \
           n.receiver_bucket_id, n.receiver_version, n.cost_amount, n.cost_owner, n.own_version, n.closed_cause, \
           n.closed_by, n.details::jsonb, n.initiated_by, n.created_at, n.updated_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
                $9::bytea[], $10::text[], $11::numeric[], $12::numeric[], $13::timestamptz[], $14::uuid[], \
                $15::numeric[], $16::uuid[], $17::text[], $18::bigint[], $19::numeric[], $20::text[], $21::bigint[], \
                $22::text[], $23::uuid[], $24::text[], $25::text[], $26::timestamptz[], $27::timestamptz[]) \
         n(owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, unit, amount, \
           remaining_amount, expire_time, reserve_id, returned_amount, receiver_owner_id, receiver_bucket_id, \
           receiver_version, cost_amount, cost_owner, own_version, closed_cause, closed_by, details, initiated_by, \
           created_at, updated_at) \
    JOIN owner o ON o.owner_id = n.owner_id";

/// Only what is open can change: a second wall behind the owner's lock.
const CHANGED: &str = "\
    UPDATE bucket_action a SET status = n.status, remaining_amount = n.remaining_amount, closed_cause = n.closed_cause, \
           closed_by = n.closed_by, updated_at = n.updated_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::text[], $6::uuid[], $7::timestamptz[]) \
         n(owner_id, id, status, remaining_amount, closed_cause, closed_by, updated_at) \
    WHERE a.owner_id = n.owner_id AND a.id = n.id AND a.status = 'CREATED'";

impl Statements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        Ok(Self {
            created: client.prepare(CREATED).await?,
            products: client.prepare(PRODUCTS).await?,
            updated: client.prepare(UPDATED).await?,
            updates: client.prepare(UPDATES).await?,
            made: client.prepare(MADE).await?,
            changed: client.prepare(CHANGED).await?,
        })
    }
}

impl Store {
    /// Sends what there is to write, in one go with what the caller sends after it.
    pub(super) async fn write_prepaid(
        &self,
        changes: &PrepaidChanges<'_>,
    ) -> Result<(), StoreError> {
        let PrepaidChanges {
            created,
            products,
            updated,
            updates,
            made,
            changed,
        } = changes;
        try_join!(
            biased;
            expect_rows("bucket", created.len(), self.insert_buckets(created)),
            expect_rows("bucket_product", products.len(), self.insert_products(products)),
            expect_rows("bucket", updated.len(), self.update_buckets(updated)),
            expect_rows("bucket_update", updates.len(), self.insert_updates(updates)),
            expect_rows("bucket_action", made.len(), self.insert_actions(made)),
            expect_rows("bucket_action", changed.len(), self.update_reserves(changed)),
        )?;
        Ok(())
    }

    async fn insert_buckets(&self, rows: &[&Bucket]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let tenants: Vec<Uuid> = column(rows, |row| row.tenant.0);
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let names: Vec<Option<&str>> = rows.iter().map(|row| row.name.as_deref()).collect();
        let descriptions: Vec<Option<&str>> =
            rows.iter().map(|row| row.description.as_deref()).collect();
        let statuses: Vec<&str> = column(rows, |row| row.status.as_str());
        let usage_types: Vec<Option<&str>> =
            column(rows, |row| row.usage_type.map(UsageType::as_str));
        let party_accounts: Vec<Option<&str>> = rows
            .iter()
            .map(|row| row.party_account.as_deref())
            .collect();
        let units: Vec<&str> = rows.iter().map(|row| row.unit.as_str()).collect();
        let valid_from: Vec<OptionalTime> = column(rows, |row| optional_time(row.validity.from));
        let valid_to: Vec<OptionalTime> = column(rows, |row| optional_time(row.validity.to));
        let details: Vec<&str> = rows.iter().map(|row| row.details.as_str()).collect();
        let initiators: Vec<&str> = rows.iter().map(|row| row.initiated_by.as_str()).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.0.as_slice()).collect();
        let opened_amounts: Vec<Decimal> = column(rows, |row| row.opened_amount.to_decimal());
        let opened: Vec<i64> = column(rows, |row| row.opened_version);
        let versions: Vec<i64> = column(rows, |row| row.version);
        let created: Vec<DateTime<Utc>> = column(rows, |row| row.created_at.to_chrono());
        let updated: Vec<DateTime<Utc>> = column(rows, |row| row.updated_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.created,
                &[
                    &owner_ids,
                    &tenants,
                    &ids,
                    &names,
                    &descriptions,
                    &statuses,
                    &usage_types,
                    &party_accounts,
                    &units,
                    &valid_from,
                    &valid_to,
                    &details,
                    &initiators,
                    &contents,
                    &opened_amounts,
                    &opened,
                    &versions,
                    &created,
                    &updated,
                ],
            )
            .await
    }

    async fn insert_products(&self, rows: &[(&Bucket, &str)]) -> PgResult<u64> {
        let buckets: Vec<&Bucket> = rows.iter().map(|(bucket, _)| *bucket).collect();
        let owner_ids: Vec<Uuid> = column(&buckets, |row| row.owner.0);
        let products: Vec<&str> = rows.iter().map(|(_, product)| *product).collect();
        let tenants: Vec<Uuid> = column(&buckets, |row| row.tenant.0);
        let ids: Vec<&str> = buckets.iter().map(|row| row.id.as_str()).collect();
        let created: Vec<DateTime<Utc>> = column(&buckets, |row| row.created_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.products,
                &[&owner_ids, &products, &tenants, &ids, &created],
            )
            .await
    }

    async fn update_buckets(&self, rows: &[(&Bucket, i64)]) -> PgResult<u64> {
        let stored_versions: Vec<i64> = rows.iter().map(|(_, version)| *version).collect();
        let rows: Vec<&Bucket> = rows.iter().map(|(bucket, _)| *bucket).collect();
        let owner_ids: Vec<Uuid> = column(&rows, |row| row.owner.0);
        let names: Vec<Option<&str>> = rows.iter().map(|row| row.name.as_deref()).collect();
        let descriptions: Vec<Option<&str>> =
            rows.iter().map(|row| row.description.as_deref()).collect();
        let statuses: Vec<&str> = column(&rows, |row| row.status.as_str());
        let valid_from: Vec<OptionalTime> = column(&rows, |row| optional_time(row.validity.from));
        let valid_to: Vec<OptionalTime> = column(&rows, |row| optional_time(row.validity.to));
        let versions: Vec<i64> = column(&rows, |row| row.version);
        let updated: Vec<DateTime<Utc>> = column(&rows, |row| row.updated_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.updated,
                &[
                    &owner_ids,
                    &names,
                    &descriptions,
                    &statuses,
                    &valid_from,
                    &valid_to,
                    &versions,
                    &updated,
                    &stored_versions,
                ],
            )
            .await
    }

    async fn insert_updates(&self, rows: &[&BucketUpdate]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let versions: Vec<i64> = column(rows, |row| row.version);
        let keys: Vec<Option<&str>> = rows.iter().map(|row| row.request_id.as_deref()).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.0.as_slice()).collect();
        let own_versions: Vec<i64> = column(rows, |row| row.own_version);
        let initiators: Vec<&str> = rows.iter().map(|row| row.initiated_by.as_str()).collect();
        let created: Vec<DateTime<Utc>> = column(rows, |row| row.created_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.updates,
                &[
                    &owner_ids,
                    &versions,
                    &keys,
                    &contents,
                    &own_versions,
                    &initiators,
                    &created,
                ],
            )
            .await
    }

    async fn insert_actions(&self, rows: &[&BalanceAction]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let ids: Vec<Uuid> = column(rows, |row| row.id.0);
        let tenants: Vec<Uuid> = column(rows, |row| row.tenant.0);
        let buckets: Vec<&str> = rows.iter().map(|row| row.bucket.as_str()).collect();
        let party_accounts: Vec<Option<&str>> = rows
            .iter()
            .map(|row| row.party_account.as_deref())
            .collect();
        let types: Vec<&str> = column(rows, |row| row.kind().as_str());
        let statuses: Vec<&str> = column(rows, |row| row.status.as_str());
        let keys: Vec<&str> = rows.iter().map(|row| row.request_id.as_str()).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.0.as_slice()).collect();
        let units: Vec<&str> = rows.iter().map(|row| row.unit.as_str()).collect();
        let amounts: Vec<Decimal> = column(rows, |row| row.amount.to_decimal());
        let remaining: Vec<Option<Decimal>> = column(rows, |row| {
            row.reserve().map(|reserve| reserve.remaining.to_decimal())
        });
        let expire_times: Vec<OptionalTime> = column(rows, |row| {
            optional_time(row.reserve().and_then(|reserve| reserve.expire_time))
        });
        let reserves: Vec<Option<Uuid>> = column(rows, |row| named_reserve(&row.what));
        let returned: Vec<Option<Decimal>> = column(rows, |row| {
            drawn(&row.what).map(|drawn| drawn.returned.to_decimal())
        });
        let receivers: Vec<Option<Uuid>> = column(rows, |row| {
            transfer(&row.what).map(|transfer| transfer.receiver.0)
        });
        let receiver_buckets: Vec<Option<&str>> = rows
            .iter()
            .map(|row| transfer(&row.what).map(|transfer| transfer.receiver_bucket.as_str()))
            .collect();
        let receiver_versions: Vec<Option<i64>> = column(rows, |row| {
            transfer(&row.what).map(|transfer| transfer.receiver_version)
        });
        let cost = |row: &BalanceAction| -> Option<Cost> { transfer(&row.what)?.cost };
        let costs: Vec<Option<Decimal>> =
            column(rows, |row| cost(row).map(|cost| cost.amount.to_decimal()));
        let cost_owners: Vec<Option<&str>> =
            column(rows, |row| cost(row).map(|cost| cost.owner.as_str()));
        let own_versions: Vec<i64> = column(rows, |row| row.own_version);
        let closed_causes: Vec<Option<&str>> =
            column(rows, |row| closing(row).map(|closed| closed.cause.as_str()));
        let closed_by: Vec<Option<Uuid>> = column(rows, |row| closing(row).map(|closed| closed.by));
        let details: Vec<&str> = rows.iter().map(|row| row.details.as_str()).collect();
        let initiators: Vec<&str> = rows.iter().map(|row| row.initiated_by.as_str()).collect();
        let created: Vec<DateTime<Utc>> = column(rows, |row| row.created_at.to_chrono());
        let updated: Vec<DateTime<Utc>> = column(rows, |row| row.updated_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.made,
                &[
                    &owner_ids,
                    &ids,
                    &tenants,
                    &buckets,
                    &party_accounts,
                    &types,
                    &statuses,
                    &keys,
                    &contents,
                    &units,
                    &amounts,
                    &remaining,
                    &expire_times,
                    &reserves,
                    &returned,
                    &receivers,
                    &receiver_buckets,
                    &receiver_versions,
                    &costs,
                    &cost_owners,
                    &own_versions,
                    &closed_causes,
                    &closed_by,
                    &details,
                    &initiators,
                    &created,
                    &updated,
                ],
            )
            .await
    }

    async fn update_reserves(&self, rows: &[&BalanceAction]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let ids: Vec<Uuid> = column(rows, |row| row.id.0);
        let statuses: Vec<&str> = column(rows, |row| row.status.as_str());
        let remaining: Vec<Option<Decimal>> = column(rows, |row| {
            row.reserve().map(|reserve| reserve.remaining.to_decimal())
        });
        let closed_causes: Vec<Option<&str>> =
            column(rows, |row| closing(row).map(|closed| closed.cause.as_str()));
        let closed_by: Vec<Option<Uuid>> = column(rows, |row| closing(row).map(|closed| closed.by));
        let updated: Vec<DateTime<Utc>> = column(rows, |row| row.updated_at.to_chrono());
        self.client
            .execute(
                &self.writes.prepaid.changed,
                &[
                    &owner_ids,
                    &ids,
                    &statuses,
                    &remaining,
                    &closed_causes,
                    &closed_by,
                    &updated,
                ],
            )
            .await
    }
}

type OptionalTime = Option<DateTime<Utc>>;

fn optional_time(time: Option<Time>) -> OptionalTime {
    time.map(Time::to_chrono)
}

fn transfer(what: &Performed) -> Option<&Transfer> {
    match what {
        Performed::Transfer(transfer) => Some(transfer),
        _ => None,
    }
}

fn drawn(what: &Performed) -> Option<&Drawn> {
    match what {
        Performed::Deduct(drawn) => drawn.as_ref(),
        _ => None,
    }
}

/// The reserve that an action used or gave back.
fn named_reserve(what: &Performed) -> Option<Uuid> {
    match what {
        Performed::Unreserve { reserve } => Some(reserve.0),
        what => drawn(what).map(|drawn| drawn.reserve.0),
    }
}

fn closing(row: &BalanceAction) -> Option<ReserveClosing> {
    row.reserve().and_then(|Reserve { closed, .. }| *closed)
}
