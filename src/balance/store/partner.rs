//! A partner's list: the connections of a page, then all their balances in one statement.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use super::accounts::accounts;
use crate::balance::model::{BalancePartnerList, PartnerConnection, PartnerNetworkBalance};
use crate::db::enterprise_status::{self, EnterpriseStatus};
use crate::db::expired_reservations::{self, ReservationFilter};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::{client, connection};
use crate::error::Result;
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

#[derive(Queryable, Selectable)]
#[diesel(table_name = connection, check_for_backend(Pg))]
struct Row {
    id: Uuid,
    client_id: Uuid,
    partner_id: Uuid,
    client_enterprise_id: Uuid,
    name: String,
    partners_connection_id: String,
}

/// What the enterprise that asks may do, and a page of the connections of its partners and one more: one round trip.
pub(in crate::balance) async fn connections(
    pool: &Pool,
    list: &BalancePartnerList,
) -> Result<(Option<EnterpriseStatus>, Vec<PartnerConnection>)> {
    let (status, rows) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        // Sent in this order: the clock is read before the connections are.
        try_join!(
            biased;
            enterprise_status::find(db, list.enterprise),
            load(db, list)
        )
    })
    .await?;
    let connection = |(row, client_name): (Row, String)| PartnerConnection {
        owner: OwnerId(row.client_enterprise_id),
        id: ConnectionId(row.id),
        client: ClientId(row.client_id),
        client_name,
        partner: PartnerId(row.partner_id),
        partners_connection_id: row.partners_connection_id,
        name: row.name,
    };
    Ok((status, rows.into_iter().map(connection).collect()))
}

/// The texts that this makes are two, since each is prepared once per connection and kept: a filter that an index serves
/// appears only when it is set; the others stand there always and let everything pass while empty.
async fn load(
    mut db: &AsyncPgConnection,
    list: &BalancePartnerList,
) -> QueryResult<Vec<(Row, String)>> {
    let partners: Vec<Uuid> = list.partners.iter().map(|id| id.0).collect();
    let clients: Vec<Uuid> = list.clients.iter().map(|id| id.0).collect();
    let after = list.page.after().map_or(Uuid::nil(), |cursor| cursor.0.0);
    let partners_ids = &list.partners_connection_ids;
    // A subquery looks the name up for the page alone, and leaves the planner no choice of a join.
    let client_name = client::table
        .filter(client::id.eq(connection::client_id))
        .select(client::name)
        .single_value()
        .assume_not_null();
    let mut query = connection::table
        .filter(connection::partner_enterprise_id.eq(list.enterprise.0))
        .filter(connection::id.gt(after))
        .filter(
            partners
                .is_empty()
                .into_sql::<Bool>()
                .or(connection::partner_id.eq_any(partners)),
        )
        .filter(
            clients
                .is_empty()
                .into_sql::<Bool>()
                .or(connection::client_id.eq_any(clients)),
        )
        .filter(
            partners_ids
                .is_empty()
                .into_sql::<Bool>()
                .or(connection::partners_connection_id.eq_any(partners_ids)),
        )
        .order(connection::id)
        .limit(list.page.fetch())
        .offset(list.page.skip())
        .select((Row::as_select(), client_name))
        .into_boxed::<Pg>();
    if !list.connections.is_empty() {
        query = query.filter(connection::id.eq_any(list.connections.iter().map(|id| id.0)));
    }
    query.load(&mut db).await
}

/// What stands with these connections, in their order, and the owners of reservations among it that had expired at this
/// clock: two statements, which see one moment.
pub(in crate::balance) async fn balances(
    pool: &Pool,
    enterprise: EnterpriseId,
    connections: &[PartnerConnection],
    units: &[Unit],
    clock: Time,
) -> Result<(Vec<OwnerId>, Vec<PartnerNetworkBalance>)> {
    if connections.is_empty() {
        return Ok(Default::default());
    }
    let mut owners: Vec<Uuid> = connections.iter().map(|found| found.owner.0).collect();
    owners.sort_unstable();
    owners.dedup();
    let page: Vec<ConnectionId> = connections.iter().map(|found| found.id).collect();
    let ids: Vec<Uuid> = page.iter().map(|id| id.0).collect();
    let filter = ReservationFilter {
        connections: &page,
        ..ReservationFilter::default()
    };
    let (expired, mut balances) =
        read::snapshot(pool, async |connection: &mut AsyncPgConnection| {
            let db = &*connection;
            let expired = async {
                let owners =
                    expired_reservations::owners_of_partner(db, enterprise, filter, Some(clock));
                Ok::<_, TransactionError>(owners.await?)
            };
            try_join!(expired, accounts(db, owners.clone(), ids.clone(), units))
        })
        .await?;
    let network = connections
        .iter()
        .map(|connection| PartnerNetworkBalance {
            balances: balances.remove(&connection.id.0).unwrap_or_default(),
            connection: connection.clone(),
        })
        .collect();
    Ok((expired, network))
}
