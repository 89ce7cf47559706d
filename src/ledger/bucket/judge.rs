//! What an operation on a bucket reads, and how it is judged: creation and updates here, balance actions in `act`.

use crate::audit::CallWrites;
use crate::error::{Error, RecordName, Result};
use crate::ledger::account::{Balance, Cause};
use crate::ledger::books::{Books, Owner};
use crate::ledger::bucket::act;
use crate::ledger::bucket::action_context::unusable;
use crate::ledger::bucket::action_key::{ActionIdKey, ActionKey};
use crate::ledger::bucket::find::{find, holder, key_reused};
use crate::ledger::bucket::model::{
    Bucket, BucketStatus, BucketUpdate, Buckets, KeptCall, KeyedCall,
};
use crate::ledger::bucket::movements::{exchange, judge_room, refused};
use crate::ledger::bucket::records::BucketRecords;
use crate::ledger::bucket::replies::{done, replay};
use crate::ledger::bucket::request::{
    ActionRequest, BucketOperation, BucketReply, BucketRequest, CreateBucket, PerformAction,
    Quantity, UpdateBucket,
};
use crate::ledger::bucket::statements::{BucketReads, CallKey, UpdateKey};
use crate::ledger::kind::{AccountReads, CommandHead, Judgement, KindState, Origin, Request};
use crate::ledger::table::values::JsonText;
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;

impl Request for BucketRequest {
    type Kind = Buckets;
    type Reply = BucketReply;

    fn further_owner(&self) -> Option<OwnerId> {
        match &self.operation {
            BucketOperation::Act(PerformAction {
                action: ActionRequest::Transfer(transfer),
                ..
            }) => Some(transfer.receiver),
            _ => None,
        }
    }

    fn creates_owner(&self) -> bool {
        matches!(self.operation, BucketOperation::Create(_))
    }

    fn add_reads(&self, owner: OwnerId, read_set: &mut BucketReads, _: &mut AccountReads) {
        match &self.operation {
            BucketOperation::Create(_) => {}
            BucketOperation::Update(update) => {
                let Some(request_id) = update.request_id.clone() else {
                    return;
                };
                // One that changed nothing is among the calls.
                read_set.calls.insert(CallKey {
                    owner,
                    call: KeyedCall::Update,
                    request_id: request_id.clone(),
                });
                read_set.updates.insert(UpdateKey { owner, request_id });
            }
            BucketOperation::Act(act) => {
                if let ActionRequest::Close { .. } = act.action {
                    read_set.calls.insert(CallKey {
                        owner,
                        call: KeyedCall::Close,
                        request_id: act.request_id.clone(),
                    });
                }
                read_set.keys.insert(ActionKey {
                    owner,
                    kind: act.action.kind(),
                    request_id: act.request_id.clone(),
                });
                let reserve = act.action.reserve();
                read_set
                    .reserves
                    .extend(reserve.map(|id| ActionIdKey { owner, id }));
            }
        }
    }

    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<Buckets>,
    ) -> Judgement<BucketReply> {
        match &self.operation {
            BucketOperation::Create(create) => judge_create(command, books, state, self, create),
            BucketOperation::Update(update) => judge_update(command, books, state, self, update),
            BucketOperation::Act(act) => act::judge(command, books, state, self, act),
        }
    }

    fn mark_validated(reply: &mut BucketReply, _: OwnerId, _: &KindState<Buckets>) {
        reply.origin = Origin::Validated;
        if let Some(action) = &mut reply.action {
            action.id = ActionId::NIL;
        }
    }

    fn add_writes(reply: &BucketReply, writes: &mut CallWrites) {
        reply.add_to(writes);
    }

    fn replayed_record(reply: &BucketReply) -> Option<RecordName> {
        Some(match &reply.action {
            Some(action) => RecordName::Id(action.id.to_string()),
            None => RecordName::Bucket(reply.bucket.id.clone()),
        })
    }

    fn fill_replayed_balances(reply: &mut BucketReply, balances: &[Balance]) {
        if let [balance] = *balances {
            reply.balance = balance;
        }
    }
}

fn judge_create(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &BucketRequest,
    create: &CreateBucket,
) -> Judgement<BucketReply> {
    let now = books.now;
    let id = command.owner;
    if command.validate_only {
        // No row was inserted that could have been locked. What is added here is removed again after the judgement.
        books.owners.entry(id).or_default();
    }
    let Some(owner) = books.owners.get_mut(&id) else {
        return Error::internal("a new bucket's owner is not locked").into();
    };
    let records = state.records_mut(id);
    let Some(stored) = records.bucket() else {
        return create_new(now, owner, records, command, request, create).into();
    };
    if stored.content == create.content {
        let bucket = stored.clone();
        let opened = (bucket.opened_version, bucket.created_at);
        return replay(now, bucket, None, opened);
    }
    let holder = holder(stored, owner);
    let error = if create.id_given {
        Error::BucketExists(holder)
    } else {
        key_reused(holder)
    };
    error.into()
}

fn create_new(
    now: Time,
    owner: &mut Owner,
    records: &mut BucketRecords,
    command: &CommandHead,
    request: &BucketRequest,
    create: &CreateBucket,
) -> Result<BucketReply> {
    let Quantity { amount, unit } = &create.value;
    let time = owner.next_time(now);
    if !amount.is_zero() {
        judge_room(owner, &request.bucket, unit, *amount)?;
        let legs = exchange(AccountId::WORLD, AccountId::OWN, *amount);
        let movement = owner
            .plan(unit, legs)
            .map_err(|refusal| refused(&request.bucket, unit, *amount, refusal))?;
        let OwnerId(cause_id) = command.owner;
        owner.apply(command.owner, movement, Cause::OPENING, cause_id, time);
    }
    let balance = owner.balance(AccountId::OWN, unit);
    let bucket = Bucket {
        owner: command.owner,
        tenant: request.tenant,
        id: request.bucket.clone(),
        name: create.name.clone(),
        description: create.description.clone(),
        status: create.status,
        usage_type: create.usage_type,
        party_account: create.party_account.clone(),
        unit: unit.clone(),
        validity: create.validity,
        details: JsonText(create.details.clone()),
        initiated_by: create.initiated_by.clone(),
        content: create.content,
        opened_amount: *amount,
        opened_version: balance.version,
        version: 1,
        created_at: time,
        updated_at: time,
        status_since: Some(time),
    };
    owner.touch(time);
    records.create(bucket.clone(), create.products.clone());
    Ok(done(now, bucket, balance, None))
}

fn judge_update(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &BucketRequest,
    update: &UpdateBucket,
) -> Judgement<BucketReply> {
    let now = books.now;
    let records = state.records_mut(command.owner);
    let (owner, bucket) = match find(books, records, command.owner, &request.bucket) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let stored = update.request_id.as_deref().and_then(|key| {
        let changed = records.update_by_key(key);
        let unchanged = records.call_by_key(KeyedCall::Update, key);
        changed
            .map(|update| (update.content, (update.own_version, update.created_at)))
            .or(unchanged.map(|call| (call.content, (call.own_version, call.created_at))))
    });
    let Some((content, left)) = stored else {
        return update_now(now, owner, records, bucket, update).into();
    };
    if content != update.content {
        return key_reused(holder(&bucket, owner)).into();
    }
    replay(now, bucket, None, left)
}

fn update_now(
    now: Time,
    owner: &mut Owner,
    records: &mut BucketRecords,
    bucket: Bucket,
    update: &UpdateBucket,
) -> Result<BucketReply> {
    let balance = owner.balance(AccountId::OWN, &bucket.unit);
    let actual = bucket.version_with(&balance);
    if let Some(expected) = update.expected_version
        && expected != actual
    {
        return Err(Error::VersionMismatch {
            record: RecordName::Bucket(bucket.id),
            expected,
            actual,
        });
    }
    if bucket.status == BucketStatus::Closed {
        return Err(Error::BucketClosed {
            bucket: bucket.id,
            since: bucket.status_since,
        });
    }
    let is_empty = balance.available.is_zero() && balance.held.is_zero();
    if update.status == Some(BucketStatus::Closed) && !is_empty {
        return Err(not_empty(now, &bucket, &balance));
    }
    let time = owner.next_time(now);
    let updated = Bucket {
        name: update.name.clone().unwrap_or(bucket.name.clone()),
        description: update
            .description
            .clone()
            .unwrap_or(bucket.description.clone()),
        status: update.status.unwrap_or(bucket.status),
        validity: update.validity.unwrap_or(bucket.validity),
        ..bucket.clone()
    };
    if updated == bucket {
        // Nothing but the key is kept.
        if let Some(request_id) = update.request_id.clone() {
            records.add_call(KeptCall {
                owner: bucket.owner,
                call: KeyedCall::Update,
                request_id,
                content: update.content,
                own_version: balance.version,
                created_at: time,
            });
        }
        return Ok(done(now, bucket, balance, None));
    }
    let has_new_status = updated.status != bucket.status;
    let bucket = Bucket {
        version: bucket.version + 1,
        updated_at: time,
        status_since: if has_new_status {
            Some(time)
        } else {
            bucket.status_since
        },
        ..updated
    };
    let made = BucketUpdate {
        owner: bucket.owner,
        version: bucket.version,
        request_id: update.request_id.clone(),
        content: update.content,
        own_version: balance.version,
        initiated_by: update.initiated_by.clone(),
        created_at: time,
    };
    owner.touch(time);
    records.update(bucket.clone(), made);
    Ok(done(now, bucket, balance, None))
}

/// The error for a bucket that has value and is to be closed by an update, which moves none.
fn not_empty(now: Time, bucket: &Bucket, balance: &Balance) -> Error {
    let (available, held, unit) = (balance.available, balance.held, &bucket.unit);
    let reason = format!(
        "has {available} {unit} remaining and {held} {unit} reserved: empty it first, or use CloseBucket"
    );
    unusable(now, bucket, reason, Some(balance))
}
