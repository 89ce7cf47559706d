//! What the reads have in common: the accounts' balances, and the form in which they return what they found.

use std::collections::HashMap;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::balance::model::Balances;
use crate::db::enterprise_status::EnterpriseStatus;
use crate::db::pg_error::TransactionError;
use crate::db::schema::account as accounts_table;
use crate::error::{Error, Result};
use crate::ledger::account::Balance;
use crate::limits::RESPONSE_BYTES_MAX;
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::unit::Unit;

/// What a read found.
#[derive(Debug)]
pub(in crate::balance) struct BalanceRead<T> {
    /// What the enterprise that asks may do, if it exists.
    pub(in crate::balance) enterprise: Option<EnterpriseStatus>,
    /// Owners of reservations in this part that had expired: these are to be released before it is shown.
    pub(in crate::balance) expired: Vec<OwnerId>,
    /// What is asked for, or which of it the enterprise may see.
    pub(in crate::balance) found: T,
}

#[derive(HasQuery)]
#[diesel(table_name = accounts_table, check_for_backend(Pg))]
struct AccountRow {
    account_id: Uuid,
    unit: String,
    available: Decimal,
    held: Decimal,
    version: i64,
    reservation_count: i64,
}

/// Bytes that one currency takes in an answer at least: what makes it an element of a map, and seven fields of a byte or more.
const CURRENCY_BYTES_MIN: usize = 15;
/// As many currencies as no answer has room for: an answer that has read so many ends before the last account.
const CURRENCIES_READ_MAX: usize = RESPONSE_BYTES_MAX / CURRENCY_BYTES_MIN + 1;

/// The balances of accounts, by account; an empty `units` stands for all units. One statement, so one snapshot. It stops
/// in the order of the accounts' ids, which is that of lists, at [`CURRENCIES_READ_MAX`].
pub(super) async fn accounts(
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
        .order((account_id, unit))
        .limit(i64::try_from(CURRENCIES_READ_MAX).unwrap_or(i64::MAX))
        .load(&mut db)
        .await?;
    let mut accounts: HashMap<Uuid, Balances> = HashMap::new();
    for row in rows {
        let balance = Balance {
            available: amount(row.available)?,
            held: amount(row.held)?,
            version: row.version,
            reservation_count: row.reservation_count,
        };
        accounts
            .entry(row.account_id)
            .or_default()
            .insert(Unit::stored(&row.unit), balance);
    }
    Ok(accounts)
}

pub(super) fn amount(decimal: Decimal) -> Result<Amount> {
    Amount::from_decimal(decimal)
        .ok_or_else(|| Error::internal("an amount has more than 28 digits"))
}
