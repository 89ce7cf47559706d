//! What both files of statements have in common.

use rust_decimal::Decimal;

use crate::error::{Error, Result};
use crate::types::amount::Amount;

/// The clock that a statement is given, or the database's.
pub(super) const CLOCK: &str = "coalesce(:clock, statement_timestamp())";

pub(super) fn amount(decimal: Decimal) -> Result<Amount> {
    Amount::from_decimal(decimal)
        .ok_or_else(|| Error::internal("an amount has more than 28 digits"))
}

pub(super) fn unknown(what: &str) -> Error {
    Error::internal(format!("a bucket or an action has an unknown {what}"))
}
