//! What a batch writes: one statement a table, all effects of the batch in its arrays, sent together.
//!
//! Rows are inserted through a join with `owner`: none is ever written for an owner that is not there. No statement
//! names its owners as an array besides: Postgres would look each row up in it, and a batch of many owners would cost
//! the square of their number.

mod bucket;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio::try_join;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::ledger::model::{Adjustment, Allocation, Entry};
use crate::ledger::state::{AccountChange, Changes};
use crate::ledger::store::{PgResult, Store, StoreError};
use crate::types::time::Time;

pub(super) struct Statements {
    entries: Statement,
    new_accounts: Statement,
    changed_accounts: Statement,
    created: Statement,
    closed: Statement,
    adjustments: Statement,
    prepaid: bucket::Statements,
}

const ENTRIES: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time) \
    SELECT o.owner_id, n.account_id, n.unit, n.version, n.available_delta, n.held_delta, n.available, n.held, n.cause, \
           n.cause_id, n.time \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::numeric[], $6::numeric[], $7::numeric[], \
                $8::numeric[], $9::text[], $10::uuid[], $11::timestamptz[]) \
         n(owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id, time) \
    JOIN owner o ON o.owner_id = n.owner_id";

const NEW_ACCOUNTS: &str = "\
    INSERT INTO account (owner_id, account_id, unit, available, held, version) \
    SELECT o.owner_id, n.account_id, n.unit, n.available, n.held, n.version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::numeric[], $6::bigint[], $7::bigint[]) \
         n(owner_id, account_id, unit, available, held, version, stored_version) \
    JOIN owner o ON o.owner_id = n.owner_id WHERE n.stored_version = 0";

/// The version that was read is asked for again: a second wall behind the owner's lock.
const CHANGED_ACCOUNTS: &str = "\
    UPDATE account a SET available = n.available, held = n.held, version = n.version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::numeric[], $6::bigint[], $7::bigint[]) \
         n(owner_id, account_id, unit, available, held, version, stored_version) \
    WHERE a.owner_id = n.owner_id AND a.account_id = n.account_id AND a.unit = n.unit \
      AND a.version = n.stored_version";

const CREATED: &str = "\
    INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id, \
                            client_external_id, partner_external_id, initiated_by, notes, reason, expire_time, \
                            created_at, updated_at, content_hash, opened_custody_version, opened_connection_version, \
                            closed_cause, closed_custody_version, closed_connection_version) \
    SELECT o.owner_id, n.id, n.type, n.status, n.currency, n.quantity, n.connection_id, n.client_id, n.partner_id, \
           n.client_external_id, n.partner_external_id, n.initiated_by, n.notes, n.reason, n.expire_time, n.created_at, \
           n.updated_at, n.content_hash, n.opened_custody_version, n.opened_connection_version, n.closed_cause, \
           n.closed_custody_version, n.closed_connection_version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::uuid[], $8::uuid[], \
                $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[], \
                $16::timestamptz[], $17::timestamptz[], $18::bytea[], $19::bigint[], $20::bigint[], $21::text[], \
                $22::bigint[], $23::bigint[]) \
         n(owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id, client_external_id, \
           partner_external_id, initiated_by, notes, reason, expire_time, created_at, updated_at, content_hash, \
           opened_custody_version, opened_connection_version, closed_cause, closed_custody_version, \
           closed_connection_version) \
    JOIN owner o ON o.owner_id = n.owner_id";

/// Only what is open can be closed: a second wall behind the owner's lock.
const CLOSED: &str = "\
    UPDATE allocation a SET status = n.status, partner_external_id = n.partner_external_id, reason = n.reason, \
           updated_at = n.updated_at, closed_cause = n.cause, closed_custody_version = n.custody_version, \
           closed_connection_version = n.connection_version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], \
                $8::bigint[], $9::bigint[]) \
         n(owner_id, id, status, partner_external_id, reason, updated_at, cause, custody_version, connection_version) \
    WHERE a.owner_id = n.owner_id AND a.id = n.id AND a.status = 'RESERVED'";

const ADJUSTMENTS: &str = "\
    INSERT INTO adjustment (owner_id, id, external_id, currency, quantity, reason, initiated_by, content_hash, \
                            custody_version, created_at) \
    SELECT o.owner_id, n.id, n.external_id, n.currency, n.quantity, n.reason, n.initiated_by, n.content_hash, \
           n.custody_version, n.created_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[], $8::bytea[], \
                $9::bigint[], $10::timestamptz[]) \
         n(owner_id, id, external_id, currency, quantity, reason, initiated_by, content_hash, custody_version, \
           created_at) \
    JOIN owner o ON o.owner_id = n.owner_id";

impl Statements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        Ok(Self {
            entries: client.prepare(ENTRIES).await?,
            new_accounts: client.prepare(NEW_ACCOUNTS).await?,
            changed_accounts: client.prepare(CHANGED_ACCOUNTS).await?,
            created: client.prepare(CREATED).await?,
            closed: client.prepare(CLOSED).await?,
            adjustments: client.prepare(ADJUSTMENTS).await?,
            prepaid: bucket::Statements::prepare(client).await?,
        })
    }
}

impl Store {
    /// Writes all changes: one round trip. The row counts must equal the effects sent.
    pub async fn write(&self, changes: &Changes<'_>) -> Result<(), StoreError> {
        let Changes {
            entries,
            new_accounts,
            changed_accounts,
            created,
            closed,
            adjustments,
            prepaid,
        } = changes;
        try_join!(
            biased;
            expect_rows("allocation", created.len(), self.insert_created(created)),
            expect_rows("allocation", closed.len(), self.update_closed(closed)),
            expect_rows("adjustment", adjustments.len(), self.insert_adjustments(adjustments)),
            self.write_prepaid(prepaid),
            expect_rows("account", new_accounts.len(), self.write_accounts(&self.writes.new_accounts, new_accounts)),
            expect_rows("account", changed_accounts.len(), self.write_accounts(&self.writes.changed_accounts, changed_accounts)),
            expect_rows("entry", entries.len(), self.insert_entries(entries)),
        )?;
        Ok(())
    }

    async fn insert_entries(&self, rows: &[&Entry]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let accounts: Vec<Uuid> = column(rows, |row| row.key.account.0);
        let units: Vec<&str> = rows.iter().map(|row| row.key.unit.as_str()).collect();
        let versions: Vec<i64> = column(rows, |row| row.after.version);
        let available_deltas: Vec<Decimal> = column(rows, |row| row.available_delta.to_decimal());
        let held_deltas: Vec<Decimal> = column(rows, |row| row.held_delta.to_decimal());
        let available: Vec<Decimal> = column(rows, |row| row.after.available.to_decimal());
        let held: Vec<Decimal> = column(rows, |row| row.after.held.to_decimal());
        let causes: Vec<&str> = column(rows, |row| row.cause.as_str());
        let cause_ids: Vec<Uuid> = column(rows, |row| row.cause_id);
        let times: Vec<DateTime<Utc>> = column(rows, |row| row.time.to_chrono());
        self.client
            .execute(
                &self.writes.entries,
                &[
                    &owner_ids,
                    &accounts,
                    &units,
                    &versions,
                    &available_deltas,
                    &held_deltas,
                    &available,
                    &held,
                    &causes,
                    &cause_ids,
                    &times,
                ],
            )
            .await
    }

    async fn write_accounts(
        &self,
        statement: &Statement,
        rows: &[AccountChange<'_>],
    ) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = rows.iter().map(|row| row.owner.0).collect();
        let accounts: Vec<Uuid> = rows.iter().map(|row| row.key.account.0).collect();
        let units: Vec<&str> = rows.iter().map(|row| row.key.unit.as_str()).collect();
        let available: Vec<Decimal> = rows
            .iter()
            .map(|row| row.after.available.to_decimal())
            .collect();
        let held: Vec<Decimal> = rows.iter().map(|row| row.after.held.to_decimal()).collect();
        let versions: Vec<i64> = rows.iter().map(|row| row.after.version).collect();
        let stored_versions: Vec<i64> = rows.iter().map(|row| row.stored_version).collect();
        self.client
            .execute(
                statement,
                &[
                    &owner_ids,
                    &accounts,
                    &units,
                    &available,
                    &held,
                    &versions,
                    &stored_versions,
                ],
            )
            .await
    }

    async fn insert_created(&self, rows: &[&Allocation]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let ids: Vec<Uuid> = column(rows, |row| row.id.0);
        let types: Vec<&str> = column(rows, |row| row.direction.as_str());
        let statuses: Vec<&str> = column(rows, |row| row.status.as_str());
        let currencies: Vec<&str> = rows.iter().map(|row| row.unit.as_str()).collect();
        let quantities: Vec<Decimal> = column(rows, |row| row.quantity.to_decimal());
        let connections: Vec<Uuid> = column(rows, |row| row.connection.0);
        let clients: Vec<Uuid> = column(rows, |row| row.client.0);
        let partners: Vec<Uuid> = column(rows, |row| row.partner.0);
        let client_external_ids: Vec<&str> = rows
            .iter()
            .map(|row| row.client_external_id.as_str())
            .collect();
        let partner_external_ids: Vec<Option<&str>> = rows
            .iter()
            .map(|row| row.partner_external_id.as_deref())
            .collect();
        let initiators: Vec<&str> = rows.iter().map(|row| row.initiated_by.as_str()).collect();
        let notes: Vec<Option<&str>> = rows.iter().map(|row| row.notes.as_deref()).collect();
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason.as_deref()).collect();
        let expire_times: Vec<Option<DateTime<Utc>>> =
            column(rows, |row| row.expire_time.map(Time::to_chrono));
        let created: Vec<DateTime<Utc>> = column(rows, |row| row.created_at.to_chrono());
        let updated: Vec<DateTime<Utc>> = column(rows, |row| row.updated_at.to_chrono());
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.0.as_slice()).collect();
        let opened_custody: Vec<i64> = column(rows, |row| row.opened.custody);
        let opened_connection: Vec<i64> = column(rows, |row| row.opened.connection);
        let closed_causes: Vec<Option<&str>> =
            column(rows, |row| row.closed.map(|closed| closed.cause.as_str()));
        let closed_custody: Vec<Option<i64>> =
            column(rows, |row| row.closed.map(|closed| closed.versions.custody));
        let closed_connection: Vec<Option<i64>> = column(rows, |row| {
            row.closed.map(|closed| closed.versions.connection)
        });
        self.client
            .execute(
                &self.writes.created,
                &[
                    &owner_ids,
                    &ids,
                    &types,
                    &statuses,
                    &currencies,
                    &quantities,
                    &connections,
                    &clients,
                    &partners,
                    &client_external_ids,
                    &partner_external_ids,
                    &initiators,
                    &notes,
                    &reasons,
                    &expire_times,
                    &created,
                    &updated,
                    &contents,
                    &opened_custody,
                    &opened_connection,
                    &closed_causes,
                    &closed_custody,
                    &closed_connection,
                ],
            )
            .await
    }

    async fn update_closed(&self, rows: &[&Allocation]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let ids: Vec<Uuid> = column(rows, |row| row.id.0);
        let statuses: Vec<&str> = column(rows, |row| row.status.as_str());
        let partner_external_ids: Vec<Option<&str>> = rows
            .iter()
            .map(|row| row.partner_external_id.as_deref())
            .collect();
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason.as_deref()).collect();
        let updated: Vec<DateTime<Utc>> = column(rows, |row| row.updated_at.to_chrono());
        let causes: Vec<Option<&str>> =
            column(rows, |row| row.closed.map(|closed| closed.cause.as_str()));
        let custody: Vec<Option<i64>> =
            column(rows, |row| row.closed.map(|closed| closed.versions.custody));
        let connection: Vec<Option<i64>> = column(rows, |row| {
            row.closed.map(|closed| closed.versions.connection)
        });
        self.client
            .execute(
                &self.writes.closed,
                &[
                    &owner_ids,
                    &ids,
                    &statuses,
                    &partner_external_ids,
                    &reasons,
                    &updated,
                    &causes,
                    &custody,
                    &connection,
                ],
            )
            .await
    }

    async fn insert_adjustments(&self, rows: &[&Adjustment]) -> PgResult<u64> {
        let owner_ids: Vec<Uuid> = column(rows, |row| row.owner.0);
        let ids: Vec<Uuid> = column(rows, |row| row.id.0);
        let external_ids: Vec<&str> = rows.iter().map(|row| row.external_id.as_str()).collect();
        let currencies: Vec<&str> = rows.iter().map(|row| row.unit.as_str()).collect();
        let quantities: Vec<Decimal> = column(rows, |row| row.quantity.to_decimal());
        let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
        let initiators: Vec<&str> = rows.iter().map(|row| row.initiated_by.as_str()).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.0.as_slice()).collect();
        let versions: Vec<i64> = column(rows, |row| row.custody_version);
        let created: Vec<DateTime<Utc>> = column(rows, |row| row.created_at.to_chrono());
        self.client
            .execute(
                &self.writes.adjustments,
                &[
                    &owner_ids,
                    &ids,
                    &external_ids,
                    &currencies,
                    &quantities,
                    &reasons,
                    &initiators,
                    &contents,
                    &versions,
                    &created,
                ],
            )
            .await
    }
}

/// One column of the rows, as the array that a statement takes.
fn column<R, T>(rows: &[&R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row)).collect()
}

/// Sends a statement that has effects to write, and counts what it wrote.
async fn expect_rows(
    table: &'static str,
    sent: usize,
    statement: impl Future<Output = PgResult<u64>>,
) -> Result<(), StoreError> {
    if sent == 0 {
        return Ok(());
    }
    let written = statement.await?;
    if usize::try_from(written) == Ok(sent) {
        Ok(())
    } else {
        Err(StoreError::RowCount {
            table,
            sent,
            written,
        })
    }
}
