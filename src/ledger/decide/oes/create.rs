//! New allocations and deallocations.

use crate::error::{Error, Result};
use crate::ledger::command::{AllocationReply, Command, Create, Origin, Reply};
use crate::ledger::decide::oes::standing;
use crate::ledger::decide::{Judgement, refused};
use crate::ledger::model::{
    Allocation, Balance, Cause, Closing, Connection, Mode, Status, Versions, source, target,
};
use crate::ledger::state::{Leg, Owner};
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, ordered_id};
use crate::types::time::Time;

pub(in crate::ledger::decide) fn judge(
    now: Time,
    owner: Option<&mut Owner>,
    command: &Command,
    create: &Create,
) -> Judgement {
    let reply = client_side(owner, command).and_then(|owner| one(now, owner, command, create));
    match reply {
        Ok(reply) if reply.origin == Origin::Replayed => {
            let opened = reply.allocation.opened;
            Judgement::Replay(Reply::Allocation(Box::new(reply)), opened)
        }
        reply => reply.map(|reply| Reply::Allocation(Box::new(reply))).into(),
    }
}

/// As a whole it fails only for who asks.
pub(in crate::ledger::decide) fn judge_all(
    now: Time,
    owner: Option<&mut Owner>,
    command: &Command,
    creates: &[Create],
) -> Judgement {
    let replies = client_side(owner, command).map(|owner| {
        let judged = creates
            .iter()
            .map(|create| one(now, owner, command, create));
        Reply::Submitted(judged.collect())
    });
    replies.into()
}

/// A replay has no balances yet: the journal has them.
fn one(
    now: Time,
    owner: &mut Owner,
    command: &Command,
    create: &Create,
) -> Result<AllocationReply> {
    let Some(stored) = owner.allocation_by_key(create.direction, &create.client_external_id) else {
        return create_now(now, owner, command, create);
    };
    if stored.content != create.content {
        return Err(Error::IdempotencyKeyReused {
            field: "client_external_id",
        });
    }
    Ok(AllocationReply {
        allocation: stored.clone(),
        custody: Balance::default(),
        connection: Balance::default(),
        origin: Origin::Replayed,
    })
}

/// The enterprise, its licence, and its client.
fn client_side<'a>(owner: Option<&'a mut Owner>, command: &Command) -> Result<&'a mut Owner> {
    let (owner, standing) = standing(owner, command.owner)?;
    if !standing.licensed {
        return Err(Error::NoOesLicense);
    }
    if standing.client.is_none() {
        return Err(Error::ClientNotFound(None));
    }
    Ok(owner)
}

fn create_now(
    now: Time,
    owner: &mut Owner,
    command: &Command,
    create: &Create,
) -> Result<AllocationReply> {
    let connection = owner
        .connections
        .get(&create.connection)
        .cloned()
        .ok_or(Error::ConnectionNotFound(create.connection))?;
    judge_expire_time(now, &connection, create)?;
    if let Some(reason) = connection.disabled(create.direction) {
        return Err(Error::ConnectionInactive {
            direction: create.direction.name(),
            reason: reason.into(),
        });
    }

    let (from, to) = (
        source(create.direction, create.connection),
        target(create.direction, create.connection),
    );
    let taken = create.quantity.negated();
    let legs = match connection.mode {
        Mode::Confirmed => vec![Leg {
            account: from,
            available: taken,
            held: create.quantity,
        }],
        Mode::Instant => vec![
            Leg {
                account: from,
                available: taken,
                held: Amount::ZERO,
            },
            Leg {
                account: to,
                available: create.quantity,
                held: Amount::ZERO,
            },
        ],
    };
    let movement = owner
        .plan(&create.unit, legs)
        .map_err(|refusal| refused(refusal, &create.unit, create.quantity))?;
    let custody = owner.balance_after(&movement, AccountId::OWN);
    let of_connection = owner.balance_after(&movement, create.connection.into());
    let opened = Versions {
        custody: custody.version,
        connection: of_connection.version,
    };
    let (status, cause, closed) = match connection.mode {
        Mode::Confirmed => (Status::Reserved, Cause::Reserve, None),
        Mode::Instant => (
            Status::Cleared,
            Cause::Instant,
            Some(Closing {
                cause: Cause::Instant,
                versions: opened,
            }),
        ),
    };

    let time = owner.next_time(now);
    let id = ordered_id(time, command.entropy);
    let allocation = Allocation {
        id: AllocationId(id),
        owner: command.owner,
        direction: create.direction,
        status,
        unit: create.unit.clone(),
        quantity: create.quantity,
        connection: create.connection,
        client: connection.client,
        partner: connection.partner,
        client_external_id: create.client_external_id.clone(),
        partner_external_id: None,
        initiated_by: create.initiated_by.clone(),
        notes: create.notes.clone(),
        reason: None,
        expire_time: create.expire_time,
        created_at: time,
        updated_at: time,
        content: create.content,
        opened,
        closed,
    };
    owner.apply(command.owner, movement, cause, id, time);
    owner.create(allocation.clone());
    Ok(AllocationReply {
        allocation,
        custody,
        connection: of_connection,
        origin: Origin::Done,
    })
}

/// The clock's part, then what the connection's mode allows.
fn judge_expire_time(now: Time, connection: &Connection, create: &Create) -> Result<()> {
    let Some(time) = create.expire_time else {
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
