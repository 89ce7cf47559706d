//! What the service reads: records, and how a list is filtered and sorted.

use serde::{Deserialize, Serialize};

use crate::ledger::model::{Allocation, Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::Page;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An allocation or deallocation as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Orders by creation.
    pub id: AllocationId,
    /// Which way value moves.
    pub direction: Direction,
    /// Where it stands.
    pub status: Status,
    /// Of what.
    pub unit: Unit,
    /// How much.
    pub quantity: Amount,
    /// Between client and partner.
    pub connection: ConnectionId,
    /// Whose custody.
    pub client: ClientId,
    /// Set aside for whom.
    pub partner: PartnerId,
    /// The client's own id.
    pub client_external_id: String,
    /// The partner's own id.
    pub partner_external_id: Option<String>,
    /// The subject of the token that created it.
    pub initiated_by: String,
    /// The client's notes.
    pub notes: Option<String>,
    /// Why it was released.
    pub reason: Option<String>,
    /// When it is released by itself.
    pub expire_time: Option<Time>,
    /// The opening movement's time.
    pub created_at: Time,
    /// The last movement's time.
    pub updated_at: Time,
}

impl From<Allocation> for Record {
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
    /// Who asks.
    pub enterprise: EnterpriseId,
    /// As whom.
    pub side: Side,
    /// Only these.
    pub ids: Vec<AllocationId>,
    /// Only of these types.
    pub directions: Vec<Direction>,
    /// Only in these statuses.
    pub statuses: Vec<Status>,
    /// Only of these currencies.
    pub units: Vec<Unit>,
    /// Only of these connections.
    pub connections: Vec<ConnectionId>,
    /// Only of these clients.
    pub clients: Vec<ClientId>,
    /// Only of these partners.
    pub partners: Vec<PartnerId>,
    /// Only created then or later.
    pub created_from: Option<Time>,
    /// Only created then or before.
    pub created_to: Option<Time>,
    /// Only with these own ids of the side that asks.
    pub external_ids: Vec<String>,
    /// In which order.
    pub order: Order,
    /// Which part.
    pub page: Page<Cursor>,
}

/// As whom an enterprise asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Whose custody it is.
    Client,
    /// For whom it is set aside.
    Partner,
}

/// The order of a list; ties are broken by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// By what first.
    pub field: SortField,
    /// Highest first.
    pub descending: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortField {
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
    /// Its id.
    pub id: AllocationId,
    /// What it was sorted by; none where that is the id.
    pub key: Option<SortKey>,
}

/// A value that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SortKey {
    /// In microseconds.
    UpdatedAt(Time),
    /// As a decimal string.
    Quantity(String),
    /// The currency.
    Currency(String),
}

impl Order {
    /// The cursor that leads behind a record.
    pub(super) fn cursor(self, record: &Record) -> Cursor {
        let key = match self.field {
            SortField::Id => None,
            SortField::UpdatedAt => Some(SortKey::UpdatedAt(record.updated_at)),
            SortField::Quantity => Some(SortKey::Quantity(record.quantity.to_string())),
            SortField::Currency => Some(SortKey::Currency(record.unit.to_string())),
        };
        Cursor { id: record.id, key }
    }
}
