//! The reads: one statement each, and a second one only where a list is empty, to check that its enterprise exists.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::lists;
use super::rows::{
    NamedConnectionRow, NetworkClientRow, NetworkConnectionRow, NetworkEnterpriseRow,
    NetworkPartnerRow,
};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema;
use crate::error::{Error, Result};
use crate::network::model::{
    NetworkClient, NetworkConnection, NetworkEnterprise, NetworkFilter, NetworkPartner,
    NetworkViewer,
};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::Page;

/// The enterprise with this id; `None` if there is none.
pub(in crate::network) async fn enterprise(
    pool: &Pool,
    id: EnterpriseId,
) -> Result<Option<NetworkEnterprise>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        find_enterprise(connection, id.0).await
    })
    .await
}

pub(super) async fn find_enterprise(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> QueryResult<Option<NetworkEnterprise>> {
    use schema::{client, enterprise};

    let row: Option<(NetworkEnterpriseRow, Option<Uuid>)> = enterprise::table
        .left_join(client::table.on(client::enterprise_id.eq(enterprise::id)))
        .filter(enterprise::id.eq(id))
        .select((NetworkEnterpriseRow::as_select(), client::id.nullable()))
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(|(row, client)| row.into_record(client)))
}

/// The enterprises of a page that the viewer may see, and one more if another page follows.
pub(in crate::network) async fn enterprises(
    pool: &Pool,
    viewer: &NetworkViewer,
    page: &Page<Uuid>,
) -> Result<Vec<NetworkEnterprise>> {
    use schema::{client, enterprise};

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = enterprise::table
            .left_join(client::table.on(client::enterprise_id.eq(enterprise::id)))
            .filter(enterprise::id.gt(after(page)))
            .order(enterprise::id)
            .limit(page.fetch())
            .select((NetworkEnterpriseRow::as_select(), client::id.nullable()));
        let rows: Vec<(NetworkEnterpriseRow, Option<Uuid>)> = match viewer {
            NetworkViewer::Admin => query.load(connection).await?,
            NetworkViewer::Member(enterprises) => {
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

/// The client with this id; `None` if there is none, or the viewer may not see it.
pub(in crate::network) async fn client(
    pool: &Pool,
    viewer: &NetworkViewer,
    id: ClientId,
) -> Result<Option<NetworkClient>> {
    use schema::client;

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = client::table
            .filter(client::id.eq(id.0))
            .select(NetworkClientRow::as_select());
        let row = match viewer {
            NetworkViewer::Admin => query.first(connection).await,
            NetworkViewer::Member(enterprises) => {
                let own = client::enterprise_id.eq_any(uuids(enterprises));
                query.filter(own).first(connection).await
            }
        };
        Ok::<_, TransactionError>(row.optional()?.map(Into::into))
    })
    .await
}

/// The partner with this id; `None` if there is none, or the viewer may not see it. A member sees the partners of its
/// enterprises and those that its clients are connected to.
pub(in crate::network) async fn partner(
    pool: &Pool,
    viewer: &NetworkViewer,
    id: PartnerId,
) -> Result<Option<NetworkPartner>> {
    use schema::{connection as joined, partner};

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = partner::table
            .filter(partner::id.eq(id.0))
            .select(NetworkPartnerRow::as_select());
        let row = match viewer {
            NetworkViewer::Admin => query.first(connection).await,
            NetworkViewer::Member(enterprises) => {
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
        Ok::<_, TransactionError>(row.optional()?.map(Into::into))
    })
    .await
}

/// The partners of a page that the enterprise has or its client is connected to, and one more if another page follows.
pub(in crate::network) async fn partners(
    pool: &Pool,
    enterprise: EnterpriseId,
    filter: &NetworkFilter,
    page: &Page<Uuid>,
) -> Result<Vec<NetworkPartner>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let list = lists::partners(enterprise, filter, after(page), page.fetch());
        let rows: Vec<NetworkPartnerRow> = list.load(connection).await?;
        if rows.is_empty() {
            require_enterprise(connection, enterprise).await?;
        }
        Ok::<_, TransactionError>(rows.into_iter().map(Into::into).collect())
    })
    .await
}

/// The connection with this id; `None` if there is none, or the viewer may not see it.
pub(in crate::network) async fn connection(
    pool: &Pool,
    viewer: &NetworkViewer,
    id: ConnectionId,
) -> Result<Option<NetworkConnection>> {
    use schema::connection as joined;

    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let query = joined::table
            .inner_join(schema::client::table.on(schema::client::id.eq(joined::client_id)))
            .inner_join(schema::partner::table.on(schema::partner::id.eq(joined::partner_id)))
            .filter(joined::id.eq(id.0))
            .select((
                NetworkConnectionRow::as_select(),
                schema::client::name,
                schema::partner::name,
            ));
        let row: QueryResult<NamedConnectionRow> = match viewer {
            NetworkViewer::Admin => query.first(connection).await,
            NetworkViewer::Member(enterprises) => {
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

/// The connections of a page that have a side in the enterprise, and one more if another page follows.
pub(in crate::network) async fn connections(
    pool: &Pool,
    enterprise: EnterpriseId,
    filter: &NetworkFilter,
    page: &Page<Uuid>,
) -> Result<Vec<NetworkConnection>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let list = lists::connections(enterprise, filter, after(page), page.fetch());
        let rows: Vec<NamedConnectionRow> = list.load(connection).await?;
        if rows.is_empty() {
            require_enterprise(connection, enterprise).await?;
        }
        rows.into_iter().map(TryInto::try_into).collect()
    })
    .await
}

/// Checks that the enterprise of an empty list exists. It may be read after the list: enterprises are never deleted.
async fn require_enterprise(
    connection: &mut AsyncPgConnection,
    id: EnterpriseId,
) -> Result<(), TransactionError> {
    let found = schema::enterprise::table.find(id.0);
    let found: bool = diesel::select(exists(found)).get_result(connection).await?;
    if found {
        Ok(())
    } else {
        Err(Error::EnterpriseNotFound(id).into())
    }
}

/// The id behind which the page begins; the nil UUID sorts before all others.
fn after(page: &Page<Uuid>) -> Uuid {
    page.after().copied().unwrap_or_default()
}

fn uuids(enterprises: &[EnterpriseId]) -> Vec<Uuid> {
    enterprises.iter().map(|id| id.0).collect()
}
