//! The ids of the seeded network: they follow from numbers, as in `seed/network.sql`.

use uuid::Uuid;

/// A part of a database: enterprises, each with as many accounts and records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BenchNetwork {
    /// The number of the first enterprise.
    pub(crate) first: u32,
    pub(crate) enterprises: u32,
    /// The accounts of each enterprise.
    pub(crate) currencies: u32,
    /// The allocations of each enterprise: they lie in its accounts in turns.
    pub(crate) records: u32,
}

impl BenchNetwork {
    /// The number of the last enterprise.
    pub(crate) fn last(self) -> u32 {
        self.first + self.enterprises - 1
    }
}

/// The number of the partner's enterprise.
pub(crate) const PARTNER_ENTERPRISE: u32 = 0;

/// The others count from 1.
pub(crate) fn enterprise(number: u32) -> Uuid {
    id(0, number.into())
}

/// The client of an enterprise.
pub(crate) fn client(enterprise: u32) -> Uuid {
    id(1, enterprise.into())
}

/// The only partner of a seeded database.
pub(crate) fn partner() -> Uuid {
    id(2, 0)
}

/// The one connection of an enterprise.
pub(crate) fn connection(enterprise: u32) -> Uuid {
    id(3, enterprise.into())
}

/// A seeded allocation of an enterprise, counted from 0. Those of all enterprises ascend together, as they would if they
/// had been made in turns.
pub(crate) fn allocation(enterprise: u32, record: u32) -> Uuid {
    id(0x800, (u64::from(record) << 16) | u64::from(enterprise))
}

/// The currencies count from 1.
pub(crate) fn currency(number: u32) -> String {
    format!("C{number}")
}

fn id(kind: u16, number: u64) -> Uuid {
    let high: u128 = 0x018f_0000_0000_7000 | u128::from(kind);
    let low: u128 = 0x8000_0000_0000_0000 | u128::from(number);
    Uuid::from_u128((high << 64) | low)
}
