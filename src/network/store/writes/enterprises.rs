//! The writes of enterprises.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::common::{RecordChange, StoredRecord, change, lock, new_id, replayed};
use crate::db::pg_error::TransactionError;
use crate::db::record_write::{RecordCommand, WriteContext, WrittenRecord};
use crate::db::schema::enterprise;
use crate::db::write::ensure_owner;
use crate::error::Error;
use crate::network::model::{CreateEnterprise, NetworkEnterprise, NetworkTimes, UpdateEnterprise};
use crate::network::store::reads::find_enterprise;
use crate::types::ids::{EnterpriseId, OwnerId};

impl StoredRecord for NetworkEnterprise {
    async fn find(
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> Result<Option<Self>, TransactionError> {
        Ok(find_enterprise(connection, id).await?)
    }

    fn not_found(id: Uuid) -> Error {
        Error::EnterpriseNotFound(id.into())
    }

    fn version_mut(&mut self) -> &mut i64 {
        &mut self.version
    }

    fn times_mut(&mut self) -> &mut NetworkTimes {
        &mut self.times
    }
}

impl RecordCommand for CreateEnterprise {
    type Record = NetworkEnterprise;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkEnterprise>, TransactionError> {
        lock(write, None).await?;
        if let Some(replayed) = replayed(write).await? {
            return Ok(replayed);
        }
        let mut record = NetworkEnterprise {
            id: None,
            name: self.name.clone(),
            oes_licensed: self.oes_licensed,
            client_id: None,
            version: 1,
            times: NetworkTimes::default(),
        };
        if write.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = write.now().await?;
        let id = new_id(now);
        // No other transaction can lock this owner: its id is new.
        ensure_owner(write.connection, OwnerId(id)).await?;
        diesel::insert_into(enterprise::table)
            .values((
                enterprise::id.eq(id),
                enterprise::name.eq(&record.name),
                enterprise::oes_licensed.eq(record.oes_licensed),
                enterprise::version.eq(record.version),
                enterprise::created_at.eq(now.to_chrono()),
                enterprise::updated_at.eq(now.to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(id, now).await?;
        record.id = Some(EnterpriseId(id));
        record.times = NetworkTimes::created(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl RecordCommand for UpdateEnterprise {
    type Record = NetworkEnterprise;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkEnterprise>, TransactionError> {
        let not_found = Error::EnterpriseNotFound(self.id);
        if !lock(write, Some(self.id.into())).await? {
            return Err(not_found.into());
        }
        if let Some(replayed) = replayed(write).await? {
            return Ok(replayed);
        }
        let found = find_enterprise(write.connection, self.id.0).await?;
        let stored = found.ok_or(not_found)?;
        let apply = |record: &mut NetworkEnterprise| {
            if let Some(name) = &self.name {
                record.name.clone_from(name);
            }
            record.oes_licensed = self.oes_licensed.unwrap_or(record.oes_licensed);
        };
        let changed = change(write, self.id.0, stored, self.expected_version, apply).await?;
        let (record, now) = match changed {
            RecordChange::Finished(written) => return Ok(written),
            RecordChange::Store(record, now) => (record, now),
        };
        diesel::update(enterprise::table.find(self.id.0))
            .set((
                enterprise::name.eq(&record.name),
                enterprise::oes_licensed.eq(record.oes_licensed),
                enterprise::version.eq(record.version),
                enterprise::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(write.connection)
            .await?;
        write.keep_key(self.id.0, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}
