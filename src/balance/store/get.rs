//! One balance as it stands or stood, and the reservations that were open then: one statement, so one snapshot.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use super::accounts::amount;
use crate::balance::model::{
    BalanceAccount, BalanceQuery, BalanceSide, Moment, OpenReservation, PastBalance,
};
use crate::db::enterprise_status::{self, EnterpriseStatus};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::connection;
use crate::db::statement::{SqlTexts, Statement};
use crate::error::{Error, Result};
use crate::ledger::account::Balance;
use crate::limits::RESERVATIONS_SHOWN_MAX;
use crate::types::ids::{AccountId, AllocationId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// What the enterprise that asks may do, and the account of the connection that is named, if one of its sides is the
/// enterprise's: one round trip.
pub(in crate::balance) async fn account(
    pool: &Pool,
    get: &BalanceQuery,
) -> Result<(Option<EnterpriseStatus>, Option<BalanceAccount>)> {
    let (status, row) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        try_join!(enterprise_status::find(db, get.enterprise), find(db, get))
    })
    .await?;
    let account = row.map(|(id, owner)| BalanceAccount {
        owner: OwnerId(owner),
        id: AccountId(id),
        side: if owner == get.enterprise.0 {
            BalanceSide::Client
        } else {
            BalanceSide::Partner
        },
    });
    Ok((status, account))
}

async fn find(mut db: &AsyncPgConnection, get: &BalanceQuery) -> QueryResult<Option<(Uuid, Uuid)>> {
    let Some(id) = get.connection else {
        return Ok(None);
    };
    let own = connection::client_enterprise_id
        .eq(get.enterprise.0)
        .or(connection::partner_enterprise_id.eq(get.enterprise.0));
    connection::table
        .filter(connection::id.eq(id.0))
        .filter(own)
        .select((connection::id, connection::client_enterprise_id))
        .first(&mut db)
        .await
        .optional()
}

/// An account at a moment, and what says whether that moment has been reached.
#[derive(Debug)]
pub(in crate::balance) struct BalanceSnapshot {
    /// The database's clock when the statement ran.
    pub clock: Time,
    /// The time of the newest entry that the side that asks may see: a client's of its whole enterprise, a partner's of this account.
    pub newest: Option<Time>,
    /// The account's current version; 0 before its first entry.
    pub version: i64,
    /// Its owner, if a reservation in it had expired. It is to be released, and the account to be read again by the clock
    /// of the first read.
    pub expired: Vec<OwnerId>,
    /// The account as it was at the moment; none if the version that was asked for does not exist yet.
    pub past: Option<PastBalance>,
}

type BalanceColumns = (
    Timestamptz,
    Nullable<Timestamptz>,
    BigInt,
    Bool,
    Nullable<BigInt>,
    Nullable<Numeric>,
    Nullable<Numeric>,
    Timestamptz,
    BigInt,
    Text,
    Nullable<SqlUuid>,
    Nullable<Numeric>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
);

#[derive(Queryable)]
struct Row {
    clock: DateTime<Utc>,
    newest: Option<DateTime<Utc>>,
    latest: i64,
    is_expired: bool,
    version: Option<i64>,
    available: Option<Decimal>,
    held: Option<Decimal>,
    as_of: DateTime<Utc>,
    count: i64,
    total: String,
    allocation: Option<Uuid>,
    quantity: Option<Decimal>,
    created_at: Option<DateTime<Utc>>,
    expire_time: Option<DateTime<Utc>>,
}

/// Reads an account at a moment, and whether any reservation in it had expired at this clock.
pub(in crate::balance) async fn snapshot(
    pool: &Pool,
    account: &BalanceAccount,
    unit: &Unit,
    moment: Moment,
    clock: Time,
) -> Result<BalanceSnapshot> {
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        statement(account, unit, moment, clock)
            .load(connection)
            .await
    })
    .await?;
    let [first, ..] = rows.as_slice() else {
        return Err(Error::internal("a balance was answered without a row"));
    };
    let past = match first.version {
        Some(version) => Some(PastBalance {
            balance: Balance {
                available: amount(first.available.unwrap_or_default())?,
                held: amount(first.held.unwrap_or_default())?,
                version,
            },
            as_of: first.as_of.into(),
            count: first.count,
            total: first.total.clone(),
            reservations: rows
                .iter()
                .filter_map(|row| reservation(row).transpose())
                .collect::<Result<_>>()?,
        }),
        None => None,
    };
    Ok(BalanceSnapshot {
        clock: first.clock.into(),
        newest: first.newest.map(Time::from),
        version: first.latest,
        expired: first
            .is_expired
            .then_some(account.owner)
            .into_iter()
            .collect(),
        past,
    })
}

fn reservation(row: &Row) -> Result<Option<OpenReservation>> {
    let (Some(id), Some(quantity), Some(created_at)) =
        (row.allocation, row.quantity, row.created_at)
    else {
        return Ok(None);
    };
    Ok(Some(OpenReservation {
        allocation: AllocationId(id),
        quantity: amount(quantity)?,
        created_at: created_at.into(),
        expire_time: row.expire_time.map(Time::from),
    }))
}

/// Whose look at which kind of account the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AccountView {
    Custody,
    ConnectionOfClient,
    ConnectionOfPartner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MomentKind {
    Now,
    At,
    Version,
}

/// What the text depends on: nine are possible.
type BalanceTextShape = (AccountView, MomentKind);

fn statement(
    account: &BalanceAccount,
    unit: &Unit,
    moment: Moment,
    clock: Time,
) -> Statement<BalanceColumns> {
    static TEXTS: SqlTexts<BalanceTextShape> = SqlTexts::new(text);

    let view = match account.side {
        BalanceSide::Partner => AccountView::ConnectionOfPartner,
        BalanceSide::Client if account.id == AccountId::OWN => AccountView::Custody,
        BalanceSide::Client => AccountView::ConnectionOfClient,
    };
    let kind = match moment {
        Moment::Now => MomentKind::Now,
        Moment::At(_) => MomentKind::At,
        Moment::Version(_) => MomentKind::Version,
    };
    let statement = Statement::new(&TEXTS.get((view, kind)))
        .bind("owner", account.owner.0)
        .bind("account", account.id.0)
        .bind("unit", unit.to_string())
        .bind("clock", clock);
    match moment {
        Moment::Now => statement,
        Moment::At(time) => statement.bind("time", time),
        Moment::Version(version) => statement.bind("version", version),
    }
}

fn text((view, moment): &BalanceTextShape) -> String {
    const NEWEST_OF_OWNER: &str = "(SELECT max(e.time) FROM entry e WHERE e.owner_id = :owner)";
    const NEWEST_OF_OWNER_THEN: &str =
        "(SELECT max(e.time) FROM entry e WHERE e.owner_id = :owner AND e.time <= :time)";
    const NEWEST_OF_ACCOUNT: &str = "(SELECT e.time FROM entry e WHERE e.owner_id = :owner AND e.account_id = :account \
        AND e.unit = :unit AND e.version = latest.version)";
    let (search, version) = match moment {
        MomentKind::Now => ("", "SELECT version FROM latest"),
        MomentKind::At => (SEARCH, "SELECT low AS version FROM search WHERE low = high"),
        MomentKind::Version => (
            "",
            "SELECT :version AS version FROM latest WHERE :version <= version",
        ),
    };
    let open = match view {
        AccountView::Custody => "a.type = 'ALLOCATION'",
        AccountView::ConnectionOfClient | AccountView::ConnectionOfPartner => {
            "a.type = 'DEALLOCATION' AND a.connection_id = :account"
        }
    };
    let (newest, as_of) = match (view, moment) {
        (AccountView::ConnectionOfPartner, _) => (NEWEST_OF_ACCOUNT, "p.time"),
        (_, MomentKind::Now) => (NEWEST_OF_OWNER, NEWEST_OF_OWNER),
        (_, MomentKind::At) => (NEWEST_OF_OWNER, NEWEST_OF_OWNER_THEN),
        (_, MomentKind::Version) => (NEWEST_OF_OWNER, "p.time"),
    };
    TEXT.replace("{search}", search)
        .replace("{version}", version)
        .replace("{open}", open)
        .replace("{newest}", newest)
        .replace("{as_of}", as_of)
        .replace("{limit}", &RESERVATIONS_SHOWN_MAX.to_string())
}

/// Versions run 1, 2, 3 … and times never go back (L4), so the version at a time is found by halving: some twenty
/// probes of the primary key for a million entries. `LIMIT 1` holds the planner to that.
const SEARCH: &str = "\
    search(low, high) AS (\
        SELECT 0::bigint, version FROM latest \
        UNION ALL \
        SELECT CASE WHEN e.time <= :time THEN s.mid ELSE s.low END, CASE WHEN e.time <= :time THEN s.high ELSE s.mid - 1 END \
        FROM (SELECT low, high, (low + high + 1) / 2 AS mid FROM search WHERE low < high) s \
        CROSS JOIN LATERAL (\
            SELECT e.time FROM entry e \
            WHERE e.owner_id = :owner AND e.account_id = :account AND e.unit = :unit AND e.version = s.mid LIMIT 1\
        ) e\
    ), ";

/// The account's version, the entry that made it, and what was open then: what is open now and was there, and what has
/// been closed since. A closing takes from `held`; of those only records are looked up that were there, which their ids
/// tell, since these begin with the time of creation: `next_id` is the first of a later millisecond.
const TEXT: &str = "\
    WITH RECURSIVE latest AS MATERIALIZED (\
        SELECT coalesce((\
            SELECT a.version FROM account a WHERE a.owner_id = :owner AND a.account_id = :account AND a.unit = :unit\
        ), 0) AS version\
    ), {search}point AS MATERIALIZED (\
        SELECT p.version, e.available, e.held, coalesce(e.time, 'epoch') AS time, \
            rpad(lpad(to_hex(floor(extract(epoch FROM coalesce(e.time, 'epoch')) * 1000)::bigint + 1), 12, '0'), \
                 32, '0')::uuid AS next_id \
        FROM ({version}) p \
        LEFT JOIN LATERAL (\
            SELECT e.available, e.held, e.time FROM entry e \
            WHERE e.owner_id = :owner AND e.account_id = :account AND e.unit = :unit AND e.version = p.version LIMIT 1\
        ) e ON true\
    ), open AS MATERIALIZED (\
        SELECT a.id, a.quantity, a.created_at, a.expire_time \
        FROM point p JOIN allocation a ON a.created_at <= p.time \
        WHERE a.owner_id = :owner AND a.currency = :unit AND a.status = 'RESERVED' AND {open} \
        UNION ALL \
        SELECT a.id, a.quantity, a.created_at, a.expire_time \
        FROM point p \
        JOIN entry e ON e.version > p.version AND e.cause_id < p.next_id \
        JOIN allocation a ON a.owner_id = :owner AND a.id = e.cause_id AND a.created_at <= p.time \
        WHERE e.owner_id = :owner AND e.account_id = :account AND e.unit = :unit AND e.held_delta < 0\
    ) \
    SELECT clock_timestamp(), {newest}, latest.version, \
        EXISTS (\
            SELECT FROM allocation a \
            WHERE a.owner_id = :owner AND a.currency = :unit AND a.status = 'RESERVED' AND a.expire_time <= :clock AND {open}\
        ), p.version, p.available, p.held, coalesce({as_of}, 'epoch'), \
        t.count, t.total, o.id, o.quantity, o.created_at, o.expire_time \
    FROM latest LEFT JOIN point p ON true \
    CROSS JOIN (SELECT count(*), trim_scale(coalesce(sum(quantity), 0))::text AS total FROM open) t \
    LEFT JOIN LATERAL (SELECT * FROM open ORDER BY created_at, id LIMIT {limit}) o ON true \
    ORDER BY o.created_at, o.id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        let account = |id, side| BalanceAccount {
            owner: OwnerId(Uuid::nil()),
            id,
            side,
        };
        for account in [
            account(AccountId::OWN, BalanceSide::Client),
            account(AccountId(Uuid::nil()), BalanceSide::Client),
            account(AccountId(Uuid::nil()), BalanceSide::Partner),
        ] {
            for moment in [Moment::Now, Moment::At(Time::MIN), Moment::Version(1)] {
                let statement = statement(&account, &Unit::stored("EUR"), moment, Time::MIN);
                let sql = statement.sql().expect("complete");
                assert!(!sql.contains('{'), "{sql}");
            }
        }
    }
}
