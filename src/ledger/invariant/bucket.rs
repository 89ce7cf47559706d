//! L5 and L6 of buckets: what actions, their movements, and the reserves that they use say of each other.
//!
//! Every action has one opening movement, a transfer with a price one more for that. A reserve is used by deducts, each
//! above zero; what was used, what was given back and what remains is what was reserved. It is final once nothing
//! remains: closed by the last action that used it, or by its expiry, which then is its one movement of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::ledger::invariant::{Breach, Invariant, Picture, Shown, Total, breach};
use crate::ledger::model::bucket::{
    ActionStatus, BalanceAction, Bucket, BucketStatus, CostOwner, Drawn, Performed, Reserve,
    ReserveClosing,
};
use crate::ledger::model::{AccountKey, Cause};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The account that a bucket's value is in.
pub(super) fn own(action: &BalanceAction) -> AccountKey {
    key(AccountId::OWN, &action.unit)
}

fn key(account: AccountId, unit: &Unit) -> AccountKey {
    AccountKey {
        account,
        unit: unit.clone(),
    }
}

/// What entries of buckets may name, by owner: a receiver's entries name the originator's transfer.
pub(super) fn records(picture: &Picture) -> HashSet<(OwnerId, Uuid)> {
    let buckets = picture.buckets.iter();
    let mut records: HashSet<_> = buckets.map(|found| (found.owner, found.owner.0)).collect();
    for action in &picture.actions {
        records.insert((action.owner, action.id.0));
        if let Performed::Transfer(transfer) = &action.what {
            records.insert((transfer.receiver, action.id.0));
        }
    }
    records
}

/// L6: each record's movements are in the journal as it says, once; and nothing else is there in its name.
pub(super) fn once(picture: &Picture) -> Vec<Breach> {
    let mut asked = Legs::new();
    for bucket in &picture.buckets {
        ask_for_opening(&mut asked, bucket);
    }
    for action in &picture.actions {
        ask_for_action(&mut asked, action);
    }
    compare(picture, Invariant::L6, &asked, |cause| {
        cause != Cause::Expire
    })
}

/// L5: a reserve is what its uses made of it; a closed bucket is empty.
pub(super) fn finality(picture: &Picture) -> Vec<Breach> {
    let mut asked = Legs::new();
    for action in &picture.actions {
        ask_for_expiry(&mut asked, picture, action);
    }
    let mut breaches = compare(picture, Invariant::L5, &asked, |cause| {
        cause == Cause::Expire
    });
    breaches.extend(picture.actions.iter().filter_map(unfinished));
    breaches.extend(reserves(picture));
    breaches.extend(closed_buckets(picture));
    breaches
}

/// One account's part of a movement, as its record has it.
#[derive(PartialEq)]
struct Leg {
    time: Time,
    /// None where the record does not say.
    version: Option<i64>,
    available: Amount,
    held: Amount,
}

type Legs = BTreeMap<(OwnerId, AccountKey, Cause, Uuid), Leg>;

fn ask_for_opening(asked: &mut Legs, bucket: &Bucket) {
    if bucket.opened_amount.is_zero() {
        return;
    }
    let (amount, time) = (bucket.opened_amount, bucket.created_at);
    let legs = [
        (AccountId::OWN, Some(bucket.opened_version), amount),
        (AccountId::WORLD, None, amount.negated()),
    ];
    for (account, version, available) in legs {
        let place = (bucket.owner, key(account, &bucket.unit));
        let leg = Leg {
            time,
            version,
            available,
            held: Amount::ZERO,
        };
        asked.insert((place.0, place.1, Cause::Opening, bucket.owner.0), leg);
    }
}

fn ask_for_action(asked: &mut Legs, action: &BalanceAction) {
    let (amount, taken, zero) = (action.amount, action.amount.negated(), Amount::ZERO);
    let cause = action.kind().cause();
    let mut ask = |owner, account, cause, time, version, available, held| {
        let leg = Leg {
            time,
            version,
            available,
            held,
        };
        asked.insert((owner, key(account, &action.unit), cause, action.id.0), leg);
    };
    let (owner, time, version) = (action.owner, action.created_at, action.own_version);
    let mut own = |version, available, held| {
        ask(
            owner,
            AccountId::OWN,
            cause,
            time,
            Some(version),
            available,
            held,
        );
    };
    match &action.what {
        Performed::Topup | Performed::Adjust => {
            own(version, amount, zero);
            ask(owner, AccountId::WORLD, cause, time, None, taken, zero);
        }
        Performed::Reserve(_) => own(version, taken, amount),
        Performed::Unreserve { .. } => own(version, amount, taken),
        Performed::Deduct(None) => {
            own(version, taken, zero);
            ask(owner, AccountId::WORLD, cause, time, None, amount, zero);
        }
        Performed::Deduct(Some(drawn)) => {
            let held = taken.checked_sub(drawn.returned).unwrap_or(taken);
            own(version, drawn.returned, held);
            ask(owner, AccountId::WORLD, cause, time, None, amount, zero);
        }
        Performed::Transfer(transfer) => {
            let receiver = transfer.receiver;
            let (mut of_owner, mut of_receiver) = (version, transfer.receiver_version);
            if let Some(cost) = transfer.cost {
                let (payer, left) = match cost.owner {
                    CostOwner::Originator => (owner, &mut of_owner),
                    CostOwner::Receiver => (receiver, &mut of_receiver),
                };
                // The price is paid right after the gift.
                let (paid, later) = (Some(*left), time.next());
                *left -= 1;
                let price = cost.amount;
                ask(
                    payer,
                    AccountId::OWN,
                    Cause::Cost,
                    later,
                    paid,
                    price.negated(),
                    zero,
                );
                ask(
                    payer,
                    AccountId::WORLD,
                    Cause::Cost,
                    later,
                    None,
                    price,
                    zero,
                );
            }
            let of_receiver = Some(of_receiver);
            ask(
                owner,
                AccountId::OWN,
                cause,
                time,
                Some(of_owner),
                taken,
                zero,
            );
            ask(owner, AccountId::TRANSIT, cause, time, None, amount, zero);
            ask(
                receiver,
                AccountId::OWN,
                cause,
                time,
                of_receiver,
                amount,
                zero,
            );
            ask(receiver, AccountId::TRANSIT, cause, time, None, taken, zero);
        }
    }
}

/// An expiry gives back all that was not used.
fn ask_for_expiry(asked: &mut Legs, picture: &Picture, action: &BalanceAction) {
    let is_expired = action
        .reserve()
        .and_then(|reserve| reserve.closed)
        .is_some_and(|closed| closed.cause == Cause::Expire);
    if !is_expired {
        return;
    }
    let Some(rest) = Uses::of(picture, action).rest(action).0 else {
        return;
    };
    let leg = Leg {
        time: action.updated_at,
        version: None,
        available: rest,
        held: rest.negated(),
    };
    let place = (action.owner, own(action), Cause::Expire, action.id.0);
    asked.insert(place, leg);
}

/// Holds what records ask for against what the journal has of them.
fn compare(
    picture: &Picture,
    invariant: Invariant,
    asked: &Legs,
    of_invariant: fn(Cause) -> bool,
) -> Vec<Breach> {
    let records = records(picture);
    let mut found: HashMap<(OwnerId, AccountKey, Cause, Uuid), Vec<Leg>> = HashMap::new();
    for entry in &picture.entries {
        let is_ours = records.contains(&(entry.owner, entry.cause_id));
        if !is_ours || !of_invariant(entry.cause) {
            continue;
        }
        let place = (entry.owner, entry.key.clone(), entry.cause, entry.cause_id);
        found.entry(place).or_default().push(Leg {
            time: entry.time,
            version: Some(entry.after.version),
            available: entry.available_delta,
            held: entry.held_delta,
        });
    }
    let places: BTreeSet<_> = asked.keys().chain(found.keys()).collect();
    let differs = places.into_iter().filter_map(|place| {
        let (asked, found) = (asked.get(place), found.get(place));
        let found = found.map_or(&[][..], Vec::as_slice);
        let fits = match (asked, found) {
            (Some(asked), [only]) => {
                let version = asked.version.or(only.version);
                Leg { version, ..*asked } == *only
            }
            _ => false,
        };
        let (owner, key, cause, id) = place;
        let name = format!("{} {id}", cause.as_str());
        let expected = asked.map_or(format!("no {name}"), |leg| format!("{name} once: {leg}"));
        let actual: Vec<String> = found.iter().map(ToString::to_string).collect();
        let actual = format!("made {} times: {}", found.len(), actual.join("; "));
        (!fits).then(|| breach(invariant, (*owner, key), expected, actual))
    });
    differs.collect()
}

impl std::fmt::Display for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            time,
            available,
            held,
            ..
        } = self;
        write!(f, "{available} available, {held} held, at {time}")?;
        match self.version {
            Some(version) => write!(f, ", version {version}"),
            None => Ok(()),
        }
    }
}

/// Whatever is no reserve is final from the beginning.
fn unfinished(action: &BalanceAction) -> Option<Breach> {
    let is_final =
        action.status == ActionStatus::Completed && action.updated_at == action.created_at;
    if action.reserve().is_some() || is_final {
        return None;
    }
    let (id, status) = (action.id, action.status.as_str());
    Some(breach(
        Invariant::L5,
        (action.owner, &own(action)),
        format!("{id} COMPLETED at {}", action.created_at),
        format!("{id} {status} at {}", action.updated_at),
    ))
}

/// What was done with one reserve.
#[derive(Default)]
struct Uses {
    used: Total,
    returned: Total,
    /// How often something of it was given back.
    given_back: usize,
    /// The last action that used it, and whether that gave the rest back.
    last: Option<(Time, ReserveClosing, bool)>,
}

impl Uses {
    fn of(picture: &Picture, reserve: &BalanceAction) -> Self {
        let mut uses = Self::default();
        for action in &picture.actions {
            let (used, returned) = match &action.what {
                Performed::Unreserve { reserve: of } if *of == reserve.id => {
                    (Amount::ZERO, action.amount)
                }
                Performed::Deduct(Some(Drawn {
                    reserve: of,
                    returned,
                })) if *of == reserve.id => (action.amount, *returned),
                _ => continue,
            };
            if action.owner != reserve.owner {
                continue;
            }
            uses.used.add(used);
            uses.returned.add(returned);
            let gave_back = !returned.is_zero();
            uses.given_back += usize::from(gave_back);
            let closing = ReserveClosing {
                cause: action.kind().cause(),
                by: action.id.0,
            };
            if uses.last.is_none_or(|(last, ..)| last < action.created_at) {
                uses.last = Some((action.created_at, closing, gave_back));
            }
        }
        uses
    }

    /// What they left of it.
    fn rest(&self, reserve: &BalanceAction) -> Total {
        let mut rest = Total::default();
        rest.add(reserve.amount);
        for gone in [self.used, self.returned] {
            rest = match gone.0 {
                Some(gone) => {
                    rest.add(gone.negated());
                    rest
                }
                None => gone,
            };
        }
        rest
    }
}

/// How a reserve stands.
#[derive(Debug, PartialEq)]
struct Standing {
    status: ActionStatus,
    remaining: Amount,
    closed: Option<ReserveClosing>,
    updated_at: Time,
    given_back: usize,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closed = self
            .closed
            .map_or("nothing".into(), |ReserveClosing { cause, by }| {
                format!("{} {by}", cause.as_str())
            });
        write!(
            f,
            "{} with {} left, given back {} times, closed by {closed}, at {}",
            self.status.as_str(),
            self.remaining,
            self.given_back,
            self.updated_at
        )
    }
}

/// Reserves that are not what their uses made of them, and uses of none.
fn reserves(picture: &Picture) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut known: HashSet<(OwnerId, ActionId)> = HashSet::new();
    for action in &picture.actions {
        let Some(reserve) = action.reserve() else {
            continue;
        };
        known.insert((action.owner, action.id));
        let uses = Uses::of(picture, action);
        let actual = Standing {
            status: action.status,
            remaining: reserve.remaining,
            closed: reserve.closed,
            updated_at: action.updated_at,
            given_back: uses.given_back,
        };
        let expected = made_by(action, reserve, &uses);
        if expected.as_ref() != Some(&actual) {
            let id = action.id;
            let expected = expected.map_or("used for no more than it held".into(), |expected| {
                expected.to_string()
            });
            breaches.push(breach(
                Invariant::L5,
                (action.owner, &own(action)),
                format!("{id} {expected}"),
                format!("{id} {actual}"),
            ));
        }
    }
    for action in &picture.actions {
        let named = match &action.what {
            Performed::Unreserve { reserve } => *reserve,
            Performed::Deduct(Some(drawn)) => drawn.reserve,
            _ => continue,
        };
        if !known.contains(&(action.owner, named)) {
            breaches.push(breach(
                Invariant::L5,
                (action.owner, &own(action)),
                format!("{} uses a reserve", action.id),
                format!("{} uses {named}", action.id),
            ));
        }
    }
    breaches
}

/// How a reserve must stand; none if more was used than it held.
fn made_by(action: &BalanceAction, reserve: &Reserve, uses: &Uses) -> Option<Standing> {
    let rest = uses.rest(action).0.filter(|rest| !rest.is_negative())?;
    let last = uses.last.map(|(time, ..)| time);
    let expiry = reserve.closed.filter(|closed| {
        let is_later = last.is_none_or(|last| last < action.updated_at);
        closed.cause == Cause::Expire && !rest.is_zero() && is_later
    });
    let closed = match expiry {
        Some(_) => Some(ReserveClosing {
            cause: Cause::Expire,
            by: action.id.0,
        }),
        None if rest.is_zero() => uses.last.map(|(_, closing, _)| closing),
        None => None,
    };
    let was_used = !uses.used.is_zero();
    Some(Standing {
        status: match closed {
            None => ActionStatus::Created,
            Some(_) if was_used => ActionStatus::Completed,
            Some(_) => ActionStatus::Cancelled,
        },
        remaining: if expiry.is_some() { Amount::ZERO } else { rest },
        closed,
        updated_at: if expiry.is_some() {
            action.updated_at
        } else {
            last.unwrap_or(action.created_at)
        },
        // Only the last one can have given anything back: after it nothing was left.
        given_back: usize::from(uses.last.is_some_and(|(.., gave_back)| gave_back)),
    })
}

fn closed_buckets(picture: &Picture) -> Vec<Breach> {
    let closed: HashMap<OwnerId, &Bucket> = picture
        .buckets
        .iter()
        .filter(|bucket| bucket.status == BucketStatus::Closed)
        .map(|bucket| (bucket.owner, bucket))
        .collect();
    let full = picture.accounts.iter().filter(|account| {
        let balance = account.balance;
        account.key.account == AccountId::OWN
            && closed.contains_key(&account.owner)
            && !(balance.available.is_zero() && balance.held.is_zero())
    });
    full.map(|account| {
        breach(
            Invariant::L5,
            (account.owner, &account.key),
            "nothing in a closed bucket",
            Shown(account.balance).to_string(),
        )
    })
    .collect()
}
