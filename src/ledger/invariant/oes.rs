//! L5 and L6: what a record and its movements say of each other.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::ledger::account::{AccountKey, Cause, Entry};
use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::invariant::bucket;
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::invariant::journal::{entries_by_account, version_at};
use crate::ledger::invariant::report::{AccountPath, breach, own_account, source};
use crate::ledger::oes::model::{Allocation, OesVersions, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;

/// L5: a final record has exactly one closing movement, and its status is that movement's; an open one has none.
pub(super) fn finality(dump: &LedgerDump) -> Vec<Breach> {
    let (movements, entries) = (movements(dump), entries_by_account(dump));
    let mut breaches = Vec::new();
    for allocation in &dump.allocations {
        let stored: Vec<Cause> = allocation
            .closed
            .iter()
            .map(|closed| closed.cause)
            .collect();
        let made = of_record(
            &movements,
            allocation.owner,
            allocation.record.id.0,
            is_closing,
        );
        let causes = causes(&made);
        let fits = match allocation.record.status {
            Status::Reserved => stored.is_empty(),
            Status::Cleared => matches!(stored[..], [Cause::CLEAR | Cause::INSTANT]),
            Status::Released => {
                matches!(stored[..], [Cause::RELEASE | Cause::CANCEL | Cause::EXPIRE])
            }
        };
        let source = source(allocation);
        let mut report = |expected: String, actual: String| {
            let id = allocation.record.id;
            breaches.push(breach(
                Invariant::L5,
                (allocation.owner, &source),
                format!("{id} {expected}"),
                format!("{id} {actual}"),
            ));
        };
        if !fits {
            let expected = format!(
                "closed as its status {} says",
                allocation.record.status.as_str()
            );
            report(expected, format!("closed by {}", names(&stored)));
        } else if causes != stored {
            report(
                format!("closed by {}", names(&stored)),
                format!("closed by {}", names(&causes)),
            );
        } else if let (Some(closed), [movement]) = (allocation.closed, &made[..]) {
            let versions = versions_at(&entries, allocation, movement.time);
            if allocation.record.updated_at != movement.time || closed.versions != versions {
                report(
                    left(movement.time, versions),
                    left(allocation.record.updated_at, closed.versions),
                );
            }
        } else if allocation.record.updated_at != allocation.record.created_at {
            report(
                format!("unchanged since {}", allocation.record.created_at),
                format!("changed at {}", allocation.record.updated_at),
            );
        }
    }
    breaches
}

/// L6: one key, one effect: a record has exactly one opening movement, and every movement has a record.
pub(super) fn once(dump: &LedgerDump) -> Vec<Breach> {
    let movements = movements(dump);
    let mut breaches = allocations_opened_once(dump, &movements);
    breaches.extend(adjustments_made_once(dump, &movements));
    breaches.extend(entries_without_record(dump));
    breaches.extend(keys_used_twice(dump));
    breaches
}

fn allocations_opened_once(dump: &LedgerDump, movements: &JournalMovements) -> Vec<Breach> {
    let entries = entries_by_account(dump);
    let mut breaches = Vec::new();
    for allocation in &dump.allocations {
        let at_once = allocation
            .closed
            .is_some_and(|closed| closed.cause == Cause::INSTANT);
        let expected = if at_once {
            Cause::INSTANT
        } else {
            Cause::RESERVE
        };
        let made = of_record(
            movements,
            allocation.owner,
            allocation.record.id.0,
            is_opening,
        );
        let causes = causes(&made);
        let versions = made
            .first()
            .map(|movement| versions_at(&entries, allocation, movement.time));
        let (expected, actual) = match (&made[..], versions) {
            ([movement], Some(versions)) if causes == [expected] => (
                left(movement.time, versions),
                left(allocation.record.created_at, allocation.opened),
            ),
            _ => (names(&[expected]), names(&causes)),
        };
        if expected != actual {
            let id = allocation.record.id;
            breaches.push(breach(
                Invariant::L6,
                (allocation.owner, &source(allocation)),
                format!("{id} opened by {expected}"),
                format!("{id} opened by {actual}"),
            ));
        }
    }
    breaches
}

fn adjustments_made_once(dump: &LedgerDump, movements: &JournalMovements) -> Vec<Breach> {
    let entries = entries_by_account(dump);
    let mut breaches = Vec::new();
    for adjustment in &dump.adjustments {
        let custody = custody(adjustment);
        let place = (adjustment.owner, &custody);
        let made = of_record(movements, adjustment.owner, adjustment.id.0, is_opening);
        let causes = causes(&made);
        let versions = |custody| OesVersions {
            custody,
            connection: 0,
        };
        let (expected, actual) = match &made[..] {
            [movement] if causes == [Cause::ADJUST] => (
                left(
                    movement.time,
                    versions(version_at(&entries, place, movement.time)),
                ),
                left(adjustment.created_at, versions(adjustment.custody_version)),
            ),
            _ => (names(&[Cause::ADJUST]), names(&causes)),
        };
        if expected != actual {
            let id = adjustment.id;
            breaches.push(breach(
                Invariant::L6,
                place,
                format!("{id} made by {expected}"),
                format!("{id} made by {actual}"),
            ));
        }
    }
    breaches
}

/// Entries whose record is not there, or speaks of other accounts, units or quantities.
fn entries_without_record(dump: &LedgerDump) -> Vec<Breach> {
    let allocations: HashMap<_, _> = dump
        .allocations
        .iter()
        .map(|allocation| ((allocation.owner, allocation.record.id.0), allocation))
        .collect();
    let adjustments: HashMap<_, _> = dump
        .adjustments
        .iter()
        .map(|adjustment| ((adjustment.owner, adjustment.id.0), adjustment))
        .collect();
    let of_buckets = bucket::records(dump);
    let explained = |entry: &Entry| {
        // What they say of each other is looked at in both directions.
        if of_buckets.contains(&(entry.owner, entry.cause_id)) {
            return true;
        }
        let record = (entry.owner, entry.cause_id);
        let (unit, deltas) = if entry.cause == Cause::ADJUST {
            let Some(adjustment) = adjustments.get(&record) else {
                return false;
            };
            (&adjustment.unit, adjusted(adjustment, entry.key.account))
        } else {
            let Some(allocation) = allocations.get(&record) else {
                return false;
            };
            let deltas = allocated(allocation, entry.cause, entry.key.account);
            (&allocation.record.terms.unit, deltas)
        };
        entry.key.unit == *unit && deltas == Some((entry.available_delta, entry.held_delta))
    };
    dump.entries
        .iter()
        .filter(|entry| !explained(entry))
        .map(|entry| {
            breach(
                Invariant::L6,
                (entry.owner, &entry.key),
                "a record that explains the entry",
                format!("{} {}", entry.cause.as_str(), entry.cause_id),
            )
        })
        .collect()
}

/// What a deposit or withdrawal adds to an account; none to one that it has nothing to do with.
fn adjusted(adjustment: &Adjustment, account: AccountId) -> Option<(Amount, Amount)> {
    match account {
        AccountId::WORLD => Some((adjustment.quantity.negated(), Amount::ZERO)),
        AccountId::OWN => Some((adjustment.quantity, Amount::ZERO)),
        _ => None,
    }
}

/// The same of an allocation's movement, to `available` and to `held`.
fn allocated(
    allocation: &Allocation,
    cause: Cause,
    account: AccountId,
) -> Option<(Amount, Amount)> {
    let (quantity, taken) = (
        allocation.record.terms.quantity,
        allocation.record.terms.quantity.negated(),
    );
    if account == allocation.source() {
        match cause {
            Cause::RESERVE => Some((taken, quantity)),
            Cause::INSTANT => Some((taken, Amount::ZERO)),
            Cause::CLEAR => Some((Amount::ZERO, taken)),
            Cause::RELEASE | Cause::CANCEL | Cause::EXPIRE => Some((quantity, taken)),
            _ => None,
        }
    } else if account == allocation.target() {
        matches!(cause, Cause::INSTANT | Cause::CLEAR).then_some((quantity, Amount::ZERO))
    } else {
        None
    }
}

fn keys_used_twice(dump: &LedgerDump) -> Vec<Breach> {
    let mut seen: HashMap<(OwnerId, &str, &str), Uuid> = HashMap::new();
    let mut breaches = Vec::new();
    let mut see = |owner, kind, key, id, account: AccountKey| {
        let first = *seen.entry((owner, kind, key)).or_insert(id);
        if first != id {
            breaches.push(breach(
                Invariant::L6,
                (owner, &account),
                format!("only {first} with the key"),
                id.to_string(),
            ));
        }
    };
    for allocation in &dump.allocations {
        see(
            allocation.owner,
            allocation.record.terms.direction.as_str(),
            allocation.record.terms.client_external_id.as_str(),
            allocation.record.id.0,
            source(allocation),
        );
    }
    for adjustment in &dump.adjustments {
        see(
            adjustment.owner,
            Cause::ADJUST.as_str(),
            adjustment.external_id.as_str(),
            adjustment.id.0,
            custody(adjustment),
        );
    }
    for action in &dump.actions {
        see(
            action.owner,
            action.kind().as_str(),
            action.request_id.as_str(),
            action.id.0,
            own_account(action),
        );
    }
    breaches
}

fn custody(adjustment: &Adjustment) -> AccountKey {
    AccountKey {
        account: AccountId::OWN,
        unit: adjustment.unit.clone(),
    }
}

/// What a movement of this record at this time left.
fn versions_at(
    entries: &BTreeMap<AccountPath<'_>, Vec<&Entry>>,
    allocation: &Allocation,
    time: Time,
) -> OesVersions {
    let at = |account| {
        let key = AccountKey {
            account,
            unit: allocation.record.terms.unit.clone(),
        };
        version_at(entries, (allocation.owner, &key), time)
    };
    OesVersions {
        custody: at(AccountId::OWN),
        connection: at(allocation.record.terms.connection.into()),
    }
}

/// JournalMovements by owner and record.
type JournalMovements = HashMap<(OwnerId, Uuid), Vec<JournalMovement>>;

#[derive(Clone, Copy)]
struct JournalMovement {
    cause: Cause,
    time: Time,
}

/// Every movement once. No movement has two entries of one account: where there are two, it was made twice.
fn movements(dump: &LedgerDump) -> JournalMovements {
    let mut made: BTreeMap<(OwnerId, Uuid, Cause), BTreeMap<&AccountKey, Vec<Time>>> =
        BTreeMap::new();
    for entry in &dump.entries {
        made.entry((entry.owner, entry.cause_id, entry.cause))
            .or_default()
            .entry(&entry.key)
            .or_default()
            .push(entry.time);
    }
    let mut movements = JournalMovements::new();
    for ((owner, id, cause), accounts) in made {
        let times = accounts.into_values().max_by_key(Vec::len);
        let of_record = movements.entry((owner, id)).or_default();
        of_record.extend(
            times
                .into_iter()
                .flatten()
                .map(|time| JournalMovement { cause, time }),
        );
    }
    movements
}

fn of_record(
    movements: &JournalMovements,
    owner: OwnerId,
    id: Uuid,
    kind: fn(Cause) -> bool,
) -> Vec<JournalMovement> {
    let found = movements.get(&(owner, id)).into_iter().flatten();
    found
        .filter(|movement| kind(movement.cause))
        .copied()
        .collect()
}

fn is_opening(cause: Cause) -> bool {
    matches!(cause, Cause::ADJUST | Cause::RESERVE | Cause::INSTANT)
}

fn is_closing(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CLEAR | Cause::RELEASE | Cause::CANCEL | Cause::EXPIRE | Cause::INSTANT
    )
}

fn causes(movements: &[JournalMovement]) -> Vec<Cause> {
    movements.iter().map(|movement| movement.cause).collect()
}

fn names(causes: &[Cause]) -> String {
    if causes.is_empty() {
        return "nothing".into();
    }
    let names: Vec<_> = causes.iter().map(|cause| cause.as_str()).collect();
    names.join(", ")
}

fn left(time: Time, versions: OesVersions) -> String {
    let OesVersions {
        custody,
        connection,
    } = versions;
    format!("{time} with versions {custody} of custody, {connection} of the connection")
}
