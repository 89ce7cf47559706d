//! The SQL of the service's reads.

mod get;
mod list;
mod rows;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

pub(super) use get::{AllocationKey, AllocationsById, FoundAllocation};

use crate::allocation::model::{AllocationSide, AllocationSortField, List};
use crate::db::enterprise_status::{self, EnterpriseStatus};
use crate::db::expired_reservations::{self, ReservationFilter};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::connection;
use crate::error::Result;
use crate::ledger::oes::model::{AllocationRecord, Status};
use crate::types::ids::{ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use rows::Row;

/// What a list found.
#[derive(Debug)]
pub(super) struct AllocationPage {
    /// What the enterprise that asks may do, if it exists.
    pub enterprise: Option<EnterpriseStatus>,
    /// Owners of reservations of this list that had expired. These are to be released, and the list is to be read again
    /// by the same clock.
    pub expired: Vec<OwnerId>,
    /// The page and one more.
    pub records: Vec<AllocationRecord>,
}

/// A page of a list and one more, and what had expired at this clock (without one, now): one round trip.
pub(super) async fn list(pool: &Pool, list: &List, clock: Option<Time>) -> Result<AllocationPage> {
    let (enterprise, mut expired, rows) =
        read::one(pool, async |connection: &mut AsyncPgConnection| {
            let db = &*connection;
            // Sent in this order: the clock is read before the records are.
            try_join!(
                biased;
                enterprise_status::find(db, list.enterprise),
                expired_in(db, list, clock),
                load(db, list)
            )
        })
        .await?;
    // A record that was created after the look for expired ones may be on the page, and may have expired by then.
    let clock = clock.or(enterprise.map(|status| status.clock));
    let shown_expired = rows.iter().filter(|row| row.is_expired(clock));
    expired.extend(shown_expired.map(|row| OwnerId(row.owner_id)));
    expired.sort_unstable();
    expired.dedup();
    let records = rows
        .into_iter()
        .map(AllocationRecord::try_from)
        .collect::<Result<_>>()?;
    Ok(AllocationPage {
        enterprise,
        expired,
        records,
    })
}

/// What had expired in the list's part. Where such a record is on its page whether it is stored as open or as released, the
/// page itself shows what had expired: there is nothing else to look for.
async fn expired_in(
    db: &AsyncPgConnection,
    list: &List,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    let by_update = list.order.field == AllocationSortField::UpdatedAt || list.has_update_window();
    if !by_update && !list.statuses.contains(&Status::Released) {
        return Ok(Vec::new());
    }
    let filter = ReservationFilter {
        connections: &list.connections,
        clients: &list.clients,
        partners: &list.partners,
    };
    let enterprise = list.enterprise;
    match list.side {
        AllocationSide::Client => {
            expired_reservations::owners_of_client(db, enterprise, clock).await
        }
        AllocationSide::Partner => {
            expired_reservations::owners_of_partner(db, enterprise, filter, clock).await
        }
    }
}

async fn load(mut db: &AsyncPgConnection, list: &List) -> QueryResult<Vec<Row>> {
    list::statement(list).load(&mut db).await
}

/// The enterprise that gives a partner's verdict, and the client's enterprise if the first is a side of the connection.
///
/// A verdict of any other enterprise ends here: it must not wait for the lock of the client's enterprise, since the time
/// that this takes would reveal that the connection exists. A connection never changes its sides.
pub(super) async fn route(
    pool: &Pool,
    enterprise: EnterpriseId,
    connection: ConnectionId,
) -> Result<(Option<EnterpriseStatus>, Option<EnterpriseId>)> {
    let (status, client) = read::one(pool, async |db: &mut AsyncPgConnection| {
        let db = &*db;
        try_join!(
            enterprise_status::find(db, enterprise),
            client_of(db, connection, enterprise)
        )
    })
    .await?;
    Ok((status, client.map(EnterpriseId)))
}

async fn client_of(
    mut db: &AsyncPgConnection,
    id: ConnectionId,
    side: EnterpriseId,
) -> QueryResult<Option<Uuid>> {
    let client = connection::client_enterprise_id;
    let partner = connection::partner_enterprise_id;
    connection::table
        .find(id.0)
        .filter(client.eq(side.0).or(partner.eq(side.0)))
        .select(client)
        .first(&mut db)
        .await
        .optional()
}
