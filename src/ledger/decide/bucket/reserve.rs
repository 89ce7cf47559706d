//! Reserves: made, used, given back, expired.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::ledger::command::Reply;
use crate::ledger::command::bucket::{DrawFrom, Quantity};
use crate::ledger::decide::bucket::act::{Asked, judge_unit, judge_usable};
use crate::ledger::decide::bucket::available;
use crate::ledger::model::Cause;
use crate::ledger::model::bucket::{
    ActionStatus, BalanceAction, BucketStatus, Drawn, Performed, Reserve, ReserveClosing,
};
use crate::ledger::state::{Leg, Owner};
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;

/// Releases what is due, oldest first.
pub(in crate::ledger::decide) fn expire_due(now: Time, id: OwnerId, owner: &mut Owner) {
    let mut released_any = owner.prepaid.due.is_empty();
    for reserve in std::mem::take(&mut owner.prepaid.due) {
        let due = owner
            .prepaid
            .action(reserve)
            .filter(|found| found.is_due(now))
            .cloned();
        let Some(action) = due else { continue };
        let Some(held) = action.reserve().map(|reserve| reserve.remaining) else {
            continue;
        };
        let legs = vec![given_back(held, held)];
        // What cannot be given back contradicts L3: it stays for `verify` to find, and harms nobody else.
        match owner.plan(&action.unit, legs) {
            Ok(movement) => {
                let time = owner.next_time(now);
                let ActionId(cause_id) = action.id;
                owner.apply(id, movement, Cause::Expire, cause_id, time);
                owner
                    .prepaid
                    .change(drawn(action, Amount::ZERO, Cause::Expire, cause_id, time));
                released_any = true;
            }
            Err(refusal) => {
                tracing::error!(reserve = %action.id, ?refusal, "a due reserve cannot be released");
            }
        }
    }
    // The next batch would find the same ones: its commands would be put off for ever.
    if !released_any {
        owner.more_due = false;
    }
}

pub(super) fn make(
    owner: &mut Owner,
    asked: &Asked<'_>,
    quantity: &Quantity,
    expire_time: Option<Time>,
) -> Result<Reply> {
    let ends = |time: Time| time > asked.now && time <= asked.now.plus(EXPIRE_AHEAD_MAX);
    if !expire_time.is_none_or(ends) {
        return Err(Error::invalid(
            "expire_time",
            "must be after now and at most 366 days ahead",
        ));
    }
    let Quantity { amount, unit } = quantity;
    judge_unit(&asked.bucket, unit)?;
    judge_usable(asked.now, &asked.bucket)?;
    let legs = vec![Leg {
        account: AccountId::OWN,
        available: amount.negated(),
        held: *amount,
    }];
    let movement = asked.plan(owner, legs, *amount)?;
    let reserve = Reserve {
        remaining: *amount,
        expire_time,
        closed: None,
    };
    Ok(asked.make(owner, movement, *amount, Performed::Reserve(reserve)))
}

pub(super) fn give_back(owner: &mut Owner, asked: &Asked<'_>, id: ActionId) -> Result<Reply> {
    let action = find(owner, id)?;
    let held = open(&action)?;
    let movement = asked.plan(owner, vec![given_back(held, held)], held)?;
    let what = Performed::Unreserve { reserve: id };
    let reply = asked.make(owner, movement, held, what);
    settle(owner, action, Amount::ZERO, &reply);
    Ok(reply)
}

pub(super) fn deduct(
    owner: &mut Owner,
    asked: &Asked<'_>,
    quantity: &Quantity,
    from: DrawFrom,
) -> Result<Reply> {
    let action = find(owner, from.reserve)?;
    let Quantity { amount, unit } = quantity;
    judge_unit(&asked.bucket, unit)?;
    if asked.bucket.status == BucketStatus::Closed {
        judge_usable(asked.now, &asked.bucket)?;
    }
    let held = open(&action)?;
    let rest = held.checked_sub(*amount).filter(|rest| !rest.is_negative());
    let Some(rest) = rest else {
        return Err(Error::InsufficientBalance {
            available: held,
            requested: *amount,
            unit: unit.clone(),
        });
    };
    let (kept, returned) = if from.keep_rest {
        (rest, Amount::ZERO)
    } else {
        (Amount::ZERO, rest)
    };
    let taken = if from.keep_rest { *amount } else { held };
    let legs = vec![
        given_back(returned, taken),
        available(AccountId::WORLD, *amount),
    ];
    let movement = asked.plan(owner, legs, *amount)?;
    let drawn = Drawn {
        reserve: from.reserve,
        returned,
    };
    let reply = asked.make(owner, movement, *amount, Performed::Deduct(Some(drawn)));
    settle(owner, action, kept, &reply);
    Ok(reply)
}

/// A reserve of this bucket, open or not.
fn find(owner: &Owner, id: ActionId) -> Result<BalanceAction> {
    owner
        .prepaid
        .action(id)
        .filter(|action| action.reserve().is_some())
        .cloned()
        .ok_or(Error::ActionNotFound(id))
}

/// What an open reserve holds.
fn open(action: &BalanceAction) -> Result<Amount> {
    match action.reserve() {
        Some(reserve) if action.status == ActionStatus::Created => Ok(reserve.remaining),
        _ => Err(Error::AlreadyTerminal {
            status: action.status.as_str(),
        }),
    }
}

/// So much is no longer held, and so much of it is available again.
fn given_back(available: Amount, held: Amount) -> Leg {
    Leg {
        account: AccountId::OWN,
        available,
        held: held.negated(),
    }
}

/// Stores what an action left of a reserve.
fn settle(owner: &mut Owner, reserve: BalanceAction, kept: Amount, reply: &Reply) {
    if let Reply::Bucket(reply) = reply
        && let Some(action) = &reply.action
    {
        let (cause, by, time) = (action.kind().cause(), action.id.0, action.created_at);
        let reserve = drawn(reserve, kept, cause, by, time);
        owner.prepaid.change(reserve);
    }
}

/// The reserve once only `kept` is held; final if that is nothing. It was used if it held less than all before, or if
/// this is a deduct.
fn drawn(
    mut action: BalanceAction,
    kept: Amount,
    cause: Cause,
    by: Uuid,
    time: Time,
) -> BalanceAction {
    let amount = action.amount;
    if let Performed::Reserve(reserve) = &mut action.what {
        let was_used = cause == Cause::Deduct || reserve.remaining < amount;
        reserve.remaining = kept;
        if kept.is_zero() {
            reserve.closed = Some(ReserveClosing { cause, by });
            action.status = if was_used {
                ActionStatus::Completed
            } else {
                ActionStatus::Cancelled
            };
        }
    }
    action.updated_at = time;
    action
}
