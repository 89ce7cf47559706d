//! Balance actions.

use std::collections::HashMap;

use crate::error::{Error, Result, Violations};
use crate::ledger::command::bucket::{Act, BucketCommand, Deed, Quantity};
use crate::ledger::command::{Command, Reply};
use crate::ledger::decide::bucket::{done, exchange, find, judge_room, replay, reserve, transfer};
use crate::ledger::decide::{Judgement, refused};
use crate::ledger::model::bucket::{
    ActionStatus, BalanceAction, Bucket, BucketStatus, Performed, Validity,
};
use crate::ledger::state::{Leg, Movement, Owner};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

pub(super) fn judge(
    now: Time,
    owners: &mut HashMap<OwnerId, Owner>,
    command: &Command,
    asked: &BucketCommand,
    act: &Act,
) -> Judgement {
    let (owner, bucket) = match find(owners, command.owner, &asked.bucket) {
        Ok(found) => found,
        Err(error) => return Err(error).into(),
    };
    let stored = owner
        .prepaid
        .action_by_key(act.deed.kind(), &act.request_id);
    if let Some(stored) = stored {
        if stored.content != act.content {
            return Err(Error::IdempotencyKeyReused {
                field: "request_id",
            })
            .into();
        }
        let (action, own_version) = (stored.clone(), stored.own_version);
        return replay(now, bucket, Some(action), own_version);
    }
    let asked = Asked {
        now,
        bucket,
        act,
        entropy: command.entropy,
    };
    match &act.deed {
        Deed::Topup(quantity) => fill(owner, &asked, quantity, Performed::Topup),
        Deed::Adjust(quantity) if !quantity.amount.is_negative() => {
            fill(owner, &asked, quantity, Performed::Adjust)
        }
        Deed::Adjust(quantity) => {
            let taken = quantity.amount.negated();
            use_available(owner, &asked, quantity, taken, Performed::Adjust)
        }
        Deed::Deduct {
            quantity,
            from: None,
        } => {
            let taken = quantity.amount;
            use_available(owner, &asked, quantity, taken, Performed::Deduct(None))
        }
        Deed::Deduct {
            quantity,
            from: Some(from),
        } => reserve::deduct(owner, &asked, quantity, *from),
        Deed::Reserve {
            quantity,
            expire_time,
        } => reserve::make(owner, &asked, quantity, *expire_time),
        Deed::Unreserve { reserve } => reserve::give_back(owner, &asked, *reserve),
        Deed::Transfer(gift) => transfer::make(owners, &asked, gift),
    }
    .into()
}

/// An action that is none of those made before.
pub(super) struct Asked<'a> {
    pub(super) now: Time,
    pub(super) bucket: Bucket,
    pub(super) act: &'a Act,
    entropy: [u8; 8],
}

impl Asked<'_> {
    /// The action at this time; COMPLETED unless it says otherwise.
    pub(super) fn action(
        &self,
        time: Time,
        amount: Amount,
        what: Performed,
        own_version: i64,
    ) -> BalanceAction {
        let bucket = &self.bucket;
        BalanceAction {
            id: ActionId(ordered_id(time, self.entropy)),
            owner: bucket.owner,
            tenant: bucket.tenant,
            bucket: bucket.id.clone(),
            party_account: bucket.party_account.clone(),
            status: match what {
                Performed::Reserve(_) => ActionStatus::Created,
                _ => ActionStatus::Completed,
            },
            request_id: self.act.request_id.clone(),
            content: self.act.content,
            unit: bucket.unit.clone(),
            amount,
            what,
            own_version,
            details: self.act.details.clone(),
            initiated_by: self.act.initiated_by.clone(),
            created_at: time,
            updated_at: time,
        }
    }

    /// Judges a movement of the bucket that was asked to move `requested`.
    pub(super) fn plan(
        &self,
        owner: &Owner,
        legs: Vec<Leg>,
        requested: Amount,
    ) -> Result<Movement> {
        let unit = &self.bucket.unit;
        owner
            .plan(unit, legs)
            .map_err(|refusal| refused(refusal, unit, requested))
    }

    /// Makes the one movement of an action, and the action.
    pub(super) fn make(
        &self,
        owner: &mut Owner,
        movement: Movement,
        amount: Amount,
        what: Performed,
    ) -> Reply {
        let balance = owner.balance_after(&movement, AccountId::OWN);
        let time = owner.next_time(self.now);
        let action = self.action(time, amount, what, balance.version);
        let (cause, ActionId(cause_id)) = (action.kind().cause(), action.id);
        owner.apply(self.bucket.owner, movement, cause, cause_id, time);
        owner.prepaid.act(action.clone());
        done(self.now, self.bucket.clone(), balance, Some(action))
    }
}

/// Value comes in.
fn fill(
    owner: &mut Owner,
    asked: &Asked<'_>,
    quantity: &Quantity,
    what: Performed,
) -> Result<Reply> {
    let Quantity { amount, unit } = quantity;
    judge_unit(&asked.bucket, unit)?;
    judge_usable(asked.now, &asked.bucket)?;
    judge_room(owner, unit, *amount)?;
    let legs = exchange(AccountId::WORLD, AccountId::OWN, *amount);
    let movement = asked.plan(owner, legs, *amount)?;
    Ok(asked.make(owner, movement, *amount, what))
}

/// Value goes out of what is available.
fn use_available(
    owner: &mut Owner,
    asked: &Asked<'_>,
    quantity: &Quantity,
    taken: Amount,
    what: Performed,
) -> Result<Reply> {
    judge_unit(&asked.bucket, &quantity.unit)?;
    judge_usable(asked.now, &asked.bucket)?;
    let legs = exchange(AccountId::OWN, AccountId::WORLD, taken);
    let movement = asked.plan(owner, legs, taken)?;
    Ok(asked.make(owner, movement, quantity.amount, what))
}

/// An amount can only be of the bucket's unit.
pub(super) fn judge_unit(bucket: &Bucket, unit: &Unit) -> Result<()> {
    let mut violations = Violations::default();
    add_unit(&mut violations, bucket, "amount.units", unit);
    violations.finish()
}

/// Adds a violation unless the unit is the bucket's.
pub(super) fn add_unit(violations: &mut Violations, bucket: &Bucket, field: &str, unit: &Unit) {
    if *unit != bucket.unit {
        let description = format!("must be the bucket's, which is {}", bucket.unit);
        violations.add(field, description);
    }
}

/// Only an active bucket can be used, and only while it is valid.
pub(super) fn judge_usable(now: Time, bucket: &Bucket) -> Result<()> {
    let status = bucket.status_at(now);
    let reason = match (status, bucket.validity) {
        (
            BucketStatus::Active,
            Validity {
                from: Some(from), ..
            },
        ) if now < from => {
            format!("it is valid from {from}")
        }
        (BucketStatus::Active, _) => return Ok(()),
        (BucketStatus::Expired, Validity { to: Some(to), .. }) if to < now => {
            format!("it was valid until {to}")
        }
        _ => "only an ACTIVE one can be used".into(),
    };
    Err(Error::BucketNotUsable {
        status: status.as_str(),
        reason,
    })
}
