//! The writes of the two sides of a connection: clients and partners.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::common::{
    RecordChange, RecordToChange, StoredRecord, begin_change, change, lock, new_id, replayed,
};
use crate::db::pg_error::TransactionError;
use crate::db::record_write::{RecordCommand, WriteContext, WrittenRecord};
use crate::db::schema::{client, partner};
use crate::error::{Error, KeyHolder, TakenId};
use crate::network::model::{
    CreateClient, CreatePartner, NetworkClient, NetworkPartner, NetworkTimes, UpdateClient,
    UpdatePartner,
};
use crate::network::store::rows::{NetworkClientRow, NetworkPartnerRow};
use crate::types::ids::{ClientId, EnterpriseId, OwnerId, PartnerId};

impl StoredRecord for NetworkClient {
    async fn find(
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> Result<Option<Self>, TransactionError> {
        let row: Option<NetworkClientRow> = client::table
            .find(id)
            .select(NetworkClientRow::as_select())
            .first(connection)
            .await
            .optional()?;
        Ok(row.map(Into::into))
    }

    fn not_found(id: Uuid) -> Error {
        Error::ClientNotFound(Some(id.into()))
    }

    fn version_mut(&mut self) -> &mut i64 {
        &mut self.version
    }

    fn times_mut(&mut self) -> &mut NetworkTimes {
        &mut self.times
    }
}

impl StoredRecord for NetworkPartner {
    async fn find(
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> Result<Option<Self>, TransactionError> {
        let row: Option<NetworkPartnerRow> = partner::table
            .find(id)
            .select(NetworkPartnerRow::as_select())
            .first(connection)
            .await
            .optional()?;
        Ok(row.map(Into::into))
    }

    fn not_found(id: Uuid) -> Error {
        Error::PartnerNotFound(id.into())
    }

    fn version_mut(&mut self) -> &mut i64 {
        &mut self.version
    }

    fn times_mut(&mut self) -> &mut NetworkTimes {
        &mut self.times
    }
}

impl RecordCommand for CreateClient {
    type Record = NetworkClient;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkClient>, TransactionError> {
        if !lock(write, Some(self.enterprise_id.into())).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(replayed) = replayed(write).await? {
            return Ok(replayed);
        }
        let existing: Option<(Uuid, i64)> = client::table
            .filter(client::enterprise_id.eq(self.enterprise_id.0))
            .select((client::id, client::version))
            .first(write.connection)
            .await
            .optional()?;
        if let Some((existing, version)) = existing {
            return Err(Error::ClientExists {
                enterprise: self.enterprise_id,
                client: ClientId(existing),
                version,
            }
            .into());
        }
        let mut record = NetworkClient {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
            version: 1,
            times: NetworkTimes::default(),
        };
        if write.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        let id = new_id(now);
        diesel::insert_into(client::table)
            .values((
                client::id.eq(id),
                client::enterprise_id.eq(self.enterprise_id.0),
                client::name.eq(&record.name),
                client::version.eq(record.version),
                client::created_at.eq(now.to_chrono()),
                client::updated_at.eq(now.to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(id, now).await?;
        record.id = Some(ClientId(id));
        record.times = NetworkTimes::created(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl RecordCommand for UpdateClient {
    type Record = NetworkClient;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkClient>, TransactionError> {
        // The enterprise never changes, so it may be read before the lock, which needs it.
        let enterprise: Option<Uuid> = client::table
            .find(self.id.0)
            .select(client::enterprise_id)
            .first(write.connection)
            .await
            .optional()?;
        let stored = match begin_change(write, self.id.0, enterprise.map(OwnerId)).await? {
            RecordToChange::Replayed(written) => return Ok(written),
            RecordToChange::Stored(record) => record,
        };
        let apply = |record: &mut NetworkClient| {
            if let Some(name) = &self.name {
                record.name.clone_from(name);
            }
        };
        let changed = change(write, self.id.0, stored, self.expected_version, apply).await?;
        let (record, now) = match changed {
            RecordChange::Finished(written) => return Ok(written),
            RecordChange::Store(record, now) => (record, now),
        };
        diesel::update(client::table.find(self.id.0))
            .set((
                client::name.eq(&record.name),
                client::version.eq(record.version),
                client::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(self.id.0, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}

impl RecordCommand for CreatePartner {
    type Record = NetworkPartner;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkPartner>, TransactionError> {
        if !lock(write, Some(self.enterprise_id.into())).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(replayed) = replayed(write).await? {
            return Ok(replayed);
        }
        let identifier = &self.institution_identifier;
        require_free(write, self.enterprise_id, identifier, None).await?;
        let mut record = NetworkPartner {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
            institution_identifier: self.institution_identifier.clone(),
            version: 1,
            times: NetworkTimes::default(),
        };
        if write.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        let id = new_id(now);
        diesel::insert_into(partner::table)
            .values((
                partner::id.eq(id),
                partner::enterprise_id.eq(self.enterprise_id.0),
                partner::name.eq(&record.name),
                partner::institution_identifier.eq(&record.institution_identifier),
                partner::version.eq(record.version),
                partner::created_at.eq(now.to_chrono()),
                partner::updated_at.eq(now.to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(id, now).await?;
        record.id = Some(PartnerId(id));
        record.times = NetworkTimes::created(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl RecordCommand for UpdatePartner {
    type Record = NetworkPartner;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkPartner>, TransactionError> {
        // The enterprise never changes, so it may be read before the lock, which needs it.
        let enterprise: Option<Uuid> = partner::table
            .find(self.id.0)
            .select(partner::enterprise_id)
            .first(write.connection)
            .await
            .optional()?;
        let stored = match begin_change(write, self.id.0, enterprise.map(OwnerId)).await? {
            RecordToChange::Replayed(written) => return Ok(written),
            RecordToChange::Stored(record) => record,
        };
        if let Some(identifier) = &self.institution_identifier {
            require_free(write, stored.enterprise_id, identifier, Some(self.id)).await?;
        }
        let apply = |record: &mut NetworkPartner| {
            if let Some(name) = &self.name {
                record.name.clone_from(name);
            }
            if let Some(identifier) = &self.institution_identifier {
                record.institution_identifier.clone_from(identifier);
            }
        };
        let changed = change(write, self.id.0, stored, self.expected_version, apply).await?;
        let (record, now) = match changed {
            RecordChange::Finished(written) => return Ok(written),
            RecordChange::Store(record, now) => (record, now),
        };
        diesel::update(partner::table.find(self.id.0))
            .set((
                partner::name.eq(&record.name),
                partner::institution_identifier.eq(&record.institution_identifier),
                partner::version.eq(record.version),
                partner::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(self.id.0, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}

/// Makes sure that no other partner of the enterprise, whose owner is locked, has this identifier.
async fn require_free(
    write: &mut WriteContext<'_>,
    enterprise: EnterpriseId,
    institution_identifier: &str,
    except: Option<PartnerId>,
) -> Result<(), TransactionError> {
    let except = except.map_or(Uuid::nil(), |id| id.0);
    let holder: Option<(Uuid, i64)> = partner::table
        .filter(partner::enterprise_id.eq(enterprise.0))
        .filter(partner::institution_identifier.eq(institution_identifier))
        .filter(partner::id.ne(except))
        .select((partner::id, partner::version))
        .first(write.connection)
        .await
        .optional()?;
    match holder {
        None => Ok(()),
        Some((id, version)) => Err(Error::PartnerExists(TakenId {
            within: enterprise.to_string(),
            value: institution_identifier.into(),
            holder: KeyHolder {
                id: id.to_string(),
                version: Some(version),
            },
        })
        .into()),
    }
}
