//! The ids of the seeded network: they follow from numbers, as in `sql/seed.sql`.

use uuid::Uuid;

/// How many enterprises, accounts of each, and records of each account a database holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) enterprises: u32,
    pub(crate) currencies: u32,
    pub(crate) records: u32,
}

impl Network {
    /// The records of one enterprise.
    pub(crate) fn records_each(self) -> u32 {
        self.currencies * self.records
    }

    /// The allocations of all.
    pub(crate) fn records_total(self) -> u64 {
        u64::from(self.enterprises) * u64::from(self.records_each())
    }
}

/// Enterprises count from 1; number 0 is the partner's.
pub(crate) fn enterprise(number: u32) -> Uuid {
    id(0, number)
}

/// The one connection of an enterprise.
pub(crate) fn connection(number: u32) -> Uuid {
    id(3, number)
}

/// A seeded allocation of an enterprise, counted from 0.
pub(crate) fn allocation(enterprise: u32, record: u32) -> Uuid {
    id(0x800 + record, enterprise)
}

/// The currencies count from 1.
pub(crate) fn currency(number: u32) -> String {
    format!("C{number}")
}

fn id(kind: u32, number: u32) -> Uuid {
    let high: u128 = 0x018f_0000_0000_7000 | u128::from(kind);
    let low: u128 = 0x8000_0000_0000_0000 | u128::from(number);
    Uuid::from_u128((high << 64) | low)
}
