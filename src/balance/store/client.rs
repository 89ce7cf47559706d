//! A client's list: custody and the page's connections, in one snapshot.

use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use super::accounts::{BalanceRead, accounts};
use crate::balance::model::{BalanceClientList, Balances, NetworkBalance};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::schema::{connection, partner};
use crate::db::{enterprise_status, expired_reservations, read};
use crate::error::Result;
use crate::types::ids::{AccountId, ConnectionId, PartnerId};
use crate::types::time::Time;

/// What a client's list shows: a page of connections and one more.
#[derive(Debug)]
pub(in crate::balance) struct ClientBalances {
    /// The balances of the client's own account, by currency.
    pub custody: Balances,
    /// The connections of the page and one more, in the order of their creation.
    pub network: Vec<NetworkBalance>,
}

type ClientConnectionRow = (Uuid, Uuid, String, String, String);

/// Several statements, which see one moment: what is shown, and what of it had expired at this clock. Without a clock,
/// it is the database's.
pub(in crate::balance) async fn client_balances(
    pool: &Pool,
    list: &BalanceClientList,
    clock: Option<Time>,
) -> Result<BalanceRead<ClientBalances>> {
    read::snapshot(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let (enterprise, expired, connections) = try_join!(
            enterprise_status::find(db, list.enterprise),
            expired_reservations::owners_of_client(db, list.enterprise, clock),
            connections(db, list)
        )?;
        let mut ids = vec![AccountId::OWN.0];
        ids.extend(connections.iter().map(|(id, ..)| *id));
        let mut balances = accounts(db, vec![list.enterprise.0], ids, &list.units).await?;
        let custody = balances.remove(&AccountId::OWN.0).unwrap_or_default();
        let network = connections
            .into_iter()
            .map(
                |(id, partner, partners_connection_id, name, institution_identifier)| {
                    NetworkBalance {
                        connection: ConnectionId(id),
                        partner: PartnerId(partner),
                        partners_connection_id,
                        name,
                        institution_identifier,
                        balances: balances.remove(&id).unwrap_or_default(),
                    }
                },
            )
            .collect();
        Ok::<_, TransactionError>(BalanceRead {
            enterprise,
            expired,
            found: ClientBalances { custody, network },
        })
    })
    .await
}

async fn connections(
    mut db: &AsyncPgConnection,
    list: &BalanceClientList,
) -> QueryResult<Vec<ClientConnectionRow>> {
    let ids: Vec<Uuid> = list.connections.iter().map(|id| id.0).collect();
    let partners: Vec<Uuid> = list.partners.iter().map(|id| id.0).collect();
    let after = list.page.after().map_or(Uuid::nil(), |cursor| cursor.0.0);
    connection::table
        .inner_join(partner::table.on(partner::id.eq(connection::partner_id)))
        .filter(connection::client_enterprise_id.eq(list.enterprise.0))
        .filter(connection::id.gt(after))
        .filter(
            ids.is_empty()
                .into_sql::<Bool>()
                .or(connection::id.eq_any(ids)),
        )
        .filter(
            partners
                .is_empty()
                .into_sql::<Bool>()
                .or(connection::partner_id.eq_any(partners)),
        )
        .order(connection::id)
        .limit(list.page.fetch())
        .offset(list.page.skip())
        .select((
            connection::id,
            connection::partner_id,
            connection::partners_connection_id,
            connection::name,
            partner::institution_identifier,
        ))
        .load(&mut db)
        .await
}
