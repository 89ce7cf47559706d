//! How reservations become final: verdicts and expiry.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::ledger::command::{AllocationReply, Close, Command, Origin, Partner, Reply, Verdict};
use crate::ledger::decide::oes::standing;
use crate::ledger::decide::{Judgement, refused};
use crate::ledger::model::{Allocation, Balance, Cause, Closing, Status, Versions};
use crate::ledger::state::{Leg, Movement, Owner, PartnerStanding};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, EnterpriseId, OwnerId};
use crate::types::time::Time;

/// Releases what is due, oldest first.
pub(in crate::ledger::decide) fn expire_due(now: Time, id: OwnerId, owner: &mut Owner) {
    let mut released_any = owner.due.is_empty();
    for allocation in std::mem::take(&mut owner.due) {
        let due = owner
            .allocation(allocation)
            .filter(|found| found.is_due(now))
            .cloned();
        let Some(allocation) = due else { continue };
        let ending = Ending {
            cause: Cause::Expire,
            partner_external_id: None,
            reason: Some("expired".into()),
        };
        // A hold that cannot be given back contradicts L3: it stays for `verify` to find, and harms nobody else.
        match plan(owner, &allocation, ending.cause) {
            Ok(movement) => {
                let time = owner.next_time(now);
                finish(owner, id, allocation, movement, ending, time);
                released_any = true;
            }
            Err(error) => {
                tracing::error!(allocation = %allocation.id, ?error, "a due reservation cannot be released")
            }
        }
    }
    // The next batch would find the same ones: its commands would be put off for ever.
    if !released_any {
        owner.more_due = false;
    }
}

pub(in crate::ledger::decide) fn judge(
    now: Time,
    owner: Option<&mut Owner>,
    partners: &HashMap<EnterpriseId, PartnerStanding>,
    command: &Command,
    close: &Close,
) -> Judgement {
    let (owner, allocation) = match find(owner, partners, command, close) {
        Ok(found) => found,
        Err(error) => return Err(error).into(),
    };
    let ending = Ending::of(&close.verdict);
    match allocation.closed {
        Some(closing) => replay(allocation, closing, &close.verdict),
        None => close_now(now, owner, command, allocation, ending).into(),
    }
}

/// Who may judge: enterprise, licence, side; then connection and record.
fn find<'a>(
    owner: Option<&'a mut Owner>,
    partners: &HashMap<EnterpriseId, PartnerStanding>,
    command: &Command,
    close: &Close,
) -> Result<(&'a mut Owner, Allocation)> {
    let partner = match &close.verdict {
        Verdict::Cancel { .. } => None,
        Verdict::Clear(partner) | Verdict::Release { partner, .. } => Some(partner),
    };
    let owner = match partner {
        None => {
            let (owner, standing) = standing(owner, command.owner)?;
            if !standing.licensed {
                return Err(Error::NoOesLicense);
            }
            if standing.client.is_none() {
                return Err(Error::ClientNotFound(None));
            }
            owner
        }
        Some(partner) => partner_side(owner, partners, command, partner)?,
    };
    let allocation = owner
        .allocation(close.allocation)
        .filter(|found| partner.is_none_or(|partner| partner.connection == found.connection))
        .cloned()
        .ok_or(Error::AllocationNotFound(close.allocation))?;
    Ok((owner, allocation))
}

fn partner_side<'a>(
    owner: Option<&'a mut Owner>,
    partners: &HashMap<EnterpriseId, PartnerStanding>,
    command: &Command,
    partner: &Partner,
) -> Result<&'a mut Owner> {
    let standing = partners
        .get(&partner.enterprise)
        .ok_or(Error::EnterpriseNotFound(partner.enterprise))?;
    if !standing.licensed {
        return Err(Error::NoOesLicense);
    }
    // A verdict is the partner's, also where the client's enterprise holds a partner of its own.
    if !standing.has_partner || command.owner == partner.enterprise.into() {
        return Err(Error::PartnerAccessDenied);
    }
    let not_found = Error::ConnectionNotFound(partner.connection);
    let owner = owner.ok_or(not_found.clone())?;
    let theirs = owner
        .connections
        .get(&partner.connection)
        .is_some_and(|connection| connection.partner_enterprise == partner.enterprise);
    if theirs { Ok(owner) } else { Err(not_found) }
}

/// What a verdict makes of a record.
struct Ending {
    cause: Cause,
    partner_external_id: Option<String>,
    reason: Option<String>,
}

impl Ending {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Cancel { reason } => Self {
                cause: Cause::Cancel,
                partner_external_id: None,
                reason: reason.clone(),
            },
            Verdict::Clear(partner) => Self {
                cause: Cause::Clear,
                partner_external_id: partner.external_id.clone(),
                reason: None,
            },
            Verdict::Release { partner, reason } => Self {
                cause: Cause::Release,
                partner_external_id: partner.external_id.clone(),
                reason: Some(reason.clone()),
            },
        }
    }
}

/// A verdict on a final record: the same verdict is a replay, however it came about; the opposite is refused.
fn replay(allocation: Allocation, closing: Closing, verdict: &Verdict) -> Judgement {
    let (wanted, repeats, external_id) = match verdict {
        Verdict::Cancel { .. } => (Status::Released, Cause::Cancel, None),
        Verdict::Clear(partner) => (Status::Cleared, Cause::Clear, Some(&partner.external_id)),
        Verdict::Release { partner, .. } => {
            (Status::Released, Cause::Release, Some(&partner.external_id))
        }
    };
    if allocation.status != wanted {
        return Err(Error::AlreadyTerminal {
            status: allocation.status.as_str(),
        })
        .into();
    }
    // Only the partner's own verdict can have had an external id to compare with.
    let differs = external_id.is_some_and(|given| *given != allocation.partner_external_id);
    if closing.cause == repeats && differs {
        return Err(Error::IdempotencyKeyReused {
            field: "partner_external_id",
        })
        .into();
    }
    let reply = AllocationReply {
        allocation,
        custody: Balance::default(),
        connection: Balance::default(),
        origin: Origin::Replayed,
    };
    Judgement::Replay(Reply::Allocation(Box::new(reply)), closing.versions)
}

fn close_now(
    now: Time,
    owner: &mut Owner,
    command: &Command,
    allocation: Allocation,
    ending: Ending,
) -> Result<Reply> {
    let movement = plan(owner, &allocation, ending.cause)?;
    let custody = owner.balance_after(&movement, AccountId::OWN);
    let connection = owner.balance_after(&movement, allocation.connection.into());
    let time = owner.next_time(now);
    let allocation = finish(owner, command.owner, allocation, movement, ending, time);
    Ok(Reply::Allocation(Box::new(AllocationReply {
        allocation,
        custody,
        connection,
        origin: Origin::Done,
    })))
}

/// The movement that closes a reservation.
fn plan(owner: &Owner, allocation: &Allocation, cause: Cause) -> Result<Movement> {
    let (quantity, given_up) = (allocation.quantity, allocation.quantity.negated());
    let (from, to) = (allocation.source(), allocation.target());
    let legs = if cause == Cause::Clear {
        vec![
            Leg {
                account: from,
                available: Amount::ZERO,
                held: given_up,
            },
            Leg {
                account: to,
                available: quantity,
                held: Amount::ZERO,
            },
        ]
    } else {
        vec![Leg {
            account: from,
            available: quantity,
            held: given_up,
        }]
    };
    owner
        .plan(&allocation.unit, legs)
        .map_err(|refusal| refused(refusal, &allocation.unit, quantity))
}

fn finish(
    owner: &mut Owner,
    id: OwnerId,
    allocation: Allocation,
    movement: Movement,
    ending: Ending,
    time: Time,
) -> Allocation {
    let versions = Versions {
        custody: owner.balance_after(&movement, AccountId::OWN).version,
        connection: owner
            .balance_after(&movement, allocation.connection.into())
            .version,
    };
    let AllocationId(cause_id) = allocation.id;
    owner.apply(id, movement, ending.cause, cause_id, time);
    let allocation = closed(allocation, ending, versions, time);
    owner.close(allocation.clone());
    allocation
}

/// The record in its final form.
fn closed(allocation: Allocation, ending: Ending, versions: Versions, time: Time) -> Allocation {
    let status = if ending.cause == Cause::Clear {
        Status::Cleared
    } else {
        Status::Released
    };
    Allocation {
        status,
        partner_external_id: ending.partner_external_id,
        reason: ending.reason,
        updated_at: time,
        closed: Some(Closing {
            cause: ending.cause,
            versions,
        }),
        ..allocation
    }
}
