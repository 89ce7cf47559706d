//! What the contract says, written down a second time and as simply as possible: plain integers, one list of records per
//! owner, and `validate_only` as a try on a copy. It shares no code with the judgement, only its types and the list of differing fields.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::error::{AdjustmentHolder, Error, FinalAllocation, KeyHolder, Result, StoredValue};
use crate::ledger::account::{Balance, Cause};
use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::adjustment::request::{AdjustCustody, AdjustmentReply};
use crate::ledger::kind::Origin;
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, Closing, Direction, Mode, OesVersions, Status,
};
use crate::ledger::oes::request::{
    AllocationReply, CloseAllocation, CreateAllocation, PartnerSide, Verdict,
};
use crate::ledger::tests::command::{Action, Command, Outcome, Reply};
use crate::ledger::tests::network::Network;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AdjustmentId, AllocationId, EnterpriseId, OwnerId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The greatest balance: 28 nines.
pub(super) const GREATEST: i128 = 10_i128.pow(28) - 1;
const YEAR_AND_A_DAY_MICROS: i64 = 366 * 24 * 60 * 60 * 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) ledgers: BTreeMap<OwnerId, Ledger>,
}

/// One owner's value.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) lines: BTreeMap<(AccountId, Unit), Line>,
    pub(super) records: Vec<Record>,
    pub(super) deposits: Vec<Deposit>,
    last_micros: Option<i64>,
    /// More was due than this batch released.
    crowded: bool,
}

/// An account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) free: i128,
    pub(super) set_aside: i128,
    pub(super) changes: i64,
    /// How many records are open here.
    pub(super) open: i64,
}

/// A record, and custody and connection after its movements.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) shown: Allocation,
    quantity: i128,
    expires_micros: Option<i64>,
    opened: [Line; 2],
    closed: [Line; 2],
}

#[derive(Clone, Debug)]
pub(super) struct Deposit {
    pub(super) shown: Adjustment,
    custody: Line,
}

pub(super) fn amount(value: i128) -> Amount {
    let decimal = Decimal::from_i128_with_scale(value, 0);
    Amount::from_decimal(decimal).expect("at most 28 digits")
}

fn number(amount: Amount) -> i128 {
    amount.to_string().parse().expect("an integer")
}

fn time(micros: i64) -> Time {
    Time::from_micros(micros).expect("in range")
}

impl Line {
    pub(super) fn shown(self) -> Balance {
        Balance {
            available: amount(self.free),
            held: amount(self.set_aside),
            version: self.changes,
            reservation_count: self.open,
        }
    }
}

impl Reference {
    /// A batch begins: of each of its owners, the oldest due reservations are released.
    pub(super) fn begin(&mut self, now: i64, owners: &BTreeSet<OwnerId>, release_max: usize) {
        for (_, ledger) in self
            .ledgers
            .iter_mut()
            .filter(|(id, _)| owners.contains(id))
        {
            let mut due: Vec<(i64, AllocationId, usize)> = Vec::new();
            for (index, record) in ledger.records.iter().enumerate() {
                if let Some(expires) = record.expires_micros
                    && expires <= now
                    && record.shown.record.status == Status::Reserved
                {
                    due.push((expires, record.shown.record.id, index));
                }
            }
            due.sort();
            ledger.crowded = due.len() > release_max;
            for (_, _, index) in due.into_iter().take(release_max) {
                ledger.end(index, now, Cause::EXPIRE, None, Some("expired".into()));
            }
        }
    }

    /// One command, after those before it.
    pub(super) fn judge(&mut self, network: &Network, now: i64, command: &Command) -> Outcome {
        let mut ledger = self
            .ledgers
            .get(&command.owner)
            .cloned()
            .unwrap_or_default();
        if ledger.crowded {
            return Outcome::Later;
        }
        let verdict = match &command.action {
            Action::Create(create) => ledger.create(network, now, command, create),
            Action::Submit(creates) => ledger.submit(network, now, command, creates),
            Action::Close(close) => ledger.close(network, now, command, close),
            Action::Adjust(adjust) => ledger.adjust(network, now, command, adjust),
            Action::Bucket(_) => unreachable!("no bucket is asked for"),
            Action::Expire(_) => Ok(Reply::Expired),
        };
        if verdict.is_ok() && !command.validate_only {
            self.ledgers.insert(command.owner, ledger);
        }
        Outcome::Final(verdict)
    }
}

/// The client's side: an enterprise with a client; first of all, with a licence if it takes one.
fn client_side(network: &Network, owner: OwnerId, takes_license: bool) -> Result<()> {
    let enterprise = network.enterprise(owner);
    let enterprise = enterprise.ok_or(Error::EnterpriseNotFound(EnterpriseId(owner.0)))?;
    if takes_license && !enterprise.licensed {
        return Err(Error::NoOesLicense);
    }
    if enterprise.client.is_none() {
        return Err(Error::ClientNotFound(None));
    }
    Ok(())
}

/// The partner's side: an enterprise with a partner, and a connection of that partner with the owner.
fn partner_side(network: &Network, owner: OwnerId, partner: &PartnerSide) -> Result<()> {
    let enterprise = network.enterprises.get(&partner.enterprise);
    let enterprise = enterprise.ok_or(Error::EnterpriseNotFound(partner.enterprise))?;
    if !enterprise.partner || partner.enterprise.0 == owner.0 {
        return Err(Error::PartnerAccessDenied);
    }
    match network.connections.get(&partner.connection) {
        Some((client, connection))
            if *client == owner && connection.partner_enterprise == partner.enterprise =>
        {
            Ok(())
        }
        _ => Err(Error::ConnectionNotFound(partner.connection)),
    }
}

fn origin(command: &Command) -> Origin {
    if command.validate_only {
        Origin::Validated
    } else {
        Origin::Done
    }
}

impl Ledger {
    /// A partner learns on which of its connections an allocation is.
    fn not_found(&self, network: &Network, close: &CloseAllocation) -> Error {
        let allocation = close.allocation;
        let Some(partner) = close.verdict.partner() else {
            return Error::AllocationNotFound(allocation);
        };
        let partner_of = |id| network.connections.get(&id).map(|(_, found)| found.partner);
        let mut records = self.records.iter().map(|record| &record.shown.record);
        let found = records.find(|record| record.id == allocation);
        Error::AllocationNotOnConnection {
            allocation,
            connection: partner.connection,
            found_on: found
                .filter(|record| Some(record.partner) == partner_of(partner.connection))
                .map(|record| record.terms.connection),
        }
    }

    pub(super) fn line(&self, account: AccountId, unit: &Unit) -> Line {
        let line = self.lines.get(&(account, unit.clone()));
        line.copied().unwrap_or_default()
    }

    fn change(&mut self, account: AccountId, unit: &Unit, free: i128, set_aside: i128) {
        let line = self.lines.entry((account, unit.clone())).or_default();
        line.free += free;
        line.set_aside += set_aside;
        line.open += set_aside.signum() as i64;
        line.changes += 1;
    }

    /// The database's clock, but behind all that was.
    fn stamp(&mut self, now: i64) -> Time {
        let micros = self.last_micros.map_or(now, |last| now.max(last + 1));
        self.last_micros = Some(micros);
        time(micros)
    }

    /// Each by itself, after those before it.
    fn submit(
        &mut self,
        network: &Network,
        now: i64,
        command: &Command,
        creates: &[CreateAllocation],
    ) -> Result<Reply> {
        client_side(network, command.owner, false)?;
        let before = self.records.len();
        let mut replies = Vec::new();
        for create in creates {
            let mut after = self.clone();
            replies.push(match after.create(network, now, command, create) {
                Ok(Reply::Allocation(reply)) => {
                    *self = after;
                    Ok(*reply)
                }
                Ok(other) => unreachable!("a create answers {other:?}"),
                Err(error) => Err(error),
            });
        }
        if command.validate_only {
            // Nothing of the submission is stored, so nobody can look for it.
            let made = &self.records[before..];
            for reply in &mut replies {
                if let Err(Error::IdempotencyKeyReused { holder: found, .. }) = reply
                    && made.iter().any(|record| *found == holder(&record.shown))
                {
                    *found = None;
                }
            }
        }
        Ok(Reply::Submitted(replies))
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the rules of a creation in their order, to be compared with the documentation"
    )]
    fn create(
        &mut self,
        network: &Network,
        now: i64,
        command: &Command,
        create: &CreateAllocation,
    ) -> Result<Reply> {
        let adds_risk = create.terms.direction == Direction::Allocation;
        client_side(network, command.owner, adds_risk)?;
        let same_key = self.records.iter().find(|record| {
            record.shown.record.terms.direction == create.terms.direction
                && record.shown.record.terms.client_external_id == create.terms.client_external_id
        });
        if let Some(record) = same_key {
            if record.shown.content == create.content {
                return Ok(reply(&record.shown, record.opened, Origin::Replayed));
            }
            return Err(Error::IdempotencyKeyReused {
                field: "client_external_id",
                holder: holder(&record.shown),
                stored: record.shown.record.terms.differing_from(&create.terms),
            });
        }
        let not_found = Error::ConnectionNotFound(create.terms.connection);
        let (client, connection) = network
            .connections
            .get(&create.terms.connection)
            .ok_or(not_found.clone())?;
        if *client != command.owner {
            return Err(not_found);
        }
        let expires_micros = create.terms.expire_time.map(Time::micros);
        if let Some(expires) = expires_micros {
            if expires <= now || expires > now + YEAR_AND_A_DAY_MICROS {
                let (now, expires) = (time(now), time(expires));
                let text =
                    format!("must be after now, {now}, and at most 366 days ahead, got {expires}");
                return Err(Error::invalid("expire_time", text));
            }
            if connection.mode == Mode::Instant {
                let text = "must not be set: the connection's mode is INSTANT";
                return Err(Error::invalid("expire_time", text));
            }
        }
        let (disabled, direction, from, to) = match create.terms.direction {
            Direction::Allocation => (
                &connection.allocations_disabled,
                "allocation",
                AccountId::OWN,
                AccountId(create.terms.connection.0),
            ),
            Direction::Deallocation => (
                &connection.deallocations_disabled,
                "deallocation",
                AccountId(create.terms.connection.0),
                AccountId::OWN,
            ),
        };
        let partner = &network.enterprises[&connection.partner_enterprise];
        if adds_risk && !partner.licensed {
            return Err(Error::PartnerNotLicensed {
                connection: create.terms.connection,
                side: "partner",
            });
        }
        if let Some(reason) = disabled {
            return Err(Error::ConnectionInactive {
                connection: create.terms.connection,
                direction,
                reason: reason.clone(),
            });
        }
        let (unit, quantity) = (&create.terms.unit, number(create.terms.quantity));
        let free = self.line(from, unit).free;
        if free < quantity {
            return Err(Error::InsufficientBalance {
                available: amount(free),
                requested: create.terms.quantity,
                unit: unit.clone(),
                account: Some(match create.terms.direction {
                    Direction::Allocation => "custody".into(),
                    Direction::Deallocation => create.terms.connection.to_string(),
                }),
                is_unused: self.line(from, unit).changes == 0,
            });
        }
        let at_once = connection.mode == Mode::Instant;
        if at_once {
            self.change(from, unit, -quantity, 0);
            self.change(to, unit, quantity, 0);
        } else {
            self.change(from, unit, -quantity, quantity);
        }
        let lines = [
            self.line(AccountId::OWN, unit),
            self.line(AccountId(create.terms.connection.0), unit),
        ];
        let at = self.stamp(now);
        let shown = Allocation {
            owner: command.owner,
            record: AllocationRecord {
                id: AllocationId(ordered_id(at, command.entropy)),
                status: if at_once {
                    Status::Cleared
                } else {
                    Status::Reserved
                },
                terms: create.terms.clone(),
                client: connection.client,
                partner: connection.partner,
                partner_external_id: None,
                reason: None,
                created_at: at,
                updated_at: at,
            },
            content: create.content,
            opened: versions(lines),
            closed: at_once.then(|| Closing {
                cause: Cause::INSTANT,
                versions: versions(lines),
            }),
        };
        self.records.push(Record {
            shown: shown.clone(),
            quantity,
            expires_micros,
            opened: lines,
            closed: lines,
        });
        Ok(reply(&shown, lines, origin(command)))
    }

    fn close(
        &mut self,
        network: &Network,
        now: i64,
        command: &Command,
        close: &CloseAllocation,
    ) -> Result<Reply> {
        let (cause, partner, reason) = match &close.verdict {
            Verdict::Cancel { reason } => (Cause::CANCEL, None, reason.clone()),
            Verdict::Clear(partner) => (Cause::CLEAR, Some(partner), None),
            Verdict::Release { partner, reason } => {
                (Cause::RELEASE, Some(partner), Some(reason.clone()))
            }
        };
        match partner {
            None => client_side(network, command.owner, false)?,
            Some(partner) => partner_side(network, command.owner, partner)?,
        }
        let index = self
            .records
            .iter()
            .position(|record| {
                record.shown.record.id == close.allocation
                    && partner.is_none_or(|partner| {
                        partner.connection == record.shown.record.terms.connection
                    })
            })
            .ok_or_else(|| self.not_found(network, close))?;
        let external_id = partner.and_then(|partner| partner.external_id.clone());
        let shown = self.records[index].shown.clone();
        let adds_risk =
            cause == Cause::CLEAR && shown.record.terms.direction == Direction::Allocation;
        if adds_risk && partner.is_some_and(|who| !network.enterprises[&who.enterprise].licensed) {
            return Err(Error::NoOesLicense);
        }
        let client_is_licensed = network
            .enterprise(command.owner)
            .is_some_and(|enterprise| enterprise.licensed);
        let origin = match (shown.record.status, cause) {
            (Status::Reserved, _) if adds_risk && !client_is_licensed => {
                return Err(Error::PartnerNotLicensed {
                    connection: shown.record.terms.connection,
                    side: "client",
                });
            }
            (Status::Reserved, _) => {
                self.end(index, now, cause, external_id, reason);
                origin(command)
            }
            (Status::Cleared, Cause::CLEAR)
            | (Status::Released, Cause::RELEASE | Cause::CANCEL) => {
                // Two different ids of the partner contradict each other.
                if let (Some(stored), Some(given)) =
                    (&shown.record.partner_external_id, &external_id)
                    && stored != given
                {
                    return Err(Error::IdempotencyKeyReused {
                        field: "partner_external_id",
                        holder: holder(&shown),
                        stored: vec![StoredValue {
                            field: "partner_external_id",
                            value: Some(stored.clone()),
                        }],
                    });
                }
                Origin::Replayed
            }
            (Status::Cleared, _) => return Err(final_as(&shown, "CLEARED")),
            (Status::Released, _) => return Err(final_as(&shown, "RELEASED")),
        };
        let record = &self.records[index];
        Ok(reply(&record.shown, record.closed, origin))
    }

    /// A reservation ends.
    fn end(
        &mut self,
        index: usize,
        now: i64,
        cause: Cause,
        partner_external_id: Option<String>,
        reason: Option<String>,
    ) {
        let Record {
            shown, quantity, ..
        } = self.records[index].clone();
        let of_connection = AccountId(shown.record.terms.connection.0);
        let (from, to) = match shown.record.terms.direction {
            Direction::Allocation => (AccountId::OWN, of_connection),
            Direction::Deallocation => (of_connection, AccountId::OWN),
        };
        if cause == Cause::CLEAR {
            self.change(from, &shown.record.terms.unit, 0, -quantity);
            self.change(to, &shown.record.terms.unit, quantity, 0);
        } else {
            self.change(from, &shown.record.terms.unit, quantity, -quantity);
        }
        let at = self.stamp(now);
        let lines = [
            self.line(AccountId::OWN, &shown.record.terms.unit),
            self.line(of_connection, &shown.record.terms.unit),
        ];
        let record = &mut self.records[index];
        record.closed = lines;
        record.shown.record.status = if cause == Cause::CLEAR {
            Status::Cleared
        } else {
            Status::Released
        };
        record.shown.record.partner_external_id = partner_external_id;
        record.shown.record.reason = reason;
        record.shown.record.updated_at = at;
        record.shown.closed = Some(Closing {
            cause,
            versions: versions(lines),
        });
    }

    fn adjust(
        &mut self,
        network: &Network,
        now: i64,
        command: &Command,
        adjust: &AdjustCustody,
    ) -> Result<Reply> {
        let enterprise = network.enterprise(command.owner);
        let enterprise =
            enterprise.ok_or(Error::EnterpriseNotFound(EnterpriseId(command.owner.0)))?;
        if enterprise.client.is_none() {
            return Err(Error::ClientNotFound(None));
        }
        let mut deposits = self.deposits.iter();
        let same_key = deposits.find(|deposit| deposit.shown.external_id == adjust.external_id);
        if let Some(deposit) = same_key {
            if deposit.shown.content == adjust.content {
                return Ok(adjusted(deposit, Origin::Replayed));
            }
            return Err(key_reused(&deposit.shown, adjust));
        }
        let (unit, quantity) = (&adjust.unit, number(adjust.quantity));
        // All that ever came in and did not leave, whatever account it is in now.
        let inside: i128 = self
            .lines
            .iter()
            .filter(|((account, of), _)| *account != AccountId::WORLD && of == unit)
            .map(|(_, line)| line.free + line.set_aside)
            .sum();
        if inside + quantity > GREATEST {
            return Err(Error::BalanceLimit {
                unit: unit.clone(),
                account: Some("custody".into()),
            });
        }
        let free = self.line(AccountId::OWN, unit).free;
        if free + quantity < 0 {
            return Err(Error::InsufficientBalance {
                available: amount(free),
                requested: amount(-quantity),
                unit: unit.clone(),
                account: Some("custody".into()),
                is_unused: self.line(AccountId::OWN, unit).changes == 0,
            });
        }
        self.change(AccountId::WORLD, unit, -quantity, 0);
        self.change(AccountId::OWN, unit, quantity, 0);
        let custody = self.line(AccountId::OWN, unit);
        let at = self.stamp(now);
        let deposit = Deposit {
            shown: Adjustment {
                id: AdjustmentId(ordered_id(at, command.entropy)),
                owner: command.owner,
                external_id: adjust.external_id.clone(),
                unit: unit.clone(),
                quantity: adjust.quantity,
                reason: adjust.reason.clone(),
                initiated_by: adjust.initiated_by.clone(),
                content: adjust.content,
                custody_version: custody.changes,
                created_at: at,
            },
            custody,
        };
        self.deposits.push(deposit.clone());
        Ok(adjusted(&deposit, origin(command)))
    }
}

fn holder(shown: &Allocation) -> Option<KeyHolder> {
    Some(KeyHolder {
        id: shown.record.id.to_string(),
        version: None,
    })
}

fn final_as(shown: &Allocation, status: &'static str) -> Error {
    let cause = shown.closed.expect("a final record").cause;
    Error::AllocationFinal(FinalAllocation {
        id: shown.record.id,
        direction: match shown.record.terms.direction {
            Direction::Allocation => "allocation",
            Direction::Deallocation => "deallocation",
        },
        event: match cause.as_str() {
            "INSTANT" => "was cleared at its creation",
            "CLEAR" => "was cleared by the partner",
            "RELEASE" => "was released by the partner",
            "CANCEL" => "was cancelled by the client",
            "EXPIRE" => "expired",
            other => unreachable!("{other} makes nothing final"),
        },
        status,
        since: shown.record.updated_at,
    })
}

fn versions([custody, connection]: [Line; 2]) -> OesVersions {
    OesVersions {
        custody: custody.changes,
        connection: connection.changes,
    }
}

fn reply(shown: &Allocation, [custody, connection]: [Line; 2], origin: Origin) -> Reply {
    Reply::Allocation(Box::new(AllocationReply {
        allocation: shown.clone(),
        custody: custody.shown(),
        connection: connection.shown(),
        origin,
    }))
}

fn adjusted(deposit: &Deposit, origin: Origin) -> Reply {
    Reply::Adjustment(Box::new(AdjustmentReply {
        adjustment: deposit.shown.clone(),
        custody: deposit.custody.shown(),
        origin,
    }))
}

fn key_reused(stored: &Adjustment, adjust: &AdjustCustody) -> Error {
    Error::AdjustmentKeyReused(Box::new(AdjustmentHolder {
        id: stored.id,
        quantity: stored.quantity,
        unit: stored.unit.clone(),
        created_at: stored.created_at,
        stored: stored.differing_from(&adjust.unit, adjust.quantity, &adjust.reason),
    }))
}
