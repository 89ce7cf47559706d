//! The SQL of the service's reads.

mod get;
mod list;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use crate::allocation::model::{List, Record, Side, SortField};
use crate::allocation::store::list::ListQuery;
use crate::db::due::{self, Part};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::{allocation, connection};
use crate::db::standing::{self, Standing};
use crate::error::{Error, Result};
use crate::ledger::model::{Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An allocation as it is stored, without what only the ledger needs.
#[derive(HasQuery)]
#[diesel(table_name = allocation, check_for_backend(Pg))]
pub(super) struct Row {
    owner_id: Uuid,
    id: Uuid,
    kind: String,
    status: String,
    currency: String,
    quantity: Decimal,
    connection_id: Uuid,
    client_id: Uuid,
    partner_id: Uuid,
    client_external_id: String,
    partner_external_id: Option<String>,
    initiated_by: String,
    notes: Option<String>,
    reason: Option<String>,
    expire_time: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    /// Whether it is shown as open although it was due.
    fn is_due(&self, clock: Option<Time>) -> bool {
        let is_past = |end: DateTime<Utc>| clock.is_some_and(|clock| Time::from(end) <= clock);
        self.status == Status::Reserved.as_str() && self.expire_time.is_some_and(is_past)
    }
}

impl TryFrom<Row> for Record {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown =
            |what: &str| Error::internal(format!("allocation {}: unknown {what}", row.id));
        Ok(Self {
            id: AllocationId(row.id),
            direction: Direction::parse(&row.kind).ok_or_else(|| unknown("type"))?,
            status: Status::parse(&row.status).ok_or_else(|| unknown("status"))?,
            unit: Unit::stored(&row.currency),
            quantity: Amount::from_decimal(row.quantity).ok_or_else(|| unknown("quantity"))?,
            connection: ConnectionId(row.connection_id),
            client: ClientId(row.client_id),
            partner: PartnerId(row.partner_id),
            client_external_id: row.client_external_id,
            partner_external_id: row.partner_external_id,
            initiated_by: row.initiated_by,
            notes: row.notes,
            reason: row.reason,
            expire_time: row.expire_time.map(Time::from),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub(super) use get::{Asked, Found, Records};

/// What a list found.
#[derive(Debug)]
pub(super) struct Listed {
    /// The enterprise that asks, if it exists.
    pub standing: Option<Standing>,
    /// Owners in whose part of this something was due: to be released, and the list to be read again by the same clock.
    pub due: Vec<OwnerId>,
    /// The page and one more.
    pub records: Vec<Record>,
}

/// A page of a list and one more, and what was due at this clock (without one, now): one round trip.
pub(super) async fn list(pool: &Pool, list: &List, clock: Option<Time>) -> Result<Listed> {
    let (standing, mut due, rows) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        // Sent in this order: the clock is looked at before the records are.
        try_join!(
            biased;
            standing::find(db, list.enterprise),
            due_in(db, list, clock),
            load(db, list)
        )
    })
    .await?;
    // What was being created when the due ones were looked for may be shown by now, and have been due already.
    let clock = clock.or(standing.map(|standing| standing.clock));
    let shown_due = rows.iter().filter(|row| row.is_due(clock));
    due.extend(shown_due.map(|row| OwnerId(row.owner_id)));
    due.sort_unstable();
    due.dedup();
    let records = rows
        .into_iter()
        .map(Record::try_from)
        .collect::<Result<_>>()?;
    Ok(Listed {
        standing,
        due,
        records,
    })
}

/// What was due in the list's part. Where such a record is on its page whether it is stored as open or as released, the
/// page itself shows what was due: nobody looks for more.
async fn due_in(
    db: &AsyncPgConnection,
    list: &List,
    clock: Option<Time>,
) -> QueryResult<Vec<OwnerId>> {
    if !list.statuses.contains(&Status::Released) && list.order.field != SortField::UpdatedAt {
        return Ok(Vec::new());
    }
    let part = Part {
        connections: &list.connections,
        clients: &list.clients,
        partners: &list.partners,
    };
    match list.side {
        Side::Client => due::of_client(db, list.enterprise, clock).await,
        Side::Partner => due::of_partner(db, list.enterprise, part, clock).await,
    }
}

async fn load(mut db: &AsyncPgConnection, list: &List) -> QueryResult<Vec<Row>> {
    ListQuery::new(list).load(&mut db).await
}

/// Where a partner's verdict leads: the enterprise that asks, and the client's enterprise if the asking one stands on
/// either side of the connection. A stranger's verdict is over here: it must not wait for the client's lock, nor tell by
/// its time that there is such a connection. A connection never changes its ends.
pub(super) async fn route(
    pool: &Pool,
    enterprise: EnterpriseId,
    connection: ConnectionId,
) -> Result<(Option<Standing>, Option<EnterpriseId>)> {
    let (standing, client) = read::one(pool, async |db: &mut AsyncPgConnection| {
        let db = &*db;
        try_join!(
            standing::find(db, enterprise),
            client_of(db, connection, enterprise)
        )
    })
    .await?;
    Ok((standing, client.map(EnterpriseId)))
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
