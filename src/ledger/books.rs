//! The owners that a batch has locked, with their accounts: read under the locks, changed in memory, written back whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::error::Error;
use crate::ledger::account::{Account, AccountKey, Balance, Cause, EnterpriseFacts, Entry};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The owners of a batch.
#[derive(Debug)]
pub struct Books {
    /// The database's clock, read once under the locks: the only time that judgement uses.
    pub now: Time,
    /// The owners whose rows this transaction has locked.
    pub owners: HashMap<OwnerId, Owner>,
    /// Owners that exist, but whose rows another session has locked: nothing may be judged of them.
    pub blocked: HashSet<OwnerId>,
}

/// An owner whose row is locked.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The enterprise; none if the owner is of another kind.
    pub enterprise: Option<EnterpriseFacts>,
    /// The time of the owner's newest entry, or of a later change of a record of the owner.
    pub last_time: Option<Time>,
    /// Whether more reservations are due than one batch releases: then the owner's commands wait for the next batch.
    pub has_more_due: bool,
    accounts: HashMap<AccountKey, WorkingAccount>,
    entries: Vec<Entry>,
}

/// An account as it was read, and as it is after the movements of this batch.
#[derive(Clone, Copy, Debug)]
struct WorkingAccount {
    stored: Balance,
    current: Balance,
}

/// One account's part of a movement.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The account; no movement has two legs of one account.
    pub account: AccountId,
    /// The amount added to `available`.
    pub available: Amount,
    /// The amount added to `held`.
    pub held: Amount,
    /// What the movement does to a reservation of the account.
    pub reservation: ReservationChange,
}

/// What a leg does to the number of open reservations that hold value of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationChange {
    /// Nothing, or a reservation holds less than before and stays open.
    None,
    /// One begins to hold value.
    Opened,
    /// One holds nothing any more.
    Closed,
}

impl ReservationChange {
    fn added(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Opened => 1,
            Self::Closed => -1,
        }
    }
}

/// A movement that was found possible, with the balance of each account after it.
#[derive(Debug)]
pub struct Movement {
    unit: Unit,
    legs: Vec<(Leg, Balance)>,
}

/// Why a movement is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovementRefusal {
    /// The account has less available than the movement takes.
    Insufficient {
        /// What the account has available.
        available: Amount,
        /// Whether the account has never had the unit.
        is_unused: bool,
    },
    /// A balance would need more than 28 digits.
    Limit,
    /// The account holds less than the movement gives back: the ledger contradicts its records.
    Inconsistent,
}

impl MovementRefusal {
    /// The error for a caller that asked to move `requested`.
    pub fn into_error(self, unit: &Unit, requested: Amount) -> Error {
        match self {
            Self::Insufficient {
                available,
                is_unused,
            } => Error::InsufficientBalance {
                available,
                requested,
                unit: unit.clone(),
                account: None,
                is_unused,
            },
            Self::Limit => Error::BalanceLimit {
                unit: unit.clone(),
                account: None,
            },
            Self::Inconsistent => Error::internal("L3: less is held than a record explains"),
        }
    }
}

impl Books {
    /// Books of these locked owners at this time of the database's clock.
    pub fn new(now: Time, locked: impl IntoIterator<Item = OwnerId>) -> Self {
        let locked = locked.into_iter().map(|owner| (owner, Owner::default()));
        Self {
            now,
            owners: locked.collect(),
            blocked: HashSet::new(),
        }
    }

    /// Whether this transaction has locked the owner.
    pub fn is_locked(&self, owner: OwnerId) -> bool {
        self.owners.contains_key(&owner)
    }

    /// An account's balance at this version, above 0, if a movement of this batch left it or if it was read at it.
    pub fn known_balance(&self, owner: OwnerId, key: &AccountKey, version: i64) -> Option<Balance> {
        let owner = self.owners.get(&owner)?;
        let account = owner.accounts.get(key).filter(|_| version > 0);
        let stored = account.map(|account| account.stored);
        let made = owner.entries.iter().filter(|entry| entry.key == *key);
        stored
            .into_iter()
            .chain(made.map(|entry| entry.after))
            .find(|balance| balance.version == version)
    }

    /// What this batch has changed, in an order that does not depend on hashing.
    pub fn changes(&self) -> BookChanges<'_> {
        let mut changes = BookChanges::default();
        let owners: BTreeMap<_, _> = self.owners.iter().collect();
        for (id, owner) in owners {
            changes.entries.extend(&owner.entries);
            let accounts: BTreeMap<_, _> = owner.accounts.iter().collect();
            for (key, account) in accounts {
                let stored_version = account.stored.version;
                if account.current.version == stored_version {
                    continue;
                }
                let changed = Account {
                    owner: *id,
                    key: key.clone(),
                    balance: account.current,
                };
                if stored_version == 0 {
                    changes.new_accounts.push(changed);
                } else {
                    changes.changed_accounts.push(AccountChange {
                        account: changed,
                        stored_version,
                    });
                }
            }
        }
        changes
    }
}

/// The entries and accounts that a batch writes.
#[derive(Debug, Default)]
pub struct BookChanges<'a> {
    /// New lines of the journal.
    pub entries: Vec<&'a Entry>,
    /// Accounts that had no row, each with its last balance.
    pub new_accounts: Vec<Account>,
    /// Accounts that had a row.
    pub changed_accounts: Vec<AccountChange>,
}

/// An account after a batch, and its version before it.
#[derive(Clone, Debug)]
pub struct AccountChange {
    /// The account with its last balance.
    pub account: Account,
    /// The version that was read: the row must still have it when it is written.
    pub stored_version: i64,
}

impl Owner {
    /// Adds an account as it was read.
    pub fn load_account(&mut self, key: AccountKey, stored: Balance) {
        let account = WorkingAccount {
            stored,
            current: stored,
        };
        self.accounts.insert(key, account);
    }

    /// Whether this batch has made a movement of the owner.
    pub fn has_moved(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Records that something of the owner changed at this time without a movement: later movements follow it.
    pub fn touch(&mut self, time: Time) {
        self.last_time = self.last_time.max(Some(time));
    }

    /// The account's balance after the movements of this batch.
    pub fn balance(&self, account: AccountId, unit: &Unit) -> Balance {
        self.accounts
            .get(&AccountKey::new(account, unit))
            .map_or_else(Balance::default, |account| account.current)
    }

    /// The time of the owner's next movement: the database's clock, but later than every entry of the owner.
    pub fn next_time(&self, now: Time) -> Time {
        self.last_time.map_or(now, |last| now.max(last.next()))
    }

    /// Judges a movement without making it.
    ///
    /// # Errors
    /// Why it is not possible, by the first leg that is not.
    pub fn plan(&self, unit: &Unit, legs: Vec<Leg>) -> Result<Movement, MovementRefusal> {
        plan(unit, legs, |account| self.balance(account, unit))
    }

    /// Judges a movement that is to be made right after `earlier`, which is not made yet either.
    ///
    /// # Errors
    /// The same as those of [`Self::plan`].
    pub fn plan_after(
        &self,
        earlier: &Movement,
        legs: Vec<Leg>,
    ) -> Result<Movement, MovementRefusal> {
        plan(&earlier.unit, legs, |account| {
            self.balance_after(earlier, account)
        })
    }

    /// The account's balance after a movement that was judged, whether or not the movement touches it.
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

    /// Makes a movement that was judged, with nothing else made in between.
    pub fn apply(
        &mut self,
        id: OwnerId,
        movement: Movement,
        cause: Cause,
        cause_id: Uuid,
        time: Time,
    ) {
        for (leg, after) in movement.legs {
            let key = AccountKey::new(leg.account, &movement.unit);
            let account = self.accounts.entry(key.clone()).or_insert(WorkingAccount {
                stored: Balance::default(),
                current: Balance::default(),
            });
            account.current = after;
            self.entries.push(Entry {
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
}

/// Judges a movement on accounts with these balances.
fn plan(
    unit: &Unit,
    legs: Vec<Leg>,
    balance: impl Fn(AccountId) -> Balance,
) -> Result<Movement, MovementRefusal> {
    let mut planned = Vec::with_capacity(legs.len());
    for leg in legs {
        let before = balance(leg.account);
        let available = before.available.checked_add(leg.available);
        let held = before.held.checked_add(leg.held);
        // Before the limit: where too little is available, `held` may pass its limit too.
        if !leg.account.may_be_negative() {
            if available.is_some_and(Amount::is_negative) {
                return Err(MovementRefusal::Insufficient {
                    available: before.available,
                    is_unused: before.version == 0,
                });
            }
            if held.is_some_and(Amount::is_negative) {
                return Err(MovementRefusal::Inconsistent);
            }
        }
        let (Some(available), Some(held)) = (available, held) else {
            return Err(MovementRefusal::Limit);
        };
        let after = Balance {
            available,
            held,
            version: before.version + 1,
            reservation_count: before.reservation_count + leg.reservation.added(),
        };
        planned.push((leg, after));
    }
    Ok(Movement {
        unit: unit.clone(),
        legs: planned,
    })
}
