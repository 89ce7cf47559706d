//! How breaches are put together.

use std::fmt;

use crate::ledger::account::{AccountKey, Balance};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::bucket::model::BalanceAction;
use crate::ledger::oes::model::Allocation;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};

/// An account of an owner in one unit.
pub(super) type AccountPath<'a> = (OwnerId, &'a AccountKey);

pub(super) fn breach(
    invariant: Invariant,
    (owner, key): AccountPath<'_>,
    expected: impl Into<String>,
    actual: impl Into<String>,
) -> Breach {
    Breach {
        invariant,
        owner: Some(owner),
        account: Some(key.account),
        unit: key.unit.clone(),
        expected: expected.into(),
        actual: actual.into(),
    }
}

pub(super) fn source(allocation: &Allocation) -> AccountKey {
    AccountKey {
        account: allocation.source(),
        unit: allocation.record.terms.unit.clone(),
    }
}

/// A balance as a breach has it.
pub(super) struct ShownBalance(pub(super) Balance);

impl fmt::Display for ShownBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance {
            available,
            held,
            version,
            reservation_count,
        } = self.0;
        write!(
            f,
            "{available} available, {held} held by {reservation_count}, version {version}"
        )
    }
}

/// An exact sum. `None` if it has more than 28 digits, which no sum of a sound ledger has.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct ExactSum(pub(super) Option<Amount>);

impl ExactSum {
    pub(super) fn add(&mut self, amount: Amount) {
        self.0 = self.0.and_then(|sum| sum.checked_add(amount));
    }

    pub(super) fn is_zero(self) -> bool {
        self.0.is_some_and(Amount::is_zero)
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self(Some(Amount::ZERO))
    }
}

impl fmt::Display for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(sum) => sum.fmt(f),
            None => f.write_str("more than 28 digits"),
        }
    }
}

/// The account that has the value of an action's bucket.
pub(super) fn own_account(action: &BalanceAction) -> AccountKey {
    AccountKey::new(AccountId::OWN, &action.unit)
}
