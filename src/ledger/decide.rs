//! Judges commands: state + commands → verdicts + effects. Pure: no clock but the state's, no database, no chance.

mod close;
mod create;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::ledger::command::{
    Action, Adjust, AdjustmentReply, AllocationReply, Command, Origin, Reply,
};
use crate::ledger::model::{AccountKey, Adjustment, Balance, Cause, Versions};
use crate::ledger::state::{Leg, Owner, Refusal, Standing, State};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AdjustmentId, AllocationId, EnterpriseId, OwnerId, ordered_id};
use crate::types::unit::Unit;

/// What became of a command.
#[derive(Debug)]
pub enum Judgement {
    /// It was carried out, or refused.
    Final(Result<Reply>),
    /// It was carried out before: the answer shows the balances at these versions, which the journal has.
    Replay(Reply, Versions),
    /// More of the owner's reservations are due than one batch releases: judge it in the next one.
    Later,
}

impl From<Result<Reply>> for Judgement {
    fn from(result: Result<Reply>) -> Self {
        Self::Final(result)
    }
}

/// Judges commands in order, each seeing what those before it did. Due reservations of their owners are released first.
/// A refused command, and one that is only validated, leaves no trace.
pub fn decide(state: &mut State, commands: &[&Command]) -> Vec<Judgement> {
    let now = state.now;
    for (id, owner) in &mut state.owners {
        close::expire_due(now, *id, owner);
    }
    commands
        .iter()
        .map(|command| judge(state, command))
        .collect()
}

fn judge(state: &mut State, command: &Command) -> Judgement {
    let State {
        now,
        owners,
        partners,
    } = state;
    let mut owner = owners.get_mut(&command.owner);
    if owner.as_ref().is_some_and(|owner| owner.more_due) {
        return Judgement::Later;
    }
    let before = match &owner {
        Some(owner) if command.validate_only => Some((*owner).clone()),
        _ => None,
    };
    let judgement = match &command.action {
        Action::Create(create) => create::judge(*now, owner.as_deref_mut(), command, create),
        Action::Submit(creates) => create::judge_all(*now, owner.as_deref_mut(), command, creates),
        Action::Close(close) => close::judge(*now, owner.as_deref_mut(), partners, command, close),
        Action::Adjust(action) => adjust(*now, owner.as_deref_mut(), command, action),
        Action::Bucket(_) => Err(Error::internal("buckets are not judged yet")).into(),
        Action::Expire(_) => Judgement::Final(Ok(Reply::Expired)),
    };
    match (owner, before) {
        (Some(owner), Some(before)) => {
            *owner = before;
            validated(judgement, owner)
        }
        _ => judgement,
    }
}

/// Turns what was done and undone again into what would be done. Records that are only made by it have no id.
fn validated(judgement: Judgement, before: &Owner) -> Judgement {
    let would_be = |reply: &mut AllocationReply| {
        if reply.origin == Origin::Done {
            reply.origin = Origin::Validated;
        }
        if before.allocation(reply.allocation.id).is_none() {
            reply.allocation.id = AllocationId::NIL;
        }
    };
    let Judgement::Final(Ok(mut reply)) = judgement else {
        return judgement;
    };
    match &mut reply {
        Reply::Allocation(reply) => would_be(reply),
        Reply::Submitted(replies) => replies.iter_mut().flatten().for_each(would_be),
        Reply::Adjustment(reply) => reply.origin = Origin::Validated,
        Reply::Bucket(reply) => reply.origin = Origin::Validated,
        Reply::Expired => {}
    }
    Judgement::Final(Ok(reply))
}

/// The enterprise's standing, whether or not it may use the services.
fn standing(owner: Option<&mut Owner>, id: OwnerId) -> Result<(&mut Owner, Standing)> {
    let not_found = Error::EnterpriseNotFound(EnterpriseId(id.0));
    match owner {
        Some(owner) => match owner.enterprise {
            Some(standing) => Ok((owner, standing)),
            None => Err(not_found),
        },
        None => Err(not_found),
    }
}

fn adjust(
    now: crate::types::time::Time,
    owner: Option<&mut Owner>,
    command: &Command,
    adjust: &Adjust,
) -> Judgement {
    let (owner, standing) = match standing(owner, command.owner) {
        Ok(found) => found,
        Err(error) => return Err(error).into(),
    };
    if standing.client.is_none() {
        return Err(Error::ClientNotFound(None)).into();
    }
    if let Some(stored) = owner.adjustment_by_key(&adjust.external_id) {
        if stored.content != adjust.content {
            return Err(Error::IdempotencyKeyReused {
                field: "external_id",
            })
            .into();
        }
        let versions = Versions {
            custody: stored.custody_version,
            connection: 0,
        };
        let reply = AdjustmentReply {
            adjustment: stored.clone(),
            custody: Balance::default(),
            origin: Origin::Replayed,
        };
        return Judgement::Replay(Reply::Adjustment(Box::new(reply)), versions);
    }
    adjust_now(now, owner, command, adjust).into()
}

fn adjust_now(
    now: crate::types::time::Time,
    owner: &mut Owner,
    command: &Command,
    adjust: &Adjust,
) -> Result<Reply> {
    let legs = vec![
        Leg {
            account: AccountId::WORLD,
            available: adjust.quantity.negated(),
            held: Amount::ZERO,
        },
        Leg {
            account: AccountId::OWN,
            available: adjust.quantity,
            held: Amount::ZERO,
        },
    ];
    let movement = owner
        .plan(&adjust.unit, legs)
        .map_err(|refusal| refused(refusal, &adjust.unit, adjust.quantity.negated()))?;
    let custody = owner.balance_after(&movement, AccountId::OWN);
    let time = owner.next_time(now);
    let id = ordered_id(time, command.entropy);
    let adjustment = Adjustment {
        id: AdjustmentId(id),
        owner: command.owner,
        external_id: adjust.external_id.clone(),
        unit: adjust.unit.clone(),
        quantity: adjust.quantity,
        reason: adjust.reason.clone(),
        initiated_by: adjust.initiated_by.clone(),
        content: adjust.content,
        custody_version: custody.version,
        created_at: time,
    };
    owner.apply(command.owner, movement, Cause::Adjust, id, time);
    owner.adjust(adjustment.clone());
    Ok(Reply::Adjustment(Box::new(AdjustmentReply {
        adjustment,
        custody,
        origin: Origin::Done,
    })))
}

/// What a refusal is to the caller who asked for `requested`.
fn refused(refusal: Refusal, unit: &Unit, requested: Amount) -> Error {
    match refusal {
        Refusal::Insufficient { available } => Error::InsufficientBalance {
            available,
            requested,
            unit: unit.clone(),
        },
        Refusal::Limit => Error::BalanceLimit { unit: unit.clone() },
        Refusal::Broken => Error::internal("L3: less is held than a record explains"),
    }
}

/// The accounts and versions whose balances a replay answers.
pub fn past_balances(reply: &Reply, versions: Versions) -> Vec<(OwnerId, AccountKey, i64)> {
    let key = |account, unit: &Unit| AccountKey {
        account,
        unit: unit.clone(),
    };
    let wanted = match reply {
        Reply::Allocation(reply) => {
            let allocation = &reply.allocation;
            vec![
                (
                    allocation.owner,
                    key(AccountId::OWN, &allocation.unit),
                    versions.custody,
                ),
                (
                    allocation.owner,
                    key(allocation.connection.into(), &allocation.unit),
                    versions.connection,
                ),
            ]
        }
        Reply::Adjustment(reply) => {
            let adjustment = &reply.adjustment;
            vec![(
                adjustment.owner,
                key(AccountId::OWN, &adjustment.unit),
                versions.custody,
            )]
        }
        Reply::Submitted(_) | Reply::Bucket(_) | Reply::Expired => Vec::new(),
    };
    // Version 0 is the account before its first entry: nothing in it.
    wanted
        .into_iter()
        .filter(|(_, _, version)| *version > 0)
        .collect()
}

/// Fills in the balances that a replay answers.
pub fn fill_past(
    reply: &mut Reply,
    versions: Versions,
    past: impl Fn(OwnerId, &AccountKey, i64) -> Option<Balance>,
) -> Result<()> {
    let find = |owner, account, unit: &Unit, version| {
        if version == 0 {
            return Ok(Balance::default());
        }
        let key = AccountKey {
            account,
            unit: unit.clone(),
        };
        past(owner, &key, version)
            .ok_or_else(|| Error::internal("L4: the journal lacks an entry that a record names"))
    };
    match reply {
        Reply::Allocation(reply) => {
            let AllocationReply {
                allocation,
                custody,
                connection,
                ..
            } = &mut **reply;
            *custody = find(
                allocation.owner,
                AccountId::OWN,
                &allocation.unit,
                versions.custody,
            )?;
            *connection = find(
                allocation.owner,
                allocation.connection.into(),
                &allocation.unit,
                versions.connection,
            )?;
        }
        Reply::Adjustment(reply) => {
            let AdjustmentReply {
                adjustment,
                custody,
                ..
            } = &mut **reply;
            *custody = find(
                adjustment.owner,
                AccountId::OWN,
                &adjustment.unit,
                versions.custody,
            )?;
        }
        Reply::Submitted(_) | Reply::Bucket(_) | Reply::Expired => {}
    }
    Ok(())
}
