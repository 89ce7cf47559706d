//! Amounts, periods and enums.

use crate::bucket::model::ListedKind;
use crate::ledger::bucket::model::{
    ActionKind, ActionStatus, BucketStatus, CostOwner, UsageType, Validity,
};
use crate::ledger::bucket::request::Quantity;
use crate::proto::bucket::v1 as pb;
use crate::rpc::read::{Reader, Rounding};
use crate::types::amount::Amount;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A time as it is hashed.
pub(super) fn time_bytes(time: Time) -> [u8; 8] {
    time.micros().to_be_bytes()
}

/// Reads a required amount of any sign.
pub(super) fn quantity(read: &mut Reader, field: &str, given: Option<&pb::Quantity>) -> Quantity {
    let given = given.map(|given| (given.amount.as_str(), given.units.as_str()));
    read_quantity(read, field, given)
}

/// Reads the required amount of an action. One that can be read, but does not fit, is a violation of the rule.
pub(super) fn quantity_that(
    read: &mut Reader,
    field: &str,
    given: Option<&pb::ActionAmount>,
    fits: impl Fn(Amount) -> bool,
    rule: &str,
) -> Quantity {
    let parts = given.map(|given| (given.amount.as_str(), given.units.as_str()));
    let quantity = read_quantity(read, field, parts);
    let amount = given.and_then(|given| Amount::parse_decimal(&given.amount));
    if amount.is_some_and(|amount| !fits(amount)) {
        let text = given.map_or("", |given| given.amount.as_str());
        read.violation_by(format!("{field}.amount"), rule, text);
    }
    quantity
}

fn read_quantity(read: &mut Reader, field: &str, given: Option<(&str, &str)>) -> Quantity {
    let Some((amount, units)) = given else {
        read.violation(field, "is required");
        return Quantity {
            amount: Amount::ZERO,
            unit: Unit::stored(""),
        };
    };
    Quantity {
        amount: read.decimal(&format!("{field}.amount"), amount),
        unit: read.unit(&format!("{field}.units"), units),
    }
}

/// Reads a validity; an end that is unset is open.
pub(super) fn period(read: &mut Reader, field: &str, given: Option<&pb::TimePeriod>) -> Validity {
    let given = given.copied().unwrap_or_default();
    let (start, end) = (given.start_date_time, given.end_date_time);
    let end_field = format!("{field}.end_date_time");
    let start_field = format!("{field}.start_date_time");
    let validity = Validity {
        from: read.optional_time(&start_field, start.as_ref(), Rounding::Down),
        to: read.optional_time(&end_field, end.as_ref(), Rounding::Down),
    };
    if validity
        .from
        .zip(validity.to)
        .is_some_and(|(from, to)| to < from)
    {
        read.violation(end_field, "must not be before start_date_time");
    }
    validity
}

pub(super) fn status_of(status: pb::BucketStatus) -> Option<BucketStatus> {
    match status {
        pb::BucketStatus::Unspecified => None,
        pb::BucketStatus::Active => Some(BucketStatus::Active),
        pb::BucketStatus::Suspended => Some(BucketStatus::Suspended),
        pb::BucketStatus::Expired => Some(BucketStatus::Expired),
        pb::BucketStatus::Inactive => Some(BucketStatus::Inactive),
        pb::BucketStatus::Closed => Some(BucketStatus::Closed),
    }
}

impl From<BucketStatus> for pb::BucketStatus {
    fn from(status: BucketStatus) -> Self {
        match status {
            BucketStatus::Active => Self::Active,
            BucketStatus::Suspended => Self::Suspended,
            BucketStatus::Expired => Self::Expired,
            BucketStatus::Inactive => Self::Inactive,
            BucketStatus::Closed => Self::Closed,
        }
    }
}

pub(super) fn usage_of(usage_type: pb::UsageType) -> Option<UsageType> {
    match usage_type {
        pb::UsageType::Unspecified => None,
        pb::UsageType::Monetary => Some(UsageType::Monetary),
        pb::UsageType::Voice => Some(UsageType::Voice),
        pb::UsageType::Data => Some(UsageType::Data),
        pb::UsageType::Sms => Some(UsageType::Sms),
        pb::UsageType::Other => Some(UsageType::Other),
    }
}

impl From<UsageType> for pb::UsageType {
    fn from(usage_type: UsageType) -> Self {
        match usage_type {
            UsageType::Monetary => Self::Monetary,
            UsageType::Voice => Self::Voice,
            UsageType::Data => Self::Data,
            UsageType::Sms => Self::Sms,
            UsageType::Other => Self::Other,
        }
    }
}

/// The kinds of action that are shown as this type.
pub(super) fn kinds_of(shown: pb::BalanceActionType) -> &'static [ListedKind] {
    match shown {
        pb::BalanceActionType::Unspecified => &[],
        pb::BalanceActionType::Opening => &[ListedKind::Opening],
        pb::BalanceActionType::Topup => &[ListedKind::Stored(ActionKind::Topup)],
        pb::BalanceActionType::Adjust => &[
            ListedKind::Stored(ActionKind::Adjust),
            ListedKind::Stored(ActionKind::WriteOff),
        ],
        pb::BalanceActionType::Transfer => &[ListedKind::Stored(ActionKind::Transfer)],
        pb::BalanceActionType::Reserve => &[ListedKind::Stored(ActionKind::Reserve)],
        pb::BalanceActionType::Unreserve => &[ListedKind::Stored(ActionKind::Unreserve)],
        pb::BalanceActionType::Deduct => &[ListedKind::Stored(ActionKind::Deduct)],
    }
}

/// The type that an action of this kind is shown as.
pub(super) fn type_of(kind: ListedKind) -> pb::BalanceActionType {
    match kind {
        ListedKind::Opening => pb::BalanceActionType::Opening,
        ListedKind::Stored(ActionKind::Topup) => pb::BalanceActionType::Topup,
        ListedKind::Stored(ActionKind::Adjust | ActionKind::WriteOff) => {
            pb::BalanceActionType::Adjust
        }
        ListedKind::Stored(ActionKind::Transfer) => pb::BalanceActionType::Transfer,
        ListedKind::Stored(ActionKind::Reserve) => pb::BalanceActionType::Reserve,
        ListedKind::Stored(ActionKind::Unreserve) => pb::BalanceActionType::Unreserve,
        ListedKind::Stored(ActionKind::Deduct) => pb::BalanceActionType::Deduct,
    }
}

pub(super) fn cost_owner_of(owner: pb::CostOwner) -> Option<CostOwner> {
    match owner {
        pb::CostOwner::Unspecified => None,
        pb::CostOwner::Originator => Some(CostOwner::Originator),
        pb::CostOwner::Receiver => Some(CostOwner::Receiver),
    }
}

impl From<ActionStatus> for pb::BalanceActionStatus {
    fn from(status: ActionStatus) -> Self {
        match status {
            ActionStatus::Created => Self::Created,
            ActionStatus::Completed => Self::Completed,
            ActionStatus::Cancelled => Self::Cancelled,
        }
    }
}
