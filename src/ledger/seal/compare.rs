//! Holds seals against what was found, in memory.

use std::collections::{BTreeMap, HashMap};

use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::seal::model::{
    AccountSeal, OwnerSeal, PeriodBounds, PeriodSeal, SealDigest, SealKey,
};
use crate::ledger::seal::walk::{SequenceFault, Walked, owner_seals};
use crate::types::ids::OwnerId;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Periods of which one does not begin where the one before ends, or does not name its digest.
pub fn chain(periods: &[PeriodSeal]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut before: Option<&PeriodSeal> = None;
    for period in periods {
        let start = before.map_or(period.bounds.start, |before| before.bounds.end);
        let previous = before.map(|before| before.digest);
        if (period.bounds.start, period.previous) != (start, previous) {
            breaches.push(Breach {
                invariant: Invariant::L8,
                owner: None,
                account: None,
                unit: Unit::stored(""),
                expected: linked(start, period.bounds.end, previous),
                actual: linked(period.bounds.start, period.bounds.end, period.previous),
            });
        }
        before = Some(period);
    }
    breaches
}

/// A period of which the database says that its entries are in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedPeriod {
    /// The end of the period.
    pub end: Time,
    /// The number of entries that are archived.
    pub entries: i64,
}

/// Periods that are not archived although a later one is, or with another number of entries than was sealed; archived periods
/// that were never sealed.
pub fn archived(periods: &[PeriodSeal], archived: &[ArchivedPeriod]) -> Vec<Breach> {
    let Some(until) = archived.last().map(|period| period.end) else {
        return Vec::new();
    };
    let mut pairs: BTreeMap<Time, (Option<i64>, Option<i64>)> = BTreeMap::new();
    for period in periods.iter().filter(|it| it.bounds.end <= until) {
        pairs.entry(period.bounds.end).or_default().0 = Some(period.entries);
    }
    for period in archived {
        pairs.entry(period.end).or_default().1 = Some(period.entries);
    }
    let shown = |what: &str, end: Time, entries: Option<i64>| match entries {
        Some(entries) => format!("{entries} {what} entries of the period that ends at {end}"),
        None => format!("no {what} period that ends at {end}"),
    };
    pairs
        .into_iter()
        .filter(|(_, (sealed, archived))| sealed != archived)
        .map(|(end, (sealed, archived))| Breach {
            invariant: Invariant::L8,
            owner: None,
            account: None,
            unit: Unit::stored(""),
            expected: shown("sealed", end, sealed),
            actual: shown("archived", end, archived),
        })
        .collect()
}

fn linked(start: Time, end: Time, previous: Option<SealDigest>) -> String {
    let behind = previous.map_or("nothing".into(), |digest| format!("digest {digest}"));
    format!("period {start} to {end} behind {behind}")
}

/// A period whose digest is not that of its owners.
pub fn period(stored: &PeriodSeal, found: &PeriodSeal) -> Option<Breach> {
    let shown = |seal: &PeriodSeal| {
        format!(
            "period {}: {} entries of {} owners, digest {}",
            seal.bounds, seal.entries, seal.owners, seal.digest
        )
    };
    (stored != found).then(|| Breach {
        invariant: Invariant::L8,
        owner: None,
        account: None,
        unit: Unit::stored(""),
        expected: shown(stored),
        actual: shown(found),
    })
}

/// Owners whose seals are not those of their carry-forwards; carry-forwards without the owner's seal.
pub fn owners(bounds: PeriodBounds, accounts: &[AccountSeal], stored: &[OwnerSeal]) -> Vec<Breach> {
    let found = owner_seals(bounds, accounts);
    let mut pairs: BTreeMap<OwnerId, (Option<&OwnerSeal>, Option<&OwnerSeal>)> = BTreeMap::new();
    for seal in stored {
        pairs.entry(seal.owner).or_default().0 = Some(seal);
    }
    for seal in &found {
        pairs.entry(seal.owner).or_default().1 = Some(seal);
    }
    let shown = |seal: Option<&OwnerSeal>, none: &str| match seal {
        Some(seal) => format!(
            "period {bounds}: {} entries, digest {}",
            seal.entries, seal.digest
        ),
        None => format!("period {bounds}: {none}"),
    };
    pairs
        .into_iter()
        .filter(|(_, (stored, found))| stored != found)
        .map(|(owner, (stored, found))| Breach {
            invariant: Invariant::L8,
            owner: Some(owner),
            account: None,
            unit: Unit::stored(""),
            expected: shown(stored, "no seal of the owner"),
            actual: shown(found, "no carry-forward of the owner"),
        })
        .collect()
}

/// Accounts whose entries or balance are not those that were sealed; entries of a period in which the account had none. What
/// does not follow in entries that are as they were sealed, is left to L4.
pub fn accounts(bounds: PeriodBounds, found: &Walked, stored: &[AccountSeal]) -> Vec<Breach> {
    let mut pairs: BTreeMap<&SealKey, (Option<&AccountSeal>, Option<&AccountSeal>)> =
        BTreeMap::new();
    for seal in stored {
        pairs.entry(&seal.key).or_default().0 = Some(seal);
    }
    for seal in &found.seals {
        pairs.entry(&seal.key).or_default().1 = Some(seal);
    }
    let faults: HashMap<&SealKey, &SequenceFault> = found
        .faults
        .iter()
        .map(|fault| (&fault.key, fault))
        .collect();
    pairs
        .into_iter()
        .filter(|(_, (stored, found))| stored != found)
        .map(|(key, (stored, found))| {
            let mut actual = format!("period {bounds}: {}", account(found));
            if let Some(fault) = faults.get(key) {
                actual += &format!("; first, instead of {}: {}", fault.expected, fault.actual);
            }
            Breach {
                invariant: Invariant::L8,
                owner: Some(key.owner),
                account: Some(key.account),
                unit: key.unit.clone(),
                expected: format!("period {bounds}: {}", account(stored)),
                actual,
            }
        })
        .collect()
}

fn account(seal: Option<&AccountSeal>) -> String {
    let Some(seal) = seal else {
        return "no entry".into();
    };
    let balance = seal.carried.balance;
    format!(
        "{} entries up to version {} at {}, {} available, {} held by {}, digest {}",
        seal.entries,
        balance.version,
        seal.carried.time,
        balance.available,
        balance.held,
        balance.reservation_count,
        seal.digest
    )
}
