//! Judges verdicts: how a reservation becomes final.

use crate::error::{Error, FinalAllocation, Result, StoredValue};
use crate::ledger::account::Cause;
use crate::ledger::books::{Books, Leg, Movement, Owner, ReservationChange};
use crate::ledger::enterprise;
use crate::ledger::kind::{CommandHead, Judgement, KindState, Origin};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, Closing, Direction, OesVersions, Status,
};
use crate::ledger::oes::records::AllocationRecords;
use crate::ledger::oes::request::{AllocationReply, CloseAllocation, PartnerSide, Verdict};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, OwnerId};
use crate::types::time::Time;

pub(super) fn judge(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
    close: &CloseAllocation,
) -> Judgement<AllocationReply> {
    let now = books.now;
    let (owner, allocation) = match find(command, books, state, close) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    match allocation.closed {
        Some(closing) => judge_final(allocation, closing, &close.verdict),
        None => {
            if let Err(error) = judge_client_license(owner, &allocation, &close.verdict) {
                return error.into();
            }
            let records = state.records_mut(command.owner);
            close_open(now, owner, records, allocation, &close.verdict).into()
        }
    }
}

/// The connection of an allocation that a partner clears. That takes the licences of both sides; every other verdict, and
/// the clearing of a deallocation, only lead back to custody and take none.
fn takes_licenses(allocation: &Allocation, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Clear(_))
        && allocation.record.terms.direction == Direction::Allocation
}

fn judge_client_license(owner: &Owner, allocation: &Allocation, verdict: &Verdict) -> Result<()> {
    let is_licensed = owner.enterprise.is_some_and(|facts| facts.is_licensed);
    if is_licensed || !takes_licenses(allocation, verdict) {
        return Ok(());
    }
    Err(Error::PartnerNotLicensed {
        connection: allocation.record.terms.connection,
        side: "client",
    })
}

/// First the caller: enterprise, side; then connection and allocation, and whether the caller has the licence for it.
fn find<'a>(
    command: &CommandHead,
    books: &'a mut Books,
    state: &KindState<OesRecords>,
    close: &CloseAllocation,
) -> Result<(&'a mut Owner, Allocation)> {
    let partner = close.verdict.partner();
    let owner = match partner {
        None => enterprise::find_client(books, command.owner)?,
        Some(partner) => find_for_partner(command, books, state, partner)?,
    };
    let records = state.records.get(&command.owner);
    let allocation = records
        .and_then(|records| records.get(close.allocation))
        .filter(|found| {
            partner.is_none_or(|partner| partner.connection == found.record.terms.connection)
        })
        .cloned()
        .ok_or_else(|| not_found(records, close))?;
    if let Some(partner) = partner
        && takes_licenses(&allocation, &close.verdict)
        && !state.context.are_licensed(partner.enterprise)
    {
        return Err(Error::NoOesLicense);
    }
    Ok((owner, allocation))
}

/// The error for an allocation that the caller does not have, or has on another connection than it names.
fn not_found(records: Option<&AllocationRecords>, close: &CloseAllocation) -> Error {
    let allocation = close.allocation;
    let Some(partner) = close.verdict.partner() else {
        return Error::AllocationNotFound(allocation);
    };
    let found_on = records.and_then(|records| {
        let found = &records.get(allocation)?.record;
        let own = records.connections.get(&partner.connection)?;
        (found.partner == own.partner).then_some(found.terms.connection)
    });
    Error::AllocationNotOnConnection {
        allocation,
        connection: partner.connection,
        found_on,
    }
}

fn find_for_partner<'a>(
    command: &CommandHead,
    books: &'a mut Books,
    state: &KindState<OesRecords>,
    partner: &PartnerSide,
) -> Result<&'a mut Owner> {
    let facts = state
        .context
        .0
        .get(&partner.enterprise)
        .ok_or(Error::EnterpriseNotFound(partner.enterprise))?;
    // A verdict is the partner's, also where the client's enterprise has a partner of its own.
    if !facts.has_partner || command.owner == partner.enterprise.into() {
        return Err(Error::PartnerAccessDenied);
    }
    let not_found = || Error::ConnectionNotFound(partner.connection);
    let owner = books.owners.get_mut(&command.owner).ok_or_else(not_found)?;
    let is_theirs = state
        .records
        .get(&command.owner)
        .and_then(|records| records.connections.get(&partner.connection))
        .is_some_and(|connection| connection.partner_enterprise == partner.enterprise);
    if is_theirs {
        Ok(owner)
    } else {
        Err(not_found())
    }
}

/// What a verdict, or the passing of the expire time, makes of an allocation.
pub(super) struct Ending {
    pub(super) cause: Cause,
    pub(super) partner_external_id: Option<String>,
    pub(super) reason: Option<String>,
}

impl Ending {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Cancel { reason } => Self {
                cause: Cause::CANCEL,
                partner_external_id: None,
                reason: reason.clone(),
            },
            Verdict::Clear(partner) => Self {
                cause: Cause::CLEAR,
                partner_external_id: partner.external_id.clone(),
                reason: None,
            },
            Verdict::Release { partner, reason } => Self {
                cause: Cause::RELEASE,
                partner_external_id: partner.external_id.clone(),
                reason: Some(reason.clone()),
            },
        }
    }

    fn status(&self) -> Status {
        if self.cause == Cause::CLEAR {
            Status::Cleared
        } else {
            Status::Released
        }
    }
}

/// A verdict on a final allocation: one that asks for the status that it already has is a replay, also after an expiry;
/// any other is refused. A replay adds nothing, so it may leave out the partner's own id, or bring one where none is
/// stored; only another one than the stored is refused.
fn judge_final(
    allocation: Allocation,
    closing: Closing,
    verdict: &Verdict,
) -> Judgement<AllocationReply> {
    let ending = Ending::of(verdict);
    let record = &allocation.record;
    if record.status != ending.status() {
        return Error::AllocationFinal(FinalAllocation {
            id: record.id,
            direction: record.terms.direction.name(),
            event: event(closing.cause),
            status: record.status.as_str(),
            since: record.updated_at,
        })
        .into();
    }
    let stored = record.partner_external_id.as_ref();
    if stored
        .zip(ending.partner_external_id.as_ref())
        .is_some_and(|(stored, given)| stored != given)
    {
        return Error::IdempotencyKeyReused {
            field: "partner_external_id",
            holder: Some(allocation.as_key_holder()),
            stored: StoredValue::differing([(
                "partner_external_id",
                stored.cloned(),
                ending.partner_external_id,
            )]),
        }
        .into();
    }
    let closed_at = record.updated_at;
    AllocationReply::replayed(allocation).replay(closing.versions, closed_at)
}

/// What made an allocation final, as errors say it.
fn event(cause: Cause) -> &'static str {
    match cause {
        Cause::CLEAR => "was cleared by the partner",
        Cause::RELEASE => "was released by the partner",
        Cause::CANCEL => "was cancelled by the client",
        Cause::EXPIRE => "expired",
        _ => "was cleared at its creation",
    }
}

fn close_open(
    now: Time,
    owner: &mut Owner,
    records: &mut AllocationRecords,
    allocation: Allocation,
    verdict: &Verdict,
) -> Result<AllocationReply> {
    let ending = Ending::of(verdict);
    let movement = plan(owner, &allocation, ending.cause)?;
    let custody = owner.balance_after(&movement, AccountId::OWN);
    let connection = owner.balance_after(&movement, allocation.record.terms.connection.into());
    let id = allocation.owner;
    let allocation = finish(now, id, owner, records, allocation, movement, ending);
    Ok(AllocationReply {
        allocation,
        custody,
        connection,
        origin: Origin::Done,
    })
}

/// The movement that closes a reservation.
pub(super) fn plan(owner: &Owner, allocation: &Allocation, cause: Cause) -> Result<Movement> {
    let terms = &allocation.record.terms;
    let (quantity, given_up) = (terms.quantity, terms.quantity.negated());
    let (source, target) = (allocation.source(), allocation.target());
    let legs = if cause == Cause::CLEAR {
        vec![
            Leg {
                account: source,
                available: Amount::ZERO,
                held: given_up,
                reservation: ReservationChange::Closed,
            },
            Leg {
                account: target,
                available: quantity,
                held: Amount::ZERO,
                reservation: ReservationChange::None,
            },
        ]
    } else {
        vec![Leg {
            account: source,
            available: quantity,
            held: given_up,
            reservation: ReservationChange::Closed,
        }]
    };
    owner.plan(&terms.unit, legs).map_err(|refusal| {
        // Only the account that gets the value can have too much.
        let error = refusal.into_error(&terms.unit, quantity);
        error.in_account(target.name())
    })
}

/// Makes the movement that closes a reservation, and the allocation's final form.
pub(super) fn finish(
    now: Time,
    id: OwnerId,
    owner: &mut Owner,
    records: &mut AllocationRecords,
    allocation: Allocation,
    movement: Movement,
    ending: Ending,
) -> Allocation {
    let connection = allocation.record.terms.connection.into();
    let versions = OesVersions {
        custody: owner.balance_after(&movement, AccountId::OWN).version,
        connection: owner.balance_after(&movement, connection).version,
    };
    let time = owner.next_time(now);
    let AllocationId(cause_id) = allocation.record.id;
    owner.apply(id, movement, ending.cause, cause_id, time);
    let allocation = Allocation {
        closed: Some(Closing {
            cause: ending.cause,
            versions,
        }),
        record: AllocationRecord {
            status: ending.status(),
            partner_external_id: ending.partner_external_id,
            reason: ending.reason,
            updated_at: time,
            ..allocation.record
        },
        ..allocation
    };
    records.close(allocation.clone());
    allocation
}
