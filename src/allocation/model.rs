//! Allocations as the service reads them, and how a list is filtered and sorted.

use serde::{Deserialize, Serialize};

use crate::ledger::model::{Allocation, Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::Page;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An allocation or deallocation as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllocationRecord {
    /// Ids are in the order of creation.
    pub id: AllocationId,
    /// Whether value moves to the partner or back.
    pub direction: Direction,
    pub status: Status,
    pub unit: Unit,
    pub quantity: Amount,
    pub connection: ConnectionId,
    /// The client whose custody the value is taken from or returned to.
    pub client: ClientId,
    /// The partner that clears or releases it.
    pub partner: PartnerId,
    /// The client's own id, unique per enterprise and direction.
    pub client_external_id: String,
    /// The partner's own id, which its verdict may set.
    pub partner_external_id: Option<String>,
    /// The subject of the token that created it.
    pub initiated_by: String,
    /// The client's notes, as they were given.
    pub notes: Option<String>,
    /// Why it was released, in the words of the side that released it.
    pub reason: Option<String>,
    /// The time at which it is released unless it is closed before; `None` is never.
    pub expire_time: Option<Time>,
    /// The time of the movement that opened it.
    pub created_at: Time,
    /// The time of its last movement.
    pub updated_at: Time,
}

impl From<Allocation> for AllocationRecord {
    fn from(allocation: Allocation) -> Self {
        Self {
            id: allocation.id,
            direction: allocation.direction,
            status: allocation.status,
            unit: allocation.unit,
            quantity: allocation.quantity,
            connection: allocation.connection,
            client: allocation.client,
            partner: allocation.partner,
            client_external_id: allocation.client_external_id,
            partner_external_id: allocation.partner_external_id,
            initiated_by: allocation.initiated_by,
            notes: allocation.notes,
            reason: allocation.reason,
            expire_time: allocation.expire_time,
            created_at: allocation.created_at,
            updated_at: allocation.updated_at,
        }
    }
}

/// A list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    /// The side on which it asks.
    pub side: AllocationSide,
    pub ids: Vec<AllocationId>,
    pub directions: Vec<Direction>,
    pub statuses: Vec<Status>,
    pub units: Vec<Unit>,
    pub connections: Vec<ConnectionId>,
    /// Always empty in a client's list.
    pub clients: Vec<ClientId>,
    pub partners: Vec<PartnerId>,
    /// The first time of creation that is listed.
    pub created_from: Option<Time>,
    /// The last time of creation that is listed.
    pub created_to: Option<Time>,
    /// The own ids that the side which asks has given.
    pub external_ids: Vec<String>,
    pub order: AllocationOrder,
    pub page: Page<Cursor>,
}

/// The side on which an enterprise reads allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AllocationSide {
    /// The enterprise of the client, which owns the value.
    Client,
    /// The enterprise of the partner that the value is reserved for.
    Partner,
}

/// The order of a list; ties are broken by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AllocationOrder {
    pub field: AllocationSortField,
    /// Whether the highest value comes first.
    pub descending: bool,
}

/// The field that a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AllocationSortField {
    /// By id, which is the order of creation too.
    Id,
    /// By the last movement's time.
    UpdatedAt,
    /// By quantity as a number.
    Quantity,
    /// By currency, byte by byte.
    Currency,
}

/// The last record of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub id: AllocationId,
    /// Its value of the field that the list is sorted by; `None` where that is the id.
    pub key: Option<AllocationSortKey>,
}

/// A record's value of the field that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AllocationSortKey {
    UpdatedAt(Time),
    /// A decimal as answers have it.
    Quantity(String),
    Currency(String),
}

impl AllocationOrder {
    /// The cursor of the page that follows a record.
    pub(super) fn cursor(self, record: &AllocationRecord) -> Cursor {
        let key = match self.field {
            AllocationSortField::Id => None,
            AllocationSortField::UpdatedAt => Some(AllocationSortKey::UpdatedAt(record.updated_at)),
            AllocationSortField::Quantity => {
                Some(AllocationSortKey::Quantity(record.quantity.to_string()))
            }
            AllocationSortField::Currency => {
                Some(AllocationSortKey::Currency(record.unit.to_string()))
            }
        };
        Cursor { id: record.id, key }
    }
}
