//! What must hold of a ledger at rest: one small function for each invariant of `lib.rs`, over a complete picture of
//! owners. Nothing here knows how the ledger decides.

mod bucket;
mod journal;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use crate::ledger::model::bucket::{ActionStatus, BalanceAction, Bucket};
use crate::ledger::model::{
    Account, AccountKey, Adjustment, Allocation, Balance, Cause, Entry, Status,
};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

/// Everything that is stored of one or more owners.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// All their accounts.
    pub accounts: Vec<Account>,
    /// Their whole journal.
    pub entries: Vec<Entry>,
    /// All their allocations and deallocations.
    pub allocations: Vec<Allocation>,
    /// All their deposits and withdrawals.
    pub adjustments: Vec<Adjustment>,
    /// Those of them that are buckets.
    pub buckets: Vec<Bucket>,
    /// All their balance actions.
    pub actions: Vec<BalanceAction>,
}

/// What must hold; `lib.rs` says it in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// Conservation.
    L1,
    /// No overdraft.
    L2,
    /// Held is explained.
    L3,
    /// Journal.
    L4,
    /// Finality.
    L5,
    /// Once.
    L6,
    /// Transfer.
    L7,
}

impl Invariant {
    /// As everything names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
            Self::L5 => "L5",
            Self::L6 => "L6",
            Self::L7 => "L7",
        }
    }
}

/// Where an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which one.
    pub invariant: Invariant,
    /// Whose value; none where all owners together are meant.
    pub owner: Option<OwnerId>,
    /// In which account; none where all accounts of the owner are meant.
    pub account: Option<AccountId>,
    /// In which unit.
    pub unit: Unit,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub actual: String,
}

/// Every breach that there is, in the order of the invariants.
pub fn check(picture: &Picture) -> Vec<Breach> {
    let invariants: [fn(&Picture) -> Vec<Breach>; 10] = [
        conservation,
        no_overdraft,
        held_is_explained,
        journal::journal,
        record::finality,
        bucket::finality,
        record::once,
        bucket::once,
        transfer,
        transit,
    ];
    invariants
        .iter()
        .flat_map(|invariant| invariant(picture))
        .collect()
}

/// L1: per owner and unit, available + held over all accounts is zero.
fn conservation(picture: &Picture) -> Vec<Breach> {
    let mut totals: BTreeMap<(OwnerId, &Unit), Total> = BTreeMap::new();
    for account in &picture.accounts {
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
            expected: Total::default().to_string(),
            actual: total.to_string(),
        })
        .collect()
}

/// L2: nothing is below zero but in the world and transit accounts.
fn no_overdraft(picture: &Picture) -> Vec<Breach> {
    picture
        .accounts
        .iter()
        .filter(|account| !account.key.account.may_be_negative())
        .filter(|account| {
            account.balance.available.is_negative() || account.balance.held.is_negative()
        })
        .map(|account| {
            let place = (account.owner, &account.key);
            let actual = Shown(account.balance).to_string();
            breach(Invariant::L2, place, "nothing below zero", actual)
        })
        .collect()
}

/// L3: an account's held equals the sum of its open reservations.
fn held_is_explained(picture: &Picture) -> Vec<Breach> {
    let mut held: BTreeMap<(OwnerId, AccountKey), (Total, Total)> = BTreeMap::new();
    for account in &picture.accounts {
        let (_, actual) = held
            .entry((account.owner, account.key.clone()))
            .or_default();
        actual.add(account.balance.held);
    }
    for allocation in &picture.allocations {
        if allocation.status != Status::Reserved {
            continue;
        }
        let (expected, _) = held
            .entry((allocation.owner, source(allocation)))
            .or_default();
        expected.add(allocation.quantity);
    }
    for action in &picture.actions {
        if action.status != ActionStatus::Created {
            continue;
        }
        if let Some(reserve) = action.reserve() {
            let (expected, _) = held.entry((action.owner, bucket::own(action))).or_default();
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

/// L7: a movement's entries sum to zero over all its owners; all of them must be in the picture.
fn transfer(picture: &Picture) -> Vec<Breach> {
    let mut totals: BTreeMap<(Cause, Uuid, &Unit), (&Entry, Total)> = BTreeMap::new();
    for entry in &picture.entries {
        let (_, total) = totals
            .entry((entry.cause, entry.cause_id, &entry.key.unit))
            .or_insert((entry, Total::default()));
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

/// L7: per unit, all transit accounts sum to zero; those of all owners must be in the picture.
fn transit(picture: &Picture) -> Vec<Breach> {
    let mut totals: BTreeMap<&Unit, Total> = BTreeMap::new();
    for account in &picture.accounts {
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
            expected: Total::default().to_string(),
            actual: total.to_string(),
        })
        .collect()
}

/// An account of an owner in one unit.
type Place<'a> = (OwnerId, &'a AccountKey);

fn breach(
    invariant: Invariant,
    (owner, key): Place<'_>,
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

fn source(allocation: &Allocation) -> AccountKey {
    AccountKey {
        account: allocation.source(),
        unit: allocation.unit.clone(),
    }
}

/// A balance as a breach shows it.
struct Shown(Balance);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance {
            available,
            held,
            version,
        } = self.0;
        write!(f, "{available} available, {held} held, version {version}")
    }
}

/// An exact sum. `None` if it passed 28 digits, which no sum of a sound ledger does.
#[derive(Clone, Copy, PartialEq)]
struct Total(Option<Amount>);

impl Total {
    fn add(&mut self, amount: Amount) {
        self.0 = self.0.and_then(|sum| sum.checked_add(amount));
    }

    fn is_zero(self) -> bool {
        self.0.is_some_and(Amount::is_zero)
    }
}

impl Default for Total {
    fn default() -> Self {
        Self(Some(Amount::ZERO))
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(sum) => sum.fmt(f),
            None => f.write_str("more than 28 digits"),
        }
    }
}
