//! Prepaid buckets: what they are asked, in the contract's order of checks.

mod act;
pub(super) mod reserve;
mod transfer;

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::ledger::command::bucket::{
    BucketCommand, BucketReply, BucketRequest, CreateBucket, Quantity, UpdateBucket,
};
use crate::ledger::command::{Command, Origin, Reply};
use crate::ledger::decide::{Judgement, refused};
use crate::ledger::model::bucket::{BalanceAction, Bucket, BucketStatus, BucketUpdate};
use crate::ledger::model::{Balance, Cause, Versions};
use crate::ledger::state::{Leg, Owner};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

pub(super) fn judge(
    now: Time,
    owners: &mut HashMap<OwnerId, Owner>,
    command: &Command,
    asked: &BucketCommand,
) -> Judgement {
    match &asked.request {
        BucketRequest::Create(create) => {
            // One that is only validated has left no row that could be locked.
            let mut nobody = Owner::default();
            match owners.get_mut(&command.owner) {
                Some(owner) => judge_create(now, owner, command, asked, create),
                None if command.validate_only => {
                    judge_create(now, &mut nobody, command, asked, create)
                }
                None => Err(Error::internal("a new bucket's owner is not locked")).into(),
            }
        }
        BucketRequest::Update(update) => match find(owners, command.owner, &asked.bucket) {
            Ok((owner, bucket)) => judge_update(now, owner, bucket, update),
            Err(error) => Err(error).into(),
        },
        BucketRequest::Act(act) => act::judge(now, owners, command, asked, act),
    }
}

/// The bucket and its owner; `id` names it in the error.
fn find<'a>(
    owners: &'a mut HashMap<OwnerId, Owner>,
    owner: OwnerId,
    id: &str,
) -> Result<(&'a mut Owner, Bucket)> {
    let not_found = || Error::BucketNotFound(id.into());
    let owner = owners.get_mut(&owner).ok_or_else(not_found)?;
    let bucket = owner.prepaid.bucket().cloned().ok_or_else(not_found)?;
    Ok((owner, bucket))
}

fn judge_create(
    now: Time,
    owner: &mut Owner,
    command: &Command,
    asked: &BucketCommand,
    create: &CreateBucket,
) -> Judgement {
    let Some(stored) = owner.prepaid.bucket() else {
        return create_now(now, owner, command, asked, create).into();
    };
    if stored.content == create.content {
        let bucket = stored.clone();
        let opened = bucket.opened_version;
        return replay(now, bucket, None, opened);
    }
    let error = if create.id_given {
        Error::BucketExists(asked.bucket.clone())
    } else {
        Error::IdempotencyKeyReused {
            field: "request_id",
        }
    };
    Err(error).into()
}

fn create_now(
    now: Time,
    owner: &mut Owner,
    command: &Command,
    asked: &BucketCommand,
    create: &CreateBucket,
) -> Result<Reply> {
    let Quantity { amount, unit } = &create.value;
    let time = owner.next_time(now);
    if !amount.is_zero() {
        judge_room(owner, unit, *amount)?;
        let legs = exchange(AccountId::WORLD, AccountId::OWN, *amount);
        let movement = owner
            .plan(unit, legs)
            .map_err(|refusal| refused(refusal, unit, *amount))?;
        let OwnerId(cause_id) = command.owner;
        owner.apply(command.owner, movement, Cause::Opening, cause_id, time);
    }
    let balance = owner.balance(AccountId::OWN, unit);
    let bucket = Bucket {
        owner: command.owner,
        tenant: asked.tenant,
        id: asked.bucket.clone(),
        name: create.name.clone(),
        description: create.description.clone(),
        status: create.status,
        usage_type: create.usage_type,
        party_account: create.party_account.clone(),
        unit: unit.clone(),
        validity: create.validity,
        details: create.details.clone(),
        initiated_by: create.initiated_by.clone(),
        content: create.content,
        opened_amount: *amount,
        opened_version: balance.version,
        version: 1,
        created_at: time,
        updated_at: time,
    };
    owner.last_time = Some(time);
    owner
        .prepaid
        .create(bucket.clone(), create.products.clone());
    Ok(done(now, bucket, balance, None))
}

fn judge_update(now: Time, owner: &mut Owner, bucket: Bucket, update: &UpdateBucket) -> Judgement {
    let key = update.request_id.as_deref();
    if let Some(made) = key.and_then(|key| owner.prepaid.update_by_key(key)) {
        return if made.content == update.content {
            let own_version = made.own_version;
            replay(now, bucket, None, own_version)
        } else {
            Err(Error::IdempotencyKeyReused {
                field: "request_id",
            })
            .into()
        };
    }
    update_now(now, owner, bucket, update).into()
}

fn update_now(
    now: Time,
    owner: &mut Owner,
    bucket: Bucket,
    update: &UpdateBucket,
) -> Result<Reply> {
    let balance = owner.balance(AccountId::OWN, &bucket.unit);
    let actual = bucket.version_with(&balance);
    if let Some(expected) = update.expected_version
        && expected != actual
    {
        return Err(Error::VersionMismatch { expected, actual });
    }
    if bucket.status == BucketStatus::Closed {
        return Err(Error::AlreadyTerminal {
            status: bucket.status.as_str(),
        });
    }
    let is_empty = balance.available.is_zero() && balance.held.is_zero();
    if update.status == Some(BucketStatus::Closed) && !is_empty {
        return Err(Error::BucketNotUsable {
            status: bucket.status_at(now).as_str(),
            reason: format!(
                "it can be closed when it is empty, and {} {unit} are available and {} {unit} reserved",
                balance.available,
                balance.held,
                unit = bucket.unit
            ),
        });
    }
    let time = owner.next_time(now);
    let bucket = Bucket {
        name: update.name.clone().unwrap_or(bucket.name),
        description: update.description.clone().unwrap_or(bucket.description),
        status: update.status.unwrap_or(bucket.status),
        validity: update.validity.unwrap_or(bucket.validity),
        version: bucket.version + 1,
        updated_at: time,
        ..bucket
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
    owner.last_time = Some(time);
    owner.prepaid.update(bucket.clone(), made);
    Ok(done(now, bucket, balance, None))
}

/// What was done now.
fn done(now: Time, bucket: Bucket, balance: Balance, action: Option<BalanceAction>) -> Reply {
    Reply::Bucket(Box::new(BucketReply {
        bucket,
        balance,
        action,
        now,
        origin: Origin::Done,
    }))
}

/// What was done before; the journal has its balance.
fn replay(now: Time, bucket: Bucket, action: Option<BalanceAction>, own_version: i64) -> Judgement {
    let reply = BucketReply {
        bucket,
        balance: Balance::default(),
        action,
        now,
        origin: Origin::Replayed,
    };
    let versions = Versions {
        custody: own_version,
        connection: 0,
    };
    Judgement::Replay(Reply::Bucket(Box::new(reply)), versions)
}

/// Whether so much more fits into a bucket, judged where value enters: a bucket holds less than 10^16, so that whatever
/// part of it is available or held has at most 16 digits before and 12 after the point, and giving back never fails.
fn judge_room(owner: &Owner, unit: &Unit, amount: Amount) -> Result<()> {
    let Balance {
        available, held, ..
    } = owner.balance(AccountId::OWN, unit);
    let total = available
        .checked_add(held)
        .and_then(|total| total.checked_add(amount));
    if total.is_some_and(|total| total < Amount::DECIMAL_LIMIT) {
        Ok(())
    } else {
        Err(Error::BalanceLimit { unit: unit.clone() })
    }
}

/// From what is available in one account to what is available in another.
fn exchange(from: AccountId, to: AccountId, amount: Amount) -> Vec<Leg> {
    vec![available(from, amount.negated()), available(to, amount)]
}

/// A leg that leaves `held` alone.
fn available(account: AccountId, available: Amount) -> Leg {
    Leg {
        account,
        available,
        held: Amount::ZERO,
    }
}
