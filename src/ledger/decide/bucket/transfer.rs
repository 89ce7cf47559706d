//! Transfers: from one bucket to another of the same tenant, through the transit accounts of both.

use std::collections::HashMap;

use crate::error::{Error, Result, Violations};
use crate::ledger::command::Reply;
use crate::ledger::command::bucket::{GiveTo, Quantity};
use crate::ledger::decide::bucket::act::{Asked, add_unit, judge_usable};
use crate::ledger::decide::bucket::{done, exchange, judge_room};
use crate::ledger::decide::refused;
use crate::ledger::model::bucket::{Cost, CostOwner, Performed, Transfer};
use crate::ledger::model::{Balance, Cause};
use crate::ledger::state::{Movement, Owner, Refusal};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId};

pub(super) fn make(
    owners: &mut HashMap<OwnerId, Owner>,
    asked: &Asked<'_>,
    gift: &GiveTo,
) -> Result<Reply> {
    let giver_id = asked.bucket.owner;
    // Its two movements would each be planned without the other.
    if gift.receiver == giver_id {
        return Err(Error::invalid(
            "receiver_bucket_id",
            "must be another bucket",
        ));
    }
    let not_found = || Error::BucketNotFound(gift.receiver_bucket.clone());
    let giver = owners
        .get(&giver_id)
        .ok_or_else(|| Error::BucketNotFound(asked.bucket.id.clone()))?;
    let receiver = owners.get(&gift.receiver).ok_or_else(not_found)?;
    judge(asked, receiver, gift)?;
    let plan = Plan::of(giver, receiver, gift)?;
    let time = giver
        .next_time(asked.now)
        .max(receiver.next_time(asked.now));
    let (balance, receiver_version) = plan.left(giver, receiver);

    let amount = gift.quantity.amount;
    let transfer = Transfer {
        receiver: gift.receiver,
        receiver_bucket: gift.receiver_bucket.clone(),
        receiver_version,
        cost: gift.cost.as_ref().map(|(cost, owner)| Cost {
            amount: cost.amount,
            owner: *owner,
        }),
    };
    let action = asked.action(time, amount, Performed::Transfer(transfer), balance.version);
    let ActionId(cause_id) = action.id;
    let mut apply = |id, movement, cause, time| {
        if let Some(owner) = owners.get_mut(&id) {
            owner.apply(id, movement, cause, cause_id, time);
        }
    };
    apply(giver_id, plan.given, Cause::Transfer, time);
    apply(gift.receiver, plan.taken, Cause::Transfer, time);
    if let Some((payer, paid)) = plan.paid {
        let payer = match payer {
            CostOwner::Originator => giver_id,
            CostOwner::Receiver => gift.receiver,
        };
        apply(payer, paid, Cause::Cost, time.next());
    }
    if let Some(giver) = owners.get_mut(&giver_id) {
        giver.prepaid.act(action.clone());
    }
    Ok(done(asked.now, asked.bucket.clone(), balance, Some(action)))
}

/// All but the balances: the receiver is there, the units fit, both buckets can be used.
fn judge(asked: &Asked<'_>, receiver: &Owner, gift: &GiveTo) -> Result<()> {
    let taker = receiver
        .prepaid
        .bucket()
        .ok_or_else(|| Error::BucketNotFound(gift.receiver_bucket.clone()))?;
    let (giver, mut violations) = (&asked.bucket, Violations::default());
    add_unit(&mut violations, giver, "amount.units", &gift.quantity.unit);
    if taker.unit != giver.unit {
        violations.add("receiver_bucket_id", "must be a bucket of the same units");
    }
    if let Some((cost, _)) = &gift.cost {
        add_unit(&mut violations, giver, "transfer_cost.units", &cost.unit);
    }
    violations.finish()?;
    judge_usable(asked.now, &asked.bucket)?;
    judge_usable(asked.now, taker)
}

/// The movements of a transfer, each judged.
struct Plan {
    /// Of the giver, to its transit account.
    given: Movement,
    /// Of the receiver, from its transit account.
    taken: Movement,
    /// Of the payer, if it costs something; after the others.
    paid: Option<(CostOwner, Movement)>,
}

impl Plan {
    fn of(giver: &Owner, receiver: &Owner, gift: &GiveTo) -> Result<Self> {
        let Quantity { amount, unit } = &gift.quantity;
        let of_giver = |refusal| refused(refusal, unit, wanted_of_giver(gift));
        let legs = exchange(AccountId::OWN, AccountId::TRANSIT, *amount);
        let given = giver.plan(unit, legs).map_err(of_giver)?;
        judge_room(receiver, unit, *amount)?;
        let legs = exchange(AccountId::TRANSIT, AccountId::OWN, *amount);
        let taken = receiver
            .plan(unit, legs)
            .map_err(|refusal| refused(refusal, unit, *amount))?;
        let Some((Quantity { amount: cost, .. }, payer)) = &gift.cost else {
            return Ok(Self {
                given,
                taken,
                paid: None,
            });
        };
        let legs = exchange(AccountId::OWN, AccountId::WORLD, *cost);
        let paid = match payer {
            CostOwner::Originator => giver.plan_after(&given, legs).map_err(|refusal| {
                // Said of both movements together.
                of_giver(match refusal {
                    Refusal::Insufficient { .. } => Refusal::Insufficient {
                        available: giver.balance(AccountId::OWN, unit).available,
                    },
                    other => other,
                })
            }),
            CostOwner::Receiver => receiver
                .plan_after(&taken, legs)
                .map_err(|refusal| refused(refusal, unit, *cost)),
        };
        Ok(Self {
            given,
            taken,
            paid: Some((*payer, paid?)),
        })
    }

    /// What it leaves: the giver's balance, and the version of the receiver's.
    fn left(&self, giver: &Owner, receiver: &Owner) -> (Balance, i64) {
        let (mut of_giver, mut of_receiver) = (&self.given, &self.taken);
        match &self.paid {
            Some((CostOwner::Originator, paid)) => of_giver = paid,
            Some((CostOwner::Receiver, paid)) => of_receiver = paid,
            None => {}
        }
        (
            giver.balance_after(of_giver, AccountId::OWN),
            receiver.balance_after(of_receiver, AccountId::OWN).version,
        )
    }
}

/// All that the giver is asked for; where that has more than 28 digits, what no bucket has.
fn wanted_of_giver(gift: &GiveTo) -> Amount {
    match &gift.cost {
        Some((cost, CostOwner::Originator)) => gift
            .quantity
            .amount
            .checked_add(cost.amount)
            .unwrap_or(Amount::DECIMAL_LIMIT),
        _ => gift.quantity.amount,
    }
}
