//! The journal. Three ways through it, each of which costs a page what it holds, wherever the page lies:
//!
//! - a client's whole journal follows the index `entry_by_time` and passes over the accounts that are never shown;
//! - the entries of chosen accounts, or of a currency, come from the accounts' own histories: each is a range of times in
//!   `entry_key`, and of all of them only those that can reach into the page are read;
//! - the entries of named causes come from their records, whose times lead to them.
//!
//! Where the beginning of the journal is archived, a history begins with what was carried forward to there: one row of each
//! account, older than all entries.
//!
//! A partner's list never takes the first way: its cost would reveal how much else its clients do.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use super::accounts::{BalanceRead, amount};
use super::entry_statements::{self, EntryColumns};
use super::opening_statements;
use crate::balance::model::{BalanceEntry, EntryAccounts, EntryList};
use crate::db::archive_end;
use crate::db::expired_reservations::{self, ReservationFilter};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::schema::connection;
use crate::db::statement::Statement;
use crate::db::{enterprise_status, read};
use crate::error::{Error, Result};
use crate::ledger::account::{Balance, Cause};
use crate::types::ids::{AccountId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The accounts that an enterprise may see, of those that it asks for.
#[derive(Debug)]
pub(super) enum VisibleAccounts {
    /// All accounts of this owner, and no other's.
    Journal(OwnerId),
    /// These accounts, each with its owner.
    Accounts(Vec<(OwnerId, AccountId)>),
}

type Pairs = Vec<(OwnerId, AccountId)>;

/// What a list may show.
#[derive(Debug)]
pub(in crate::balance) struct EntryScope {
    accounts: VisibleAccounts,
    /// The time before which everything is archived, when it was looked for.
    since: Option<Time>,
}

/// A page of the journal, and what it is a page of.
#[derive(Debug)]
pub(in crate::balance) struct EntryPage {
    /// The page and one more.
    pub(in crate::balance) entries: Vec<BalanceEntry>,
    /// The time at which the history on line begins, if a part of it is archived.
    pub(in crate::balance) since: Option<Time>,
}

/// What the list may show, and what else decides whether it may be shown.
pub(in crate::balance) async fn visible(
    pool: &Pool,
    list: &EntryList,
) -> Result<BalanceRead<EntryScope>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let since = async { Ok::<_, TransactionError>(archive_end::find(db).await?) };
        let (since, accounts) = try_join!(since, visible_accounts(db, list))?;
        Ok::<_, TransactionError>(BalanceRead {
            enterprise: accounts.enterprise,
            expired: accounts.expired,
            found: EntryScope {
                accounts: accounts.found,
                since,
            },
        })
    })
    .await
}

async fn visible_accounts(
    db: &AsyncPgConnection,
    list: &EntryList,
) -> Result<BalanceRead<VisibleAccounts>, TransactionError> {
    let (id, own) = (list.enterprise, OwnerId::from(list.enterprise));
    let enterprise = enterprise_status::find(db, id);
    let (enterprise, expired, accounts) = match list.accounts {
        EntryAccounts::Custody => {
            let expired = expired_reservations::owners_of_client(db, id, None);
            let (enterprise, expired) = try_join!(enterprise, expired)?;
            (enterprise, expired, vec![(own, AccountId::OWN)])
        }
        EntryAccounts::Connection(connection) => try_join!(
            enterprise,
            expired_reservations::owners_of_connection(db, id, connection, None),
            one(db, id, connection)
        )?,
        EntryAccounts::All => {
            let filter = ReservationFilter::default();
            let (enterprise, mut expired, expired_of_partners, mut accounts) = try_join!(
                enterprise,
                expired_reservations::owners_of_client(db, id, None),
                expired_reservations::owners_of_partner(db, id, filter, None),
                of_partners(db, id)
            )?;
            expired.extend(expired_of_partners);
            if enterprise.is_some_and(|status| status.client.is_some()) {
                let whole = list.unit.is_none() && list.cause_ids.is_empty();
                if whole && accounts.is_empty() {
                    return Ok(BalanceRead {
                        enterprise,
                        expired,
                        found: VisibleAccounts::Journal(own),
                    });
                }
                accounts.push((own, AccountId::OWN));
                accounts.extend(of_client(db, id).await?);
            }
            (enterprise, expired, accounts)
        }
    };
    Ok(BalanceRead {
        enterprise,
        expired,
        found: VisibleAccounts::Accounts(accounts),
    })
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
    reservation_count: i64,
}

impl TryFrom<Row> for BalanceEntry {
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
                reservation_count: row.reservation_count,
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

/// A page of the journal and one more. If more was archived since the scope was read, the page is read again.
///
/// # Errors
/// [`Error::HistoryArchived`] if the list, or the page, begins before the history on line.
pub(in crate::balance) async fn entries(
    pool: &Pool,
    list: &EntryList,
    scope: &EntryScope,
) -> Result<EntryPage> {
    let accounts = &scope.accounts;
    if matches!(accounts, VisibleAccounts::Accounts(accounts) if accounts.is_empty()) {
        return Ok(EntryPage {
            entries: Vec::new(),
            since: scope.since,
        });
    }
    let mut since = scope.since;
    loop {
        if let Some(since) = since {
            list.require_on_line(since)?;
        }
        let rows = read::one(pool, async |connection: &mut AsyncPgConnection| {
            let db = &*connection;
            // Sent in this order: what is archived before the entries are read is seen by what is read after them.
            try_join!(
                biased;
                load(db, statement(&list.since(since), accounts)),
                archive_end::find(db)
            )
        });
        let (rows, since_then) = rows.await?;
        if since_then == since {
            let entries = rows.into_iter().map(BalanceEntry::try_from);
            let entries = entries.collect::<Result<Vec<_>>>()?;
            let entries = match since {
                Some(since) => with_openings(pool, list, accounts, since, entries).await?,
                None => entries,
            };
            return Ok(EntryPage { entries, since });
        }
        since = since_then;
    }
}

async fn load(
    mut db: &AsyncPgConnection,
    statement: Statement<EntryColumns>,
) -> QueryResult<Vec<Row>> {
    statement.load(&mut db).await
}

fn statement(list: &EntryList, accounts: &VisibleAccounts) -> Statement<EntryColumns> {
    match accounts {
        VisibleAccounts::Journal(owner) => entry_statements::of_journal(list, *owner),
        VisibleAccounts::Accounts(accounts) if list.cause_ids.is_empty() => {
            entry_statements::of_histories(list, accounts)
        }
        VisibleAccounts::Accounts(accounts) => entry_statements::of_causes(list, accounts),
    }
}

/// A page and one more, given those of its entries that are later: what was carried forward comes before them, or behind them
/// where the newest comes first. It does not change, whatever else is archived meanwhile.
async fn with_openings(
    pool: &Pool,
    list: &EntryList,
    accounts: &VisibleAccounts,
    since: Time,
    entries: Vec<BalanceEntry>,
) -> Result<Vec<BalanceEntry>> {
    let limit = usize::try_from(list.page.fetch()).unwrap_or(usize::MAX);
    let is_behind = list.page.after().is_some_and(|cursor| cursor.time >= since);
    let is_full = entries.len() >= limit;
    let has_none = if list.descending { is_full } else { is_behind };
    if has_none || !list.has_openings() {
        return Ok(entries);
    }
    let (owners, accounts) = match accounts {
        VisibleAccounts::Journal(owner) => (vec![*owner], None::<Vec<AccountId>>),
        VisibleAccounts::Accounts(accounts) => {
            let (owners, ids) = accounts.iter().copied().unzip();
            (owners, Some(ids))
        }
    };
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = opening_statements::openings(list, &owners, accounts.as_deref(), since);
        statement.load(connection).await
    })
    .await?;
    let openings = rows.into_iter().map(BalanceEntry::try_from);
    let openings = openings.collect::<Result<Vec<_>>>()?;
    let (mut page, rest) = if list.descending {
        (entries, openings)
    } else {
        (openings, entries)
    };
    page.extend(rest);
    page.truncate(limit);
    Ok(page)
}
