//! Judges closings: what remains in a bucket is written off if the caller says so, and the bucket is CLOSED for good.

use crate::error::{Error, RecordName, Result};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::action_context::{ActionContext, unusable};
use crate::ledger::bucket::find::{find, holder, key_reused};
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, Bucket, BucketStatus, BucketUpdate, Buckets, KeptCall, KeyedCall,
};
use crate::ledger::bucket::movements::exchange;
use crate::ledger::bucket::records::BucketRecords;
use crate::ledger::bucket::replies::{done, replay};
use crate::ledger::bucket::request::{BucketReply, BucketRequest, PerformAction};
use crate::ledger::kind::{CommandHead, Judgement, KindState};
use crate::types::ids::AccountId;

/// The call, whether it writes off what remains, and the version that it expects.
pub(super) fn judge(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &BucketRequest,
    (act, write_off, expected_version): (&PerformAction, bool, Option<i64>),
) -> Judgement<BucketReply> {
    let now = books.now;
    let records = state.records_mut(command.owner);
    let (owner, bucket) = match find(books, records, command.owner, &request.bucket) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let actual = bucket.version_with(&owner.balance(AccountId::OWN, &bucket.unit));
    if let Some(stored) = records.call_by_key(KeyedCall::Close, &act.request_id) {
        if stored.content != act.content {
            return key_reused(holder(&bucket, owner)).into();
        }
        let left = (stored.own_version, stored.created_at);
        let action = records.action_by_key(ActionKind::WriteOff, &act.request_id);
        return replay(now, bucket, action.cloned(), left);
    }
    if let Some(expected) = expected_version
        && expected != actual
    {
        return Error::VersionMismatch {
            record: RecordName::Bucket(bucket.id),
            expected,
            actual,
        }
        .into();
    }
    let context = ActionContext {
        now,
        bucket,
        act,
        entropy: command.entropy,
    };
    close_now(&context, owner, records, write_off).into()
}

fn close_now(
    context: &ActionContext<'_>,
    owner: &mut Owner,
    records: &mut BucketRecords,
    write_off: bool,
) -> Result<BucketReply> {
    let stored = &context.bucket;
    judge_closable(context, owner, write_off)?;
    let available = owner.balance(AccountId::OWN, &stored.unit).available;
    let mut reply = if available.is_zero() {
        let balance = owner.balance(AccountId::OWN, &stored.unit);
        owner.touch(owner.next_time(context.now));
        done(context.now, stored.clone(), balance, None)
    } else {
        let legs = exchange(AccountId::OWN, AccountId::WORLD, available);
        let movement = context.plan(owner, legs, available)?;
        let (amount, effect) = (available.negated(), ActionEffect::WriteOff);
        context
            .carry_out(owner, records, movement, amount, effect)
            .1
    };
    let act = context.act;
    // That of the movement, if there was one.
    let time = owner.last_time.unwrap_or(context.now);
    let own_version = reply.balance.version;
    let bucket = Bucket {
        status: BucketStatus::Closed,
        status_since: Some(time),
        version: stored.version + 1,
        updated_at: time,
        ..stored.clone()
    };
    let update = BucketUpdate {
        owner: bucket.owner,
        version: bucket.version,
        request_id: None,
        content: act.content,
        own_version,
        initiated_by: act.initiated_by.clone(),
        created_at: time,
    };
    records.update(bucket.clone(), update);
    records.add_call(KeptCall {
        owner: bucket.owner,
        call: KeyedCall::Close,
        request_id: act.request_id.clone(),
        content: act.content,
        own_version,
        created_at: time,
    });
    reply.bucket = bucket;
    Ok(reply)
}

/// Judges that the bucket is not CLOSED, that nothing of it is reserved, and that nothing remains unless it is written off.
fn judge_closable(context: &ActionContext<'_>, owner: &Owner, write_off: bool) -> Result<()> {
    let (now, bucket) = (context.now, &context.bucket);
    if bucket.status == BucketStatus::Closed {
        return Err(Error::BucketClosed {
            bucket: bucket.id.clone(),
            since: bucket.status_since,
        });
    }
    let balance = owner.balance(AccountId::OWN, &bucket.unit);
    let (available, held, unit) = (balance.available, balance.held, &bucket.unit);
    let reason = if !held.is_zero() {
        format!("has {held} {unit} reserved: unreserve or deduct that first")
    } else if !available.is_zero() && !write_off {
        format!("has {available} {unit} remaining: set `write_off` to give that up")
    } else {
        return Ok(());
    };
    Err(unusable(now, bucket, reason, Some(&balance)))
}
