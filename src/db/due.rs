//! Whose reservations are due.
//!
//! A read takes the database's clock once ([`crate::db::standing::Standing::clock`]) and looks for what was due then. Once
//! that is released it reads again, by the same clock: so it ends, however fast new reservations become due.

use chrono::{DateTime, Utc};
use diesel::dsl::{AsExprOf, min, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use crate::db::schema::{allocation, bucket_action, connection};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};
use crate::types::time::Time;

diesel::define_sql_function! {
    /// The database's clock at the start of the statement. Unlike `clock_timestamp()` it is the same throughout, so that an
    /// index can be searched for it.
    fn statement_timestamp() -> Timestamptz;
}

diesel::define_sql_function! {
    /// The first of its arguments that is not NULL.
    fn coalesce(first: Nullable<Timestamptz>, second: Timestamptz) -> Nullable<Timestamptz>;
}

/// Of which connections of its partners an enterprise's reservations are asked for; an empty list is no filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// These connections.
    pub connections: &'a [ConnectionId],
    /// Those to these clients.
    pub clients: &'a [ClientId],
    /// Those to these partners.
    pub partners: &'a [PartnerId],
}

/// The enterprise itself, if a reservation of its client was due at this clock; without one, now.
pub async fn of_client(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = allocation::table
        .filter(allocation::owner_id.eq(enterprise.0))
        .filter(allocation::status.eq(word("'RESERVED'")))
        .filter(allocation::expire_time.le(at(clock)))
        .select(allocation::owner_id)
        .limit(1)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The owners of which a reservation for one of the enterprise's partners was due at this clock; without one, now.
pub async fn of_partner(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    part: Part<'_>,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    let connections: Vec<Uuid> = part.connections.iter().map(|id| id.0).collect();
    let clients: Vec<Uuid> = part.clients.iter().map(|id| id.0).collect();
    let partners: Vec<Uuid> = part.partners.iter().map(|id| id.0).collect();
    let owners: Vec<Uuid> = connection::table
        .inner_join(
            allocation::table.on(allocation::owner_id
                .eq(connection::client_enterprise_id)
                .and(allocation::connection_id.eq(connection::id))),
        )
        .filter(connection::partner_enterprise_id.eq(enterprise.0))
        .filter(none(&connections).or(connection::id.eq_any(&connections)))
        .filter(none(&clients).or(connection::client_id.eq_any(&clients)))
        .filter(none(&partners).or(connection::partner_id.eq_any(&partners)))
        .filter(allocation::status.eq(word("'RESERVED'")))
        .filter(allocation::expire_time.le(at(clock)))
        .select(allocation::owner_id)
        .distinct()
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The owner of this connection, if a reservation between its two sides was due at this clock (without one, now) and one
/// of them is the enterprise's.
pub async fn of_connection(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    id: ConnectionId,
    clock: Option<Time>,
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
        .filter(allocation::status.eq(word("'RESERVED'")))
        .filter(allocation::expire_time.le(at(clock)))
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
        .filter(allocation::status.eq(word("'RESERVED'")))
        .filter(allocation::expire_time.le(statement_timestamp().nullable()))
        .group_by(allocation::owner_id)
        .order(min(allocation::expire_time))
        .select(allocation::owner_id)
        .limit(limit)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// Buckets with due reserves, in the same way.
async fn oldest_of_buckets(mut db: &AsyncPgConnection, limit: i64) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = bucket_action::table
        .filter(bucket_action::status.eq(word("'CREATED'")))
        .filter(bucket_action::expire_time.le(statement_timestamp().nullable()))
        .group_by(bucket_action::owner_id)
        .order(min(bucket_action::expire_time))
        .select(bucket_action::owner_id)
        .limit(limit)
        .load(&mut db)
        .await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}

/// The given clock, or the database's.
#[diesel::dsl::auto_type]
fn at(clock: Option<Time>) -> _ {
    let clock: Option<DateTime<Utc>> = clock.map(Time::to_chrono);
    coalesce(
        clock.into_sql::<Nullable<Timestamptz>>(),
        statement_timestamp(),
    )
}

/// A word that stands in the text: as a parameter it would keep the partial indexes from every plan that is made once for
/// all parameters, and the statement would be planned anew each time.
fn word(quoted: &'static str) -> SqlLiteral<Text> {
    sql(quoted)
}

/// Whether a filter lets everything pass.
fn none(filter: &[Uuid]) -> AsExprOf<bool, Bool> {
    filter.is_empty().into_sql::<Bool>()
}
