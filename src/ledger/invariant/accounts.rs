//! L1, L2, L3 and L7: accounts and entries.

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use crate::ledger::account::{AccountKey, Cause, Entry};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::bucket::model::ActionStatus;
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::invariant::report::{ExactSum, ShownBalance, breach, own_account, source};
use crate::ledger::oes::model::Status;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

/// L1: per owner and unit, available + held over all accounts is zero.
pub(super) fn conservation(dump: &LedgerDump) -> Vec<Breach> {
    let mut totals: BTreeMap<(OwnerId, &Unit), ExactSum> = BTreeMap::new();
    for account in &dump.accounts {
        let total = totals
            .entry((account.owner, &account.key.unit))
            .or_default();
        total.add(account.balance.available);
        total.add(account.balance.held);
    }
    totals
        .into_iter()
        .filter(|(_, total)| !total.is_zero())
        .map(|((owner, unit), total)| Breach {
            invariant: Invariant::L1,
            owner: Some(owner),
            account: None,
            unit: unit.clone(),
            expected: ExactSum::default().to_string(),
            actual: total.to_string(),
        })
        .collect()
}

/// L2: nothing is below zero but in the world and transit accounts.
pub(super) fn no_overdraft(dump: &LedgerDump) -> Vec<Breach> {
    dump.accounts
        .iter()
        .filter(|account| !account.key.account.may_be_negative())
        .filter(|account| {
            account.balance.available.is_negative() || account.balance.held.is_negative()
        })
        .map(|account| {
            let place = (account.owner, &account.key);
            let actual = ShownBalance(account.balance).to_string();
            breach(Invariant::L2, place, "nothing below zero", actual)
        })
        .collect()
}

/// L3: an account's held equals the sum of its open reservations, and its counter the number of those that hold something.
pub(super) fn held_is_explained(dump: &LedgerDump) -> Vec<Breach> {
    let mut held: BTreeMap<(OwnerId, AccountKey), (HeldSum, HeldSum)> = BTreeMap::new();
    for account in &dump.accounts {
        let (_, actual) = held
            .entry((account.owner, account.key.clone()))
            .or_default();
        actual.sum.add(account.balance.held);
        actual.reservations = account.balance.reservation_count;
    }
    for allocation in &dump.allocations {
        if allocation.record.status != Status::Reserved {
            continue;
        }
        let (expected, _) = held
            .entry((allocation.owner, source(allocation)))
            .or_default();
        expected.add(allocation.record.terms.quantity);
    }
    for action in &dump.actions {
        if action.status != ActionStatus::Created {
            continue;
        }
        if let Some(reserve) = action.reserve() {
            let (expected, _) = held.entry((action.owner, own_account(action))).or_default();
            expected.add(reserve.remaining);
        }
    }
    held.iter()
        .filter(|(_, (expected, actual))| expected != actual)
        .map(|((owner, key), (expected, actual))| {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            breach(Invariant::L3, (*owner, key), expected, actual)
        })
        .collect()
}

/// What is held, and by how many reservations.
#[derive(Clone, Copy, Default, PartialEq)]
struct HeldSum {
    sum: ExactSum,
    reservations: i64,
}

impl HeldSum {
    fn add(&mut self, quantity: Amount) {
        self.sum.add(quantity);
        self.reservations += i64::from(!quantity.is_zero());
    }
}

impl fmt::Display for HeldSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} held by {}", self.sum, self.reservations)
    }
}

/// L7: a movement's entries sum to zero over all its owners; all of them must be in the dump.
pub(super) fn transfer(dump: &LedgerDump) -> Vec<Breach> {
    let mut totals: BTreeMap<(Cause, Uuid, &Unit), (&Entry, ExactSum)> = BTreeMap::new();
    for entry in &dump.entries {
        let (_, total) = totals
            .entry((entry.cause, entry.cause_id, &entry.key.unit))
            .or_insert((entry, ExactSum::default()));
        total.add(entry.available_delta);
        total.add(entry.held_delta);
    }
    totals
        .into_iter()
        .filter(|(_, (_, total))| !total.is_zero())
        .map(|((cause, id, _), (entry, total))| {
            breach(
                Invariant::L7,
                (entry.owner, &entry.key),
                format!("{} {id} sums to 0", cause.as_str()),
                format!("{} {id} sums to {total}", cause.as_str()),
            )
        })
        .collect()
}

/// L7: per unit, all transit accounts sum to zero; those of all owners must be in the dump.
pub(super) fn transit(dump: &LedgerDump) -> Vec<Breach> {
    let mut totals: BTreeMap<&Unit, ExactSum> = BTreeMap::new();
    for account in &dump.accounts {
        if account.key.account == AccountId::TRANSIT {
            let total = totals.entry(&account.key.unit).or_default();
            total.add(account.balance.available);
            total.add(account.balance.held);
        }
    }
    totals
        .into_iter()
        .filter(|(_, total)| !total.is_zero())
        .map(|(unit, total)| Breach {
            invariant: Invariant::L7,
            owner: None,
            account: Some(AccountId::TRANSIT),
            unit: unit.clone(),
            expected: ExactSum::default().to_string(),
            actual: total.to_string(),
        })
        .collect()
}
