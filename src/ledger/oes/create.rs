//! Judges new allocations and deallocations.

use crate::error::{Error, Result};
use crate::ledger::account::Cause;
use crate::ledger::books::{Books, Leg, Owner, ReservationChange};
use crate::ledger::enterprise;
use crate::ledger::kind::{CommandHead, KindState, Origin};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, AllocationTerms, Closing, Connection, Direction, Mode,
    OesVersions, Status,
};
use crate::ledger::oes::records::{AllocationRecords, Partners};
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
    let (_, facts) = enterprise::find(books, command.owner)?;
    // Before the client is looked for.
    judge_license(facts.is_licensed, create)?;
    let owner = enterprise::find_client(books, command.owner)?;
    let mut side = ClientSide::of(now, command, owner, facts.is_licensed, state);
    side.judge(create)
}

/// The whole fails only if the enterprise is unknown or has no client.
pub(super) fn judge_all(
    command: &CommandHead,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
    creates: &[CreateAllocation],
) -> Result<Vec<Result<AllocationReply>>> {
    let now = books.now;
    let (_, facts) = enterprise::find(books, command.owner)?;
    let owner = enterprise::find_client(books, command.owner)?;
    let mut side = ClientSide::of(now, command, owner, facts.is_licensed, state);
    let replies = creates.iter().map(|create| side.judge(create));
    Ok(replies.collect())
}

/// An allocation takes a licence; a deallocation, which only leads back to custody, takes none.
fn judge_license(is_licensed: bool, create: &CreateAllocation) -> Result<()> {
    match create.terms.direction {
        Direction::Allocation if !is_licensed => Err(Error::NoOesLicense),
        _ => Ok(()),
    }
}

/// The client's enterprise, and what its creates are judged by.
struct ClientSide<'a> {
    now: Time,
    command: &'a CommandHead,
    owner: &'a mut Owner,
    is_licensed: bool,
    records: &'a mut AllocationRecords,
    partners: &'a Partners,
}

impl<'a> ClientSide<'a> {
    fn of(
        now: Time,
        command: &'a CommandHead,
        owner: &'a mut Owner,
        is_licensed: bool,
        state: &'a mut KindState<OesRecords>,
    ) -> Self {
        Self {
            now,
            command,
            owner,
            is_licensed,
            records: state.records.entry(command.owner).or_default(),
            partners: &state.context,
        }
    }

    /// The reply to a repetition lacks its balances.
    fn judge(&mut self, create: &CreateAllocation) -> Result<AllocationReply> {
        judge_license(self.is_licensed, create)?;
        let terms = &create.terms;
        let stored = self
            .records
            .by_key(terms.direction, &terms.client_external_id);
        match stored {
            None => {
                let key = &terms.client_external_id;
                self.records.require_unused(terms.direction, key)?;
                self.create(create)
            }
            Some(stored) if stored.content == create.content => {
                Ok(AllocationReply::replayed(stored.clone()))
            }
            Some(stored) => Err(Error::IdempotencyKeyReused {
                field: "client_external_id",
                holder: Some(stored.as_key_holder()),
                stored: stored.record.terms.differing_from(terms),
            }),
        }
    }

    fn create(&mut self, create: &CreateAllocation) -> Result<AllocationReply> {
        let terms = &create.terms;
        let connection = self
            .records
            .connections
            .get(&terms.connection)
            .ok_or(Error::ConnectionNotFound(terms.connection))?;
        judge_expire_time(self.now, connection, terms)?;
        judge_connection(connection, self.partners, terms)?;
        let source = terms.direction.source(terms.connection);
        let movement = self
            .owner
            .plan(&terms.unit, legs(connection.mode, terms))
            .map_err(|refusal| {
                let error = refusal.into_error(&terms.unit, terms.quantity);
                error.in_account(source.name())
            })?;

        let time = self.owner.next_time(self.now);
        let id = ordered_id(time, self.command.entropy);
        let custody = self.owner.balance_after(&movement, AccountId::OWN);
        let of_connection = self.owner.balance_after(&movement, terms.connection.into());
        let opened = OesVersions {
            custody: custody.version,
            connection: of_connection.version,
        };
        let (status, cause, closed) = outcome(connection.mode, opened);
        let allocation = Allocation {
            owner: self.command.owner,
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
        self.owner
            .apply(self.command.owner, movement, cause, id, time);
        self.records.create(allocation.clone());
        Ok(AllocationReply {
            allocation,
            custody,
            connection: of_connection,
            origin: Origin::Done,
        })
    }
}

/// The partner must hold a licence to get allocations, and the direction must be enabled.
fn judge_connection(
    connection: &Connection,
    partners: &Partners,
    terms: &AllocationTerms,
) -> Result<()> {
    if terms.direction == Direction::Allocation
        && !partners.are_licensed(connection.partner_enterprise)
    {
        return Err(Error::PartnerNotLicensed {
            connection: terms.connection,
            side: "partner",
        });
    }
    match connection.disabled(terms.direction) {
        None => Ok(()),
        Some(reason) => Err(Error::ConnectionInactive {
            connection: terms.connection,
            direction: terms.direction.name(),
            reason: reason.into(),
        }),
    }
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
            format!("must be after now, {now}, and at most 366 days ahead, got {time}"),
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
