//! The movements that operations on buckets are made of.

use crate::error::{BucketLimit, BucketOverflow, BucketShortage, Error, Result};
use crate::ledger::account::Balance;
use crate::ledger::books::{Leg, MovementRefusal, Owner, ReservationChange};
use crate::types::amount::Amount;
use crate::types::ids::AccountId;
use crate::types::unit::Unit;

/// Judges whether a bucket can take this much more. A bucket holds less than 10^16, so that whatever part of it is
/// available or held has at most 16 digits before the point and 12 after it, and giving back never fails.
pub(super) fn judge_room(owner: &Owner, bucket: &str, unit: &Unit, amount: Amount) -> Result<()> {
    let Balance {
        available, held, ..
    } = owner.balance(AccountId::OWN, unit);
    let now = available.checked_add(held).unwrap_or(available);
    let then = now.checked_add(amount);
    if then.is_some_and(|total| total < Amount::DECIMAL_LIMIT) {
        Ok(())
    } else {
        let rule = BucketLimit::Value { total: now };
        Err(overflow(bucket, unit, amount, rule))
    }
}

fn overflow(bucket: &str, unit: &Unit, requested: Amount, rule: BucketLimit) -> Error {
    Error::BucketFull(Box::new(BucketOverflow {
        bucket: bucket.into(),
        requested,
        unit: unit.clone(),
        rule,
    }))
}

/// The error for a caller that asked this bucket to move `requested`.
pub(super) fn refused(
    bucket: &str,
    unit: &Unit,
    requested: Amount,
    refusal: MovementRefusal,
) -> Error {
    match refusal {
        MovementRefusal::Insufficient { available, .. } => {
            Error::BucketShort(Box::new(BucketShortage {
                bucket: bucket.into(),
                reserve: None,
                available,
                requested,
                unit: unit.clone(),
            }))
        }
        MovementRefusal::Limit => overflow(bucket, unit, requested, BucketLimit::Turnover),
        MovementRefusal::Inconsistent => refusal.into_error(unit, requested),
    }
}

/// Moves what is available in one account to what is available in another.
pub(super) fn exchange(from: AccountId, to: AccountId, amount: Amount) -> Vec<Leg> {
    vec![available(from, amount.negated()), available(to, amount)]
}

/// A leg that leaves `held` as it is.
pub(super) fn available(account: AccountId, available: Amount) -> Leg {
    Leg {
        account,
        available,
        held: Amount::ZERO,
        reservation: ReservationChange::None,
    }
}

/// A leg that takes `held` from a reserve, which keeps `kept`, and makes a part of it available again.
pub(super) fn taken_from_reserve(available: Amount, held: Amount, kept: Amount) -> Leg {
    Leg {
        account: AccountId::OWN,
        available,
        held: held.negated(),
        reservation: if kept.is_zero() {
            ReservationChange::Closed
        } else {
            ReservationChange::None
        },
    }
}
