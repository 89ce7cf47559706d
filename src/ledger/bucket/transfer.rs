//! Judges transfers: value goes from one bucket to another of the same tenant, through the transit accounts of both.

use crate::error::{Error, Result, Violations};
use crate::ledger::account::{Balance, Cause};
use crate::ledger::books::{Books, Movement, MovementRefusal, Owner};
use crate::ledger::bucket::action_context::{ActionContext, judge_usable};
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::model::{ActionEffect, Bucket, Cost, CostOwner, Transfer};
use crate::ledger::bucket::movements::{exchange, judge_room, refused};
use crate::ledger::bucket::replies::done;
use crate::ledger::bucket::request::{BucketReply, Quantity, TransferRequest};
use crate::ledger::kind::KindState;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId};

pub(super) fn carry_out(
    context: &ActionContext<'_>,
    books: &mut Books,
    state: &mut KindState<Buckets>,
    request: &TransferRequest,
) -> Result<BucketReply> {
    let giver_id = context.bucket.owner;
    // Its two movements would each be judged without the other.
    if request.receiver == giver_id {
        return Err(Error::invalid(
            "receiver_bucket_id",
            "must be another bucket",
        ));
    }
    let not_found = || Error::BucketNotFound(request.receiver_bucket.clone());
    let giver = books
        .owners
        .get(&giver_id)
        .ok_or_else(|| Error::BucketNotFound(context.bucket.id.clone()))?;
    let receiver = books.owners.get(&request.receiver).ok_or_else(not_found)?;
    let receiver_bucket = state
        .records
        .get(&request.receiver)
        .and_then(|records| records.bucket())
        .ok_or_else(not_found)?;
    judge(context, receiver_bucket, request)?;
    let plan = TransferPlan::of((giver, &context.bucket.id), receiver, request)?;
    let time = giver
        .next_time(context.now)
        .max(receiver.next_time(context.now));
    let (balance, receiver_version) = plan.balances_after(giver, receiver);

    let effect = ActionEffect::Transfer(Transfer {
        receiver: request.receiver,
        receiver_bucket: request.receiver_bucket.clone(),
        receiver_version,
        cost: request.cost.as_ref().map(|(cost, owner)| Cost {
            amount: cost.amount,
            owner: *owner,
        }),
    });
    let action = context.record(time, request.quantity.amount, effect, balance.version);
    let ActionId(cause_id) = action.id;
    let mut apply = |id, movement, cause, time| {
        if let Some(owner) = books.owners.get_mut(&id) {
            owner.apply(id, movement, cause, cause_id, time);
        }
    };
    apply(giver_id, plan.given, Cause::TRANSFER, time);
    apply(request.receiver, plan.received, Cause::TRANSFER, time);
    if let Some((payer, paid)) = plan.paid {
        let payer = match payer {
            CostOwner::Originator => giver_id,
            CostOwner::Receiver => request.receiver,
        };
        apply(payer, paid, Cause::COST, time.next());
    }
    state.records_mut(giver_id).add_action(action.clone());
    let bucket = context.bucket.clone();
    Ok(done(context.now, bucket, balance, Some(action)))
}

/// Everything but the balances: the units fit, and both buckets can be used.
fn judge(context: &ActionContext<'_>, receiver: &Bucket, request: &TransferRequest) -> Result<()> {
    let mut violations = Violations::default();
    let unit = &request.quantity.unit;
    context.add_unit_violation(&mut violations, "amount.units", unit);
    if receiver.unit != context.bucket.unit {
        let (own, other) = (&context.bucket.unit, &receiver.unit);
        let rule = format!("must be a bucket in the same units, {own}; its units are {other}");
        violations.add("receiver_bucket_id", rule);
    }
    if let Some((cost, _)) = &request.cost {
        context.add_unit_violation(&mut violations, "transfer_cost.units", &cost.unit);
    }
    violations.finish()?;
    context.judge_usable()?;
    judge_usable(context.now, receiver)
}

/// The movements of a transfer, each found possible.
struct TransferPlan {
    /// From the giver's own account to its transit account.
    given: Movement,
    /// From the receiver's transit account to its own account.
    received: Movement,
    /// The payment of the price, if there is one; made after the others.
    paid: Option<(CostOwner, Movement)>,
}

impl TransferPlan {
    fn of(
        (giver, giver_bucket): (&Owner, &str),
        receiver: &Owner,
        request: &TransferRequest,
    ) -> Result<Self> {
        let Quantity { amount, unit } = &request.quantity;
        let receiver_bucket = request.receiver_bucket.as_str();
        let refuse_giver = |refusal: MovementRefusal| {
            refused(giver_bucket, unit, requested_of_giver(request), refusal)
        };
        let legs = exchange(AccountId::OWN, AccountId::TRANSIT, *amount);
        let given = giver.plan(unit, legs).map_err(refuse_giver)?;
        judge_room(receiver, receiver_bucket, unit, *amount)?;
        let legs = exchange(AccountId::TRANSIT, AccountId::OWN, *amount);
        let received = receiver
            .plan(unit, legs)
            .map_err(|refusal| refused(receiver_bucket, unit, *amount, refusal))?;
        let Some((Quantity { amount: cost, .. }, payer)) = &request.cost else {
            return Ok(Self {
                given,
                received,
                paid: None,
            });
        };
        let legs = exchange(AccountId::OWN, AccountId::WORLD, *cost);
        let paid = match payer {
            CostOwner::Originator => giver.plan_after(&given, legs).map_err(|refusal| {
                // The error speaks of both movements together, and so of the balance before them.
                refuse_giver(match refusal {
                    MovementRefusal::Insufficient { is_unused, .. } => {
                        MovementRefusal::Insufficient {
                            is_unused,
                            available: giver.balance(AccountId::OWN, unit).available,
                        }
                    }
                    other => other,
                })
            }),
            CostOwner::Receiver => receiver
                .plan_after(&received, legs)
                .map_err(|refusal| refused(receiver_bucket, unit, *cost, refusal)),
        };
        Ok(Self {
            given,
            received,
            paid: Some((*payer, paid?)),
        })
    }

    /// The giver's balance after the transfer, and the version of the receiver's account.
    fn balances_after(&self, giver: &Owner, receiver: &Owner) -> (Balance, i64) {
        let (mut last_of_giver, mut last_of_receiver) = (&self.given, &self.received);
        match &self.paid {
            Some((CostOwner::Originator, paid)) => last_of_giver = paid,
            Some((CostOwner::Receiver, paid)) => last_of_receiver = paid,
            None => {}
        }
        let receiver = receiver.balance_after(last_of_receiver, AccountId::OWN);
        (
            giver.balance_after(last_of_giver, AccountId::OWN),
            receiver.version,
        )
    }
}

/// All that the giver is asked for. Where that has more than 28 digits, more than any bucket has.
fn requested_of_giver(request: &TransferRequest) -> Amount {
    match &request.cost {
        Some((cost, CostOwner::Originator)) => request
            .quantity
            .amount
            .checked_add(cost.amount)
            .unwrap_or(Amount::DECIMAL_LIMIT),
        _ => request.quantity.amount,
    }
}
