//! The rows of the network's tables, and the records that they are.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::{Queryable, Selectable};
use uuid::Uuid;

use crate::db::pg_error::{DbFault, Failure};
use crate::db::schema;
use crate::network::model::{Client, Connection, Direction, Enterprise, Mode, Partner, Times};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::enterprise, check_for_backend(Pg))]
pub(super) struct EnterpriseRow {
    pub(super) id: Uuid,
    name: String,
    oes_licensed: bool,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl EnterpriseRow {
    /// The record, which has the id of its client from another table.
    pub(super) fn into_record(self, client: Option<Uuid>) -> Enterprise {
        Enterprise {
            id: Some(EnterpriseId(self.id)),
            name: self.name,
            oes_licensed: self.oes_licensed,
            client_id: client.map(ClientId),
            version: self.version,
            times: times(self.created_at, self.updated_at),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::client, check_for_backend(Pg))]
pub(super) struct ClientRow {
    pub(super) id: Uuid,
    enterprise_id: Uuid,
    name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ClientRow> for Client {
    fn from(row: ClientRow) -> Self {
        Self {
            id: Some(ClientId(row.id)),
            enterprise_id: EnterpriseId(row.enterprise_id),
            name: row.name,
            times: times(row.created_at, row.updated_at),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::partner, check_for_backend(Pg))]
pub(super) struct PartnerRow {
    id: Uuid,
    enterprise_id: Uuid,
    name: String,
    institution_identifier: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<PartnerRow> for Partner {
    fn from(row: PartnerRow) -> Self {
        Self {
            id: Some(PartnerId(row.id)),
            enterprise_id: EnterpriseId(row.enterprise_id),
            name: row.name,
            institution_identifier: row.institution_identifier,
            times: times(row.created_at, row.updated_at),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::connection, check_for_backend(Pg))]
pub(super) struct ConnectionRow {
    id: Uuid,
    client_id: Uuid,
    partner_id: Uuid,
    name: String,
    partners_connection_id: String,
    mode: String,
    allocations_disabled_reason: Option<String>,
    deallocations_disabled_reason: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<ConnectionRow> for Connection {
    type Error = Failure;

    fn try_from(row: ConnectionRow) -> Result<Self, Failure> {
        let Some(mode) = Mode::stored(&row.mode) else {
            // Its check keeps all others out.
            return Err(DbFault::Other(format!("a connection of mode {}", row.mode)).into());
        };
        // A check ties each flag to its reason: the reason alone tells.
        let direction = |reason| match reason {
            None => Direction::Enabled,
            Some(reason) => Direction::Disabled { reason },
        };
        Ok(Self {
            id: Some(ConnectionId(row.id)),
            client_id: ClientId(row.client_id),
            partner_id: PartnerId(row.partner_id),
            name: row.name,
            partners_connection_id: row.partners_connection_id,
            mode,
            allocations: direction(row.allocations_disabled_reason),
            deallocations: direction(row.deallocations_disabled_reason),
            version: row.version,
            times: times(row.created_at, row.updated_at),
        })
    }
}

fn times(created_at: DateTime<Utc>, updated_at: DateTime<Utc>) -> Times {
    Times {
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
    }
}
