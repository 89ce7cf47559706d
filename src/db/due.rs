//! Whose reservations are due, by the database's clock.

use diesel::dsl::min;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use crate::db::schema::{allocation, bucket_action, connection};
use crate::types::ids::{ConnectionId, EnterpriseId, OwnerId, TenantId};

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

/// Both kinds of owners with due reservations: enterprises, then buckets.
pub async fn oldest(
    db: &AsyncPgConnection,
    limit: i64,
) -> QueryResult<(Vec<OwnerId>, Vec<OwnerId>)> {
    try_join!(
        oldest_of_enterprises(db, limit),
        oldest_of_buckets(db, limit)
    )
}

/// Enterprises with due reservations, those of the oldest first. All that is due is looked at, so that one owner with
/// much of it hides no other.
async fn oldest_of_enterprises(
    mut db: &AsyncPgConnection,
    limit: i64,
) -> QueryResult<Vec<OwnerId>> {
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

/// The bucket itself, if a reserve of it is due.
pub async fn of_bucket(mut db: &AsyncPgConnection, bucket: OwnerId) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = bucket_action::table
        .filter(bucket_action::owner_id.eq(bucket.0))
        .filter(bucket_action::status.eq("CREATED"))
        .filter(bucket_action::expire_time.le(statement_timestamp().nullable()))
        .select(bucket_action::owner_id)
        .limit(1)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The tenant's buckets of which a reserve is due. What is due of all tenants is looked at: the sweep leaves little.
pub async fn of_tenant(mut db: &AsyncPgConnection, tenant: TenantId) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = bucket_action::table
        .filter(bucket_action::tenant.eq(tenant.0))
        .filter(bucket_action::status.eq("CREATED"))
        .filter(bucket_action::expire_time.le(statement_timestamp().nullable()))
        .select(bucket_action::owner_id)
        .distinct()
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// Buckets with due reserves, in the same way.
async fn oldest_of_buckets(mut db: &AsyncPgConnection, limit: i64) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = bucket_action::table
        .filter(bucket_action::status.eq("CREATED"))
        .filter(bucket_action::expire_time.le(statement_timestamp().nullable()))
        .group_by(bucket_action::owner_id)
        .order(min(bucket_action::expire_time))
        .select(bucket_action::owner_id)
        .limit(limit)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}
