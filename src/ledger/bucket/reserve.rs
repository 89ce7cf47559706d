//! Judges what is done with reserves: held, used, given back, expired.

use uuid::Uuid;

use crate::error::{BucketShortage, ClosedReserve, Error, Result, rule_with_value};
use crate::ledger::account::Cause;
use crate::ledger::books::{Books, Leg, Owner, ReservationChange};
use crate::ledger::bucket::action_context::ActionContext;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::model::{
    ActionEffect, ActionStatus, BalanceAction, BucketStatus, Reserve, ReserveClosing, ReserveUse,
};
use crate::ledger::bucket::movements::{available, taken_from_reserve};
use crate::ledger::bucket::records::BucketRecords;
use crate::ledger::bucket::request::{BucketReply, Quantity, ReserveDraw};
use crate::ledger::kind::KindState;
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId};
use crate::types::time::Time;

/// Releases what is due of every bucket, the oldest first.
pub(super) fn release_due(books: &mut Books, state: &mut KindState<Buckets>) {
    let now = books.now;
    for (id, records) in &mut state.records {
        let Some(owner) = books.owners.get_mut(id) else {
            continue;
        };
        for reserve in std::mem::take(&mut records.due) {
            let due = records
                .action(reserve)
                .filter(|found| found.is_due(now))
                .cloned();
            let Some(action) = due else { continue };
            let Some(held) = action.reserve().map(|reserve| reserve.remaining) else {
                continue;
            };
            let legs = vec![taken_from_reserve(held, held, Amount::ZERO)];
            match owner.plan(&action.unit, legs) {
                Ok(movement) => {
                    let time = owner.next_time(now);
                    let ActionId(cause_id) = action.id;
                    owner.apply(*id, movement, Cause::EXPIRE, cause_id, time);
                    records.change_reserve(reduced(
                        action,
                        Amount::ZERO,
                        Cause::EXPIRE,
                        cause_id,
                        time,
                    ));
                }
                // It contradicts L3. It stays as it is for verification to report, and no other is affected.
                Err(refusal) => {
                    let reserve = action.id;
                    tracing::error!(%reserve, ?refusal, "a due reserve cannot be released");
                }
            }
        }
    }
}

pub(super) fn hold(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    quantity: &Quantity,
    expire_time: Option<Time>,
) -> Result<BucketReply> {
    let now = context.now;
    let is_allowed = |time: &Time| *time > now && *time <= now.plus(EXPIRE_AHEAD_MAX);
    if let Some(time) = expire_time.filter(|time| !is_allowed(time)) {
        let rule = format!("must be after now, which is {now}, and at most 366 days ahead");
        let description = rule_with_value(&rule, &time.to_string());
        return Err(Error::invalid("expire_time", description));
    }
    let Quantity { amount, unit } = quantity;
    context.judge_unit(unit)?;
    context.judge_usable()?;
    let legs = vec![Leg {
        account: AccountId::OWN,
        available: amount.negated(),
        held: *amount,
        reservation: ReservationChange::Opened,
    }];
    let movement = context.plan(owner, legs, *amount)?;
    let effect = ActionEffect::Reserve(Reserve {
        remaining: *amount,
        expire_time,
        closed: None,
        expired: None,
    });
    let (_, reply) = context.carry_out(owner, records, movement, *amount, effect);
    Ok(reply)
}

pub(super) fn give_back(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    id: ActionId,
) -> Result<BucketReply> {
    let reserve = find_reserve(records, &context.bucket.id, id)?;
    let held = held_by(&reserve)?;
    let legs = vec![taken_from_reserve(held, held, Amount::ZERO)];
    let movement = context.plan(owner, legs, held)?;
    let effect = ActionEffect::Unreserve { reserve: id };
    let (action, reply) = context.carry_out(owner, records, movement, held, effect);
    reduce(records, reserve, Amount::ZERO, &action);
    Ok(reply)
}

pub(super) fn deduct(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    quantity: &Quantity,
    from: ReserveDraw,
) -> Result<BucketReply> {
    let reserve = find_reserve(records, &context.bucket.id, from.reserve)?;
    let Quantity { amount, unit } = quantity;
    context.judge_unit(unit)?;
    if context.bucket.status == BucketStatus::Closed {
        context.judge_usable()?;
    }
    let held = held_by(&reserve)?;
    let rest = held.checked_sub(*amount).filter(|rest| !rest.is_negative());
    let Some(rest) = rest else {
        return Err(Error::BucketShort(Box::new(BucketShortage {
            bucket: context.bucket.id.clone(),
            reserve: Some(from.reserve),
            available: held,
            requested: *amount,
            unit: unit.clone(),
        })));
    };
    let (kept, returned) = if from.keep_rest {
        (rest, Amount::ZERO)
    } else {
        (Amount::ZERO, rest)
    };
    let taken = if from.keep_rest { *amount } else { held };
    let legs = vec![
        taken_from_reserve(returned, taken, kept),
        available(AccountId::WORLD, *amount),
    ];
    let movement = context.plan(owner, legs, *amount)?;
    let effect = ActionEffect::Deduct(Some(ReserveUse {
        reserve: from.reserve,
        returned,
    }));
    let (action, reply) = context.carry_out(owner, records, movement, *amount, effect);
    reduce(records, reserve, kept, &action);
    Ok(reply)
}

/// A reserve of this bucket, open or final.
fn find_reserve(records: &BucketRecords, bucket: &str, id: ActionId) -> Result<BalanceAction> {
    records
        .action(id)
        .filter(|action| action.reserve().is_some())
        .cloned()
        .ok_or_else(|| Error::ReserveNotFound {
            id,
            bucket: bucket.into(),
        })
}

/// The amount that an open reserve holds.
fn held_by(action: &BalanceAction) -> Result<Amount> {
    match action.reserve() {
        Some(reserve) if action.status == ActionStatus::Created => Ok(reserve.remaining),
        reserve => {
            let cause = reserve
                .and_then(|reserve| reserve.closed)
                .map(|closed| closed.cause);
            let ended = match cause {
                Some(Cause::EXPIRE) => "expired",
                Some(Cause::UNRESERVE) => "was given back",
                _ => "was used and closed",
            };
            Err(Error::ReserveClosed(Box::new(ClosedReserve {
                reserve: action.id,
                status: action.status.as_str(),
                ended,
                since: action.updated_at,
            })))
        }
    }
}

/// Stores what an action left of a reserve.
fn reduce(
    records: &mut BucketRecords,
    reserve: BalanceAction,
    kept: Amount,
    action: &BalanceAction,
) {
    let (cause, ActionId(by)) = (action.kind().cause(), action.id);
    records.change_reserve(reduced(reserve, kept, cause, by, action.created_at));
}

/// The reserve once it holds only `kept`; final if that is nothing. It counts as used if it held less than its amount
/// before, or if it is used now.
fn reduced(
    mut action: BalanceAction,
    kept: Amount,
    cause: Cause,
    by: Uuid,
    time: Time,
) -> BalanceAction {
    let amount = action.amount;
    if let ActionEffect::Reserve(reserve) = &mut action.effect {
        let was_used = cause == Cause::DEDUCT || reserve.remaining < amount;
        if cause == Cause::EXPIRE {
            reserve.expired = Some(reserve.remaining);
        }
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
