//! What every kind of record shares: owners, their accounts, and the journal's entries.

use std::fmt;

use uuid::Uuid;

use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ClientId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The kind of an owner: which table describes it, `enterprise` or `bucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKind {
    /// An enterprise, which owns its client's custody account and one account for each of its connections.
    Enterprise,
    /// A prepaid bucket, which owns the account that holds its value.
    Bucket,
}

/// The stored name of what made a movement. Each kind of record defines its own as constants of this type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause {
    /// ASCII, filled up with zero bytes.
    name: [u8; CAUSE_CHARS_MAX],
}

/// The longest name of a cause, in characters.
const CAUSE_CHARS_MAX: usize = 16;

impl Cause {
    /// A cause with this stored name: 1 to 16 ASCII letters in upper case.
    pub(in crate::ledger) const fn named(name: &'static str) -> Self {
        match Self::parse(name) {
            Some(cause) => cause,
            None => panic!("the name of a cause is 1 to 16 letters in upper case"),
        }
    }

    /// The cause with this stored name; none if no cause could have it.
    pub const fn parse(name: &str) -> Option<Self> {
        let letters = name.as_bytes();
        if letters.is_empty() || letters.len() > CAUSE_CHARS_MAX {
            return None;
        }
        let mut cause = Self {
            name: [0; CAUSE_CHARS_MAX],
        };
        let mut index = 0;
        while index < letters.len() {
            if !letters[index].is_ascii_uppercase() {
                return None;
            }
            cause.name[index] = letters[index];
            index += 1;
        }
        Some(cause)
    }

    /// The name as the database has it.
    pub fn as_str(&self) -> &str {
        let end = self.name.iter().position(|letter| *letter == 0);
        let letters = &self.name[..end.unwrap_or(CAUSE_CHARS_MAX)];
        // Only ASCII letters are ever taken into it.
        std::str::from_utf8(letters).unwrap_or_default()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the ledger reads of an enterprise that owns accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnterpriseFacts {
    /// Whether the enterprise holds an OES licence.
    pub is_licensed: bool,
    /// The enterprise's client; none before one was created.
    pub client: Option<ClientId>,
}

/// What an account holds of one unit after one of its versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Value that a new reservation may take.
    pub available: Amount,
    /// Value that open reservations hold.
    pub held: Amount,
    /// The number of the account's entries; 0 before the first.
    pub version: i64,
    /// The number of open reservations that hold value of the account.
    pub reservation_count: i64,
}

/// An account of an owner in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The account: the owner's own, world, transit, or that of a connection.
    pub account: AccountId,
    /// The currency or unit that the account counts.
    pub unit: Unit,
}

impl AccountKey {
    /// The key of this account in this unit.
    pub fn new(account: AccountId, unit: &Unit) -> Self {
        Self {
            account,
            unit: unit.clone(),
        }
    }
}

/// An account as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The owner whose lock guards the account.
    pub owner: OwnerId,
    /// The account within its owner.
    pub key: AccountKey,
    /// The balance after the account's last entry.
    pub balance: Balance,
}

/// A line of the journal: one account's part of one movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The owner of the account.
    pub owner: OwnerId,
    /// The account within its owner.
    pub key: AccountKey,
    /// Added to `available`; negative if value was taken.
    pub available_delta: Amount,
    /// Added to `held`; negative if value was given up.
    pub held_delta: Amount,
    /// The account's balance after the entry.
    pub after: Balance,
    /// What made the movement.
    pub cause: Cause,
    /// The id of the record that explains the movement: an allocation, an adjustment or a balance action; for a bucket's
    /// opening value the bucket's owner.
    pub cause_id: Uuid,
    /// The movement's time, the same in all of its entries.
    pub time: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_the_name_that_it_was_given() {
        for name in ["A", "RESERVE", "ABCDEFGHIJKLMNOP"] {
            let cause = Cause::parse(name).expect("a cause");
            assert_eq!(cause.as_str(), name);
            assert_eq!(format!("{cause:?}"), name);
        }
        assert_ne!(Cause::parse("RESERV"), Cause::parse("RESERVE"));
        for name in ["", "reserve", "RESERVE_", "ABCDEFGHIJKLMNOPQ", "\0", "É"] {
            assert_eq!(Cause::parse(name), None, "{name:?}");
        }
    }
}
