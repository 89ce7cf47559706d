//! Judges balance actions.

use crate::error::{Error, KeyHolder, Result, Violations, rule_with_value};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::action_context::ActionContext;
use crate::ledger::bucket::close;
use crate::ledger::bucket::find::{find, key_reused};
use crate::ledger::bucket::model::{
    ActionEffect, Bucket, BucketStatus, BucketUpdate, Buckets, Validity,
};
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
use crate::types::time::Time;

pub(super) fn judge(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &BucketRequest,
    act: &PerformAction,
) -> Judgement<BucketReply> {
    if let ActionRequest::Close {
        write_off,
        expected_version,
    } = act.action
    {
        let closing = (act, write_off, expected_version);
        return close::judge(command, books, state, request, closing);
    }
    let now = books.now;
    let records = state.records_mut(command.owner);
    let (_, bucket) = match find(books, records, command.owner, &request.bucket) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let stored = records.action_by_key(act.action.kind(), &act.request_id);
    if let Some(stored) = stored {
        if stored.content != act.content {
            let holder = KeyHolder {
                id: stored.id.to_string(),
                version: None,
            };
            return key_reused(holder).into();
        }
        let left = (stored.own_version, stored.created_at);
        return replay(now, bucket, Some(stored.clone()), left);
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
        ActionRequest::Topup {
            quantity,
            valid_for_end,
        } => top_up(context, owner, records, quantity, *valid_for_end),
        ActionRequest::Adjust(quantity) if !quantity.amount.is_negative() => {
            context.judge_unit(&quantity.unit)?;
            context.judge_usable()?;
            add_value(context, owner, records, quantity, ActionEffect::Adjust)
        }
        ActionRequest::Adjust(quantity) => {
            context.judge_unit(&quantity.unit)?;
            // The way out: value that can no longer be used can still be taken out.
            if context.bucket.status == BucketStatus::Closed {
                context.judge_usable()?;
            }
            let taken = quantity.amount.negated();
            let effect = ActionEffect::Adjust;
            take_available(context, owner, records, quantity, taken, effect)
        }
        ActionRequest::Deduct {
            quantity,
            from: None,
        } => {
            context.judge_unit(&quantity.unit)?;
            context.judge_usable()?;
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
        ActionRequest::Transfer(_) | ActionRequest::Close { .. } => {
            Err(Error::internal("it is judged by a file of its own"))
        }
    }
}

/// Adds value from outside, and extends the validity of the bucket if that is asked for.
fn top_up(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    quantity: &Quantity,
    valid_for_end: Option<Time>,
) -> Result<BucketReply> {
    let bucket = extended(context, quantity, valid_for_end)?;
    if bucket == context.bucket {
        context.judge_usable()?;
        return add_value(context, owner, records, quantity, ActionEffect::Topup);
    }
    let context = ActionContext { bucket, ..*context };
    context.judge_usable()?;
    let mut reply = add_value(&context, owner, records, quantity, ActionEffect::Topup)?;
    let act = context.act;
    let time = owner.last_time.unwrap_or(context.now);
    let has_new_status = records
        .bucket()
        .is_none_or(|stored| stored.status != reply.bucket.status);
    let bucket = Bucket {
        version: reply.bucket.version + 1,
        updated_at: time,
        status_since: if has_new_status {
            Some(time)
        } else {
            reply.bucket.status_since
        },
        ..reply.bucket
    };
    let update = BucketUpdate {
        owner: bucket.owner,
        version: bucket.version,
        // The key is the action's.
        request_id: None,
        content: act.content,
        own_version: reply.balance.version,
        initiated_by: act.initiated_by.clone(),
        created_at: time,
    };
    records.update(bucket.clone(), update);
    reply.bucket = bucket;
    Ok(reply)
}

/// The bucket with a validity that ends at `valid_for_end` or later, ACTIVE if it was EXPIRED. It is the same bucket where
/// there is nothing to extend.
fn extended(
    context: &ActionContext<'_>,
    quantity: &Quantity,
    valid_for_end: Option<Time>,
) -> Result<Bucket> {
    const FIELD: &str = "valid_for_end";

    let now = context.now;
    let bucket = context.bucket.clone();
    let mut violations = Violations::default();
    if let Some(end) = valid_for_end.filter(|end| *end <= now) {
        let rule = format!("must be after now, which is {now}");
        return Err(Error::invalid(
            FIELD,
            rule_with_value(&rule, &end.to_string()),
        ));
    }
    context.add_unit_violation(&mut violations, "amount.units", &quantity.unit);
    if let Some((end, from)) = valid_for_end.zip(bucket.validity.from)
        && end <= from
    {
        let rule = format!("must be after the start of the bucket's validity, which is {from}");
        violations.add(FIELD, rule_with_value(&rule, &end.to_string()));
    }
    violations.finish()?;
    let Some(end) = valid_for_end else {
        return Ok(bucket);
    };
    Ok(Bucket {
        status: match bucket.status {
            BucketStatus::Expired => BucketStatus::Active,
            other => other,
        },
        validity: Validity {
            // A validity without an end is not shortened either.
            to: bucket.validity.to.map(|to| to.max(end)),
            ..bucket.validity
        },
        ..bucket
    })
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
    judge_room(owner, &context.bucket.id, unit, *amount)?;
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
    let legs = exchange(AccountId::OWN, AccountId::WORLD, taken);
    let movement = context.plan(owner, legs, taken)?;
    let (_, reply) = context.carry_out(owner, records, movement, quantity.amount, effect);
    Ok(reply)
}
