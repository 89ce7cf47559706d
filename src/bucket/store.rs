//! The SQL of the service's reads: each is one statement, and so sees one moment.
//!
//! Every read takes the database's clock (`CLOCK`), or the one that it was given: by it buckets expire and reserves are
//! due. What was due is told with what is shown.

mod actions;
mod buckets;

pub(super) use actions::{action, actions};
pub(super) use buckets::{accumulated, bucket, buckets};

use crate::error::{Error, Result};
use crate::types::amount::Amount;
use rust_decimal::Decimal;

/// The clock that is given as the first parameter of every statement here, or the database's.
const CLOCK: &str = "coalesce($1, statement_timestamp())";

fn amount(decimal: Decimal) -> Result<Amount> {
    Amount::from_decimal(decimal)
        .ok_or_else(|| Error::internal("an amount has more than 28 digits"))
}

fn unknown(what: &str) -> Error {
    Error::internal(format!("a bucket or an action has an unknown {what}"))
}
