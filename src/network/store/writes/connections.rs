//! What is written of connections.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{
    Command, Work, Written, created, fresh, new_id, not_updated, replay, require_version, updated,
};
use crate::db::pg_error::Failure;
use crate::db::schema::{client, connection, partner};
use crate::error::Error;
use crate::network::model::{Connection, CreateConnection, Direction, Times, UpdateConnection};
use crate::network::store::rows::ConnectionRow;
use crate::types::ids::{ConnectionId, EnterpriseId};

impl Command for CreateConnection {
    type Record = Connection;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Connection>, Failure> {
        // Whose they are never changes, so it can be read before the lock, which needs it.
        let client: Option<Uuid> = client::table
            .find(self.client_id.0)
            .select(client::enterprise_id)
            .first(work.connection)
            .await
            .optional()?;
        let partner: Option<Uuid> = partner::table
            .find(self.partner_id.0)
            .select(partner::enterprise_id)
            .first(work.connection)
            .await
            .optional()?;
        work.lock(client.map(EnterpriseId)).await?;
        if let Some(id) = work.replayed().await? {
            let found = find(work.connection, id).await?;
            return Ok(replay(found.ok_or(Error::ConnectionNotFound(id.into()))?));
        }
        let client = client.ok_or(Error::ClientNotFound(Some(self.client_id)))?;
        let partner = partner.ok_or(Error::PartnerNotFound(self.partner_id))?;
        if client == partner {
            let description = "must be a partner of another enterprise than the client's";
            return Err(Error::invalid("partner_id", description).into());
        }
        if self.name_is_taken(work.connection).await? {
            return Err(self.exists().into());
        }
        let mut record = Connection {
            id: None,
            client_id: self.client_id,
            partner_id: self.partner_id,
            name: self.name.clone(),
            partners_connection_id: self.partners_connection_id.clone().unwrap_or_default(),
            mode: self.mode,
            allocations: Direction::Enabled,
            deallocations: Direction::Enabled,
            version: 1,
            times: Times::default(),
        };
        if work.validate_only {
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        let id = new_id(now);
        let inserted = diesel::insert_into(connection::table)
            .values((
                connection::id.eq(id),
                connection::client_id.eq(record.client_id.0),
                connection::partner_id.eq(record.partner_id.0),
                connection::client_enterprise_id.eq(client),
                connection::partner_enterprise_id.eq(partner),
                connection::name.eq(&record.name),
                connection::partners_connection_id.eq(&record.partners_connection_id),
                connection::mode.eq(record.mode.as_str()),
                connection::allocations_enabled.eq(true),
                connection::deallocations_enabled.eq(true),
                connection::version.eq(record.version),
                connection::created_at.eq(now.to_chrono()),
                connection::updated_at.eq(now.to_chrono()),
            ))
            // Another client's connection may have taken the partner's id just now: its owner is not locked here.
            .on_conflict_do_nothing()
            .execute(work.connection)
            .await?;
        if inserted == 0 {
            return Err(self.exists().into());
        }
        work.keep_key(id, now).await?;
        record.id = Some(ConnectionId(id));
        record.times = created(now);
        Ok(fresh(record))
    }
}

impl CreateConnection {
    fn exists(&self) -> Error {
        Error::ConnectionExists {
            partner: self.partner_id,
            partners_connection_id: self.partners_connection_id.clone().unwrap_or_default(),
        }
    }

    async fn name_is_taken(&self, connection: &mut AsyncPgConnection) -> QueryResult<bool> {
        let Some(partners_connection_id) = &self.partners_connection_id else {
            return Ok(false);
        };
        let taken = connection::table
            .filter(connection::partner_id.eq(self.partner_id.0))
            .filter(connection::partners_connection_id.eq(partners_connection_id))
            // What the partial index holds.
            .filter(connection::partners_connection_id.ne(""));
        diesel::select(exists(taken)).get_result(connection).await
    }
}

impl Command for UpdateConnection {
    type Record = Connection;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Connection>, Failure> {
        // Whose client it is never changes, so it can be read before the lock, which needs it.
        let enterprise: Option<Uuid> = connection::table
            .find(self.id.0)
            .select(connection::client_enterprise_id)
            .first(work.connection)
            .await
            .optional()?;
        work.lock(enterprise.map(EnterpriseId)).await?;
        let replayed = work.replayed().await?;
        let found = match enterprise {
            Some(_) => find(work.connection, self.id.0).await?,
            // One created since: it is not locked, and this call began before it was there.
            None => None,
        };
        let mut record = found.ok_or(Error::ConnectionNotFound(self.id))?;
        if replayed.is_some() {
            return Ok(replay(record));
        }
        require_version(self.expected_version, record.version)?;
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
        if work.validate_only {
            record.times = not_updated(record.times);
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        record.times = updated(record.times, now);
        let enabled = |direction: &Direction| *direction == Direction::Enabled;
        diesel::update(connection::table.find(self.id.0))
            .set((
                connection::name.eq(&record.name),
                connection::allocations_enabled.eq(enabled(&record.allocations)),
                connection::deallocations_enabled.eq(enabled(&record.deallocations)),
                connection::allocations_disabled_reason.eq(record.allocations.reason()),
                connection::deallocations_disabled_reason.eq(record.deallocations.reason()),
                connection::version.eq(record.version),
                connection::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(work.connection)
            .await?;
        work.keep_key(self.id.0, now).await?;
        Ok(fresh(record))
    }
}

async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<Connection>, Failure> {
    let row: Option<ConnectionRow> = connection::table
        .find(id)
        .select(ConnectionRow::as_select())
        .first(connection)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}
