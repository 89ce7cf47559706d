//! What a balance action changes of its buckets. Over all actions of a bucket, its opening included, the changes add up to
//! what the bucket has.

use crate::ledger::bucket::model::{ActionEffect, ActionKind, BalanceAction, Cost, CostOwner};
use crate::types::amount::Amount;

/// What an action has changed of a bucket so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueDelta {
    /// Added to the remaining value.
    pub remaining: Amount,
    /// Added to the reserved value.
    pub reserved: Amount,
}

/// The parts of an action that decide what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionValues {
    /// The kind of the action.
    pub kind: ActionKind,
    /// The amount of the action.
    pub amount: Amount,
    /// What was given back of a reserve: by a deduction from it, or by its own expiry if the action is the reserve.
    pub returned: Option<Amount>,
    /// Whether it is a deduction from a reserve.
    pub uses_reserve: bool,
    /// The price of a transfer.
    pub cost: Option<Cost>,
}

impl ActionValues {
    /// What the action has changed of its own bucket; none if that has more than 28 digits, which no movement has.
    pub fn own_delta(&self) -> Option<ValueDelta> {
        let (amount, zero) = (self.amount, Amount::ZERO);
        let returned = self.returned.unwrap_or(zero);
        let (remaining, reserved) = match self.kind {
            ActionKind::Topup | ActionKind::Adjust | ActionKind::WriteOff => (amount, zero),
            ActionKind::Transfer => {
                let cost = self.cost_of(CostOwner::Originator);
                (amount.negated().checked_sub(cost)?, zero)
            }
            ActionKind::Reserve => {
                let held = amount.checked_sub(returned)?;
                (held.negated(), held)
            }
            ActionKind::Unreserve => (amount, amount.negated()),
            ActionKind::Deduct if self.uses_reserve => {
                (returned, amount.negated().checked_sub(returned)?)
            }
            ActionKind::Deduct => (amount.negated(), zero),
        };
        Some(ValueDelta {
            remaining,
            reserved,
        })
    }

    /// What a transfer has changed of the bucket that received; none as above.
    pub fn receiver_delta(&self) -> Option<ValueDelta> {
        Some(ValueDelta {
            remaining: self.amount.checked_sub(self.cost_of(CostOwner::Receiver))?,
            reserved: Amount::ZERO,
        })
    }

    /// What a side of a transfer paid for it.
    fn cost_of(&self, side: CostOwner) -> Amount {
        match self.cost {
            Some(cost) if cost.owner == side => cost.amount,
            _ => Amount::ZERO,
        }
    }
}

impl From<&BalanceAction> for ActionValues {
    fn from(action: &BalanceAction) -> Self {
        let (returned, uses_reserve, cost) = match &action.effect {
            ActionEffect::Reserve(reserve) => (reserve.expired, false, None),
            ActionEffect::Deduct(Some(used)) => (Some(used.returned), true, None),
            ActionEffect::Transfer(transfer) => (None, false, transfer.cost),
            _ => (None, false, None),
        };
        Self {
            kind: action.kind(),
            amount: action.amount,
            returned,
            uses_reserve,
            cost,
        }
    }
}
