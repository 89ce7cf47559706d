//! The writes of connections.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::common::{lock, new_id};
use crate::db::pg_error::TransactionError;
use crate::db::record_write::{RecordCommand, WriteContext, WrittenRecord, require_version};
use crate::db::schema::{client, connection, partner};
use crate::error::Error;
use crate::network::model::{
    CreateConnection, NetworkConnection, NetworkDirection, NetworkTimes, UpdateConnection,
};
use crate::network::store::rows::NetworkConnectionRow;
use crate::types::ids::{ConnectionId, OwnerId};
use crate::types::time::Time;

/// The enterprises of a connection's two sides.
struct ConnectionEnterprises {
    client: Uuid,
    partner: Uuid,
}

impl RecordCommand for CreateConnection {
    type Record = NetworkConnection;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkConnection>, TransactionError> {
        // The enterprises of client and partner never change, so they may be read before the lock, which needs one.
        let client: Option<Uuid> = client::table
            .find(self.client_id.0)
            .select(client::enterprise_id)
            .first(write.connection)
            .await
            .optional()?;
        let partner: Option<Uuid> = partner::table
            .find(self.partner_id.0)
            .select(partner::enterprise_id)
            .first(write.connection)
            .await
            .optional()?;
        lock(write, client.map(OwnerId)).await?;
        if let Some(id) = write.replayed_id().await? {
            let found = find(write.connection, id).await?;
            let record = found.ok_or(Error::ConnectionNotFound(id.into()))?;
            return Ok(WrittenRecord::replayed(record));
        }
        let enterprises = ConnectionEnterprises {
            client: client.ok_or(Error::ClientNotFound(Some(self.client_id)))?,
            partner: partner.ok_or(Error::PartnerNotFound(self.partner_id))?,
        };
        if enterprises.client == enterprises.partner {
            let rule = "must be a partner of another enterprise than the client's";
            return Err(Error::invalid("partner_id", rule).into());
        }
        if self.partners_id_is_taken(write.connection).await? {
            return Err(self.partners_id_taken().into());
        }
        let mut record = self.record();
        if write.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        let id = new_id(now);
        self.insert(write.connection, id, &enterprises, now).await?;
        write.keep_key(id, now).await?;
        record.id = Some(ConnectionId(id));
        record.times = NetworkTimes::created(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl CreateConnection {
    /// The record that the command creates, without id and times.
    fn record(&self) -> NetworkConnection {
        NetworkConnection {
            id: None,
            client_id: self.client_id,
            partner_id: self.partner_id,
            name: self.name.clone(),
            partners_connection_id: self.partners_connection_id.clone().unwrap_or_default(),
            mode: self.mode,
            allocations: NetworkDirection::Enabled,
            deallocations: NetworkDirection::Enabled,
            version: 1,
            times: NetworkTimes::default(),
        }
    }

    async fn insert(
        &self,
        connection: &mut AsyncPgConnection,
        id: Uuid,
        enterprises: &ConnectionEnterprises,
        now: Time,
    ) -> Result<(), TransactionError> {
        let record = self.record();
        let inserted = diesel::insert_into(connection::table)
            .values((
                connection::id.eq(id),
                connection::client_id.eq(record.client_id.0),
                connection::partner_id.eq(record.partner_id.0),
                connection::client_enterprise_id.eq(enterprises.client),
                connection::partner_enterprise_id.eq(enterprises.partner),
                connection::name.eq(&record.name),
                connection::partners_connection_id.eq(&record.partners_connection_id),
                connection::mode.eq(record.mode.as_str()),
                connection::allocations_enabled.eq(true),
                connection::deallocations_enabled.eq(true),
                connection::version.eq(record.version),
                connection::created_at.eq(now.to_chrono()),
                connection::updated_at.eq(now.to_chrono()),
            ))
            // A connection of another client may have taken the partner's id meanwhile: that client's owner is not
            // locked here.
            .on_conflict_do_nothing()
            .execute(connection)
            .await?;
        if inserted == 0 {
            return Err(self.partners_id_taken().into());
        }
        Ok(())
    }

    async fn partners_id_is_taken(&self, connection: &mut AsyncPgConnection) -> QueryResult<bool> {
        let Some(partners_connection_id) = &self.partners_connection_id else {
            return Ok(false);
        };
        let taken = connection::table
            .filter(connection::partner_id.eq(self.partner_id.0))
            .filter(connection::partners_connection_id.eq(partners_connection_id))
            // The condition of the partial index, without which the planner cannot use it.
            .filter(connection::partners_connection_id.ne(""));
        diesel::select(exists(taken)).get_result(connection).await
    }

    fn partners_id_taken(&self) -> Error {
        Error::ConnectionExists {
            partner: self.partner_id,
            partners_connection_id: self.partners_connection_id.clone().unwrap_or_default(),
        }
    }
}

impl RecordCommand for UpdateConnection {
    type Record = NetworkConnection;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkConnection>, TransactionError> {
        // The client's enterprise never changes, so it may be read before the lock, which needs it.
        let enterprise: Option<Uuid> = connection::table
            .find(self.id.0)
            .select(connection::client_enterprise_id)
            .first(write.connection)
            .await
            .optional()?;
        lock(write, enterprise.map(OwnerId)).await?;
        let replayed = write.replayed_id().await?;
        let found = match enterprise {
            Some(_) => find(write.connection, self.id.0).await?,
            // A connection that was created since is not locked; this call began before it existed.
            None => None,
        };
        let mut record = found.ok_or(Error::ConnectionNotFound(self.id))?;
        if replayed.is_some() {
            return Ok(WrittenRecord::replayed(record));
        }
        require_version(self.expected_version, record.version)?;
        self.apply_to(&mut record);
        if write.validate_only {
            record.times = record.times.change_validated();
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        record.times = record.times.changed(now);
        let enabled = |direction: &NetworkDirection| *direction == NetworkDirection::Enabled;
        diesel::update(connection::table.find(self.id.0))
            .set((
                connection::name.eq(&record.name),
                connection::allocations_enabled.eq(enabled(&record.allocations)),
                connection::deallocations_enabled.eq(enabled(&record.deallocations)),
                connection::allocations_disabled_reason.eq(record.allocations.disabled_reason()),
                connection::deallocations_disabled_reason
                    .eq(record.deallocations.disabled_reason()),
                connection::version.eq(record.version),
                connection::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(self.id.0, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}

impl UpdateConnection {
    /// Makes the changes, except for the times.
    fn apply_to(&self, record: &mut NetworkConnection) {
        if let Some(name) = &self.name {
            record.name.clone_from(name);
        }
        for (direction, change) in [
            (&mut record.allocations, &self.allocations),
            (&mut record.deallocations, &self.deallocations),
        ] {
            if let Some(change) = change {
                direction.clone_from(change);
            }
        }
        record.version += 1;
    }
}

async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<NetworkConnection>, TransactionError> {
    let row: Option<NetworkConnectionRow> = connection::table
        .find(id)
        .select(NetworkConnectionRow::as_select())
        .first(connection)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}
