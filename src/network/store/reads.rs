//! The reads: one statement each, and a second only to tell an empty list from a list of nobody.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::lists::{ConnectionList, Lookup, PartnerList};
use super::rows::{ClientRow, ConnectionRow, EnterpriseRow, PartnerRow};
use crate::db::pg_error::Failure;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema;
use crate::error::{Error, Result};
use crate::network::model::{Client, Connection, Enterprise, Filter, Partner, Viewer};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::Page;

/// An enterprise, if there is one.
pub(in crate::network) async fn enterprise(
    pool: &Pool,
    id: EnterpriseId,
) -> Result<Option<Enterprise>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        find_enterprise(connection, id.0).await
    })
    .await
}

pub(super) async fn find_enterprise(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> QueryResult<Option<Enterprise>> {
    use schema::{client, enterprise};

    let row: Option<(EnterpriseRow, Option<Uuid>)> = enterprise::table
        .left_join(client::table.on(client::enterprise_id.eq(enterprise::id)))
        .filter(enterprise::id.eq(id))
        .select((EnterpriseRow::as_select(), client::id.nullable()))
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(|(row, client)| row.into_record(client)))
}

/// A page of the enterprises that the viewer may see, and one more.
pub(in crate::network) async fn enterprises(
    pool: &Pool,
    viewer: &Viewer,
    page: &Page<Uuid>,
) -> Result<Vec<Enterprise>> {
    use schema::{client, enterprise};

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = enterprise::table
            .left_join(client::table.on(client::enterprise_id.eq(enterprise::id)))
            .filter(enterprise::id.gt(after(page)))
            .order(enterprise::id)
            .limit(page.fetch())
            .select((EnterpriseRow::as_select(), client::id.nullable()));
        let rows: Vec<(EnterpriseRow, Option<Uuid>)> = match viewer {
            Viewer::Admin => query.load(connection).await?,
            Viewer::Member(enterprises) => {
                let own = enterprise::id.eq_any(uuids(enterprises));
                query.filter(own).load(connection).await?
            }
        };
        let records = rows
            .into_iter()
            .map(|(row, client)| row.into_record(client));
        QueryResult::Ok(records.collect())
    })
    .await
}

/// A client, if the viewer may see it.
pub(in crate::network) async fn client(
    pool: &Pool,
    viewer: &Viewer,
    id: ClientId,
) -> Result<Option<Client>> {
    use schema::client;

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = client::table
            .filter(client::id.eq(id.0))
            .select(ClientRow::as_select());
        let row = match viewer {
            Viewer::Admin => query.first(connection).await,
            Viewer::Member(enterprises) => {
                let own = client::enterprise_id.eq_any(uuids(enterprises));
                query.filter(own).first(connection).await
            }
        };
        Ok::<_, Failure>(row.optional()?.map(Into::into))
    })
    .await
}

/// A partner, if the viewer may see it.
pub(in crate::network) async fn partner(
    pool: &Pool,
    viewer: &Viewer,
    id: PartnerId,
) -> Result<Option<Partner>> {
    use schema::{connection as joined, partner};

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = partner::table
            .filter(partner::id.eq(id.0))
            .select(PartnerRow::as_select());
        let row = match viewer {
            Viewer::Admin => query.first(connection).await,
            Viewer::Member(enterprises) => {
                let enterprises = uuids(enterprises);
                let connected = joined::table
                    .filter(joined::partner_id.eq(partner::id))
                    .filter(joined::client_enterprise_id.eq_any(enterprises.clone()));
                let visible = partner::enterprise_id
                    .eq_any(enterprises)
                    .or(exists(connected));
                query.filter(visible).first(connection).await
            }
        };
        Ok::<_, Failure>(row.optional()?.map(Into::into))
    })
    .await
}

/// A page of the partners that an enterprise has or is connected to, and one more.
pub(in crate::network) async fn partners(
    pool: &Pool,
    enterprise: EnterpriseId,
    filter: &Filter,
    page: &Page<Uuid>,
) -> Result<Vec<Partner>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let lookup = Lookup::new(enterprise.0, filter, after(page), page.fetch());
        let rows: Vec<PartnerRow> = PartnerList::new(lookup).load(connection).await?;
        if rows.is_empty() {
            require_enterprise(connection, enterprise).await?;
        }
        Ok::<_, Failure>(rows.into_iter().map(Into::into).collect())
    })
    .await
}

/// A connection, if the viewer may see it.
pub(in crate::network) async fn connection(
    pool: &Pool,
    viewer: &Viewer,
    id: ConnectionId,
) -> Result<Option<Connection>> {
    use schema::connection as joined;

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = joined::table
            .filter(joined::id.eq(id.0))
            .select(ConnectionRow::as_select());
        let row = match viewer {
            Viewer::Admin => query.first(connection).await,
            Viewer::Member(enterprises) => {
                let enterprises = uuids(enterprises);
                let own = joined::client_enterprise_id
                    .eq_any(enterprises.clone())
                    .or(joined::partner_enterprise_id.eq_any(enterprises));
                query.filter(own).first(connection).await
            }
        };
        row.optional()?.map(TryInto::try_into).transpose()
    })
    .await
}

/// A page of the connections that an enterprise has a side in, and one more.
pub(in crate::network) async fn connections(
    pool: &Pool,
    enterprise: EnterpriseId,
    filter: &Filter,
    page: &Page<Uuid>,
) -> Result<Vec<Connection>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let lookup = Lookup::new(enterprise.0, filter, after(page), page.fetch());
        let rows: Vec<ConnectionRow> = ConnectionList::new(lookup).load(connection).await?;
        if rows.is_empty() {
            require_enterprise(connection, enterprise).await?;
        }
        rows.into_iter().map(TryInto::try_into).collect()
    })
    .await
}

/// A list without a record may be one of an enterprise without a record. Asked afterwards: enterprises never go away.
async fn require_enterprise(
    connection: &mut AsyncPgConnection,
    id: EnterpriseId,
) -> Result<(), Failure> {
    let found = schema::enterprise::table.find(id.0);
    let found: bool = diesel::select(exists(found)).get_result(connection).await?;
    if found {
        Ok(())
    } else {
        Err(Error::EnterpriseNotFound(id).into())
    }
}

/// The id to begin behind; the nil UUID lies before all.
fn after(page: &Page<Uuid>) -> Uuid {
    page.after().copied().unwrap_or_default()
}

fn uuids(enterprises: &[EnterpriseId]) -> Vec<Uuid> {
    enterprises.iter().map(|id| id.0).collect()
}
