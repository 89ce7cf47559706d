//! The part of the ledger that a batch works on: read under the owners' locks, changed in memory, written back whole.

mod bucket;

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::ledger::model::{
    AccountKey, Adjustment, Allocation, Balance, Cause, Connection, Direction, Entry,
};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

pub use bucket::{Prepaid, PrepaidChanges};

/// What a batch read, and what it has changed since.
#[derive(Debug)]
pub struct State {
    /// The database's clock, read once: the only time that `decide` knows.
    pub now: Time,
    /// The owners whose rows are locked.
    pub owners: HashMap<OwnerId, Owner>,
    /// The enterprises of partners whose verdicts are judged; not locked.
    pub partners: HashMap<EnterpriseId, PartnerStanding>,
}

/// A partner's enterprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartnerStanding {
    /// Whether it may use the services.
    pub licensed: bool,
    /// Whether it holds a partner at all.
    pub has_partner: bool,
}

/// One locked owner.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The enterprise; none where the owner is something else.
    pub enterprise: Option<Standing>,
    /// The bucket; empty where the owner is something else.
    pub prepaid: Prepaid,
    /// The time of the newest entry, or of a later change of what is not value.
    pub last_time: Option<Time>,
    /// The connections that commands name.
    pub connections: HashMap<ConnectionId, Connection>,
    /// Due reservations, oldest first.
    pub due: Vec<AllocationId>,
    /// Whether more are due than were read: then its commands wait for the next batch.
    pub more_due: bool,
    accounts: HashMap<AccountKey, Account>,
    allocations: HashMap<AllocationId, Allocation>,
    keys: HashMap<(Direction, String), AllocationId>,
    adjustments: HashMap<String, Adjustment>,
    effects: Effects,
}

/// An enterprise as its own commands see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it may use the services.
    pub licensed: bool,
    /// Its client, if it has one.
    pub client: Option<ClientId>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    stored: Balance,
    now: Balance,
}

/// What a batch did to one owner.
#[derive(Clone, Debug, Default)]
struct Effects {
    entries: Vec<Entry>,
    created: Vec<AllocationId>,
    closed: Vec<AllocationId>,
    adjusted: Vec<String>,
}

/// One account's part of a movement.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Which account.
    pub account: AccountId,
    /// What is added to `available`.
    pub available: Amount,
    /// What is added to `held`.
    pub held: Amount,
}

/// A movement that has been judged: every account after it.
#[derive(Debug)]
pub struct Movement {
    unit: Unit,
    legs: Vec<(Leg, Balance)>,
}

/// Why a movement cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too little is available in this account.
    Insufficient {
        /// What is available.
        available: Amount,
    },
    /// An account would pass 28 digits.
    Limit,
    /// More would be given back than is held: the ledger contradicts its records.
    Broken,
}

impl Owner {
    /// Adds an account as it was read.
    pub fn load_account(&mut self, key: AccountKey, stored: Balance) {
        self.accounts.insert(
            key,
            Account {
                stored,
                now: stored,
            },
        );
    }

    /// Adds a record as it was read.
    pub fn load_allocation(&mut self, allocation: Allocation) {
        self.keys.insert(
            (allocation.direction, allocation.client_external_id.clone()),
            allocation.id,
        );
        self.allocations.insert(allocation.id, allocation);
    }

    /// Adds an adjustment as it was read.
    pub fn load_adjustment(&mut self, adjustment: Adjustment) {
        self.adjustments
            .insert(adjustment.external_id.clone(), adjustment);
    }

    /// The account as it stands in this batch.
    pub fn balance(&self, account: AccountId, unit: &Unit) -> Balance {
        let key = AccountKey {
            account,
            unit: unit.clone(),
        };
        self.accounts
            .get(&key)
            .map_or_else(Balance::default, |account| account.now)
    }

    /// The record with this id, if it was read.
    pub fn allocation(&self, id: AllocationId) -> Option<&Allocation> {
        self.allocations.get(&id)
    }

    /// The record with this key, if there is one.
    pub fn allocation_by_key(
        &self,
        direction: Direction,
        external_id: &str,
    ) -> Option<&Allocation> {
        let id = self.keys.get(&(direction, external_id.to_owned()))?;
        self.allocations.get(id)
    }

    /// The adjustment with this key, if there is one.
    pub fn adjustment_by_key(&self, external_id: &str) -> Option<&Adjustment> {
        self.adjustments.get(external_id)
    }

    /// The time of the next movement: the database's clock, but behind every entry that there is.
    pub fn next_time(&self, now: Time) -> Time {
        self.last_time.map_or(now, |last| now.max(last.next()))
    }

    /// Judges a movement without making it. No account may stand in two legs.
    pub fn plan(&self, unit: &Unit, legs: Vec<Leg>) -> Result<Movement, Refusal> {
        plan(unit, legs, |account| self.balance(account, unit))
    }

    /// Judges a movement that is to be made right after another one, which is not made yet either.
    pub fn plan_after(&self, earlier: &Movement, legs: Vec<Leg>) -> Result<Movement, Refusal> {
        plan(&earlier.unit, legs, |account| {
            self.balance_after(earlier, account)
        })
    }

    /// The account after a movement that was judged.
    pub fn balance_after(&self, movement: &Movement, account: AccountId) -> Balance {
        movement
            .legs
            .iter()
            .find(|(leg, _)| leg.account == account)
            .map_or_else(
                || self.balance(account, &movement.unit),
                |(_, after)| *after,
            )
    }

    /// Makes a movement that was judged just now.
    pub fn apply(
        &mut self,
        id: OwnerId,
        movement: Movement,
        cause: Cause,
        cause_id: Uuid,
        time: Time,
    ) {
        for (leg, after) in movement.legs {
            let key = AccountKey {
                account: leg.account,
                unit: movement.unit.clone(),
            };
            let account = self.accounts.entry(key.clone()).or_insert(Account {
                stored: Balance::default(),
                now: Balance::default(),
            });
            account.now = after;
            self.effects.entries.push(Entry {
                owner: id,
                key,
                available_delta: leg.available,
                held_delta: leg.held,
                after,
                cause,
                cause_id,
                time,
            });
        }
        self.last_time = Some(time);
    }

    /// Adds a new record.
    pub fn create(&mut self, allocation: Allocation) {
        self.effects.created.push(allocation.id);
        self.load_allocation(allocation);
    }

    /// Replaces a record by its final form.
    pub fn close(&mut self, allocation: Allocation) {
        // A record made in this very batch is written once, in its final form.
        if !self.effects.created.contains(&allocation.id) {
            self.effects.closed.push(allocation.id);
        }
        self.allocations.insert(allocation.id, allocation);
    }

    /// Adds a new adjustment.
    pub fn adjust(&mut self, adjustment: Adjustment) {
        self.effects.adjusted.push(adjustment.external_id.clone());
        self.load_adjustment(adjustment);
    }
}

/// Judges a movement on accounts that stand so.
fn plan(
    unit: &Unit,
    legs: Vec<Leg>,
    balance: impl Fn(AccountId) -> Balance,
) -> Result<Movement, Refusal> {
    let mut planned = Vec::with_capacity(legs.len());
    for leg in legs {
        let before = balance(leg.account);
        let available = before.available.checked_add(leg.available);
        let held = before.held.checked_add(leg.held);
        // First of all: where too little is available, `held` may pass its limit too.
        if !leg.account.may_be_negative() {
            if available.is_some_and(Amount::is_negative) {
                return Err(Refusal::Insufficient {
                    available: before.available,
                });
            }
            if held.is_some_and(Amount::is_negative) {
                return Err(Refusal::Broken);
            }
        }
        let (Some(available), Some(held)) = (available, held) else {
            return Err(Refusal::Limit);
        };
        let version = before.version + 1;
        planned.push((
            leg,
            Balance {
                available,
                held,
                version,
            },
        ));
    }
    Ok(Movement {
        unit: unit.clone(),
        legs: planned,
    })
}

/// Everything that a batch writes.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// New lines of the journal.
    pub entries: Vec<&'a Entry>,
    /// Accounts that had no row.
    pub new_accounts: Vec<AccountChange<'a>>,
    /// Accounts that had one.
    pub changed_accounts: Vec<AccountChange<'a>>,
    /// New records.
    pub created: Vec<&'a Allocation>,
    /// Records that became final.
    pub closed: Vec<&'a Allocation>,
    /// New adjustments.
    pub adjustments: Vec<&'a Adjustment>,
    /// What became of buckets.
    pub prepaid: PrepaidChanges<'a>,
}

/// An account before and after a batch.
#[derive(Clone, Copy, Debug)]
pub struct AccountChange<'a> {
    /// Whose.
    pub owner: OwnerId,
    /// Which.
    pub key: &'a AccountKey,
    /// The version that was read.
    pub stored_version: i64,
    /// What it becomes.
    pub after: Balance,
}

impl Changes<'_> {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.prepaid.is_empty()
    }
}

impl State {
    /// What has changed since it was read; in an order that does not depend on hashing.
    pub fn changes(&self) -> Changes<'_> {
        let mut changes = Changes::default();
        let owners: BTreeMap<_, _> = self.owners.iter().collect();
        for (id, owner) in owners {
            let effects = &owner.effects;
            changes.entries.extend(&effects.entries);
            let find = |id| owner.allocations.get(id);
            changes
                .created
                .extend(effects.created.iter().filter_map(find));
            changes
                .closed
                .extend(effects.closed.iter().filter_map(find));
            let find = |key| owner.adjustments.get(key);
            changes
                .adjustments
                .extend(effects.adjusted.iter().filter_map(find));
            owner.prepaid.add_changes(&mut changes.prepaid);
            let accounts: BTreeMap<_, _> = owner.accounts.iter().collect();
            for (key, account) in accounts {
                if account.now.version == account.stored.version {
                    continue;
                }
                let change = AccountChange {
                    owner: *id,
                    key,
                    stored_version: account.stored.version,
                    after: account.now,
                };
                if account.stored.version == 0 {
                    changes.new_accounts.push(change);
                } else {
                    changes.changed_accounts.push(change);
                }
            }
        }
        changes
    }

    /// A balance that a movement of this batch left, if it did.
    pub fn entry_balance(&self, owner: OwnerId, key: &AccountKey, version: i64) -> Option<Balance> {
        let entries = &self.owners.get(&owner)?.effects.entries;
        entries
            .iter()
            .find(|entry| entry.key == *key && entry.after.version == version)
            .map(|entry| entry.after)
    }
}
