//! The writes of connections.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::common::{
    RecordChange, RecordToChange, StoredRecord, begin_change, change, lock, new_id, replayed,
};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::record_write::{RecordCommand, WriteContext, WrittenRecord};
use crate::db::schema::{client, connection, partner};
use crate::error::{Error, KeyHolder, TakenId};
use crate::network::model::{
    CreateConnection, NetworkConnection, NetworkDirection, NetworkTimes, UpdateConnection,
};
use crate::network::store::rows::{NamedConnectionRow, NetworkConnectionRow};
use crate::types::ids::{ConnectionId, OwnerId, PartnerId};
use crate::types::time::Time;

/// The enterprise and the name of one side of a connection.
type ConnectionSide = (Uuid, String);

impl StoredRecord for NetworkConnection {
    async fn find(
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> Result<Option<Self>, TransactionError> {
        let row: Option<NamedConnectionRow> = connection::table
            .inner_join(client::table.on(client::id.eq(connection::client_id)))
            .inner_join(partner::table.on(partner::id.eq(connection::partner_id)))
            .filter(connection::id.eq(id))
            .select((
                NetworkConnectionRow::as_select(),
                client::name,
                partner::name,
            ))
            .first(connection)
            .await
            .optional()?;
        row.map(TryInto::try_into).transpose()
    }

    fn not_found(id: Uuid) -> Error {
        Error::ConnectionNotFound(id.into())
    }

    fn version_mut(&mut self) -> &mut i64 {
        &mut self.version
    }

    fn times_mut(&mut self) -> &mut NetworkTimes {
        &mut self.times
    }
}

impl RecordCommand for CreateConnection {
    type Record = NetworkConnection;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkConnection>, TransactionError> {
        // The enterprises of client and partner never change, so they may be read before the lock, which needs one.
        let client: Option<ConnectionSide> = client::table
            .find(self.client_id.0)
            .select((client::enterprise_id, client::name))
            .first(write.connection)
            .await
            .optional()?;
        let partner: Option<ConnectionSide> = partner::table
            .find(self.partner_id.0)
            .select((partner::enterprise_id, partner::name))
            .first(write.connection)
            .await
            .optional()?;
        let owner = client.as_ref().map(|(enterprise, _)| OwnerId(*enterprise));
        lock(write, owner).await?;
        if let Some(replayed) = replayed(write).await? {
            return Ok(replayed);
        }
        let client = client.ok_or(Error::ClientNotFound(Some(self.client_id)))?;
        let partner = partner.ok_or(Error::PartnerNotFound(self.partner_id))?;
        if client.0 == partner.0 {
            let rule = "must be a partner of another enterprise than the client's";
            return Err(Error::invalid("partner_id", rule).into());
        }
        if let Some(own_id) = &self.partners_connection_id {
            require_free(write.connection, self.partner_id, own_id, None).await?;
        }
        let enterprises = (client.0, partner.0);
        let mut record = self.record(client.1, partner.1);
        if write.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        let id = new_id(now);
        insert(write.connection, id, &record, enterprises, now).await?;
        write.keep_key(id, now).await?;
        record.id = Some(ConnectionId(id));
        record.times = NetworkTimes::created(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl CreateConnection {
    /// The record that the command creates, without id and times.
    fn record(&self, client_name: String, partner_name: String) -> NetworkConnection {
        NetworkConnection {
            id: None,
            client_id: self.client_id,
            client_name,
            partner_id: self.partner_id,
            partner_name,
            name: self.name.clone(),
            partners_connection_id: self.partners_connection_id.clone().unwrap_or_default(),
            mode: self.mode,
            allocations: NetworkDirection::Enabled,
            deallocations: NetworkDirection::Enabled,
            version: 1,
            times: NetworkTimes::default(),
        }
    }
}

async fn insert(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    record: &NetworkConnection,
    (client_enterprise, partner_enterprise): (Uuid, Uuid),
    now: Time,
) -> Result<(), TransactionError> {
    let inserted = diesel::insert_into(connection::table)
        .values((
            connection::id.eq(id),
            connection::client_id.eq(record.client_id.0),
            connection::partner_id.eq(record.partner_id.0),
            connection::client_enterprise_id.eq(client_enterprise),
            connection::partner_enterprise_id.eq(partner_enterprise),
            connection::name.eq(&record.name),
            connection::partners_connection_id.eq(&record.partners_connection_id),
            connection::mode.eq(record.mode.as_str()),
            connection::allocations_enabled.eq(true),
            connection::deallocations_enabled.eq(true),
            connection::version.eq(record.version),
            connection::created_at.eq(now.to_chrono()),
            connection::updated_at.eq(now.to_chrono()),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    if inserted == 0 {
        return Err(taken_meanwhile());
    }
    Ok(())
}

/// The error after a connection of another client, whose owner is not locked here, has taken the partner's id meanwhile: the
/// transaction is run again, and finds that connection.
fn taken_meanwhile() -> TransactionError {
    DbError::Serialization.into()
}

/// Makes sure that no other connection of the partner has this own id.
async fn require_free(
    connection: &mut AsyncPgConnection,
    partner: PartnerId,
    partners_connection_id: &str,
    except: Option<ConnectionId>,
) -> Result<(), TransactionError> {
    let except = except.map_or(Uuid::nil(), |id| id.0);
    let holder: Option<(Uuid, i64)> = connection::table
        .filter(connection::partner_id.eq(partner.0))
        .filter(connection::partners_connection_id.eq(partners_connection_id))
        // The condition of the partial index, without which the planner cannot use it.
        .filter(connection::partners_connection_id.ne(""))
        .filter(connection::id.ne(except))
        .select((connection::id, connection::version))
        .first(connection)
        .await
        .optional()?;
    match holder {
        None => Ok(()),
        Some((id, version)) => Err(Error::ConnectionExists(TakenId {
            within: partner.to_string(),
            value: partners_connection_id.into(),
            holder: KeyHolder {
                id: id.to_string(),
                version: Some(version),
            },
        })
        .into()),
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
        let stored = match begin_change(write, self.id.0, enterprise.map(OwnerId)).await? {
            RecordToChange::Replayed(written) => return Ok(written),
            RecordToChange::Stored(record) => record,
        };
        if let Some(own_id) = &self.partners_connection_id {
            let partner = stored.partner_id;
            require_free(write.connection, partner, own_id, Some(self.id)).await?;
        }
        let apply = |record: &mut NetworkConnection| self.apply_to(record);
        let changed = change(write, self.id.0, stored, self.expected_version, apply).await?;
        let (record, now) = match changed {
            RecordChange::Finished(written) => return Ok(written),
            RecordChange::Store(record, now) => (record, now),
        };
        let enabled = |direction: &NetworkDirection| *direction == NetworkDirection::Enabled;
        diesel::update(connection::table.find(self.id.0))
            .set((
                connection::name.eq(&record.name),
                connection::partners_connection_id.eq(&record.partners_connection_id),
                connection::allocations_enabled.eq(enabled(&record.allocations)),
                connection::deallocations_enabled.eq(enabled(&record.deallocations)),
                connection::allocations_disabled_reason.eq(record.allocations.disabled_reason()),
                connection::deallocations_disabled_reason
                    .eq(record.deallocations.disabled_reason()),
                connection::version.eq(record.version),
                connection::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(write.connection)
            .await
            .map_err(|error| match DbError::from(error) {
                DbError::Unique(_) => taken_meanwhile(),
                other => other.into(),
            })?;
        write.keep_key(self.id.0, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}

impl UpdateConnection {
    /// Makes the changes, except for the version and the times.
    fn apply_to(&self, record: &mut NetworkConnection) {
        if let Some(name) = &self.name {
            record.name.clone_from(name);
        }
        if let Some(own_id) = &self.partners_connection_id {
            record.partners_connection_id.clone_from(own_id);
        }
        for (direction, change) in [
            (&mut record.allocations, &self.allocations),
            (&mut record.deallocations, &self.deallocations),
        ] {
            if let Some(change) = change {
                direction.clone_from(change);
            }
        }
    }
}
