//! The journal. Three ways through it, each of which costs a page what it holds, wherever the page lies:
//!
//! - a client's whole journal follows the index `entry_time` and passes over the accounts that are never shown;
//! - the entries of chosen accounts, or of a currency, come from the accounts' own histories: each is a range of versions
//!   of the primary key, found by halving, and of all of them only those that can reach into the page are read;
//! - the entries of named causes come from their records, whose times lead to them.
//!
//! A partner's list never takes the first way: its cost would tell how much else its clients do.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use super::{Found, amount};
use crate::balance::model::{Accounts, Entry, EntryList};
use crate::db::due::{self, Part};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::schema::connection;
use crate::db::statement::{Parameter, Statement};
use crate::db::{read, standing};
use crate::error::{Error, Result};
use crate::ledger::model::{Balance, Cause};
use crate::types::ids::{AccountId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Which accounts an enterprise may see, of those that it asks for.
#[derive(Debug)]
pub(in crate::balance) enum Visible {
    /// All of its own, and no other's.
    Journal(OwnerId),
    /// These.
    Accounts(Vec<(OwnerId, AccountId)>),
}

type Pairs = Vec<(OwnerId, AccountId)>;

/// What the enterprise may see of what it asks for.
pub(in crate::balance) async fn visible(pool: &Pool, list: &EntryList) -> Result<Found<Visible>> {
    let (enterprise, own) = (list.enterprise, OwnerId::from(list.enterprise));
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let standing = standing::find(db, enterprise);
        let (standing, due, accounts) = match list.accounts {
            Accounts::Custody => {
                let (standing, due) = try_join!(standing, due::of_client(db, enterprise, None))?;
                (standing, due, vec![(own, AccountId::OWN)])
            }
            Accounts::Connection(id) => try_join!(
                standing,
                due::of_connection(db, enterprise, id, None),
                one(db, enterprise, id)
            )?,
            Accounts::All => {
                let (standing, mut due, of_partners_due, mut accounts) = try_join!(
                    standing,
                    due::of_client(db, enterprise, None),
                    due::of_partner(db, enterprise, Part::default(), None),
                    of_partners(db, enterprise)
                )?;
                due.extend(of_partners_due);
                if standing.is_some_and(|standing| standing.client.is_some()) {
                    let whole = list.unit.is_none() && list.cause_ids.is_empty();
                    if whole && accounts.is_empty() {
                        let found = Visible::Journal(own);
                        return Ok(Found {
                            standing,
                            due,
                            found,
                        });
                    }
                    accounts.push((own, AccountId::OWN));
                    accounts.extend(of_client(db, enterprise).await?);
                }
                (standing, due, accounts)
            }
        };
        let found = Visible::Accounts(accounts);
        Ok::<_, TransactionError>(Found {
            standing,
            due,
            found,
        })
    })
    .await
}

async fn one(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    id: ConnectionId,
) -> QueryResult<Pairs> {
    let own = connection::client_enterprise_id
        .eq(enterprise.0)
        .or(connection::partner_enterprise_id.eq(enterprise.0));
    let rows = connection::table
        .filter(connection::id.eq(id.0))
        .filter(own)
        .select((connection::client_enterprise_id, connection::id))
        .load(&mut db)
        .await?;
    Ok(pairs(rows))
}

async fn of_client(mut db: &AsyncPgConnection, enterprise: EnterpriseId) -> QueryResult<Pairs> {
    let rows = connection::table
        .filter(connection::client_enterprise_id.eq(enterprise.0))
        .select((connection::client_enterprise_id, connection::id))
        .load(&mut db)
        .await?;
    Ok(pairs(rows))
}

async fn of_partners(mut db: &AsyncPgConnection, enterprise: EnterpriseId) -> QueryResult<Pairs> {
    let rows = connection::table
        .filter(connection::partner_enterprise_id.eq(enterprise.0))
        .select((connection::client_enterprise_id, connection::id))
        .load(&mut db)
        .await?;
    Ok(pairs(rows))
}

fn pairs(rows: Vec<(Uuid, Uuid)>) -> Pairs {
    let pair = |(owner, account)| (OwnerId(owner), AccountId(account));
    rows.into_iter().map(pair).collect()
}

type Columns = (
    SqlUuid,
    Text,
    BigInt,
    Numeric,
    Numeric,
    Numeric,
    Numeric,
    Text,
    SqlUuid,
    Timestamptz,
    Nullable<Text>,
);

#[derive(Queryable)]
struct Row {
    account_id: Uuid,
    unit: String,
    version: i64,
    available_delta: Decimal,
    held_delta: Decimal,
    available: Decimal,
    held: Decimal,
    cause: String,
    cause_id: Uuid,
    time: DateTime<Utc>,
    external_id: Option<String>,
}

impl TryFrom<Row> for Entry {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            account: AccountId(row.account_id),
            unit: Unit::stored(&row.unit),
            available_delta: amount(row.available_delta)?,
            held_delta: amount(row.held_delta)?,
            after: Balance {
                available: amount(row.available)?,
                held: amount(row.held)?,
                version: row.version,
            },
            cause: Cause::parse(&row.cause)
                .ok_or_else(|| Error::internal("an entry has an unknown cause"))?,
            cause_id: row
                .external_id
                .unwrap_or_else(|| row.cause_id.as_hyphenated().to_string()),
            time: row.time.into(),
        })
    }
}

/// A page of the journal and one more.
pub(in crate::balance) async fn entries(
    pool: &Pool,
    list: &EntryList,
    visible: &Visible,
) -> Result<Vec<Entry>> {
    if matches!(visible, Visible::Accounts(accounts) if accounts.is_empty()) {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = match visible {
            Visible::Journal(owner) => journal(list, *owner),
            Visible::Accounts(accounts) if list.cause_ids.is_empty() => histories(list, accounts),
            Visible::Accounts(accounts) => of_causes(list, accounts),
        };
        statement.load(connection).await
    })
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// What is shown of the entries in `page`, of which an adjustment is named by its external id.
const SELECT: &str = "\
    SELECT p.account_id, p.unit, p.version, p.available_delta, p.held_delta, p.available, p.held, p.cause, p.cause_id, \
        p.time, CASE WHEN p.cause = 'ADJUST' THEN (\
            SELECT j.external_id FROM adjustment j WHERE j.owner_id = p.owner_id AND j.id = p.cause_id\
        ) END \
    FROM page p ORDER BY p.time {direction}, p.account_id {direction}, p.unit {direction}";

fn text(parts: &[&str], list: &EntryList) -> String {
    let (direction, follows) = if list.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    parts
        .concat()
        .replace("{direction}", direction)
        .replace("{follows}", follows)
}

/// Causes as parameter; empty lets every cause pass.
fn causes(list: &EntryList) -> Parameter {
    let causes = list.causes.iter().map(|cause| cause.as_str().to_owned());
    Parameter::Texts(causes.collect())
}

/// Where a page begins, as an entry that comes right before it, and the bounds of times.
fn range(list: &EntryList) -> [Parameter; 5] {
    let (from, to) = (list.from.unwrap_or(Time::MIN), list.to.unwrap_or(Time::MAX));
    // No account lies before the nil UUID: with it, a time stands before all its entries, the next one behind them.
    let start = if list.descending { to.next() } else { from };
    let (time, account, unit) = match list.page.after() {
        Some(cursor) => (cursor.time, cursor.account.0, cursor.unit.clone()),
        None => (start, Uuid::nil(), String::new()),
    };
    [
        time.into(),
        Parameter::Id(account),
        Parameter::Text(unit),
        from.into(),
        to.into(),
    ]
}

/// All of an owner's entries but those of its world and transit accounts.
fn journal(list: &EntryList, owner: OwnerId) -> Statement<Columns> {
    const PAGE: &str = "\
        WITH page AS (\
            SELECT e.* FROM entry e \
            WHERE e.owner_id = $1 AND (e.time, e.account_id, e.unit) {follows} ($4, $5, $6) \
              AND e.time >= $7 AND e.time <= $8 \
              AND e.account_id NOT IN ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003') \
              AND (cardinality($2) = 0 OR e.cause = ANY($2)) \
            ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT $3\
        ) ";
    let mut parameters = vec![
        Parameter::Id(owner.0),
        causes(list),
        Parameter::Count(list.page.fetch()),
    ];
    parameters.extend(range(list));
    Statement::new(text(&[PAGE, SELECT], list), parameters)
}

/// The entries of accounts, from the accounts' own histories: in each, versions and times run together (L4).
///
/// `history`: the accounts, and the times that lie before and at the end of what is wanted of each. `search`: the
/// versions at these times, by halving; a time that is not set needs no search. `span`: the versions between. `head`: the
/// first entry of each, and of these as many as a page has: no other history reaches into it. The LATERALs' limits hold
/// the planner to the primary key.
fn histories(list: &EntryList, accounts: &[(OwnerId, AccountId)]) -> Statement<Columns> {
    const RISING: &str = "\
        greatest($6, CASE WHEN (a.account_id, a.unit) > ($9, $10) THEN $8 - interval '1 microsecond' ELSE $8 END) \
            AS below, $7 AS upto ";
    const FALLING: &str = "\
        $6 AS below, least($7, CASE WHEN (a.account_id, a.unit) < ($9, $10) THEN $8 ELSE $8 - interval '1 microsecond' END) \
            AS upto ";
    const HISTORY: &str = "WITH RECURSIVE history AS MATERIALIZED (\
            SELECT a.owner_id, a.account_id, a.unit, a.version, ";
    const PAGE: &str = "\
            FROM unnest($1, $2) v(owner_id, account_id) JOIN account a USING (owner_id, account_id) \
            WHERE $3 IS NULL OR a.unit = $3\
        ), search(owner_id, account_id, unit, edge, time, low, high) AS (\
            SELECT h.owner_id, h.account_id, h.unit, e.edge, e.time, \
                CASE WHEN e.time IS NULL AND e.edge = 1 THEN h.version ELSE 0 END, \
                CASE WHEN e.time IS NULL AND e.edge = 0 THEN 0 ELSE h.version END \
            FROM history h CROSS JOIN LATERAL (VALUES (0, h.below), (1, h.upto)) e(edge, time) \
            UNION ALL \
            SELECT s.owner_id, s.account_id, s.unit, s.edge, s.time, \
                CASE WHEN e.time <= s.time THEN s.mid ELSE s.low END, \
                CASE WHEN e.time <= s.time THEN s.high ELSE s.mid - 1 END \
            FROM (SELECT *, (low + high + 1) / 2 AS mid FROM search WHERE low < high) s \
            CROSS JOIN LATERAL (\
                SELECT e.time FROM entry e \
                WHERE e.owner_id = s.owner_id AND e.account_id = s.account_id AND e.unit = s.unit AND e.version = s.mid \
                LIMIT 1\
            ) e\
        ), span AS (\
            SELECT owner_id, account_id, unit, max(low) FILTER (WHERE edge = 0) AS below, \
                max(low) FILTER (WHERE edge = 1) AS upto \
            FROM search WHERE low = high GROUP BY owner_id, account_id, unit\
        ), head AS MATERIALIZED (\
            SELECT s.* FROM span s CROSS JOIN LATERAL (\
                SELECT e.time FROM entry e \
                WHERE e.owner_id = s.owner_id AND e.account_id = s.account_id AND e.unit = s.unit \
                  AND e.version > s.below AND e.version <= s.upto AND (cardinality($4) = 0 OR e.cause = ANY($4)) \
                ORDER BY e.version {direction} LIMIT 1\
            ) e ORDER BY e.time {direction}, s.account_id {direction}, s.unit {direction} LIMIT $5\
        ), page AS (\
            SELECT e.* FROM head s CROSS JOIN LATERAL (\
                SELECT e.* FROM entry e \
                WHERE e.owner_id = s.owner_id AND e.account_id = s.account_id AND e.unit = s.unit \
                  AND e.version > s.below AND e.version <= s.upto AND (cardinality($4) = 0 OR e.cause = ANY($4)) \
                ORDER BY e.version {direction} LIMIT $5\
            ) e ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT $5\
        ) ";
    let (owners, ids) = accounts.iter().map(|(owner, id)| (owner.0, id.0)).unzip();
    let cursor = list.page.after();
    let parameters = vec![
        Parameter::Ids(owners),
        Parameter::Ids(ids),
        Parameter::OptionalText(list.unit.as_ref().map(Unit::to_string)),
        causes(list),
        Parameter::Count(list.page.fetch()),
        list.from.map(Time::previous).into(),
        list.to.into(),
        cursor.map(|cursor| cursor.time).into(),
        Parameter::OptionalId(cursor.map(|cursor| cursor.account.0)),
        Parameter::OptionalText(cursor.map(|cursor| cursor.unit.clone())),
    ];
    let edges = if list.descending { FALLING } else { RISING };
    Statement::new(text(&[HISTORY, edges, PAGE, SELECT], list), parameters)
}

/// The entries of named records. Their times are those of their movements, so the index leads from each to its entries.
/// LIMIT and OFFSET hold the planner to the indexes: it would rather read a whole table than look 500 records up,
/// and IS TRUE to a hash of the accounts.
fn of_causes(list: &EntryList, accounts: &[(OwnerId, AccountId)]) -> Statement<Columns> {
    const PAGE: &str = "\
        WITH visible AS MATERIALIZED (\
            SELECT v.owner_id, v.account_id FROM unnest($9, $10) v(owner_id, account_id)\
        ), record AS MATERIALIZED (\
            SELECT a.owner_id, a.id, a.created_at, a.updated_at \
            FROM (SELECT DISTINCT owner_id FROM visible) o CROSS JOIN unnest($11) c(id) CROSS JOIN LATERAL (\
                SELECT a.* FROM allocation a WHERE a.owner_id = o.owner_id AND a.id = c.id LIMIT 1\
            ) a \
            UNION ALL \
            SELECT j.owner_id, j.id, j.created_at, j.created_at \
            FROM visible v CROSS JOIN unnest($12) c(external_id) CROSS JOIN LATERAL (\
                SELECT j.* FROM adjustment j WHERE j.owner_id = v.owner_id AND j.external_id = c.external_id LIMIT 1\
            ) j \
            WHERE v.account_id = '00000000-0000-0000-0000-000000000001'\
        ), moment AS MATERIALIZED (\
            SELECT owner_id, id, created_at AS time FROM record UNION SELECT owner_id, id, updated_at FROM record\
        ), found AS MATERIALIZED (\
            SELECT e.* FROM moment m CROSS JOIN LATERAL (\
                SELECT e.* FROM entry e \
                WHERE e.owner_id = m.owner_id AND e.time = m.time AND e.cause_id = m.id OFFSET 0\
            ) e\
        ), page AS (\
            SELECT e.* FROM found e \
            WHERE ((e.owner_id, e.account_id) IN (SELECT owner_id, account_id FROM visible)) IS TRUE \
              AND (e.time, e.account_id, e.unit) {follows} ($4, $5, $6) AND e.time >= $7 AND e.time <= $8 \
              AND ($1 IS NULL OR e.unit = $1) AND (cardinality($2) = 0 OR e.cause = ANY($2)) \
            ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT $3\
        ) ";
    let (owners, ids) = accounts.iter().map(|(owner, id)| (owner.0, id.0)).unzip();
    let allocations = list
        .cause_ids
        .iter()
        .filter_map(|id| Uuid::try_parse(id).ok())
        .collect();
    let mut parameters = vec![
        Parameter::OptionalText(list.unit.as_ref().map(Unit::to_string)),
        causes(list),
        Parameter::Count(list.page.fetch()),
    ];
    parameters.extend(range(list));
    parameters.extend([
        Parameter::Ids(owners),
        Parameter::Ids(ids),
        Parameter::Ids(allocations),
        Parameter::Texts(list.cause_ids.clone()),
    ]);
    Statement::new(text(&[PAGE, SELECT], list), parameters)
}
