//! L5 and L6: what a record and its movements say of each other.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::ledger::invariant::journal::{entries_by_account, version_at};
use crate::ledger::invariant::{Breach, Invariant, Picture, Place, breach, bucket, source};
use crate::ledger::model::{AccountKey, Adjustment, Allocation, Cause, Entry, Status, Versions};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;

/// L5: a final record has exactly one closing movement, and its status is that movement's; an open one has none.
pub(super) fn finality(picture: &Picture) -> Vec<Breach> {
    let (movements, entries) = (movements(picture), entries_by_account(picture));
    let mut breaches = Vec::new();
    for allocation in &picture.allocations {
        let stored: Vec<Cause> = allocation
            .closed
            .iter()
            .map(|closed| closed.cause)
            .collect();
        let made = of_record(&movements, allocation.owner, allocation.id.0, is_closing);
        let causes = causes(&made);
        let fits = match allocation.status {
            Status::Reserved => stored.is_empty(),
            Status::Cleared => matches!(stored[..], [Cause::Clear | Cause::Instant]),
            Status::Released => {
                matches!(stored[..], [Cause::Release | Cause::Cancel | Cause::Expire])
            }
        };
        let source = source(allocation);
        let mut report = |expected: String, actual: String| {
            let id = allocation.id;
            breaches.push(breach(
                Invariant::L5,
                (allocation.owner, &source),
                format!("{id} {expected}"),
                format!("{id} {actual}"),
            ));
        };
        if !fits {
            let expected = format!("closed as its status {} says", allocation.status.as_str());
            report(expected, format!("closed by {}", names(&stored)));
        } else if causes != stored {
            report(
                format!("closed by {}", names(&stored)),
                format!("closed by {}", names(&causes)),
            );
        } else if let (Some(closed), [movement]) = (allocation.closed, &made[..]) {
            let versions = versions_at(&entries, allocation, movement.time);
            if allocation.updated_at != movement.time || closed.versions != versions {
                report(
                    left(movement.time, versions),
                    left(allocation.updated_at, closed.versions),
                );
            }
        } else if allocation.updated_at != allocation.created_at {
            report(
                format!("unchanged since {}", allocation.created_at),
                format!("changed at {}", allocation.updated_at),
            );
        }
    }
    breaches
}

/// L6: one key, one effect: a record has exactly one opening movement, and every movement has a record.
pub(super) fn once(picture: &Picture) -> Vec<Breach> {
    let movements = movements(picture);
    let mut breaches = allocations_opened_once(picture, &movements);
    breaches.extend(adjustments_made_once(picture, &movements));
    breaches.extend(entries_without_record(picture));
    breaches.extend(keys_used_twice(picture));
    breaches
}

fn allocations_opened_once(picture: &Picture, movements: &Movements) -> Vec<Breach> {
    let entries = entries_by_account(picture);
    let mut breaches = Vec::new();
    for allocation in &picture.allocations {
        let at_once = allocation
            .closed
            .is_some_and(|closed| closed.cause == Cause::Instant);
        let expected = if at_once {
            Cause::Instant
        } else {
            Cause::Reserve
        };
        let made = of_record(movements, allocation.owner, allocation.id.0, is_opening);
        let causes = causes(&made);
        let versions = made
            .first()
            .map(|movement| versions_at(&entries, allocation, movement.time));
        let (expected, actual) = match (&made[..], versions) {
            ([movement], Some(versions)) if causes == [expected] => (
                left(movement.time, versions),
                left(allocation.created_at, allocation.opened),
            ),
            _ => (names(&[expected]), names(&causes)),
        };
        if expected != actual {
            let id = allocation.id;
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

fn adjustments_made_once(picture: &Picture, movements: &Movements) -> Vec<Breach> {
    let entries = entries_by_account(picture);
    let mut breaches = Vec::new();
    for adjustment in &picture.adjustments {
        let custody = custody(adjustment);
        let place = (adjustment.owner, &custody);
        let made = of_record(movements, adjustment.owner, adjustment.id.0, is_opening);
        let causes = causes(&made);
        let versions = |custody| Versions {
            custody,
            connection: 0,
        };
        let (expected, actual) = match &made[..] {
            [movement] if causes == [Cause::Adjust] => (
                left(
                    movement.time,
                    versions(version_at(&entries, place, movement.time)),
                ),
                left(adjustment.created_at, versions(adjustment.custody_version)),
            ),
            _ => (names(&[Cause::Adjust]), names(&causes)),
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
fn entries_without_record(picture: &Picture) -> Vec<Breach> {
    let allocations: HashMap<_, _> = picture
        .allocations
        .iter()
        .map(|allocation| ((allocation.owner, allocation.id.0), allocation))
        .collect();
    let adjustments: HashMap<_, _> = picture
        .adjustments
        .iter()
        .map(|adjustment| ((adjustment.owner, adjustment.id.0), adjustment))
        .collect();
    let of_buckets = bucket::records(picture);
    let explained = |entry: &Entry| {
        // What they say of each other is looked at in both directions.
        if of_buckets.contains(&(entry.owner, entry.cause_id)) {
            return true;
        }
        let record = (entry.owner, entry.cause_id);
        let (unit, deltas) = if entry.cause == Cause::Adjust {
            let Some(adjustment) = adjustments.get(&record) else {
                return false;
            };
            (&adjustment.unit, adjusted(adjustment, entry.key.account))
        } else {
            let Some(allocation) = allocations.get(&record) else {
                return false;
            };
            let deltas = allocated(allocation, entry.cause, entry.key.account);
            (&allocation.unit, deltas)
        };
        entry.key.unit == *unit && deltas == Some((entry.available_delta, entry.held_delta))
    };
    picture
        .entries
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
    let (quantity, taken) = (allocation.quantity, allocation.quantity.negated());
    if account == allocation.source() {
        match cause {
            Cause::Reserve => Some((taken, quantity)),
            Cause::Instant => Some((taken, Amount::ZERO)),
            Cause::Clear => Some((Amount::ZERO, taken)),
            Cause::Release | Cause::Cancel | Cause::Expire => Some((quantity, taken)),
            _ => None,
        }
    } else if account == allocation.target() {
        matches!(cause, Cause::Instant | Cause::Clear).then_some((quantity, Amount::ZERO))
    } else {
        None
    }
}

fn keys_used_twice(picture: &Picture) -> Vec<Breach> {
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
    for allocation in &picture.allocations {
        see(
            allocation.owner,
            allocation.direction.as_str(),
            allocation.client_external_id.as_str(),
            allocation.id.0,
            source(allocation),
        );
    }
    for adjustment in &picture.adjustments {
        see(
            adjustment.owner,
            Cause::Adjust.as_str(),
            adjustment.external_id.as_str(),
            adjustment.id.0,
            custody(adjustment),
        );
    }
    for action in &picture.actions {
        see(
            action.owner,
            action.kind().as_str(),
            action.request_id.as_str(),
            action.id.0,
            bucket::own(action),
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
    entries: &BTreeMap<Place<'_>, Vec<&Entry>>,
    allocation: &Allocation,
    time: Time,
) -> Versions {
    let at = |account| {
        let key = AccountKey {
            account,
            unit: allocation.unit.clone(),
        };
        version_at(entries, (allocation.owner, &key), time)
    };
    Versions {
        custody: at(AccountId::OWN),
        connection: at(allocation.connection.into()),
    }
}

/// Movements by owner and record.
type Movements = HashMap<(OwnerId, Uuid), Vec<Movement>>;

#[derive(Clone, Copy)]
struct Movement {
    cause: Cause,
    time: Time,
}

/// Every movement once. No movement has two entries of one account: where there are two, it was made twice.
fn movements(picture: &Picture) -> Movements {
    let mut made: BTreeMap<(OwnerId, Uuid, Cause), BTreeMap<&AccountKey, Vec<Time>>> =
        BTreeMap::new();
    for entry in &picture.entries {
        made.entry((entry.owner, entry.cause_id, entry.cause))
            .or_default()
            .entry(&entry.key)
            .or_default()
            .push(entry.time);
    }
    let mut movements = Movements::new();
    for ((owner, id, cause), accounts) in made {
        let times = accounts.into_values().max_by_key(Vec::len);
        let of_record = movements.entry((owner, id)).or_default();
        of_record.extend(
            times
                .into_iter()
                .flatten()
                .map(|time| Movement { cause, time }),
        );
    }
    movements
}

fn of_record(
    movements: &Movements,
    owner: OwnerId,
    id: Uuid,
    kind: fn(Cause) -> bool,
) -> Vec<Movement> {
    let found = movements.get(&(owner, id)).into_iter().flatten();
    found
        .filter(|movement| kind(movement.cause))
        .copied()
        .collect()
}

fn is_opening(cause: Cause) -> bool {
    matches!(cause, Cause::Adjust | Cause::Reserve | Cause::Instant)
}

fn is_closing(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Clear | Cause::Release | Cause::Cancel | Cause::Expire | Cause::Instant
    )
}

fn causes(movements: &[Movement]) -> Vec<Cause> {
    movements.iter().map(|movement| movement.cause).collect()
}

fn names(causes: &[Cause]) -> String {
    if causes.is_empty() {
        return "nothing".into();
    }
    let names: Vec<_> = causes.iter().map(|cause| cause.as_str()).collect();
    names.join(", ")
}

fn left(time: Time, versions: Versions) -> String {
    let Versions {
        custody,
        connection,
    } = versions;
    format!("{time} with versions {custody} of custody, {connection} of the connection")
}
