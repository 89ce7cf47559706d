//! OES: deposits and withdrawals; allocations and deallocations in the files beside this one.

pub(super) mod close;
pub(super) mod create;

use crate::error::{Error, Result};
use crate::ledger::command::{Adjust, AdjustmentReply, Command, Origin, Reply};
use crate::ledger::decide::{Judgement, refused};
use crate::ledger::model::{Adjustment, Balance, Cause, Versions};
use crate::ledger::state::{Leg, Owner, Standing};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AdjustmentId, EnterpriseId, OwnerId, ordered_id};
use crate::types::time::Time;

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

pub(super) fn adjust(
    now: Time,
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

fn adjust_now(now: Time, owner: &mut Owner, command: &Command, adjust: &Adjust) -> Result<Reply> {
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
