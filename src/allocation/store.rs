//! The SQL of the service's reads.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use tokio::try_join;
use uuid::Uuid;

use crate::allocation::model::{ClientList, Cursor, Record, SortField, SortKey};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::{allocation, connection};
use crate::db::standing::{self, Standing};
use crate::error::{Error, Result};
use crate::ledger::model::{Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{
    AllocationId, ClientId, ConnectionId, EnterpriseId, PartnerId, ordered_id,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An allocation as it is stored, without what only the ledger needs.
#[derive(HasQuery)]
#[diesel(table_name = allocation, check_for_backend(Pg))]
struct Row {
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

/// One record of an enterprise, on whichever side it stands, and the enterprise's standing: one round trip.
pub(super) async fn get(
    pool: &Pool,
    enterprise: EnterpriseId,
    id: AllocationId,
) -> Result<(Option<Standing>, Option<Record>)> {
    let (standing, row) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        try_join!(standing::find(db, enterprise), find(db, enterprise, id))
    })
    .await?;
    Ok((standing, row.map(Record::try_from).transpose()?))
}

async fn find(
    mut db: &AsyncPgConnection,
    enterprise: EnterpriseId,
    id: AllocationId,
) -> QueryResult<Option<Row>> {
    // Both sides start from the owner: its own, or those that its partners' connections name.
    let as_client = allocation::table
        .filter(allocation::owner_id.eq(enterprise.0))
        .filter(allocation::id.eq(id.0))
        .select(Row::as_select());
    let as_partner = connection::table
        .inner_join(
            allocation::table.on(allocation::owner_id
                .eq(connection::client_enterprise_id)
                .and(allocation::connection_id.eq(connection::id))),
        )
        .filter(connection::partner_enterprise_id.eq(enterprise.0))
        .filter(allocation::id.eq(id.0))
        .select(Row::as_select());
    as_client
        .union_all(as_partner)
        .get_result(&mut db)
        .await
        .optional()
}

/// A page of a client's records and one more, and the enterprise's standing: one round trip.
pub(super) async fn list(
    pool: &Pool,
    list: &ClientList,
) -> Result<(Option<Standing>, Vec<Record>)> {
    let (standing, rows) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        try_join!(standing::find(db, list.enterprise), load(db, list))
    })
    .await?;
    let records = rows
        .into_iter()
        .map(Record::try_from)
        .collect::<Result<_>>()?;
    Ok((standing, records))
}

/// Sorts by a column, then by id, and begins behind the cursor. A macro since each column has a type of its own.
macro_rules! sorted {
    ($query:ident, $column:path, $descending:expr, $after:expr) => {{
        let after = $after;
        match ($descending, after) {
            (false, None) => $query.order(($column.asc(), allocation::id.asc())),
            (true, None) => $query.order(($column.desc(), allocation::id.asc())),
            (false, Some((key, id))) => $query
                .filter($column.ge(key.clone()))
                .filter($column.gt(key).or(allocation::id.gt(id)))
                .order(($column.asc(), allocation::id.asc())),
            (true, Some((key, id))) => $query
                .filter($column.le(key.clone()))
                .filter($column.lt(key).or(allocation::id.gt(id)))
                .order(($column.desc(), allocation::id.asc())),
        }
    }};
}

/// The texts that this makes are few and bounded, since each is prepared once per connection and kept: a filter that an
/// index serves appears only when it is set; the others stand there always and let everything pass while empty.
async fn load(mut db: &AsyncPgConnection, list: &ClientList) -> QueryResult<Vec<Row>> {
    let after = list.page.after();
    let ids = id_range(list);
    let directions: Vec<&str> = list
        .directions
        .iter()
        .map(|direction| direction.as_str())
        .collect();
    let statuses: Vec<&str> = list.statuses.iter().map(|status| status.as_str()).collect();
    let units: Vec<&str> = list.units.iter().map(Unit::as_str).collect();
    let partners: Vec<Uuid> = list.partners.iter().map(|partner| partner.0).collect();
    let mut query = Row::query()
        .filter(allocation::owner_id.eq(list.enterprise.0))
        .filter(allocation::id.between(*ids.start(), *ids.end()))
        .filter(
            directions
                .is_empty()
                .into_sql::<Bool>()
                .or(allocation::kind.eq_any(directions)),
        )
        .filter(
            statuses
                .is_empty()
                .into_sql::<Bool>()
                .or(allocation::status.eq_any(statuses)),
        )
        .filter(
            units
                .is_empty()
                .into_sql::<Bool>()
                .or(allocation::currency.eq_any(units)),
        )
        .filter(
            partners
                .is_empty()
                .into_sql::<Bool>()
                .or(allocation::partner_id.eq_any(partners)),
        )
        .limit(list.page.fetch())
        .offset(list.page.skip())
        .into_boxed::<Pg>();
    if !list.ids.is_empty() {
        query = query.filter(allocation::id.eq_any(list.ids.iter().map(|id| id.0)));
    }
    if !list.connections.is_empty() {
        query =
            query.filter(allocation::connection_id.eq_any(list.connections.iter().map(|id| id.0)));
    }
    if !list.client_external_ids.is_empty() {
        query = query.filter(allocation::client_external_id.eq_any(&list.client_external_ids));
    }
    let descending = list.order.descending;
    let query = match list.order.field {
        // The cursor is in the range of ids already.
        SortField::Id if descending => query.order(allocation::id.desc()),
        SortField::Id => query.order(allocation::id.asc()),
        SortField::UpdatedAt => {
            sorted!(
                query,
                allocation::updated_at,
                descending,
                after.and_then(updated_at_cursor)
            )
        }
        SortField::Quantity => {
            sorted!(
                query,
                allocation::quantity,
                descending,
                after.and_then(quantity_cursor)
            )
        }
        SortField::Currency => {
            sorted!(
                query,
                allocation::currency,
                descending,
                after.and_then(currency_cursor)
            )
        }
    };
    query.load(&mut db).await
}

/// Times of creation and, in the order of ids, the cursor, as bounds of the ids: within an owner they sort by creation,
/// down to the microsecond.
fn id_range(list: &ClientList) -> RangeInclusive<Uuid> {
    let mut from = list
        .created_from
        .map_or(Uuid::nil(), |time| ordered_id(time, [0; 8]));
    let mut to = list
        .created_to
        .map_or(Uuid::max(), |time| ordered_id(time, [0xff; 8]));
    if let (SortField::Id, Some(cursor)) = (list.order.field, list.page.after()) {
        let id = cursor.id.0.as_u128();
        if list.order.descending {
            to = to.min(Uuid::from_u128(id.saturating_sub(1)));
        } else {
            from = from.max(Uuid::from_u128(id.saturating_add(1)));
        }
    }
    from..=to
}

fn updated_at_cursor(cursor: &Cursor) -> Option<(DateTime<Utc>, Uuid)> {
    match &cursor.key {
        Some(SortKey::UpdatedAt(time)) => Some((time.to_chrono(), cursor.id.0)),
        _ => None,
    }
}

fn quantity_cursor(cursor: &Cursor) -> Option<(Decimal, Uuid)> {
    match &cursor.key {
        Some(SortKey::Quantity(text)) => Some((Decimal::from_str_exact(text).ok()?, cursor.id.0)),
        _ => None,
    }
}

fn currency_cursor(cursor: &Cursor) -> Option<(String, Uuid)> {
    match &cursor.key {
        Some(SortKey::Currency(text)) => Some((text.clone(), cursor.id.0)),
        _ => None,
    }
}
