//! Judges balance actions.

use crate::error::{Error, Result};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::action_context::ActionContext;
use crate::ledger::bucket::find::find;
use crate::ledger::bucket::model::ActionEffect;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::movements::{exchange, judge_room};
use crate::ledger::bucket::records::BucketRecords;
use crate::ledger::bucket::replies::replay;
use crate::ledger::bucket::request::{
    ActionRequest, BucketReply, BucketRequest, PerformAction, Quantity,
};
use crate::ledger::bucket::{reserve, transfer};
use crate::ledger::kind::{CommandHead, Judgement, KindState};
use crate::types::amount::Amount;
use crate::types::ids::AccountId;

pub(super) fn judge(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &BucketRequest,
    act: &PerformAction,
) -> Judgement<BucketReply> {
    let now = books.now;
    let records = state.records_mut(command.owner);
    let (_, bucket) = match find(books, records, command.owner, &request.bucket) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let stored = records.action_by_key(act.action.kind(), &act.request_id);
    if let Some(stored) = stored {
        if stored.content != act.content {
            return Error::IdempotencyKeyReused {
                field: "request_id",
                holder: None,
            }
            .into();
        }
        let (action, own_version) = (stored.clone(), stored.own_version);
        return replay(now, bucket, Some(action), own_version);
    }
    let context = ActionContext {
        now,
        bucket,
        act,
        entropy: command.entropy,
    };
    judge_new(&context, books, state).into()
}

fn judge_new(
    context: &ActionContext<'_>,
    books: &mut Books,
    state: &mut KindState<Buckets>,
) -> Result<BucketReply> {
    let action = &context.act.action;
    if let ActionRequest::Transfer(transfer) = action {
        return transfer::carry_out(context, books, state, transfer);
    }
    let id = context.bucket.owner;
    let records = state.records_mut(id);
    let (owner, _) = find(books, records, id, &context.bucket.id)?;
    match action {
        ActionRequest::Topup(quantity) => {
            add_value(context, owner, records, quantity, ActionEffect::Topup)
        }
        ActionRequest::Adjust(quantity) if !quantity.amount.is_negative() => {
            add_value(context, owner, records, quantity, ActionEffect::Adjust)
        }
        ActionRequest::Adjust(quantity) => {
            let taken = quantity.amount.negated();
            let effect = ActionEffect::Adjust;
            take_available(context, owner, records, quantity, taken, effect)
        }
        ActionRequest::Deduct {
            quantity,
            from: None,
        } => {
            let taken = quantity.amount;
            let effect = ActionEffect::Deduct(None);
            take_available(context, owner, records, quantity, taken, effect)
        }
        ActionRequest::Deduct {
            quantity,
            from: Some(from),
        } => reserve::deduct(context, owner, records, quantity, *from),
        ActionRequest::Reserve {
            quantity,
            expire_time,
        } => reserve::hold(context, owner, records, quantity, *expire_time),
        ActionRequest::Unreserve { reserve } => {
            reserve::give_back(context, owner, records, *reserve)
        }
        ActionRequest::Transfer(_) => Err(Error::internal("a transfer has two buckets")),
    }
}

/// Adds value from outside.
fn add_value(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    quantity: &Quantity,
    effect: ActionEffect,
) -> Result<BucketReply> {
    let Quantity { amount, unit } = quantity;
    context.judge_unit(unit)?;
    context.judge_usable()?;
    judge_room(owner, unit, *amount)?;
    let legs = exchange(AccountId::WORLD, AccountId::OWN, *amount);
    let movement = context.plan(owner, legs, *amount)?;
    let (_, reply) = context.carry_out(owner, records, movement, *amount, effect);
    Ok(reply)
}

/// Takes value out of what is available.
fn take_available(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    quantity: &Quantity,
    taken: Amount,
    effect: ActionEffect,
) -> Result<BucketReply> {
    context.judge_unit(&quantity.unit)?;
    context.judge_usable()?;
    let legs = exchange(AccountId::OWN, AccountId::WORLD, taken);
    let movement = context.plan(owner, legs, taken)?;
    let (_, reply) = context.carry_out(owner, records, movement, quantity.amount, effect);
    Ok(reply)
}
