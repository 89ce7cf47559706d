//! One balance as it stands or stood: all that are asked for at the same time in one statement, and so each from one
//! snapshot. What it costs depends neither on the moment nor on how many reservations are open: an entry has the number of
//! these beside the amounts.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Numeric, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::accounts::amount;
use crate::balance::model::{BalanceAccount, BalanceQuery, BalanceSide, Moment, PastBalance};
use crate::db::coalesce::ReadMany;
use crate::db::enterprise_status::EnterpriseStatus;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, Statement};
use crate::error::Result;
use crate::ledger::account::Balance;
use crate::types::ids::{AccountId, ClientId, OwnerId};
use crate::types::time::Time;

/// The balance that is asked for, and the clock by which reservations have expired; without one, that of the statement.
#[derive(Clone, Debug)]
pub(in crate::balance) struct BalanceKey {
    query: BalanceQuery,
    clock: Option<Time>,
}

impl BalanceKey {
    pub(in crate::balance) fn new(query: &BalanceQuery, clock: Option<Time>) -> Self {
        Self {
            query: query.clone(),
            clock,
        }
    }
}

/// What was found by a key.
#[derive(Debug)]
pub(in crate::balance) struct FoundBalance {
    /// What the enterprise that asks may do, if it exists.
    pub(in crate::balance) enterprise: Option<EnterpriseStatus>,
    /// The account, if the enterprise has a side of it.
    pub(in crate::balance) account: Option<BalanceAccount>,
    /// Whether any reservation of the account's owner had expired. These are to be released, and the account to be read
    /// again by the clock of the first read.
    has_expired: bool,
    /// The account's balance; none without the account.
    pub(in crate::balance) snapshot: Option<BalanceSnapshot>,
}

impl FoundBalance {
    /// The owner whose reservations are to be released before the balance is shown.
    pub(in crate::balance) fn expired(&self) -> Vec<OwnerId> {
        let owner = self.account.filter(|_| self.has_expired);
        owner.map(|account| account.owner).into_iter().collect()
    }
}

/// An account at a moment, and what says whether that moment has been reached.
#[derive(Debug)]
pub(in crate::balance) struct BalanceSnapshot {
    /// The database's clock when the statement began.
    pub(in crate::balance) clock: Time,
    /// The time of the newest entry that the side that asks may see: a client's of its whole enterprise, a partner's of this account.
    pub(in crate::balance) newest: Option<Time>,
    /// The account's current version; 0 before its first entry.
    pub(in crate::balance) version: i64,
    /// The account as it was at the moment; none if there is no entry of its version.
    pub(in crate::balance) past: Option<PastBalance>,
}

/// Reads balances, many in one statement.
#[derive(Debug)]
pub(in crate::balance) struct BalancesByKey(pub(in crate::balance) Pool);

impl ReadMany for BalancesByKey {
    type Key = BalanceKey;
    type Value = FoundBalance;

    fn read(
        &self,
        keys: &[BalanceKey],
    ) -> impl Future<Output = Result<Vec<Result<FoundBalance>>>> + Send {
        get_all(&self.0, keys)
    }
}

async fn get_all(pool: &Pool, keys: &[BalanceKey]) -> Result<Vec<Result<FoundBalance>>> {
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        statement(keys).load(connection).await
    })
    .await?;
    let mut found: Vec<Option<Row>> = keys.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.number).ok();
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = Some(row);
        }
    }
    let found = found.into_iter().zip(keys);
    Ok(found.map(|(row, key)| found_balance(row, key)).collect())
}

fn found_balance(row: Option<Row>, key: &BalanceKey) -> Result<FoundBalance> {
    let Some(row) = row else {
        return Ok(FoundBalance {
            enterprise: None,
            account: None,
            has_expired: false,
            snapshot: None,
        });
    };
    let account = row.owner.map(|owner| BalanceAccount {
        owner: OwnerId(owner),
        id: key.query.connection.map_or(AccountId::OWN, AccountId::from),
        side: if owner == key.query.enterprise.0 {
            BalanceSide::Client
        } else {
            BalanceSide::Partner
        },
    });
    let enterprise = EnterpriseStatus {
        licensed: row.licensed,
        client: row.client.map(ClientId),
        has_partner: row.has_partner,
        clock: row.clock.into(),
    };
    let snapshot = account.map(|account| snapshot(&row, account.side, key.query.moment));
    Ok(FoundBalance {
        enterprise: Some(enterprise),
        account,
        has_expired: row.has_expired,
        snapshot: snapshot.transpose()?,
    })
}

fn snapshot(row: &Row, side: BalanceSide, moment: Moment) -> Result<BalanceSnapshot> {
    let as_of = match (side, moment) {
        (BalanceSide::Client, Moment::Now) => row.newest,
        (BalanceSide::Client, Moment::At(_)) => row.newest_then,
        _ => row.time,
    };
    let past = match (row.available, row.held, row.reservation_count) {
        (Some(available), Some(held), Some(reservation_count)) => Some(Balance {
            available: amount(available)?,
            held: amount(held)?,
            version: row.version,
            reservation_count,
        }),
        // Before the first entry.
        _ if row.version == 0 => Some(Balance::default()),
        _ => None,
    };
    let or_epoch = |time: Option<DateTime<Utc>>| time.unwrap_or(DateTime::UNIX_EPOCH).into();
    Ok(BalanceSnapshot {
        clock: row.clock.into(),
        newest: row.newest.map(Time::from),
        version: row.latest,
        past: past.map(|balance| PastBalance {
            balance,
            time: or_epoch(row.time),
            as_of: or_epoch(as_of),
        }),
    })
}

type BalanceColumns = (
    BigInt,
    Timestamptz,
    Bool,
    Nullable<SqlUuid>,
    Bool,
    Nullable<SqlUuid>,
    Bool,
    BigInt,
    BigInt,
    Nullable<Numeric>,
    Nullable<Numeric>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
);

#[derive(Queryable)]
struct Row {
    number: i64,
    clock: DateTime<Utc>,
    licensed: bool,
    client: Option<Uuid>,
    has_partner: bool,
    owner: Option<Uuid>,
    has_expired: bool,
    /// The account's current version.
    latest: i64,
    /// The version at the moment that is asked for, and below what its entry has.
    version: i64,
    available: Option<Decimal>,
    held: Option<Decimal>,
    reservation_count: Option<i64>,
    time: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    /// The time of the owner's newest entry by the time that is asked for.
    newest_then: Option<DateTime<Utc>>,
}

fn statement(keys: &[BalanceKey]) -> Statement<BalanceColumns> {
    static SQL: LazyLock<SqlText> = LazyLock::new(|| SqlText::new(TEXT));

    let queries = || keys.iter().map(|key| &key.query);
    let numbers: Vec<i64> = (0..).take(keys.len()).collect();
    let enterprises: Vec<Uuid> = queries().map(|query| query.enterprise.0).collect();
    let is_custody: Vec<bool> = queries().map(|query| query.connection.is_none()).collect();
    let accounts = queries().map(|query| query.connection.map_or(AccountId::OWN, AccountId::from));
    let accounts: Vec<Uuid> = accounts.map(|account| account.0).collect();
    let units: Vec<String> = queries().map(|query| query.unit.to_string()).collect();
    let clocks: Vec<Option<DateTime<Utc>>> = keys
        .iter()
        .map(|key| key.clock.map(Time::to_chrono))
        .collect();
    let times: Vec<Option<DateTime<Utc>>> = queries()
        .map(|query| match query.moment {
            Moment::At(time) => Some(time.to_chrono()),
            Moment::Now | Moment::Version(_) => None,
        })
        .collect();
    let versions: Vec<Option<i64>> = queries()
        .map(|query| match query.moment {
            Moment::Version(version) => Some(version),
            Moment::Now | Moment::At(_) => None,
        })
        .collect();
    Statement::new(&SQL)
        .bind("numbers", numbers)
        .bind("enterprises", enterprises)
        .bind("is_custody", is_custody)
        .bind("accounts", accounts)
        .bind("units", units)
        .bind("clocks", clocks)
        .bind("times", times)
        .bind("versions", versions)
}

/// For each key the enterprise, the account that it has a side of, and the entry of the version at the moment that is asked
/// for. Versions run 1, 2, 3 … and times never go back (L4), so the version at a time is found by halving: some twenty
/// probes of the primary key for a million entries. LIMIT holds any plan to the keys.
const TEXT: &str = "\
    SELECT k.n, statement_timestamp(), n.oes_licensed, c.id, \
        EXISTS (SELECT FROM partner r WHERE r.enterprise_id = n.id), o.owner_id, d.has_expired IS NOT NULL, \
        coalesce(a.version, 0), p.version, b.available, b.held, b.reservation_count, b.time, \
        CASE WHEN o.owner_id = k.enterprise_id THEN (SELECT max(e.time) FROM entry e WHERE e.owner_id = o.owner_id) \
             ELSE (SELECT e.time FROM entry e \
                   WHERE e.owner_id = o.owner_id AND e.account_id = k.account_id AND e.unit = k.unit \
                     AND e.version = a.version) END, \
        CASE WHEN o.owner_id = k.enterprise_id AND k.time IS NOT NULL THEN \
            (SELECT max(e.time) FROM entry e WHERE e.owner_id = o.owner_id AND e.time <= k.time) END \
    FROM unnest(:numbers, :enterprises, :is_custody, :accounts, :units, :clocks, :times, :versions) \
        k(n, enterprise_id, is_custody, account_id, unit, clock, time, version) \
    JOIN enterprise n ON n.id = k.enterprise_id \
    LEFT JOIN client c ON c.enterprise_id = n.id \
    LEFT JOIN LATERAL (\
        SELECT c.enterprise_id AS owner_id WHERE k.is_custody AND c.id IS NOT NULL \
        UNION ALL \
        (SELECT s.client_enterprise_id FROM connection s \
         WHERE NOT k.is_custody AND s.id = k.account_id \
           AND k.enterprise_id IN (s.client_enterprise_id, s.partner_enterprise_id) LIMIT 1)\
    ) o ON true \
    LEFT JOIN LATERAL (\
        SELECT a.version FROM account a \
        WHERE a.owner_id = o.owner_id AND a.account_id = k.account_id AND a.unit = k.unit LIMIT 1\
    ) a ON true \
    LEFT JOIN LATERAL (\
        WITH RECURSIVE search(low, high) AS (\
            SELECT 0::bigint, coalesce(a.version, 0) WHERE k.time IS NOT NULL \
            UNION ALL \
            SELECT CASE WHEN e.time <= k.time THEN s.mid ELSE s.low END, \
                CASE WHEN e.time <= k.time THEN s.high ELSE s.mid - 1 END \
            FROM (SELECT low, high, (low + high + 1) / 2 AS mid FROM search WHERE low < high) s \
            CROSS JOIN LATERAL (\
                SELECT e.time FROM entry e \
                WHERE e.owner_id = o.owner_id AND e.account_id = k.account_id AND e.unit = k.unit \
                  AND e.version = s.mid LIMIT 1\
            ) e\
        ) SELECT low AS version FROM search WHERE low = high\
    ) t ON true \
    CROSS JOIN LATERAL (SELECT CASE \
        WHEN k.version IS NOT NULL THEN k.version \
        WHEN k.time IS NOT NULL THEN coalesce(t.version, -1) \
        ELSE coalesce(a.version, 0) END AS version\
    ) p \
    LEFT JOIN LATERAL (\
        SELECT e.available, e.held, e.reservation_count, e.time FROM entry e \
        WHERE e.owner_id = o.owner_id AND e.account_id = k.account_id AND e.unit = k.unit \
          AND e.version = p.version LIMIT 1\
    ) b ON true \
    LEFT JOIN LATERAL (\
        SELECT true AS has_expired FROM open_allocation x \
        WHERE x.owner_id = o.owner_id \
          AND x.expire_time <= coalesce(k.clock, statement_timestamp()) \
        ORDER BY x.expire_time, x.id LIMIT 1\
    ) d ON true";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_a_value() {
        statement(&[]).sql().expect("complete");
    }
}
