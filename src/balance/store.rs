//! The SQL of the service's reads: a file for each.
//!
//! What a read may see is found first, what it shows comes second; what is due is released in between.

mod client;
mod entries;
mod get;
mod partner;

use std::collections::HashMap;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

pub(super) use client::client_balances;
pub(super) use entries::{entries, visible};
pub(super) use get::{Past, Snapshot, account, snapshot};
pub(super) use partner::{balances, connections};

use crate::balance::model::Balances;
use crate::db::pg_error::TransactionError;
use crate::db::schema::account as accounts_table;
use crate::db::standing::Standing;
use crate::error::{Error, Result};
use crate::ledger::model::Balance;
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::unit::Unit;

/// What a read found.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// The enterprise that asks, if it exists.
    pub standing: Option<Standing>,
    /// Owners in whose part of this something was due: to be released before it is shown.
    pub due: Vec<OwnerId>,
    /// What it asks for, or which of it the enterprise may see.
    pub found: T,
}

#[derive(HasQuery)]
#[diesel(table_name = accounts_table, check_for_backend(Pg))]
struct AccountRow {
    account_id: Uuid,
    unit: String,
    available: Decimal,
    held: Decimal,
    version: i64,
}

/// The balances of accounts, by account; empty `units` are all units. One statement, so one snapshot.
async fn accounts(
    mut db: &AsyncPgConnection,
    owners: Vec<Uuid>,
    ids: Vec<Uuid>,
    units: &[Unit],
) -> Result<HashMap<Uuid, Balances>, TransactionError> {
    use accounts_table::{account_id, owner_id, unit};

    let units: Vec<&str> = units.iter().map(Unit::as_str).collect();
    let rows: Vec<AccountRow> = AccountRow::query()
        .filter(owner_id.eq_any(owners))
        .filter(account_id.eq_any(ids))
        .filter(units.is_empty().into_sql::<Bool>().or(unit.eq_any(units)))
        .load(&mut db)
        .await?;
    let mut accounts: HashMap<Uuid, Balances> = HashMap::new();
    for row in rows {
        let balance = Balance {
            available: amount(row.available)?,
            held: amount(row.held)?,
            version: row.version,
        };
        accounts
            .entry(row.account_id)
            .or_default()
            .insert(Unit::stored(&row.unit), balance);
    }
    Ok(accounts)
}

fn amount(decimal: Decimal) -> Result<Amount> {
    Amount::from_decimal(decimal)
        .ok_or_else(|| Error::internal("an amount has more than 28 digits"))
}
