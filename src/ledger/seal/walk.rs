//! The way through the entries of a period, by time: it makes the seals of the accounts, and finds entries that do not follow
//! from those before them. Accounts may come in any order, each entry by entry: so the database need not sort by them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::ledger::account::Balance;
use crate::ledger::seal::digest::{AccountHasher, OwnerHasher};
use crate::ledger::seal::model::{
    AccountSeal, CarriedBalance, JournalLine, LineAmounts, OwnerSeal, PeriodBounds, SealKey,
};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// What accounts had before a period; those that are not in it had no entry.
pub type Openings = HashMap<SealKey, CarriedBalance>;

/// An entry that does not follow from the one before it: the first such entry of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceFault {
    /// The account, with its owner and unit.
    pub key: SealKey,
    /// What should have come next, as text.
    pub expected: String,
    /// What came instead, as text.
    pub actual: String,
}

/// Entries that did not come by time, or came from behind the period: the statement that read them is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the entries to be hashed came in another order than that of their times")]
pub struct WalkOrderError;

/// What a walk has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// The accounts' parts of the period, by account.
    pub seals: Vec<AccountSeal>,
    /// The first fault of each account, by account.
    pub faults: Vec<SequenceFault>,
}

/// A walk through the entries of a period.
#[derive(Debug)]
pub struct Walk {
    bounds: PeriodBounds,
    /// `None` if the first entry of each account is taken as it is.
    openings: Option<Openings>,
    accounts: HashMap<(Uuid, Uuid), HashMap<Unit, AccountWalk>>,
    faults: Vec<SequenceFault>,
    last_time: Option<Time>,
}

/// An account that a walk has come to.
#[derive(Debug)]
struct AccountWalk {
    key: SealKey,
    hasher: AccountHasher,
    /// The balance after the last entry, and its time; none if the first entry is taken as it is.
    before: Option<Balance>,
    last_time: Option<Time>,
    /// Whether the account has a fault already.
    is_faulty: bool,
}

impl Walk {
    /// A walk that holds the first entry of each account against the account's opening.
    pub fn new(bounds: PeriodBounds, openings: Openings) -> Self {
        Self {
            openings: Some(openings),
            ..Self::without_openings(bounds)
        }
    }

    /// A walk that takes the first entry of each account as it is.
    pub fn without_openings(bounds: PeriodBounds) -> Self {
        Self {
            bounds,
            openings: None,
            accounts: HashMap::new(),
            faults: Vec::new(),
            last_time: None,
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// The entry belongs before the last one, or behind the period.
    pub fn step(&mut self, line: &JournalLine<'_>) -> Result<(), WalkOrderError> {
        let ids = (line.owner, line.account);
        // Searched before it is inserted: a unit is seldom new, and to own it takes memory.
        let known = self.accounts.get_mut(&ids);
        let account = match known.and_then(|units| units.get_mut(line.unit)) {
            Some(account) => account,
            None => {
                let account = AccountWalk::new(line, self.bounds, self.openings.as_ref());
                let units = self.accounts.entry(ids).or_default();
                let unit = account.key.unit.clone();
                units.entry(unit).or_insert(account)
            }
        };
        let fault = match (&line.amounts, line.time) {
            (Some(amounts), Some(time)) => {
                let is_in_order = self.last_time.is_none_or(|last| last <= time);
                if !is_in_order || time >= self.bounds.end {
                    return Err(WalkOrderError);
                }
                self.last_time = Some(time);
                account.take(line, amounts, time, self.bounds)
            }
            _ => {
                account.hasher.add_unreadable();
                Some((
                    "amounts of at most 28 digits, and a finite time".into(),
                    format!("version {} with others", line.version),
                ))
            }
        };
        if let Some((expected, actual)) = fault
            && !std::mem::replace(&mut account.is_faulty, true)
        {
            self.faults.push(SequenceFault {
                key: account.key.clone(),
                expected,
                actual,
            });
        }
        Ok(())
    }

    /// What was found, once all entries were taken.
    pub fn finish(mut self) -> Walked {
        let accounts = self.accounts.into_values();
        let mut seals: Vec<AccountSeal> = accounts
            .flat_map(HashMap::into_values)
            .map(|account| account.finish(self.bounds))
            .collect();
        seals.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        self.faults.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Walked {
            seals,
            faults: self.faults,
        }
    }
}

impl AccountWalk {
    fn new(line: &JournalLine<'_>, bounds: PeriodBounds, openings: Option<&Openings>) -> Self {
        let key = SealKey {
            owner: OwnerId(line.owner),
            account: AccountId(line.account),
            unit: Unit::stored(line.unit),
        };
        let opening = openings.map(|openings| openings.get(&key));
        Self {
            hasher: AccountHasher::new(&key, bounds),
            key,
            before: opening.map(|carried| carried.map_or_else(Balance::default, |it| it.balance)),
            last_time: opening.flatten().map(|carried| carried.time),
            is_faulty: false,
        }
    }

    /// Hashes an entry. Returns what was expected and what came instead, if it does not follow.
    fn take(
        &mut self,
        line: &JournalLine<'_>,
        amounts: &LineAmounts,
        time: Time,
        bounds: PeriodBounds,
    ) -> Option<(String, String)> {
        let fault = if time < bounds.start {
            let expected = format!("no entry before {}", bounds.start);
            Some((expected, format!("version {} at {time}", line.version)))
        } else {
            self.check(line, amounts, time)
        };
        self.hasher.add(line, amounts, time);
        self.before = Some(after(line, amounts));
        self.last_time = Some(time);
        fault
    }

    fn check(
        &self,
        line: &JournalLine<'_>,
        amounts: &LineAmounts,
        time: Time,
    ) -> Option<(String, String)> {
        let before = self.before?;
        let adds_up = |before: Amount, delta, after| before.checked_add(delta) == Some(after);
        let follows = before.version.checked_add(1) == Some(line.version)
            && adds_up(before.available, amounts.available_delta, amounts.available)
            && adds_up(before.held, amounts.held_delta, amounts.held)
            && self.last_time.is_none_or(|last| time > last);
        if follows {
            return None;
        }
        let expected = format!(
            "version {}, {} and then {} available, {} held{}",
            i128::from(before.version) + 1,
            WalkedBalance(before),
            amounts.available_delta,
            amounts.held_delta,
            self.last_time
                .map_or(String::new(), |last| format!(", later than {last}"))
        );
        let after = WalkedBalance(after(line, amounts));
        let actual = format!("version {}, {after} at {time}", line.version);
        Some((expected, actual))
    }

    /// The account's seal. An account with entries that cannot be hashed, and no other, has one that equals no other.
    fn finish(self, bounds: PeriodBounds) -> AccountSeal {
        let carried = CarriedBalance {
            balance: self.before.unwrap_or_default(),
            time: self.last_time.unwrap_or(bounds.start),
        };
        self.hasher.finish(self.key, bounds.end, carried)
    }
}

fn after(line: &JournalLine<'_>, amounts: &LineAmounts) -> Balance {
    Balance {
        available: amounts.available,
        held: amounts.held,
        version: line.version,
        reservation_count: line.reservation_count,
    }
}

/// A balance as a fault has it.
struct WalkedBalance(Balance);

impl fmt::Display for WalkedBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance {
            available, held, ..
        } = self.0;
        write!(f, "{available} available, {held} held")
    }
}

/// The owners' parts of a period, by owner, of these accounts in their order.
pub fn owner_seals(bounds: PeriodBounds, accounts: &[AccountSeal]) -> Vec<OwnerSeal> {
    let mut hashers: BTreeMap<OwnerId, OwnerHasher> = BTreeMap::new();
    for seal in accounts {
        hashers
            .entry(seal.key.owner)
            .or_insert_with(|| OwnerHasher::new(seal.key.owner, bounds))
            .add(seal);
    }
    hashers.into_values().map(OwnerHasher::finish).collect()
}

#[cfg(test)]
mod tests;
