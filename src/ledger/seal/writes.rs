//! What a seal reads and writes beside the journal.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::ledger::seal::digest::{PeriodHasher, SEAL_FORMAT};
use crate::ledger::seal::model::{
    AccountSeal, OwnerSeal, PeriodBounds, PeriodSeal, SealDigest, SealKey,
};
use crate::ledger::seal::rows::{read_carried, read_key, read_owner, stored_digest};
use crate::ledger::seal::walk::Openings;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::types::time::Time;

/// The clock, the end of the last sealed period, and the end of the period that is begun and not sealed.
const STATE: &str = "\
    SELECT clock_timestamp(), s.end_time, \
           (SELECT o.end_time FROM sealed_owner o WHERE o.end_time > coalesce(s.end_time, '-infinity') \
            ORDER BY o.end_time LIMIT 1), \
           s.digest \
    FROM (VALUES (1)) one \
    LEFT JOIN (SELECT end_time, digest FROM sealed_period ORDER BY end_time DESC LIMIT 1) s ON true";

/// The time of the first entry, of which each owner's is found by its index.
const FIRST_ENTRY: &str = "\
    SELECT min(e.time) FROM (SELECT DISTINCT owner_id FROM account) o \
    CROSS JOIN LATERAL (\
        SELECT e.time FROM entry e WHERE e.owner_id = o.owner_id ORDER BY e.time LIMIT 1\
    ) e";

const OWNERS: &str = "SELECT owner_id FROM owner WHERE owner_id >= $1 ORDER BY owner_id LIMIT $2";

/// The last owner of a period of whom a part was written.
const LAST_WRITTEN: &str = "\
    SELECT owner_id FROM sealed_owner WHERE end_time = $1 ORDER BY owner_id DESC LIMIT 1";

/// The newest carry-forward of each account at the start of a period.
const OPENINGS: &str = "\
    SELECT c.owner_id, c.account_id, c.unit, c.available, c.held, c.version, c.reservation_count, c.time \
    FROM account a \
    CROSS JOIN LATERAL (\
        SELECT * FROM carry_forward c \
        WHERE c.owner_id = a.owner_id AND c.account_id = a.account_id AND c.unit = a.unit AND c.end_time <= $3 \
        ORDER BY c.end_time DESC LIMIT 1\
    ) c \
    WHERE a.owner_id BETWEEN $1 AND $2";

const VERSIONS: &str =
    "SELECT owner_id, account_id, unit, version FROM account WHERE owner_id BETWEEN $1 AND $2";

/// The first entry of each account at or after the end of a period.
const NEXT_ENTRIES: &str = "\
    SELECT a.owner_id, a.account_id, a.unit, e.version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) a(owner_id, account_id, unit) \
    CROSS JOIN LATERAL (\
        SELECT e.version FROM entry e \
        WHERE e.owner_id = a.owner_id AND e.account_id = a.account_id AND e.unit = a.unit COLLATE \"C\" AND e.time >= $4 \
        ORDER BY e.time, e.version LIMIT 1\
    ) e";

const INSERT_ACCOUNTS: &str = "\
    INSERT INTO carry_forward \
        (end_time, owner_id, account_id, unit, version, time, reservation_count, entries, available, held, digest) \
    SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::timestamptz[], $7::bigint[], \
                             $8::bigint[], $9::numeric[], $10::numeric[], $11::bytea[])";

const INSERT_OWNERS: &str = "\
    INSERT INTO sealed_owner (end_time, owner_id, digest, entries) \
    SELECT $1, * FROM unnest($2::uuid[], $3::bytea[], $4::bigint[])";

const OWNERS_OF_PERIOD: &str = "SELECT owner_id, end_time, entries, digest FROM sealed_owner WHERE end_time = $1 ORDER BY owner_id";

const INSERT_PERIOD: &str = "\
    INSERT INTO sealed_period (start_time, end_time, previous_digest, digest, format, owners, entries, sealed_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())";

/// What a seal finds when it begins.
pub(super) struct StoredState {
    pub(super) now: Time,
    pub(super) sealed_until: Option<Time>,
    pub(super) unfinished: Option<Time>,
    pub(super) last_digest: Option<SealDigest>,
}

/// The session of a seal, with what is executed for each batch.
pub(super) struct SealStore {
    pub(super) client: Client,
    owners: Statement,
    openings: Statement,
    versions: Statement,
    next_entries: Statement,
    insert_accounts: Statement,
    insert_owners: Statement,
}

impl SealStore {
    pub(super) async fn prepare(client: Client) -> PgResult<Self> {
        Ok(Self {
            owners: client.prepare(OWNERS).await?,
            openings: client.prepare(OPENINGS).await?,
            versions: client.prepare(VERSIONS).await?,
            next_entries: client.prepare(NEXT_ENTRIES).await?,
            insert_accounts: client.prepare(INSERT_ACCOUNTS).await?,
            insert_owners: client.prepare(INSERT_OWNERS).await?,
            client,
        })
    }

    pub(super) async fn state(&self) -> Result<StoredState, StoreError> {
        let row = self.client.query_one(STATE, &[]).await?;
        let time = |index| row.try_get::<_, Option<DateTime<Utc>>>(index);
        let digest: Option<&[u8]> = row.try_get(3)?;
        Ok(StoredState {
            now: row.try_get::<_, DateTime<Utc>>(0)?.into(),
            sealed_until: time(1)?.map(Into::into),
            unfinished: time(2)?.map(Into::into),
            last_digest: digest.map(stored_digest).transpose()?,
        })
    }

    pub(super) async fn first_entry(&self) -> PgResult<Option<Time>> {
        let row = self.client.query_one(FIRST_ENTRY, &[]).await?;
        let time: Option<DateTime<Utc>> = row.try_get(0)?;
        Ok(time.map(Into::into))
    }

    /// The first owner of whom nothing was written of the period that ends then; none if the last that there can be was.
    pub(super) async fn first_owner(&self, end: Time) -> PgResult<Option<Uuid>> {
        let row = self
            .client
            .query_opt(LAST_WRITTEN, &[&end.to_chrono()])
            .await?;
        Ok(match row {
            Some(row) => next_owner(row.try_get(0)?),
            None => Some(Uuid::nil()),
        })
    }

    /// The last of the owners from `first` on that make a batch. The last batch goes on to the last owner that there can be:
    /// entries may be stored of owners that do not exist.
    pub(super) async fn last_of_batch(&self, first: Uuid, count: i64) -> PgResult<Uuid> {
        let rows = self.client.query(&self.owners, &[&first, &count]).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|found| found >= count);
        match rows.last() {
            Some(row) if is_full => row.try_get(0),
            _ => Ok(Uuid::max()),
        }
    }

    pub(super) async fn openings(
        &self,
        (first, last): (Uuid, Uuid),
        start: Time,
    ) -> Result<Openings, StoreError> {
        let start = start.to_chrono();
        let rows = self
            .client
            .query(&self.openings, &[&first, &last, &start])
            .await?;
        let mut openings = Openings::with_capacity(rows.len());
        for row in &rows {
            openings.insert(read_key(row)?, read_carried(row, 3)?);
        }
        Ok(openings)
    }

    /// The versions that accounts have now.
    pub(super) async fn versions(
        &self,
        (first, last): (Uuid, Uuid),
    ) -> PgResult<HashMap<SealKey, i64>> {
        let rows = self.client.query(&self.versions, &[&first, &last]).await?;
        rows.iter()
            .map(|row| Ok((read_key(row)?, row.try_get(3)?)))
            .collect()
    }

    /// The versions of the first entries of these accounts at or after this time; accounts without one are left out.
    pub(super) async fn next_versions(
        &self,
        keys: &[&SealKey],
        end: Time,
    ) -> PgResult<HashMap<SealKey, i64>> {
        let owners: Vec<Uuid> = keys.iter().map(|key| key.owner.0).collect();
        let accounts: Vec<Uuid> = keys.iter().map(|key| key.account.0).collect();
        let units: Vec<&str> = keys.iter().map(|key| key.unit.as_str()).collect();
        let parameters: [&(dyn ToSql + Sync); 4] = [&owners, &accounts, &units, &end.to_chrono()];
        let rows = self.client.query(&self.next_entries, &parameters).await?;
        rows.iter()
            .map(|row| Ok((read_key(row)?, row.try_get(3)?)))
            .collect()
    }

    /// Writes the parts of a batch, in a transaction of its own.
    pub(super) async fn write(
        &mut self,
        end: Time,
        accounts: &[AccountSeal],
        owners: &[OwnerSeal],
    ) -> PgResult<()> {
        let end = end.to_chrono();
        let transaction = self.client.transaction().await?;
        let columns = AccountColumns::of(accounts);
        transaction
            .execute(&self.insert_accounts, &columns.parameters(&end))
            .await?;
        let ids: Vec<Uuid> = owners.iter().map(|seal| seal.owner.0).collect();
        let digests: Vec<&[u8]> = owners.iter().map(|seal| &seal.digest.0[..]).collect();
        let entries: Vec<i64> = owners.iter().map(|seal| seal.entries).collect();
        transaction
            .execute(&self.insert_owners, &[&end, &ids, &digests, &entries])
            .await?;
        transaction.commit().await
    }

    /// Hashes the owners of a period, all of whom were written, and seals it.
    pub(super) async fn seal_period(
        &self,
        previous: Option<SealDigest>,
        bounds: PeriodBounds,
    ) -> Result<PeriodSeal, StoreError> {
        let (start, end) = (bounds.start.to_chrono(), bounds.end.to_chrono());
        let mut hasher = PeriodHasher::new(previous, bounds);
        let rows = self.client.query_raw(OWNERS_OF_PERIOD, [end]).await?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await? {
            hasher.add(&read_owner(&row)?);
        }
        let seal = hasher.finish();
        let previous = previous.map(|digest| digest.0.to_vec());
        let digest = &seal.digest.0[..];
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &start,
            &end,
            &previous,
            &digest,
            &SEAL_FORMAT,
            &seal.owners,
            &seal.entries,
        ];
        self.client.execute(INSERT_PERIOD, &parameters).await?;
        Ok(seal)
    }
}

/// The owner after this one; none after the last that there can be.
pub(super) fn next_owner(owner: Uuid) -> Option<Uuid> {
    owner.as_u128().checked_add(1).map(Uuid::from_u128)
}

/// The columns of carry-forwards, one array for each.
struct AccountColumns<'a> {
    owners: Vec<Uuid>,
    accounts: Vec<Uuid>,
    units: Vec<&'a str>,
    versions: Vec<i64>,
    times: Vec<DateTime<Utc>>,
    reservation_counts: Vec<i64>,
    entries: Vec<i64>,
    available: Vec<Decimal>,
    held: Vec<Decimal>,
    digests: Vec<&'a [u8]>,
}

impl<'a> AccountColumns<'a> {
    fn of(seals: &'a [AccountSeal]) -> Self {
        let balances = || seals.iter().map(|seal| seal.carried.balance);
        Self {
            owners: seals.iter().map(|seal| seal.key.owner.0).collect(),
            accounts: seals.iter().map(|seal| seal.key.account.0).collect(),
            units: seals.iter().map(|seal| seal.key.unit.as_str()).collect(),
            versions: balances().map(|balance| balance.version).collect(),
            times: seals
                .iter()
                .map(|seal| seal.carried.time.to_chrono())
                .collect(),
            reservation_counts: balances()
                .map(|balance| balance.reservation_count)
                .collect(),
            entries: seals.iter().map(|seal| seal.entries).collect(),
            available: balances()
                .map(|balance| balance.available.to_decimal())
                .collect(),
            held: balances()
                .map(|balance| balance.held.to_decimal())
                .collect(),
            digests: seals.iter().map(|seal| &seal.digest.0[..]).collect(),
        }
    }

    fn parameters<'p>(&'p self, end: &'p DateTime<Utc>) -> [&'p (dyn ToSql + Sync); 11] {
        [
            end,
            &self.owners,
            &self.accounts,
            &self.units,
            &self.versions,
            &self.times,
            &self.reservation_counts,
            &self.entries,
            &self.available,
            &self.held,
            &self.digests,
        ]
    }
}
