//! Whose reservations are due, by the database's clock.

use diesel::dsl::min;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::schema::{allocation, connection};
use crate::types::ids::{ConnectionId, EnterpriseId, OwnerId};

diesel::define_sql_function! {
    /// The database's clock at the start of the statement. Unlike `clock_timestamp()` it is the same throughout, so that an
    /// index can be searched for it.
    fn statement_timestamp() -> diesel::sql_types::Timestamptz;
}

/// The enterprise itself, if a reservation of its client is due.
pub async fn of_client(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = allocation::table
        .filter(allocation::owner_id.eq(enterprise.0))
        .filter(allocation::status.eq("RESERVED"))
        .filter(allocation::expire_time.le(statement_timestamp().nullable()))
        .select(allocation::owner_id)
        .limit(1)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The owners of which a reservation for one of the enterprise's partners is due.
pub async fn of_partner(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = connection::table
        .inner_join(
            allocation::table.on(allocation::owner_id
                .eq(connection::client_enterprise_id)
                .and(allocation::connection_id.eq(connection::id))),
        )
        .filter(connection::partner_enterprise_id.eq(enterprise.0))
        .filter(allocation::status.eq("RESERVED"))
        .filter(allocation::expire_time.le(statement_timestamp().nullable()))
        .select(allocation::owner_id)
        .distinct()
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The owner of this connection, if a reservation between its two sides is due and one of them is the enterprise's.
pub async fn of_connection(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    id: ConnectionId,
) -> QueryResult<Vec<OwnerId>> {
    let own = connection::client_enterprise_id
        .eq(enterprise.0)
        .or(connection::partner_enterprise_id.eq(enterprise.0));
    let owners: Vec<Uuid> = connection::table
        .inner_join(
            allocation::table.on(allocation::owner_id
                .eq(connection::client_enterprise_id)
                .and(allocation::connection_id.eq(connection::id))),
        )
        .filter(connection::id.eq(id.0))
        .filter(own)
        .filter(allocation::status.eq("RESERVED"))
        .filter(allocation::expire_time.le(statement_timestamp().nullable()))
        .select(allocation::owner_id)
        .limit(1)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// Owners with due reservations, those of the oldest first. All that is due is looked at, so that one owner with much of
/// it hides no other.
pub async fn oldest(mut db: &AsyncPgConnection, limit: i64) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = allocation::table
        .filter(allocation::status.eq("RESERVED"))
        .filter(allocation::expire_time.le(statement_timestamp().nullable()))
        .group_by(allocation::owner_id)
        .order(min(allocation::expire_time))
        .select(allocation::owner_id)
        .limit(limit)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}
