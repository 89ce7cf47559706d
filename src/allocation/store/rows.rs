//! Allocations as they are stored.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::db::schema::allocation;
use crate::error::{Error, Result};
use crate::ledger::oes::model::{AllocationRecord, AllocationTerms, Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, PartnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An allocation as it is stored, without what only the ledger needs.
#[derive(HasQuery)]
#[diesel(table_name = allocation, check_for_backend(Pg))]
pub(super) struct Row {
    pub(super) owner_id: Uuid,
    id: Uuid,
    kind: String,
    status: String,
    currency: String,
    quantity: Decimal,
    connection_id: Uuid,
    client_id: Uuid,
    partner_id: Uuid,
    client_external_id: String,
    partner_external_id: Option<String>,
    initiated_by: String,
    notes: Option<String>,
    reason: Option<String>,
    expire_time: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    /// Whether it is stored as open although its expire time had passed at this clock.
    pub(super) fn is_expired(&self, clock: Option<Time>) -> bool {
        let is_past = |end: DateTime<Utc>| clock.is_some_and(|clock| Time::from(end) <= clock);
        self.status == Status::Reserved.as_str() && self.expire_time.is_some_and(is_past)
    }
}

impl TryFrom<Row> for AllocationRecord {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown =
            |what: &str| Error::internal(format!("allocation {}: unknown {what}", row.id));
        Ok(Self {
            id: AllocationId(row.id),
            status: Status::parse(&row.status).ok_or_else(|| unknown("status"))?,
            terms: AllocationTerms {
                direction: Direction::parse(&row.kind).ok_or_else(|| unknown("type"))?,
                connection: ConnectionId(row.connection_id),
                unit: Unit::stored(&row.currency),
                quantity: Amount::from_decimal(row.quantity).ok_or_else(|| unknown("quantity"))?,
                client_external_id: row.client_external_id,
                notes: row.notes,
                expire_time: row.expire_time.map(Time::from),
                initiated_by: row.initiated_by,
            },
            client: ClientId(row.client_id),
            partner: PartnerId(row.partner_id),
            partner_external_id: row.partner_external_id,
            reason: row.reason,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}
