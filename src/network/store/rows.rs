//! The rows of the tables of the network, and their conversion to records.

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel::{Queryable, Selectable};
use uuid::Uuid;

use crate::db::pg_error::{DbError, TransactionError};
use crate::db::schema;
use crate::network::model::{
    NetworkClient, NetworkConnection, NetworkDirection, NetworkEnterprise, NetworkMode,
    NetworkPartner, NetworkTimes,
};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::enterprise, check_for_backend(Pg))]
pub(super) struct NetworkEnterpriseRow {
    pub(super) id: Uuid,
    name: String,
    oes_licensed: bool,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl NetworkEnterpriseRow {
    /// The record of this row and of the enterprise's client, whose id is in another table.
    pub(super) fn into_record(self, client: Option<Uuid>) -> NetworkEnterprise {
        NetworkEnterprise {
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
pub(super) struct NetworkClientRow {
    pub(super) id: Uuid,
    enterprise_id: Uuid,
    name: String,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<NetworkClientRow> for NetworkClient {
    fn from(row: NetworkClientRow) -> Self {
        Self {
            id: Some(ClientId(row.id)),
            enterprise_id: EnterpriseId(row.enterprise_id),
            name: row.name,
            version: row.version,
            times: times(row.created_at, row.updated_at),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::partner, check_for_backend(Pg))]
pub(super) struct NetworkPartnerRow {
    id: Uuid,
    enterprise_id: Uuid,
    name: String,
    institution_identifier: String,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<NetworkPartnerRow> for NetworkPartner {
    fn from(row: NetworkPartnerRow) -> Self {
        Self {
            id: Some(PartnerId(row.id)),
            enterprise_id: EnterpriseId(row.enterprise_id),
            name: row.name,
            institution_identifier: row.institution_identifier,
            version: row.version,
            times: times(row.created_at, row.updated_at),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::connection, check_for_backend(Pg))]
pub(super) struct NetworkConnectionRow {
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

/// A connection, and the names of its client and its partner, which are in other tables.
pub(super) type NamedConnectionRow = (NetworkConnectionRow, String, String);

/// The SQL types of a [`NamedConnectionRow`].
pub(super) type NamedConnectionSql = (SqlTypeOf<AsSelect<NetworkConnectionRow, Pg>>, Text, Text);

impl TryFrom<NamedConnectionRow> for NetworkConnection {
    type Error = TransactionError;

    fn try_from(
        (row, client_name, partner_name): NamedConnectionRow,
    ) -> Result<Self, TransactionError> {
        let Some(mode) = NetworkMode::stored(&row.mode) else {
            // The column has a check, so this is a bug or a newer schema.
            let what = format!("connection {} has the unknown mode {:?}", row.id, row.mode);
            return Err(DbError::Other(what).into());
        };
        // A check demands a reason exactly where the direction is disabled, so the flags need not be read.
        let direction = |reason| match reason {
            None => NetworkDirection::Enabled,
            Some(reason) => NetworkDirection::Disabled { reason },
        };
        Ok(Self {
            id: Some(ConnectionId(row.id)),
            client_id: ClientId(row.client_id),
            client_name,
            partner_id: PartnerId(row.partner_id),
            partner_name,
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

fn times(created_at: DateTime<Utc>, updated_at: DateTime<Utc>) -> NetworkTimes {
    NetworkTimes {
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
    }
}
