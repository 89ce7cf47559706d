//! What a seal consists of: of each account, of each owner, and of the period.

use std::fmt;

use uuid::Uuid;

use crate::ledger::account::Balance;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A digest by SHA-256, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealDigest(pub [u8; 32]);

impl SealDigest {
    /// A digest of the database; `None` if it does not have 32 bytes, which the checks of the tables rule out.
    pub fn stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for SealDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SealDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A period: the times from `start` on, and before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeriodBounds {
    /// The first time that belongs to the period.
    pub start: Time,
    /// The first time that does not belong to it any more.
    pub end: Time,
}

impl fmt::Display for PeriodBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

/// An account of an owner in one unit, in the order of the journal's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealKey {
    /// The owner of the account.
    pub owner: OwnerId,
    /// The account within its owner.
    pub account: AccountId,
    /// The currency or unit that the account counts. Units are ordered by bytes, as the database orders them.
    pub unit: Unit,
}

/// An entry of the journal as it is read to be hashed. What no server of this version could have written is absent: an amount of
/// more than 28 digits, or a time that is infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalLine<'a> {
    /// The owner of the account.
    pub owner: Uuid,
    /// The account within its owner.
    pub account: Uuid,
    /// The currency or unit that the account counts.
    pub unit: &'a str,
    /// The number of the entry within its account, from 1 on.
    pub version: i64,
    /// What the entry adds, and what the account has after it.
    pub amounts: Option<LineAmounts>,
    /// The number of open reservations that hold value of the account after the entry.
    pub reservation_count: i64,
    /// The stored name of the movement's cause.
    pub cause: &'a str,
    /// The id of the record that explains the movement.
    pub cause_id: Uuid,
    /// The time of the entry's movement.
    pub time: Option<Time>,
}

/// The amounts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineAmounts {
    /// What the entry adds to `available`.
    pub available_delta: Amount,
    /// What the entry adds to `held`.
    pub held_delta: Amount,
    /// What was available after the entry.
    pub available: Amount,
    /// What was held after the entry.
    pub held: Amount,
}

/// What an account had after its last entry of a period, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedBalance {
    /// The balance that the last entry left.
    pub balance: Balance,
    /// The time of the last entry.
    pub time: Time,
}

/// An account's part of a period: its carry-forward, and the digest of its entries in the period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSeal {
    /// The account, with its owner and unit.
    pub key: SealKey,
    /// The end of the period.
    pub end: Time,
    /// The number of the account's entries in the period; never 0.
    pub entries: i64,
    /// The balance at the end of the period.
    pub carried: CarriedBalance,
    /// The digest of the entries.
    pub digest: SealDigest,
}

/// An owner's part of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerSeal {
    /// The owner of the accounts.
    pub owner: OwnerId,
    /// The end of the period.
    pub end: Time,
    /// The number of the owner's entries in the period; never 0.
    pub entries: i64,
    /// The digest of the owner's accounts.
    pub digest: SealDigest,
}

/// A period, as it was sealed or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodSeal {
    /// When the period begins and ends.
    pub bounds: PeriodBounds,
    /// The digest of the period before; none of the first.
    pub previous: Option<SealDigest>,
    /// The number of owners with entries in the period.
    pub owners: i64,
    /// The number of entries in the period.
    pub entries: i64,
    /// The digest of the owners and of the period before.
    pub digest: SealDigest,
}
