//! Which owners have open reservations whose expire time has passed: these are to be released before they are shown.
//!
//! A read takes the database's clock once ([`crate::db::enterprise_status::EnterpriseStatus::clock`]) and looks for what had
//! expired by then. Once that is released it reads again by the same clock: so it ends, however fast further reservations
//! expire.
//!
//! ORDER BY and LIMIT lead a plan that is made for all parameters to an index by expire time: of an unknown clock the planner
//! assumes that a third of the open reservations have expired, and would rather read all that are open.

use std::sync::LazyLock;

use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use crate::db::statement::{SqlText, Statement};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};
use crate::types::time::Time;

/// Which connections of a partner's are looked at: AND between the filters, OR between the values of one; an empty one
/// lets every connection pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReservationFilter<'a> {
    pub(crate) connections: &'a [ConnectionId],
    pub(crate) clients: &'a [ClientId],
    pub(crate) partners: &'a [PartnerId],
}

/// The first expired reservation of a connection `c`. IS TRUE keeps the planner from the index of a connection's open
/// reservations, of which there may be many that have not expired.
const FIRST_OF_CONNECTION: &str = "SELECT FROM open_allocation a
    WHERE a.owner_id = c.client_enterprise_id AND (a.connection_id = c.id) IS TRUE
        AND a.expire_time <= coalesce(:clock, statement_timestamp())
    ORDER BY a.expire_time, a.id LIMIT 1";

/// The enterprise itself, if a reservation of its client had expired at this clock; without one, now.
pub(crate) async fn owners_of_client(
    db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(
            "SELECT owner_id FROM open_allocation
            WHERE owner_id = :enterprise AND expire_time <= coalesce(:clock, statement_timestamp())
            ORDER BY expire_time, id LIMIT 1",
        )
    });
    let statement = Statement::new(&TEXT)
        .bind("enterprise", enterprise.0)
        .bind("clock", clock);
    owners(db, statement).await
}

/// The owners of which a reservation for one of the enterprise's partners had expired at this clock; without one, now.
pub(crate) async fn owners_of_partner(
    db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    filter: ReservationFilter<'_>,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT DISTINCT c.client_enterprise_id
            FROM connection c CROSS JOIN LATERAL ({FIRST_OF_CONNECTION}) a
            WHERE c.partner_enterprise_id = :enterprise
                AND (:every_connection OR c.id = ANY(:connections))
                AND (:every_client OR c.client_id = ANY(:clients))
                AND (:every_partner OR c.partner_id = ANY(:partners))"
        ))
    });
    let connections: Vec<Uuid> = filter.connections.iter().map(|id| id.0).collect();
    let clients: Vec<Uuid> = filter.clients.iter().map(|id| id.0).collect();
    let partners: Vec<Uuid> = filter.partners.iter().map(|id| id.0).collect();
    let statement = Statement::new(&TEXT)
        .bind("enterprise", enterprise.0)
        .bind("every_connection", connections.is_empty())
        .bind("connections", connections)
        .bind("every_client", clients.is_empty())
        .bind("clients", clients)
        .bind("every_partner", partners.is_empty())
        .bind("partners", partners)
        .bind("clock", clock);
    owners(db, statement).await
}

/// The owner of this connection, if a reservation between its two sides had expired at this clock (without one, now) and
/// one of the sides is the enterprise's.
pub(crate) async fn owners_of_connection(
    db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    id: ConnectionId,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT c.client_enterprise_id
            FROM connection c CROSS JOIN LATERAL ({FIRST_OF_CONNECTION}) a
            WHERE c.id = :connection AND :enterprise IN (c.client_enterprise_id, c.partner_enterprise_id)"
        ))
    });
    let statement = Statement::new(&TEXT)
        .bind("connection", id.0)
        .bind("enterprise", enterprise.0)
        .bind("clock", clock);
    owners(db, statement).await
}

/// Owners of expired reservations, at most `limit` of each kind: enterprises, then buckets.
pub(crate) async fn oldest_owners(
    db: &AsyncPgConnection,
    limit: i64,
) -> QueryResult<(Vec<OwnerId>, Vec<OwnerId>)> {
    static ENTERPRISES: LazyLock<SqlText> =
        LazyLock::new(|| SqlText::new(&oldest_text("open_allocation")));
    static BUCKETS: LazyLock<SqlText> =
        LazyLock::new(|| SqlText::new(&oldest_text("open_bucket_action")));
    try_join!(
        owners(db, Statement::new(&ENTERPRISES).bind("limit", limit)),
        owners(db, Statement::new(&BUCKETS).bind("limit", limit))
    )
}

/// The owner of the oldest reservation comes first. All expired ones are looked at, so that an owner with many of them does
/// not hide the others. They are read in their order by themselves: grouping them by owner may read all open reservations
/// in the order of owners. The lower bound leaves nothing out: without statistics the planner assumes that a range has few
/// rows, and reads it by the index, but that a third of all lie below one bound.
fn oldest_text(table: &str) -> String {
    format!(
        "WITH due AS MATERIALIZED (
            SELECT owner_id, expire_time FROM {table}
            WHERE expire_time > '-infinity' AND expire_time <= statement_timestamp() ORDER BY expire_time
        )
        SELECT owner_id FROM due GROUP BY owner_id ORDER BY min(expire_time) LIMIT :limit"
    )
}

async fn owners(
    mut db: &AsyncPgConnection,
    statement: Statement<SqlUuid>,
) -> QueryResult<Vec<OwnerId>> {
    let owners: Vec<Uuid> = statement.load(&mut db).await?;
    Ok(owners.into_iter().map(OwnerId).collect())
}
