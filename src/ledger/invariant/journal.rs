//! L4: the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::ledger::account::{Balance, Cause, Entry};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::invariant::report::{AccountPath, ShownBalance, breach};
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// L4: an account equals the sum of its entries, its versions run 1, 2, 3 …, and times never go back.
pub(super) fn journal(dump: &LedgerDump) -> Vec<Breach> {
    let entries = entries_by_account(dump);
    let accounts: HashMap<AccountPath<'_>, Balance> = dump
        .accounts
        .iter()
        .map(|account| ((account.owner, &account.key), account.balance))
        .collect();
    let places: BTreeSet<AccountPath<'_>> =
        entries.keys().chain(accounts.keys()).copied().collect();
    places
        .into_iter()
        .filter_map(|place| {
            let entries = entries.get(&place).map_or(&[][..], Vec::as_slice);
            account_breach(place, accounts.get(&place).copied(), entries)
        })
        .chain(time_breaches(dump))
        .collect()
}

/// The first entry, or else the account, that does not follow from the entries before it.
fn account_breach(
    place: AccountPath<'_>,
    stored: Option<Balance>,
    entries: &[&Entry],
) -> Option<Breach> {
    let mut before = Balance::default();
    let mut last_time = None;
    for entry in entries {
        let sum = |before: Amount, delta| before.checked_add(delta);
        let follows = entry.after.version == before.version + 1
            && sum(before.available, entry.available_delta) == Some(entry.after.available)
            && sum(before.held, entry.held_delta) == Some(entry.after.held)
            && counts_on(before.reservation_count, entry);
        if !follows {
            let expected = format!(
                "{} and then {} available, {} held, as version {}",
                ShownBalance(before),
                entry.available_delta,
                entry.held_delta,
                before.version + 1
            );
            let actual = ShownBalance(entry.after).to_string();
            return Some(breach(Invariant::L4, place, expected, actual));
        }
        if last_time.is_some_and(|last| entry.time <= last) {
            let expected = format!("version {} later than the one before", entry.after.version);
            return Some(breach(
                Invariant::L4,
                place,
                expected,
                entry.time.to_string(),
            ));
        }
        (before, last_time) = (entry.after, Some(entry.time));
    }
    let stored = stored.unwrap_or_default();
    (stored != before).then(|| {
        let (expected, actual) = (
            ShownBalance(before).to_string(),
            ShownBalance(stored).to_string(),
        );
        breach(Invariant::L4, place, expected, actual)
    })
}

/// Whether an entry's counter of open reservations follows from the one before it. A deduction may leave its reserve open.
fn counts_on(before: i64, entry: &Entry) -> bool {
    let after = entry.after;
    let change = after.reservation_count - before;
    let fits = if entry.held_delta.is_zero() {
        change == 0
    } else if entry.held_delta.is_negative() {
        change == -1 || (change == 0 && entry.cause == Cause::DEDUCT)
    } else {
        change == 1
    };
    fits && (after.reservation_count == 0) == after.held.is_zero()
}

/// All entries of a movement bear one time, and no two movements of an owner bear the same.
fn time_breaches(dump: &LedgerDump) -> Vec<Breach> {
    let mut times: HashMap<(OwnerId, Cause, Uuid), Time> = HashMap::new();
    let mut movements: HashMap<(OwnerId, Time), (Cause, Uuid)> = HashMap::new();
    let mut breaches = Vec::new();
    for entry in &dump.entries {
        let (owner, movement) = (entry.owner, (entry.cause, entry.cause_id));
        let time = *times
            .entry((owner, entry.cause, entry.cause_id))
            .or_insert(entry.time);
        if time != entry.time {
            let expected = format!("{} {} at {time}", entry.cause.as_str(), entry.cause_id);
            let actual = entry.time.to_string();
            breaches.push(breach(Invariant::L4, (owner, &entry.key), expected, actual));
        }
        let first = *movements.entry((owner, entry.time)).or_insert(movement);
        if first != movement {
            let (cause, id) = first;
            let expected = format!("only {} {id} at {}", cause.as_str(), entry.time);
            let actual = format!("{} {}", entry.cause.as_str(), entry.cause_id);
            breaches.push(breach(Invariant::L4, (owner, &entry.key), expected, actual));
        }
    }
    breaches
}

/// The journal of each account, by version.
pub(super) fn entries_by_account(dump: &LedgerDump) -> BTreeMap<AccountPath<'_>, Vec<&Entry>> {
    let mut accounts: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
    for entry in &dump.entries {
        accounts
            .entry((entry.owner, &entry.key))
            .or_default()
            .push(entry);
    }
    for entries in accounts.values_mut() {
        entries.sort_by_key(|entry| entry.after.version);
    }
    accounts
}

pub(super) fn version_at(
    entries: &BTreeMap<AccountPath<'_>, Vec<&Entry>>,
    place: AccountPath<'_>,
    time: Time,
) -> i64 {
    let entries = entries.get(&place).map_or(&[][..], Vec::as_slice);
    let past = entries.partition_point(|entry| entry.time <= time);
    entries[..past]
        .last()
        .map_or(0, |entry| entry.after.version)
}
