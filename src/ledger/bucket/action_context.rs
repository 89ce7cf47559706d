//! What judging a new balance action needs, and how its movement and record are made.

use crate::error::{Error, Result, UnusableBucket, Violations, rule_with_value};
use crate::ledger::account::Balance;
use crate::ledger::books::{Leg, Movement, Owner};
use crate::ledger::bucket::model::{
    ActionEffect, ActionStatus, BalanceAction, Bucket, BucketStatus, Validity,
};
use crate::ledger::bucket::movements::refused;
use crate::ledger::bucket::records::BucketRecords;
use crate::ledger::bucket::replies::done;
use crate::ledger::bucket::request::{BucketReply, PerformAction};
use crate::ledger::table::values::JsonText;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, Entropy, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A new balance action on a bucket: its idempotency key has not been used before.
pub(super) struct ActionContext<'a> {
    pub(super) now: Time,
    pub(super) bucket: Bucket,
    pub(super) act: &'a PerformAction,
    pub(super) entropy: Entropy,
}

impl ActionContext<'_> {
    /// The action's record at this time: final, unless the action is a reserve.
    pub(super) fn record(
        &self,
        time: Time,
        amount: Amount,
        effect: ActionEffect,
        own_version: i64,
    ) -> BalanceAction {
        let bucket = &self.bucket;
        BalanceAction {
            id: ActionId(ordered_id(time, self.entropy)),
            owner: bucket.owner,
            tenant: bucket.tenant,
            bucket: bucket.id.clone(),
            party_account: bucket.party_account.clone(),
            status: match effect {
                ActionEffect::Reserve(_) => ActionStatus::Created,
                _ => ActionStatus::Completed,
            },
            request_id: self.act.request_id.clone(),
            content: self.act.content,
            unit: bucket.unit.clone(),
            amount,
            effect,
            own_version,
            details: JsonText(self.act.details.clone()),
            initiated_by: self.act.initiated_by.clone(),
            created_at: time,
            updated_at: time,
        }
    }

    /// Judges a movement of the bucket, of which the caller asked to move `requested`.
    pub(super) fn plan(
        &self,
        owner: &Owner,
        legs: Vec<Leg>,
        requested: Amount,
    ) -> Result<Movement> {
        let Bucket { id, unit, .. } = &self.bucket;
        owner
            .plan(unit, legs)
            .map_err(|refusal| refused(id, unit, requested, refusal))
    }

    /// Makes the one movement of an action, and its record.
    pub(super) fn carry_out(
        &self,
        owner: &mut Owner,
        records: &mut BucketRecords,
        movement: Movement,
        amount: Amount,
        effect: ActionEffect,
    ) -> (BalanceAction, BucketReply) {
        let balance = owner.balance_after(&movement, AccountId::OWN);
        let time = owner.next_time(self.now);
        let action = self.record(time, amount, effect, balance.version);
        let (cause, ActionId(cause_id)) = (action.kind().cause(), action.id);
        owner.apply(self.bucket.owner, movement, cause, cause_id, time);
        records.add_action(action.clone());
        let reply = done(self.now, self.bucket.clone(), balance, Some(action.clone()));
        (action, reply)
    }

    /// Judges that an amount is of the bucket's unit.
    pub(super) fn judge_unit(&self, unit: &Unit) -> Result<()> {
        let mut violations = Violations::default();
        self.add_unit_violation(&mut violations, "amount.units", unit);
        violations.finish()
    }

    /// Adds a violation unless the unit is the bucket's.
    pub(super) fn add_unit_violation(&self, violations: &mut Violations, field: &str, unit: &Unit) {
        if *unit != self.bucket.unit {
            let rule = format!("must be the bucket's, which is {}", self.bucket.unit);
            violations.add(field, rule_with_value(&rule, unit.as_str()));
        }
    }

    /// Judges that the bucket can be used now.
    pub(super) fn judge_usable(&self) -> Result<()> {
        judge_usable(self.now, &self.bucket)
    }
}

/// Judges that a bucket can be used: it must be ACTIVE and within its period of validity.
pub(super) fn judge_usable(now: Time, bucket: &Bucket) -> Result<()> {
    let status = bucket.status_at(now);
    let since = bucket.status_since_at(now);
    let reason = match (status, bucket.validity) {
        (
            BucketStatus::Active,
            Validity {
                from: Some(from), ..
            },
        ) if now < from => {
            format!("is valid from {from}, and it is {now}")
        }
        (BucketStatus::Active, _) => return Ok(()),
        (BucketStatus::Expired, Validity { to: Some(to), .. }) if to < now => {
            format!(
                "expired at {to}: top it up with `valid_for_end`, or set a later end of `valid_for`"
            )
        }
        (BucketStatus::Expired, _) => {
            let state = state_since(status, since);
            format!("{state}: top it up with `valid_for_end`, or set its `status` to ACTIVE")
        }
        (BucketStatus::Closed, _) => {
            let state = state_since(status, since);
            format!("{state}, and that is final")
        }
        (BucketStatus::Suspended | BucketStatus::Inactive, _) => {
            let state = state_since(status, since);
            format!("{state}: set its `status` to ACTIVE first")
        }
    };
    Err(unusable(now, bucket, reason, None))
}

/// The error for a bucket whose state does not allow a call, for this reason; with its balance where that stands in the way.
pub(super) fn unusable(
    now: Time,
    bucket: &Bucket,
    reason: String,
    balance: Option<&Balance>,
) -> Error {
    Error::BucketNotUsable(Box::new(UnusableBucket {
        bucket: bucket.id.clone(),
        status: bucket.status_at(now).as_str(),
        since: bucket.status_since_at(now),
        reason,
        values: balance.map(|of| (of.available, of.held, bucket.unit.clone())),
    }))
}

fn state_since(status: BucketStatus, since: Option<Time>) -> String {
    let status = status.as_str();
    match since {
        Some(since) => format!("is {status} since {since}"),
        None => format!("is {status}"),
    }
}
