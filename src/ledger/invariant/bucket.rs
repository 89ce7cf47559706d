//! L5 and L6 of buckets: what actions, their movements, and the reserves that they use say of each other.
//!
//! Every action has one opening movement, a transfer with a price one more for that. A reserve is used by deducts, each
//! above zero; what was used, what was given back and what remains is what was reserved. It is final once nothing
//! remains: closed by the last action that used it, or by its expiry, which then is its one movement of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::ledger::account::{AccountKey, Cause};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::bucket::model::{
    ActionEffect, ActionStatus, BalanceAction, Bucket, BucketStatus, CostOwner, Reserve,
    ReserveClosing, ReserveUse, Transfer,
};
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::invariant::report::{ExactSum, ShownBalance, breach, own_account};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

fn key(account: AccountId, unit: &Unit) -> AccountKey {
    AccountKey {
        account,
        unit: unit.clone(),
    }
}

/// What entries of buckets may name, by owner: a receiver's entries name the originator's transfer.
pub(super) fn records(dump: &LedgerDump) -> HashSet<(OwnerId, Uuid)> {
    let buckets = dump.buckets.iter();
    let mut records: HashSet<_> = buckets.map(|found| (found.owner, found.owner.0)).collect();
    for action in &dump.actions {
        records.insert((action.owner, action.id.0));
        if let ActionEffect::Transfer(transfer) = &action.effect {
            records.insert((transfer.receiver, action.id.0));
        }
    }
    records
}

/// L6: each record's movements are in the journal as it says, once; and nothing else is there in its name.
pub(super) fn once(dump: &LedgerDump) -> Vec<Breach> {
    let mut asked = ExpectedLegs::new();
    for bucket in &dump.buckets {
        ask_for_opening(&mut asked, bucket);
    }
    for action in &dump.actions {
        ask_for_action(&mut asked, action);
    }
    compare(dump, Invariant::L6, &asked, |cause| cause != Cause::EXPIRE)
}

/// L5: a reserve is what its uses made of it; a closed bucket is empty.
pub(super) fn finality(dump: &LedgerDump) -> Vec<Breach> {
    let mut asked = ExpectedLegs::new();
    for action in &dump.actions {
        ask_for_expiry(&mut asked, dump, action);
    }
    let mut breaches = compare(dump, Invariant::L5, &asked, |cause| cause == Cause::EXPIRE);
    breaches.extend(dump.actions.iter().filter_map(unfinished));
    breaches.extend(reserves(dump));
    breaches.extend(closed_buckets(dump));
    breaches.extend(write_offs(dump));
    breaches
}

/// One account's part of a movement, as its record has it.
#[derive(PartialEq)]
struct ExpectedLeg {
    time: Time,
    /// None where the record does not say.
    version: Option<i64>,
    available: Amount,
    held: Amount,
}

type ExpectedLegs = BTreeMap<(OwnerId, AccountKey, Cause, Uuid), ExpectedLeg>;

fn ask_for_opening(asked: &mut ExpectedLegs, bucket: &Bucket) {
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
        let leg = ExpectedLeg {
            time,
            version,
            available,
            held: Amount::ZERO,
        };
        asked.insert((place.0, place.1, Cause::OPENING, bucket.owner.0), leg);
    }
}

/// The legs that the movements of one action must have.
struct ActionLegs<'a> {
    required: &'a mut ExpectedLegs,
    action: &'a BalanceAction,
}

impl ActionLegs<'_> {
    fn add(
        &mut self,
        (owner, account): (OwnerId, AccountId),
        (cause, time): (Cause, Time),
        version: Option<i64>,
        available: Amount,
        held: Amount,
    ) {
        let leg = ExpectedLeg {
            time,
            version,
            available,
            held,
        };
        let key = key(account, &self.action.unit);
        self.required
            .insert((owner, key, cause, self.action.id.0), leg);
    }

    /// A leg of the action's own movement in the account of its bucket.
    fn add_own(&mut self, available: Amount, held: Amount) {
        let action = self.action;
        let movement = (action.kind().cause(), action.created_at);
        let own = (action.owner, AccountId::OWN);
        self.add(own, movement, Some(action.own_version), available, held);
    }

    /// A leg of the action's own movement in the world account of its bucket.
    fn add_world(&mut self, available: Amount) {
        let action = self.action;
        let movement = (action.kind().cause(), action.created_at);
        let world = (action.owner, AccountId::WORLD);
        self.add(world, movement, None, available, Amount::ZERO);
    }

    fn add_transfer(&mut self, transfer: &Transfer) {
        let action = self.action;
        let (owner, receiver) = (action.owner, transfer.receiver);
        let (amount, zero) = (action.amount, Amount::ZERO);
        let (mut of_owner, mut of_receiver) = (action.own_version, transfer.receiver_version);
        if let Some(cost) = transfer.cost {
            let (payer, version) = match cost.owner {
                CostOwner::Originator => (owner, &mut of_owner),
                CostOwner::Receiver => (receiver, &mut of_receiver),
            };
            // The price is paid right after the transfer.
            let movement = (Cause::COST, action.created_at.next());
            let (own, world) = ((payer, AccountId::OWN), (payer, AccountId::WORLD));
            self.add(own, movement, Some(*version), cost.amount.negated(), zero);
            self.add(world, movement, None, cost.amount, zero);
            *version -= 1;
        }
        let movement = (Cause::TRANSFER, action.created_at);
        for (owner, version, amount) in [
            (owner, of_owner, amount.negated()),
            (receiver, of_receiver, amount),
        ] {
            let (own, transit) = ((owner, AccountId::OWN), (owner, AccountId::TRANSIT));
            self.add(own, movement, Some(version), amount, zero);
            self.add(transit, movement, None, amount.negated(), zero);
        }
    }
}

fn ask_for_action(asked: &mut ExpectedLegs, action: &BalanceAction) {
    let (amount, taken, zero) = (action.amount, action.amount.negated(), Amount::ZERO);
    let mut legs = ActionLegs {
        required: asked,
        action,
    };
    match &action.effect {
        ActionEffect::Topup | ActionEffect::Adjust | ActionEffect::WriteOff => {
            legs.add_own(amount, zero);
            legs.add_world(taken);
        }
        ActionEffect::Reserve(_) => legs.add_own(taken, amount),
        ActionEffect::Unreserve { .. } => legs.add_own(amount, taken),
        ActionEffect::Deduct(None) => {
            legs.add_own(taken, zero);
            legs.add_world(amount);
        }
        ActionEffect::Deduct(Some(used)) => {
            let held = taken.checked_sub(used.returned).unwrap_or(taken);
            legs.add_own(used.returned, held);
            legs.add_world(amount);
        }
        ActionEffect::Transfer(transfer) => legs.add_transfer(transfer),
    }
}

/// An expiry gives back all that was not used.
fn ask_for_expiry(asked: &mut ExpectedLegs, dump: &LedgerDump, action: &BalanceAction) {
    let is_expired = action
        .reserve()
        .and_then(|reserve| reserve.closed)
        .is_some_and(|closed| closed.cause == Cause::EXPIRE);
    if !is_expired {
        return;
    }
    let Some(rest) = Uses::of(dump, action).rest(action).0 else {
        return;
    };
    let leg = ExpectedLeg {
        time: action.updated_at,
        version: None,
        available: rest,
        held: rest.negated(),
    };
    let place = (
        action.owner,
        own_account(action),
        Cause::EXPIRE,
        action.id.0,
    );
    asked.insert(place, leg);
}

/// Holds what records ask for against what the journal has of them.
fn compare(
    dump: &LedgerDump,
    invariant: Invariant,
    asked: &ExpectedLegs,
    of_invariant: fn(Cause) -> bool,
) -> Vec<Breach> {
    let records = records(dump);
    let mut found: HashMap<(OwnerId, AccountKey, Cause, Uuid), Vec<ExpectedLeg>> = HashMap::new();
    for entry in &dump.entries {
        let is_ours = records.contains(&(entry.owner, entry.cause_id));
        if !is_ours || !of_invariant(entry.cause) {
            continue;
        }
        let place = (entry.owner, entry.key.clone(), entry.cause, entry.cause_id);
        found.entry(place).or_default().push(ExpectedLeg {
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
                ExpectedLeg { version, ..*asked } == *only
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

impl std::fmt::Display for ExpectedLeg {
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
        (action.owner, &own_account(action)),
        format!("{id} COMPLETED at {}", action.created_at),
        format!("{id} {status} at {}", action.updated_at),
    ))
}

/// What was done with one reserve.
#[derive(Default)]
struct Uses {
    used: ExactSum,
    returned: ExactSum,
    /// How often something of it was given back.
    given_back: usize,
    /// The last action that used it, and whether that gave the rest back.
    last: Option<(Time, ReserveClosing, bool)>,
}

impl Uses {
    fn of(dump: &LedgerDump, reserve: &BalanceAction) -> Self {
        let mut uses = Self::default();
        for action in &dump.actions {
            let (used, returned) = match &action.effect {
                ActionEffect::Unreserve { reserve: of } if *of == reserve.id => {
                    (Amount::ZERO, action.amount)
                }
                ActionEffect::Deduct(Some(ReserveUse {
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
    fn rest(&self, reserve: &BalanceAction) -> ExactSum {
        let mut rest = ExactSum::default();
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
struct ReserveState {
    status: ActionStatus,
    remaining: Amount,
    closed: Option<ReserveClosing>,
    updated_at: Time,
    given_back: usize,
    /// What its expiry gave back.
    expired: Option<Amount>,
}

impl std::fmt::Display for ReserveState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closed = self
            .closed
            .map_or("nothing".into(), |ReserveClosing { cause, by }| {
                format!("{} {by}", cause.as_str())
            });
        write!(
            f,
            "{} with {} left, {:?} expired, given back {} times, closed by {closed}, at {}",
            self.status.as_str(),
            self.remaining,
            self.expired,
            self.given_back,
            self.updated_at
        )
    }
}

/// Reserves that are not what their uses made of them, and uses of none.
fn reserves(dump: &LedgerDump) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut known: HashSet<(OwnerId, ActionId)> = HashSet::new();
    for action in &dump.actions {
        let Some(reserve) = action.reserve() else {
            continue;
        };
        known.insert((action.owner, action.id));
        let uses = Uses::of(dump, action);
        let actual = ReserveState {
            status: action.status,
            remaining: reserve.remaining,
            closed: reserve.closed,
            updated_at: action.updated_at,
            given_back: uses.given_back,
            expired: reserve.expired,
        };
        let expected = made_by(action, reserve, &uses);
        if expected.as_ref() != Some(&actual) {
            let id = action.id;
            let expected = expected.map_or("used for no more than it held".into(), |expected| {
                expected.to_string()
            });
            breaches.push(breach(
                Invariant::L5,
                (action.owner, &own_account(action)),
                format!("{id} {expected}"),
                format!("{id} {actual}"),
            ));
        }
    }
    for action in &dump.actions {
        let named = match &action.effect {
            ActionEffect::Unreserve { reserve } => *reserve,
            ActionEffect::Deduct(Some(drawn)) => drawn.reserve,
            _ => continue,
        };
        if !known.contains(&(action.owner, named)) {
            breaches.push(breach(
                Invariant::L5,
                (action.owner, &own_account(action)),
                format!("{} uses a reserve", action.id),
                format!("{} uses {named}", action.id),
            ));
        }
    }
    breaches
}

/// How a reserve must stand; none if more was used than it held.
fn made_by(action: &BalanceAction, reserve: &Reserve, uses: &Uses) -> Option<ReserveState> {
    let rest = uses.rest(action).0.filter(|rest| !rest.is_negative())?;
    let last = uses.last.map(|(time, ..)| time);
    let expiry = reserve.closed.filter(|closed| {
        let is_later = last.is_none_or(|last| last < action.updated_at);
        closed.cause == Cause::EXPIRE && !rest.is_zero() && is_later
    });
    let closed = match expiry {
        Some(_) => Some(ReserveClosing {
            cause: Cause::EXPIRE,
            by: action.id.0,
        }),
        None if rest.is_zero() => uses.last.map(|(_, closing, _)| closing),
        None => None,
    };
    let was_used = !uses.used.is_zero();
    Some(ReserveState {
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
        expired: expiry.map(|_| rest),
    })
}

fn closed_buckets(dump: &LedgerDump) -> Vec<Breach> {
    let closed: HashMap<OwnerId, &Bucket> = dump
        .buckets
        .iter()
        .filter(|bucket| bucket.status == BucketStatus::Closed)
        .map(|bucket| (bucket.owner, bucket))
        .collect();
    let full = dump.accounts.iter().filter(|account| {
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
            ShownBalance(account.balance).to_string(),
        )
    })
    .collect()
}

/// What was written off left a bucket that was closed at that moment.
fn write_offs(dump: &LedgerDump) -> Vec<Breach> {
    let closed: HashMap<OwnerId, Time> = dump
        .buckets
        .iter()
        .filter(|bucket| bucket.status == BucketStatus::Closed)
        .map(|bucket| (bucket.owner, bucket.updated_at))
        .collect();
    let actions = dump.actions.iter();
    let write_offs = actions.filter(|action| action.effect == ActionEffect::WriteOff);
    let unexplained =
        write_offs.filter(|action| closed.get(&action.owner) != Some(&action.created_at));
    unexplained
        .map(|action| {
            let actual = closed.get(&action.owner);
            breach(
                Invariant::L5,
                (action.owner, &own_account(action)),
                format!("{} CLOSED at {}", action.id, action.created_at),
                actual.map_or("no closed bucket".into(), |at| format!("CLOSED at {at}")),
            )
        })
        .collect()
}
