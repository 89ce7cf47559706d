//! Reads the rows of seals.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio_postgres::Row;

use crate::ledger::account::Balance;
use crate::ledger::seal::model::{
    AccountSeal, CarriedBalance, OwnerSeal, PeriodBounds, PeriodSeal, SealDigest, SealKey,
};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

/// A digest of a column.
///
/// # Errors
/// It does not have 32 bytes.
pub fn stored_digest(bytes: &[u8]) -> Result<SealDigest, StoreError> {
    SealDigest::stored(bytes).ok_or(StoreError::Corrupt("a digest that has not 32 bytes"))
}

/// Reads owner, account and unit from the first columns.
pub(super) fn read_key(row: &Row) -> PgResult<SealKey> {
    Ok(SealKey {
        owner: OwnerId(row.try_get(0)?),
        account: AccountId(row.try_get(1)?),
        unit: Unit::stored(row.try_get(2)?),
    })
}

/// Reads available, held, version, count of reservations and time, from this column on.
pub(super) fn read_carried(row: &Row, first: usize) -> Result<CarriedBalance, StoreError> {
    let amount = |index| {
        let decimal: Decimal = row.try_get(index)?;
        Amount::from_decimal(decimal).ok_or(StoreError::Corrupt("an amount of more than 28 digits"))
    };
    Ok(CarriedBalance {
        balance: Balance {
            available: amount(first)?,
            held: amount(first + 1)?,
            version: row.try_get(first + 2)?,
            reservation_count: row.try_get(first + 3)?,
        },
        time: row.try_get::<_, DateTime<Utc>>(first + 4)?.into(),
    })
}

/// Reads owner, end, number of entries, and digest.
///
/// # Errors
/// A column holds what this version does not write.
pub fn read_owner(row: &Row) -> Result<OwnerSeal, StoreError> {
    Ok(OwnerSeal {
        owner: OwnerId(row.try_get(0)?),
        end: row.try_get::<_, DateTime<Utc>>(1)?.into(),
        entries: row.try_get(2)?,
        digest: stored_digest(row.try_get(3)?)?,
    })
}

/// Reads a carry-forward: key, balance and time, end, number of entries, and digest.
///
/// # Errors
/// A column holds what this version does not write.
pub fn read_account(row: &Row) -> Result<AccountSeal, StoreError> {
    Ok(AccountSeal {
        key: read_key(row)?,
        carried: read_carried(row, 3)?,
        end: row.try_get::<_, DateTime<Utc>>(8)?.into(),
        entries: row.try_get(9)?,
        digest: stored_digest(row.try_get(10)?)?,
    })
}

/// Reads start, end, digest of the period before, number of owners, number of entries, and digest.
///
/// # Errors
/// A column holds what this version does not write.
pub fn read_period(row: &Row) -> Result<PeriodSeal, StoreError> {
    let previous: Option<&[u8]> = row.try_get(2)?;
    Ok(PeriodSeal {
        bounds: PeriodBounds {
            start: row.try_get::<_, DateTime<Utc>>(0)?.into(),
            end: row.try_get::<_, DateTime<Utc>>(1)?.into(),
        },
        previous: previous.map(stored_digest).transpose()?,
        owners: row.try_get(3)?,
        entries: row.try_get(4)?,
        digest: stored_digest(row.try_get(5)?)?,
    })
}
