//! One balance as it stands or stood, and the reservations that were open then: one statement, so one snapshot.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use super::amount;
use crate::balance::model::{Account, Get, Moment, Reservation, Side};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::connection;
use crate::db::standing::{self, Standing};
use crate::db::statement::{Parameter, Statement};
use crate::error::{Error, Result};
use crate::ledger::model::Balance;
use crate::limits::RESERVATIONS_SHOWN_MAX;
use crate::types::ids::{AccountId, AllocationId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The enterprise that asks, and the connection that is named, if one of its sides is the enterprise's: one round trip.
pub(in crate::balance) async fn account(
    pool: &Pool,
    get: &Get,
) -> Result<(Option<Standing>, Option<Account>)> {
    let (standing, row) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        try_join!(standing::find(db, get.enterprise), find(db, get))
    })
    .await?;
    let account = row.map(|(id, owner)| Account {
        owner: OwnerId(owner),
        id: AccountId(id),
        side: if owner == get.enterprise.0 {
            Side::Client
        } else {
            Side::Partner
        },
    });
    Ok((standing, account))
}

async fn find(mut db: &AsyncPgConnection, get: &Get) -> QueryResult<Option<(Uuid, Uuid)>> {
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

/// What one statement saw.
#[derive(Debug)]
pub(in crate::balance) struct Snapshot {
    /// The database's clock.
    pub clock: Time,
    /// The newest entry that the asking side may know of: a client's of its whole enterprise, a partner's of this account.
    pub newest: Option<Time>,
    /// The account's version now.
    pub version: i64,
    /// Its owner, if a reservation in it was due: to be released, and the account to be read again by the same clock.
    pub due: Vec<OwnerId>,
    /// What was asked for; none if that version does not exist yet.
    pub past: Option<Past>,
}

/// An account at one of its versions.
#[derive(Debug)]
pub(in crate::balance) struct Past {
    /// What it held.
    pub balance: Balance,
    /// The time that leads to the same answer for ever.
    pub as_of: Time,
    /// The oldest of the reservations that were open.
    pub reservations: Vec<Reservation>,
    /// How many were open.
    pub count: i64,
    /// Their sum.
    pub total: String,
}

type Columns = (
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
    is_due: bool,
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

/// Reads an account at a moment, and whether anything in it was due at this clock.
pub(in crate::balance) async fn snapshot(
    pool: &Pool,
    account: &Account,
    unit: &Unit,
    moment: Moment,
    clock: Time,
) -> Result<Snapshot> {
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
        Some(version) => Some(Past {
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
    Ok(Snapshot {
        clock: first.clock.into(),
        newest: first.newest.map(Time::from),
        version: first.latest,
        due: first.is_due.then_some(account.owner).into_iter().collect(),
        past,
    })
}

fn reservation(row: &Row) -> Result<Option<Reservation>> {
    let (Some(id), Some(quantity), Some(created_at)) =
        (row.allocation, row.quantity, row.created_at)
    else {
        return Ok(None);
    };
    Ok(Some(Reservation {
        allocation: AllocationId(id),
        quantity: amount(quantity)?,
        created_at: created_at.into(),
        expire_time: row.expire_time.map(Time::from),
    }))
}

/// Nine texts: three moments of custody, of a connection as its client sees it, and as its partner does.
fn statement(account: &Account, unit: &Unit, moment: Moment, clock: Time) -> Statement<Columns> {
    let mut parameters = vec![
        Parameter::Id(account.owner.0),
        Parameter::Id(account.id.0),
        Parameter::Text(unit.to_string()),
        clock.into(),
    ];
    let (search, version) = match moment {
        Moment::Now => ("", "SELECT version FROM latest"),
        Moment::At(time) => {
            parameters.push(time.into());
            (SEARCH, "SELECT low AS version FROM search WHERE low = high")
        }
        Moment::Version(version) => {
            parameters.push(Parameter::Count(version));
            ("", "SELECT $5 AS version FROM latest WHERE $5 <= version")
        }
    };
    let open = if account.id == AccountId::OWN {
        "a.type = 'ALLOCATION'"
    } else {
        "a.type = 'DEALLOCATION' AND a.connection_id = $2"
    };
    const NEWEST_OF_OWNER: &str = "(SELECT max(e.time) FROM entry e WHERE e.owner_id = $1)";
    const NEWEST_OF_OWNER_THEN: &str =
        "(SELECT max(e.time) FROM entry e WHERE e.owner_id = $1 AND e.time <= $5)";
    const NEWEST_OF_ACCOUNT: &str = "(SELECT e.time FROM entry e WHERE e.owner_id = $1 AND e.account_id = $2 \
        AND e.unit = $3 AND e.version = latest.version)";
    let (newest, as_of) = match (account.side, moment) {
        (Side::Client, Moment::Now) => (NEWEST_OF_OWNER, NEWEST_OF_OWNER),
        (Side::Client, Moment::At(_)) => (NEWEST_OF_OWNER, NEWEST_OF_OWNER_THEN),
        (Side::Client, Moment::Version(_)) => (NEWEST_OF_OWNER, "p.time"),
        (Side::Partner, _) => (NEWEST_OF_ACCOUNT, "p.time"),
    };
    let text = TEXT
        .replace("{search}", search)
        .replace("{version}", version)
        .replace("{open}", open)
        .replace("{newest}", newest)
        .replace("{as_of}", as_of)
        .replace("{limit}", &RESERVATIONS_SHOWN_MAX.to_string());
    Statement::new(text, parameters)
}

/// Versions run 1, 2, 3 … and times never go back (L4), so the version at a time is found by halving: some twenty
/// probes of the primary key for a million entries. `LIMIT 1` holds the planner to that.
const SEARCH: &str = "\
    search(low, high) AS (\
        SELECT 0::bigint, version FROM latest \
        UNION ALL \
        SELECT CASE WHEN e.time <= $5 THEN s.mid ELSE s.low END, CASE WHEN e.time <= $5 THEN s.high ELSE s.mid - 1 END \
        FROM (SELECT low, high, (low + high + 1) / 2 AS mid FROM search WHERE low < high) s \
        CROSS JOIN LATERAL (\
            SELECT e.time FROM entry e \
            WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.version = s.mid LIMIT 1\
        ) e\
    ), ";

/// The account's version, the entry that made it, and what was open then: what is open now and was there, and what has
/// been closed since. A closing takes from `held`; of those only records are looked up that were there, which their ids
/// tell, since these begin with the time of creation: `next_id` is the first of a later millisecond.
const TEXT: &str = "\
    WITH RECURSIVE latest AS MATERIALIZED (\
        SELECT coalesce((\
            SELECT a.version FROM account a WHERE a.owner_id = $1 AND a.account_id = $2 AND a.unit = $3\
        ), 0) AS version\
    ), {search}point AS MATERIALIZED (\
        SELECT p.version, e.available, e.held, coalesce(e.time, 'epoch') AS time, \
            rpad(lpad(to_hex(floor(extract(epoch FROM coalesce(e.time, 'epoch')) * 1000)::bigint + 1), 12, '0'), \
                 32, '0')::uuid AS next_id \
        FROM ({version}) p \
        LEFT JOIN LATERAL (\
            SELECT e.available, e.held, e.time FROM entry e \
            WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.version = p.version LIMIT 1\
        ) e ON true\
    ), open AS MATERIALIZED (\
        SELECT a.id, a.quantity, a.created_at, a.expire_time \
        FROM point p JOIN allocation a ON a.created_at <= p.time \
        WHERE a.owner_id = $1 AND a.currency = $3 AND a.status = 'RESERVED' AND {open} \
        UNION ALL \
        SELECT a.id, a.quantity, a.created_at, a.expire_time \
        FROM point p \
        JOIN entry e ON e.version > p.version AND e.cause_id < p.next_id \
        JOIN allocation a ON a.owner_id = $1 AND a.id = e.cause_id AND a.created_at <= p.time \
        WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.held_delta < 0\
    ) \
    SELECT clock_timestamp(), {newest}, latest.version, \
        EXISTS (\
            SELECT FROM allocation a \
            WHERE a.owner_id = $1 AND a.currency = $3 AND a.status = 'RESERVED' AND a.expire_time <= $4 AND {open}\
        ), p.version, p.available, p.held, coalesce({as_of}, 'epoch'), \
        t.count, t.total, o.id, o.quantity, o.created_at, o.expire_time \
    FROM latest LEFT JOIN point p ON true \
    CROSS JOIN (SELECT count(*), trim_scale(coalesce(sum(quantity), 0))::text AS total FROM open) t \
    LEFT JOIN LATERAL (SELECT * FROM open ORDER BY created_at, id LIMIT {limit}) o ON true \
    ORDER BY o.created_at, o.id";
