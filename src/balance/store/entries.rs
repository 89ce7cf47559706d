//! The journal. Three ways through it, each of which costs a page what it holds, wherever the page lies:
//!
//! - a client's whole journal follows the index `entry_by_time` and passes over the accounts that are never shown;
//! - the entries of chosen accounts, or of a currency, come from the accounts' own histories: each is a range of times in
//!   `entry_key`, and of all of them only those that can reach into the page are read;
//! - the entries of named causes come from their records, whose times lead to them.
//!
//! A partner's list never takes the first way: its cost would reveal how much else its clients do.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use super::accounts::{BalanceRead, amount};
use super::entry_statements;
use crate::balance::model::{BalanceEntry, EntryAccounts, EntryList};
use crate::db::expired_reservations::{self, ReservationFilter};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::schema::connection;
use crate::db::{enterprise_status, read};
use crate::error::{Error, Result};
use crate::ledger::account::{Balance, Cause};
use crate::types::ids::{AccountId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::unit::Unit;

/// The accounts that an enterprise may see, of those that it asks for.
#[derive(Debug)]
pub(in crate::balance) enum VisibleAccounts {
    /// All accounts of this owner, and no other's.
    Journal(OwnerId),
    /// These accounts, each with its owner.
    Accounts(Vec<(OwnerId, AccountId)>),
}

type Pairs = Vec<(OwnerId, AccountId)>;

/// The accounts that the list may show, and what else decides whether it may be shown.
pub(in crate::balance) async fn visible(
    pool: &Pool,
    list: &EntryList,
) -> Result<BalanceRead<VisibleAccounts>> {
    let (id, own) = (list.enterprise, OwnerId::from(list.enterprise));
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
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
        Ok::<_, TransactionError>(BalanceRead {
            enterprise,
            expired,
            found: VisibleAccounts::Accounts(accounts),
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

/// A page of the journal and one more.
pub(in crate::balance) async fn entries(
    pool: &Pool,
    list: &EntryList,
    visible: &VisibleAccounts,
) -> Result<Vec<BalanceEntry>> {
    if matches!(visible, VisibleAccounts::Accounts(accounts) if accounts.is_empty()) {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = match visible {
            VisibleAccounts::Journal(owner) => entry_statements::of_journal(list, *owner),
            VisibleAccounts::Accounts(accounts) if list.cause_ids.is_empty() => {
                entry_statements::of_histories(list, accounts)
            }
            VisibleAccounts::Accounts(accounts) => entry_statements::of_causes(list, accounts),
        };
        statement.load(connection).await
    })
    .await?;
    rows.into_iter().map(BalanceEntry::try_from).collect()
}
