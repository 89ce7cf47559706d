//! How values of the domain fill columns.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio_postgres::Row;
use uuid::Uuid;

use super::description::{Arrays, SqlType, Stored};
use crate::ledger::account::{AccountKey, Balance, Cause};
use crate::ledger::store_error::StoreError;
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, ActionId, AdjustmentId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId,
    PartnerId, TenantId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Moves a position past one column, and returns where it was.
pub(in crate::ledger) fn advance(position: &mut usize) -> usize {
    *position += 1;
    *position - 1
}

/// Stores a type in one column, and `Option` of it in one that may be NULL: its SQL type, the method of [`Arrays`] with
/// the value that it takes, and how the value is made of what Postgres sends.
macro_rules! column {
    ($type:ty: $sql_type:ident, $push:ident, $raw:ty, |$value:ident| $to:expr, |$sent:ident| $from:expr) => {
        impl Stored for $type {
            const TYPES: &'static [SqlType] = &[SqlType::$sql_type];

            fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
                let $value = self;
                arrays.$push(Some($to));
            }

            fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
                let $sent: $raw = row.try_get($crate::ledger::table::values::advance(position))?;
                $from
            }
        }

        impl Stored for Option<$type> {
            const TYPES: &'static [SqlType] = &[SqlType::$sql_type];

            fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
                arrays.$push(self.as_ref().map(|$value| $to));
            }

            fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
                let sent: Option<$raw> =
                    row.try_get($crate::ledger::table::values::advance(position))?;
                sent.map(|$sent| $from).transpose()
            }
        }
    };
}

macro_rules! id_columns {
    ($($id:ident)+) => {$(
        column!($id: Uuid, uuid, Uuid, |value| value.0, |sent| Ok($id(sent)));
    )+};
}

id_columns! {
    AccountId ActionId AdjustmentId AllocationId ClientId ConnectionId EnterpriseId OwnerId PartnerId TenantId
}

column!(Uuid: Uuid, uuid, Uuid, |value| *value, |sent| Ok(sent));
column!(String: Text, text, &str, |value| value.as_str(), |sent| Ok(sent.to_owned()));
column!(i64: BigInt, big_int, i64, |value| *value, |sent| Ok(sent));
column!(Unit: Text, text, &str, |value| value.as_str(), |sent| Ok(Unit::stored(sent)));
column!(Time: Timestamptz, timestamptz, DateTime<Utc>, |value| value.to_chrono(), |sent| Ok(sent.into()));
column!(Amount: Numeric, numeric, Decimal, |value| value.to_decimal(), |sent| {
    Amount::from_decimal(sent).ok_or(StoreError::Corrupt("an amount has more than 28 digits"))
});
column!(ContentHash: Bytea, bytea, &[u8], |value| value.0.as_slice(), |sent| {
    let hash = sent.try_into();
    hash.map(ContentHash)
        .map_err(|_| StoreError::Corrupt("a content hash has not 32 bytes"))
});

column!(Cause: Text, text, &str, |value| value.as_str(), |sent| {
    Cause::parse(sent).ok_or(UNKNOWN_NAME)
});

/// A text that is stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(pub String);

impl From<&str> for JsonText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

column!(JsonText: Json, text, &str, |value| value.0.as_str(), |sent| Ok(JsonText(sent.to_owned())));

/// Stores an enum of `stored_enum!` by its name, in a `text` column.
macro_rules! enum_column {
    ($($type:ident),+ $(,)?) => {$(
        $crate::ledger::table::values::column!(
            $type: Text, text, &str,
            |value| value.as_str(),
            |sent| $type::parse(sent).ok_or($crate::ledger::table::values::UNKNOWN_NAME)
        );
    )+};
}

pub(in crate::ledger) use {column, enum_column};

/// A stored name that this version does not know.
pub(in crate::ledger) const UNKNOWN_NAME: StoreError =
    StoreError::Corrupt("a stored name is unknown to this version");

impl Stored for AccountKey {
    const TYPES: &'static [SqlType] = &[SqlType::Uuid, SqlType::Text];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.account.push(arrays);
        self.unit.push(arrays);
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        Ok(Self {
            account: Stored::read(row, position)?,
            unit: Stored::read(row, position)?,
        })
    }
}

impl Stored for Balance {
    const TYPES: &'static [SqlType] = &[
        SqlType::Numeric,
        SqlType::Numeric,
        SqlType::BigInt,
        SqlType::BigInt,
    ];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.available.push(arrays);
        self.held.push(arrays);
        self.version.push(arrays);
        self.reservation_count.push(arrays);
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        Ok(Self {
            available: Stored::read(row, position)?,
            held: Stored::read(row, position)?,
            version: Stored::read(row, position)?,
            reservation_count: Stored::read(row, position)?,
        })
    }
}

/// Reads a balance that a LEFT JOIN may not have found.
///
/// # Errors
/// A column holds what this version does not write.
pub(in crate::ledger) fn read_balance_if_joined(
    row: &Row,
    position: &mut usize,
) -> Result<Option<Balance>, StoreError> {
    let parts: (Option<Amount>, Option<Amount>, Option<i64>, Option<i64>) = (
        Stored::read(row, position)?,
        Stored::read(row, position)?,
        Stored::read(row, position)?,
        Stored::read(row, position)?,
    );
    Ok(match parts {
        (Some(available), Some(held), Some(version), Some(reservation_count)) => Some(Balance {
            available,
            held,
            version,
            reservation_count,
        }),
        _ => None,
    })
}
