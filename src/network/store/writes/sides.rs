//! What is written of the two sides of a connection: clients and partners.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Command, Work, Written, created, fresh, new_id, replay};
use crate::db::pg_error::Failure;
use crate::db::schema::{client, partner};
use crate::error::Error;
use crate::network::model::{Client, CreateClient, CreatePartner, Partner, Times};
use crate::network::store::rows::{ClientRow, PartnerRow};
use crate::types::ids::{ClientId, PartnerId};

impl Command for CreateClient {
    type Record = Client;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Client>, Failure> {
        if !work.lock(Some(self.enterprise_id)).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(id) = work.replayed().await? {
            let found: Option<ClientRow> = client::table
                .find(id)
                .select(ClientRow::as_select())
                .first(work.connection)
                .await
                .optional()?;
            let row = found.ok_or(Error::ClientNotFound(Some(id.into())))?;
            return Ok(replay(row.into()));
        }
        let existing: Option<Uuid> = client::table
            .filter(client::enterprise_id.eq(self.enterprise_id.0))
            .select(client::id)
            .first(work.connection)
            .await
            .optional()?;
        if let Some(client) = existing {
            return Err(Error::ClientExists {
                enterprise: self.enterprise_id,
                client: ClientId(client),
            }
            .into());
        }
        let mut record = Client {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
            times: Times::default(),
        };
        if work.validate_only {
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        let id = new_id(now);
        diesel::insert_into(client::table)
            .values((
                client::id.eq(id),
                client::enterprise_id.eq(self.enterprise_id.0),
                client::name.eq(&record.name),
                client::created_at.eq(now.to_chrono()),
                client::updated_at.eq(now.to_chrono()),
            ))
            .execute(work.connection)
            .await?;
        work.keep_key(id, now).await?;
        record.id = Some(ClientId(id));
        record.times = created(now);
        Ok(fresh(record))
    }
}

impl Command for CreatePartner {
    type Record = Partner;

    async fn run(&self, work: &mut Work<'_>) -> Result<Written<Partner>, Failure> {
        if !work.lock(Some(self.enterprise_id)).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(id) = work.replayed().await? {
            let found: Option<PartnerRow> = partner::table
                .find(id)
                .select(PartnerRow::as_select())
                .first(work.connection)
                .await
                .optional()?;
            let row = found.ok_or(Error::PartnerNotFound(id.into()))?;
            return Ok(replay(row.into()));
        }
        let mut record = Partner {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
            institution_identifier: self.institution_identifier.clone(),
            times: Times::default(),
        };
        if work.validate_only {
            return Ok(fresh(record));
        }
        let now = work.now().await?;
        let id = new_id(now);
        diesel::insert_into(partner::table)
            .values((
                partner::id.eq(id),
                partner::enterprise_id.eq(self.enterprise_id.0),
                partner::name.eq(&record.name),
                partner::institution_identifier.eq(&record.institution_identifier),
                partner::created_at.eq(now.to_chrono()),
                partner::updated_at.eq(now.to_chrono()),
            ))
            .execute(work.connection)
            .await?;
        work.keep_key(id, now).await?;
        record.id = Some(PartnerId(id));
        record.times = created(now);
        Ok(fresh(record))
    }
}
