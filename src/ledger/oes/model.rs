//! Allocations and deallocations as they are stored.

use uuid::Uuid;

use crate::error::{KeyHolder, StoredValue};
use crate::ledger::account::Cause;
use crate::ledger::store_error::StoreError;
use crate::ledger::stored_enum::stored_enum;
use crate::ledger::stored_key::stored_key;
use crate::ledger::table::description::{Arrays, Row, SqlType, Stored, columns};
use crate::ledger::table::values::enum_column;
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The kind of allocations and deallocations.
#[derive(Clone, Copy, Debug)]
pub struct OesRecords;

impl Cause {
    /// Value is held for a partner, or for a bucket's user, until it is used or given back.
    pub const RESERVE: Self = Self::named("RESERVE");
    /// The partner took what was held.
    pub const CLEAR: Self = Self::named("CLEAR");
    /// The partner gave back what was held.
    pub const RELEASE: Self = Self::named("RELEASE");
    /// The client took back what was held.
    pub const CANCEL: Self = Self::named("CANCEL");
    /// What was held was given back when its `expire_time` passed.
    pub const EXPIRE: Self = Self::named("EXPIRE");
    /// Value moved at once: the connection is in mode INSTANT.
    pub const INSTANT: Self = Self::named("INSTANT");
}

stored_enum! {
    /// The direction in which value moves between custody and a connection.
    Direction {
        /// From custody to a connection.
        Allocation = "ALLOCATION",
        /// From a connection back to custody.
        Deallocation = "DEALLOCATION",
    }
}

impl Direction {
    /// The name that errors use, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allocation",
            Self::Deallocation => "deallocation",
        }
    }

    /// The account that value leaves, and that holds it while it is reserved.
    pub fn source(self, connection: ConnectionId) -> AccountId {
        match self {
            Self::Allocation => AccountId::OWN,
            Self::Deallocation => connection.into(),
        }
    }

    /// The account that value arrives in.
    pub fn target(self, connection: ConnectionId) -> AccountId {
        match self {
            Self::Allocation => connection.into(),
            Self::Deallocation => AccountId::OWN,
        }
    }
}

impl Direction {
    /// The idempotency key as `allocation_key` has it: the beginning of a hash of the direction and the external id. The
    /// database has the same as a function.
    pub fn stored_key(self, client_external_id: &str) -> Uuid {
        stored_key(self.as_str(), client_external_id)
    }
}

stored_enum! {
    /// The state of an allocation.
    Status {
        /// Value is held until a verdict, or until the `expire_time`.
        Reserved = "RESERVED",
        /// Final: value has moved.
        Cleared = "CLEARED",
        /// Final: value was given back.
        Released = "RELEASED",
    }
}

stored_enum! {
    /// Whether a partner confirms what a client allocates through a connection.
    Mode {
        /// Value moves at once.
        Instant = "INSTANT",
        /// Value is held until the partner's verdict.
        Confirmed = "CONFIRMED",
    }
}

enum_column!(Direction, Status, Mode);

/// What the client fixes when it creates an allocation; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationTerms {
    /// The direction in which value moves.
    pub direction: Direction,
    /// The connection between client and partner.
    pub connection: ConnectionId,
    /// The currency of the quantity.
    pub unit: Unit,
    /// The amount in base units of the currency; above zero.
    pub quantity: Amount,
    /// The idempotency key, unique per owner and direction.
    pub client_external_id: String,
    /// The notes that the client gave.
    pub notes: Option<String>,
    /// The time at which the reservation is released if it is still open; only in mode CONFIRMED.
    pub expire_time: Option<Time>,
    /// The subject of the token that created it.
    pub initiated_by: String,
}

impl AllocationTerms {
    /// What these terms have in the fields of which others with the same key have another value.
    pub(in crate::ledger) fn differing_from(&self, asked: &Self) -> Vec<StoredValue> {
        let time = |terms: &Self| terms.expire_time.map(|time| time.to_string());
        StoredValue::differing([
            (
                "connection_id",
                Some(self.connection.to_string()),
                Some(asked.connection.to_string()),
            ),
            (
                "amount.currency",
                Some(self.unit.to_string()),
                Some(asked.unit.to_string()),
            ),
            (
                "amount.quantity",
                Some(self.quantity.to_string()),
                Some(asked.quantity.to_string()),
            ),
            ("notes", self.notes.clone(), asked.notes.clone()),
            ("expire_time", time(self), time(asked)),
        ])
    }
}

#[cfg(test)]
impl AllocationTerms {
    /// Without what a client may leave out.
    pub(in crate::ledger) fn minimal(
        direction: Direction,
        connection: ConnectionId,
        unit: Unit,
        quantity: Amount,
        client_external_id: String,
    ) -> Self {
        Self {
            direction,
            connection,
            unit,
            quantity,
            client_external_id,
            notes: None,
            expire_time: None,
            initiated_by: "someone".into(),
        }
    }
}

columns!(AllocationTerms {
    direction: ["type"];
    connection: ["connection_id"];
    unit: ["currency"];
    quantity: ["quantity"];
    client_external_id: ["client_external_id"];
    notes: ["notes"];
    expire_time: ["expire_time"];
    initiated_by: ["initiated_by"];
});

/// An allocation or deallocation as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationRecord {
    /// Ids of one owner sort by creation.
    pub id: AllocationId,
    /// The state; RESERVED is the only one that is not final.
    pub status: Status,
    /// What the client fixed.
    pub terms: AllocationTerms,
    /// The client whose custody it is.
    pub client: ClientId,
    /// The partner that value is set aside for.
    pub partner: PartnerId,
    /// The partner's own id, given with its verdict.
    pub partner_external_id: Option<String>,
    /// Why it was released: the partner's or the client's text, or `expired`.
    pub reason: Option<String>,
    /// The opening movement's time.
    pub created_at: Time,
    /// The last movement's time.
    pub updated_at: Time,
}

columns!(AllocationRecord {
    id: ["id"];
    status: ["status"];
    terms: { nested };
    client: ["client_id"];
    partner: ["partner_id"];
    partner_external_id: ["partner_external_id"];
    reason: ["reason"];
    created_at: ["created_at"];
    updated_at: ["updated_at"];
});

/// An allocation or deallocation with what only the ledger needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
    /// The part that callers see.
    pub record: AllocationRecord,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
    /// The accounts' versions after the opening movement.
    pub opened: OesVersions,
    /// The movement that made it final; none while it is RESERVED.
    pub closed: Option<Closing>,
}

columns!(Allocation {
    owner: ["owner_id"];
    record: { nested };
    content: ["content_hash"];
    opened: ["opened_custody_version", "opened_connection_version"];
    closed: ["closed_cause", "closed_custody_version", "closed_connection_version"];
});

impl Allocation {
    /// The account that value leaves, and that holds it while it is reserved.
    pub fn source(&self) -> AccountId {
        self.record
            .terms
            .direction
            .source(self.record.terms.connection)
    }

    /// The account that value arrives in.
    pub fn target(&self) -> AccountId {
        self.record
            .terms
            .direction
            .target(self.record.terms.connection)
    }

    /// The record as the holder of an idempotency key.
    pub fn as_key_holder(&self) -> KeyHolder {
        KeyHolder {
            id: self.record.id.to_string(),
            version: None,
        }
    }

    /// Whether its `expire_time` has passed at `now` while it is open.
    pub fn is_due(&self, now: Time) -> bool {
        let record = &self.record;
        record.status == Status::Reserved
            && record.terms.expire_time.is_some_and(|time| time <= now)
    }
}

/// The versions of custody and of the connection's account after a movement: they lead to the balances
/// that a replay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OesVersions {
    /// The version of the custody account.
    pub custody: i64,
    /// The version of the connection's account.
    pub connection: i64,
}

impl Stored for OesVersions {
    const TYPES: &'static [SqlType] = &[SqlType::BigInt, SqlType::BigInt];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.custody.push(arrays);
        self.connection.push(arrays);
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        Ok(Self {
            custody: Stored::read(row, position)?,
            connection: Stored::read(row, position)?,
        })
    }
}

/// The one movement that made an allocation final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// CLEAR, RELEASE, CANCEL, EXPIRE or INSTANT.
    pub cause: Cause,
    /// The accounts' versions after it.
    pub versions: OesVersions,
}

impl Stored for Option<Closing> {
    const TYPES: &'static [SqlType] = &[SqlType::Text, SqlType::BigInt, SqlType::BigInt];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        arrays.text(self.as_ref().map(|closing| closing.cause.as_str()));
        arrays.big_int(self.map(|closing| closing.versions.custody));
        arrays.big_int(self.map(|closing| closing.versions.connection));
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        let cause: Option<Cause> = Stored::read(row, position)?;
        let custody: Option<i64> = Stored::read(row, position)?;
        let connection: Option<i64> = Stored::read(row, position)?;
        Ok(match (cause, custody, connection) {
            (Some(cause), Some(custody), Some(connection)) => Some(Closing {
                cause,
                versions: OesVersions {
                    custody,
                    connection,
                },
            }),
            _ => None,
        })
    }
}

/// What the ledger reads of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's side of the connection.
    pub client: ClientId,
    /// The partner's side of the connection.
    pub partner: PartnerId,
    /// The partner's enterprise, which gives verdicts.
    pub partner_enterprise: EnterpriseId,
    /// Whether the partner confirms.
    pub mode: Mode,
    /// Why allocations are disabled; none if they are enabled.
    pub allocations_disabled: Option<String>,
    /// Why deallocations are disabled; none if they are enabled.
    pub deallocations_disabled: Option<String>,
}

columns!(Connection {
    client: ["client_id"];
    partner: ["partner_id"];
    partner_enterprise: ["partner_enterprise_id"];
    mode: ["mode"];
    allocations_disabled: ["allocations_disabled_reason"];
    deallocations_disabled: ["deallocations_disabled_reason"];
});

impl Connection {
    /// Why this direction is disabled; none if it is enabled.
    pub fn disabled(&self, direction: Direction) -> Option<&str> {
        match direction {
            Direction::Allocation => self.allocations_disabled.as_deref(),
            Direction::Deallocation => self.deallocations_disabled.as_deref(),
        }
    }
}
