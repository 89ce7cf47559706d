//! Judges new allocations and deallocations.

use crate::error::{Error, Result};
use crate::ledger::account::Cause;
use crate::ledger::books::{Books, Leg, Owner, ReservationChange};
use crate::ledger::enterprise;
use crate::ledger::kind::{CommandHead, KindState, Origin};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, AllocationTerms, Closing, Connection, Mode, OesVersions, Status,
};
use crate::ledger::oes::records::AllocationRecords;
use crate::ledger::oes::request::{AllocationReply, CreateAllocation};
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, ordered_id};
use crate::types::time::Time;

pub(super) fn judge(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
    create: &CreateAllocation,
) -> Result<AllocationReply> {
    let now = books.now;
    let owner = enterprise::find_licensed_client(books, command.owner)?;
    let records = state.records_mut(command.owner);
    judge_one(now, owner, records, command, create)
}

/// The whole fails only if the enterprise is unknown, has no licence or has no client.
pub(super) fn judge_all(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
    creates: &[CreateAllocation],
) -> Result<Vec<Result<AllocationReply>>> {
    let now = books.now;
    let owner = enterprise::find_licensed_client(books, command.owner)?;
    let records = state.records_mut(command.owner);
    let replies = creates
        .iter()
        .map(|create| judge_one(now, owner, records, command, create));
    Ok(replies.collect())
}

/// The reply to a repetition lacks its balances.
fn judge_one(
    now: Time,
    owner: &mut Owner,
    records: &mut AllocationRecords,
    command: &CommandHead,
    create: &CreateAllocation,
) -> Result<AllocationReply> {
    let terms = &create.terms;
    let Some(stored) = records.by_key(terms.direction, &terms.client_external_id) else {
        return create_new(now, owner, records, command, create);
    };
    if stored.content != create.content {
        return Err(Error::IdempotencyKeyReused {
            field: "client_external_id",
        });
    }
    Ok(AllocationReply::replayed(stored.clone()))
}

fn create_new(
    now: Time,
    owner: &mut Owner,
    records: &mut AllocationRecords,
    command: &CommandHead,
    create: &CreateAllocation,
) -> Result<AllocationReply> {
    let terms = &create.terms;
    let connection = records
        .connections
        .get(&terms.connection)
        .ok_or(Error::ConnectionNotFound(terms.connection))?;
    judge_expire_time(now, connection, terms)?;
    if let Some(reason) = connection.disabled(terms.direction) {
        return Err(Error::ConnectionInactive {
            direction: terms.direction.name(),
            reason: reason.into(),
        });
    }
    let movement = owner
        .plan(&terms.unit, legs(connection.mode, terms))
        .map_err(|refusal| refusal.into_error(&terms.unit, terms.quantity))?;

    let time = owner.next_time(now);
    let id = ordered_id(time, command.entropy);
    let custody = owner.balance_after(&movement, AccountId::OWN);
    let of_connection = owner.balance_after(&movement, terms.connection.into());
    let opened = OesVersions {
        custody: custody.version,
        connection: of_connection.version,
    };
    let (status, cause, closed) = outcome(connection.mode, opened);
    let allocation = Allocation {
        owner: command.owner,
        record: AllocationRecord {
            id: AllocationId(id),
            status,
            terms: terms.clone(),
            client: connection.client,
            partner: connection.partner,
            partner_external_id: None,
            reason: None,
            created_at: time,
            updated_at: time,
        },
        content: create.content,
        opened,
        closed,
    };
    owner.apply(command.owner, movement, cause, id, time);
    records.create(allocation.clone());
    Ok(AllocationReply {
        allocation,
        custody,
        connection: of_connection,
        origin: Origin::Done,
    })
}

/// What the opening movement makes of an allocation: in mode INSTANT it also closes it.
fn outcome(mode: Mode, versions: OesVersions) -> (Status, Cause, Option<Closing>) {
    match mode {
        Mode::Confirmed => (Status::Reserved, Cause::RESERVE, None),
        Mode::Instant => {
            let cause = Cause::INSTANT;
            (Status::Cleared, cause, Some(Closing { cause, versions }))
        }
    }
}

/// The opening movement: in mode CONFIRMED value is held in its account, in mode INSTANT it moves.
fn legs(mode: Mode, terms: &AllocationTerms) -> Vec<Leg> {
    let (source, target) = (
        terms.direction.source(terms.connection),
        terms.direction.target(terms.connection),
    );
    let taken = terms.quantity.negated();
    match mode {
        Mode::Confirmed => vec![Leg {
            account: source,
            available: taken,
            held: terms.quantity,
            reservation: ReservationChange::Opened,
        }],
        Mode::Instant => vec![
            Leg {
                account: source,
                available: taken,
                held: Amount::ZERO,
                reservation: ReservationChange::None,
            },
            Leg {
                account: target,
                available: terms.quantity,
                held: Amount::ZERO,
                reservation: ReservationChange::None,
            },
        ],
    }
}

/// The expire time must lie ahead, by no more than the limit, and be allowed by the connection's mode.
fn judge_expire_time(now: Time, connection: &Connection, terms: &AllocationTerms) -> Result<()> {
    let Some(time) = terms.expire_time else {
        return Ok(());
    };
    if time <= now || time > now.plus(EXPIRE_AHEAD_MAX) {
        return Err(Error::invalid(
            "expire_time",
            "must be after now and at most 366 days ahead",
        ));
    }
    if connection.mode == Mode::Instant {
        return Err(Error::invalid(
            "expire_time",
            "must not be set: the connection's mode is INSTANT",
        ));
    }
    Ok(())
}
