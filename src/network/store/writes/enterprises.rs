//! What is written of enterprises.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Command, Work, Written, created, fresh, new_id, not_updated, replay, require_version, updated,
};
use crate::db::pg_error::Failure;
use crate::db::schema::enterprise;
use crate::db::write;
use crate::error::Error;
use crate::network::model::{CreateEnterprise, Enterprise, Times, UpdateEnterprise};
use crate::network::store::reads::find_enterprise;
use crate::types::ids::{EnterpriseId, OwnerId};

impl Command for CreateEnterprise {
    type Record = Enterprise;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Enterprise>, Failure> {
        work.lock(None).await?;
        if let Some(id) = work.replayed().await? {
            let found = find_enterprise(work.connection, id).await?;
            return Ok(replay(found.ok_or(Error::EnterpriseNotFound(id.into()))?));
        }
        let mut record = Enterprise {
            id: None,
            name: self.name.clone(),
            oes_licensed: self.oes_licensed,
            client_id: None,
            version: 1,
            times: Times::default(),
        };
        if work.validate_only {
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        let id = new_id(now);
        // Nobody knows this owner yet: its lock is nobody's to wait for.
        write::ensure_owner(work.connection, OwnerId(id)).await?;
        diesel::insert_into(enterprise::table)
            .values((
                enterprise::id.eq(id),
                enterprise::name.eq(&record.name),
                enterprise::oes_licensed.eq(record.oes_licensed),
                enterprise::version.eq(record.version),
                enterprise::created_at.eq(now.to_chrono()),
                enterprise::updated_at.eq(now.to_chrono()),
            ))
            .execute(work.connection)
            .await?;
        work.keep_key(id, now).await?;
        record.id = Some(EnterpriseId(id));
        record.times = created(now);
        Ok(fresh(record))
    }
}

impl Command for UpdateEnterprise {
    type Record = Enterprise;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Enterprise>, Failure> {
        let not_found = Error::EnterpriseNotFound(self.id);
        if !work.lock(Some(self.id)).await? {
            return Err(not_found.into());
        }
        let replayed = work.replayed().await?;
        let found = find_enterprise(work.connection, self.id.0).await?;
        let mut record = found.ok_or(not_found)?;
        if replayed.is_some() {
            return Ok(replay(record));
        }
        require_version(self.expected_version, record.version)?;
        if let Some(name) = &self.name {
            record.name.clone_from(name);
        }
        record.oes_licensed = self.oes_licensed.unwrap_or(record.oes_licensed);
        record.version += 1;
        if work.validate_only {
            record.times = not_updated(record.times);
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        record.times = updated(record.times, now);
        diesel::update(enterprise::table.find(self.id.0))
            .set((
                enterprise::name.eq(&record.name),
                enterprise::oes_licensed.eq(record.oes_licensed),
                enterprise::version.eq(record.version),
                enterprise::updated_at.eq(record.times.updated_at.unwrap_or(now).to_chrono()),
            ))
            .execute(work.connection)
            .await?;
        work.keep_key(self.id.0, now).await?;
        Ok(fresh(record))
    }
}
