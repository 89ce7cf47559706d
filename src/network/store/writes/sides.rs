//! The writes of the two sides of a connection: clients and partners.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::common::{lock, new_id};
use crate::db::pg_error::TransactionError;
use crate::db::record_write::{RecordCommand, WriteContext, WrittenRecord};
use crate::db::schema::{client, partner};
use crate::error::Error;
use crate::network::model::{
    CreateClient, CreatePartner, NetworkClient, NetworkPartner, NetworkTimes,
};
use crate::network::store::rows::{NetworkClientRow, NetworkPartnerRow};
use crate::types::ids::{ClientId, PartnerId};

impl RecordCommand for CreateClient {
    type Record = NetworkClient;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkClient>, TransactionError> {
        if !lock(write, Some(self.enterprise_id.into())).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(id) = write.replayed_id().await? {
            let found: Option<NetworkClientRow> = client::table
                .find(id)
                .select(NetworkClientRow::as_select())
                .first(write.connection)
                .await
                .optional()?;
            let row = found.ok_or(Error::ClientNotFound(Some(id.into())))?;
            return Ok(WrittenRecord::replayed(row.into()));
        }
        let existing: Option<Uuid> = client::table
            .filter(client::enterprise_id.eq(self.enterprise_id.0))
            .select(client::id)
            .first(write.connection)
            .await
            .optional()?;
        if let Some(existing) = existing {
            return Err(Error::ClientExists {
                enterprise: self.enterprise_id,
                client: ClientId(existing),
            }
            .into());
        }
        let mut record = NetworkClient {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
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

impl RecordCommand for CreatePartner {
    type Record = NetworkPartner;

    async fn run(
        &self,
        write: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<NetworkPartner>, TransactionError> {
        if !lock(write, Some(self.enterprise_id.into())).await? {
            return Err(Error::EnterpriseNotFound(self.enterprise_id).into());
        }
        if let Some(id) = write.replayed_id().await? {
            let found: Option<NetworkPartnerRow> = partner::table
                .find(id)
                .select(NetworkPartnerRow::as_select())
                .first(write.connection)
                .await
                .optional()?;
            let row = found.ok_or(Error::PartnerNotFound(id.into()))?;
            return Ok(WrittenRecord::replayed(row.into()));
        }
        let mut record = NetworkPartner {
            id: None,
            enterprise_id: self.enterprise_id,
            name: self.name.clone(),
            institution_identifier: self.institution_identifier.clone(),
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
