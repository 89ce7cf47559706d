//! Breaches of the ledger's invariants.

use std::fmt;

use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

/// What must hold; `lib.rs` says it in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// Conservation: an owner's accounts sum to zero.
    L1,
    /// No overdraft: no account is below zero.
    L2,
    /// Held value is that of open reservations.
    L3,
    /// Journal: accounts are the sums of their entries.
    L4,
    /// Finality: a final record never changes.
    L5,
    /// Once: a key has one effect.
    L6,
    /// Transfer: a movement's entries sum to zero.
    L7,
    /// Seal: sealed periods are as they were sealed.
    L8,
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
            Self::L8 => "L8",
        }
    }
}

/// Where an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The invariant that does not hold.
    pub invariant: Invariant,
    /// Whose value; none where all owners together are meant.
    pub owner: Option<OwnerId>,
    /// In which account; none where all accounts of the owner are meant.
    pub account: Option<AccountId>,
    /// The unit in which it does not hold; empty where all units are meant.
    pub unit: Unit,
    /// What should be there.
    pub expected: String,
    /// What was found instead, as text.
    pub actual: String,
}

impl fmt::Display for Breach {
    /// Where it is, what was expected, and what was found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Some(owner) => write!(f, "owner {owner}")?,
            None => f.write_str("all owners")?,
        }
        let account = self.account.map_or("all accounts".into(), AccountId::name);
        let unit = match self.unit.as_str() {
            "" => "all units",
            unit => unit,
        };
        let (expected, actual) = (&self.expected, &self.actual);
        write!(
            f,
            ", {account}, {unit}: expected {expected}, found {actual}"
        )
    }
}
