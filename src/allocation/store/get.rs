//! Records by id: all that are asked for at the same time, in one statement.

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, BigInt, Bool, Timestamptz};
use diesel::{QueryResult, SelectableHelper};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Row;
use crate::allocation::model::{Record, Side};
use crate::db::coalesce::ReadMany;
use crate::db::pool::Pool;
use crate::db::read;
use crate::error::Result;
use crate::types::ids::{AllocationId, EnterpriseId, OwnerId};

/// An enterprise asks for a record, on whichever side of it it stands.
#[derive(Clone, Copy, Debug)]
pub(in crate::allocation) struct Asked {
    pub(in crate::allocation) enterprise: EnterpriseId,
    pub(in crate::allocation) id: AllocationId,
}

/// What was found.
#[derive(Debug)]
pub(in crate::allocation) struct Found {
    /// Whether the enterprise that asks has a licence; `None` if there is no such enterprise.
    pub(in crate::allocation) licensed: Option<bool>,
    /// The record's owner, if the record was due: it is to be released before it is shown.
    pub(in crate::allocation) due: Vec<OwnerId>,
    pub(in crate::allocation) record: Option<Record>,
}

/// Reads records by id.
#[derive(Debug)]
pub(in crate::allocation) struct Records(pub(in crate::allocation) Pool);

impl ReadMany for Records {
    type Key = Asked;
    type Value = Found;

    fn read(&self, keys: &[Asked]) -> impl Future<Output = Result<Vec<Result<Found>>>> + Send {
        get_all(&self.0, keys)
    }
}

/// What there is of each key, and who asks: one statement, and another for what is not the caller's own as a client.
async fn get_all(pool: &Pool, keys: &[Asked]) -> Result<Vec<Result<Found>>> {
    let rows = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let mut rows: Vec<Option<Known>> = keys.iter().map(|_| None).collect();
        let all: Vec<_> = (0..).zip(keys).collect();
        fill(&mut rows, load(db, Side::Client, &all).await?);
        let others: Vec<_> = all
            .into_iter()
            .zip(&rows)
            .filter_map(|(key, known)| {
                matches!(known, Some(Known { row: None, .. })).then_some(key)
            })
            .collect();
        if !others.is_empty() {
            fill(&mut rows, load(db, Side::Partner, &others).await?);
        }
        QueryResult::Ok(rows)
    })
    .await?;
    Ok(rows.into_iter().map(found).collect())
}

/// An enterprise that is there, and the record that it asks for.
struct Known {
    now: DateTime<Utc>,
    licensed: bool,
    row: Option<Row>,
}

fn fill(rows: &mut [Option<Known>], answers: Vec<(i64, DateTime<Utc>, bool, Option<Row>)>) {
    for (number, now, licensed, row) in answers {
        let place = usize::try_from(number).ok();
        if let Some(place) = place.and_then(|place| rows.get_mut(place)) {
            *place = Some(Known { now, licensed, row });
        }
    }
}

fn found(known: Option<Known>) -> Result<Found> {
    let mut due = Vec::new();
    let (mut licensed, mut record) = (None, None);
    if let Some(known) = known {
        licensed = Some(known.licensed);
        if let Some(row) = known.row {
            if row.is_due(Some(known.now.into())) {
                due.push(OwnerId(row.owner_id));
            }
            record = Some(Record::try_from(row)?);
        }
    }
    Ok(Found {
        licensed,
        due,
        record,
    })
}

async fn load(
    mut db: &AsyncPgConnection,
    side: Side,
    keys: &[(i64, &Asked)],
) -> QueryResult<Vec<(i64, DateTime<Utc>, bool, Option<Row>)>> {
    let query = GetQuery {
        columns: Option::<Row>::as_select(),
        side,
        numbers: keys.iter().map(|(number, _)| *number).collect(),
        enterprises: keys.iter().map(|(_, key)| key.enterprise.0).collect(),
        ids: keys.iter().map(|(_, key)| key.id.0).collect(),
    };
    query.load(&mut db).await
}

/// Each key's number, the clock, whether the enterprise has a licence, and the record if there is one for it; nothing for
/// an enterprise that is not there.
struct GetQuery {
    columns: AsSelect<Option<Row>, Pg>,
    side: Side,
    numbers: Vec<i64>,
    enterprises: Vec<Uuid>,
    ids: Vec<Uuid>,
}

impl QueryFragment<Pg> for GetQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT k.n, statement_timestamp(), e.oes_licensed, ");
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(" FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.numbers)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<sql_types::Uuid>, _>(&self.enterprises)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<sql_types::Uuid>, _>(&self.ids)?;
        out.push_sql(match self.side {
            Side::Client => {
                r#") k(n, enterprise_id, id)
                JOIN "enterprise" e ON e."id" = k.enterprise_id
                LEFT JOIN "allocation" ON "allocation"."owner_id" = k.enterprise_id AND "allocation"."id" = k.id"#
            }
            // By the record's own id, through the index that is for nothing else: a partner may have more connections than
            // could be looked through. LIMIT keeps any plan to that order.
            Side::Partner => {
                r#") k(n, enterprise_id, id)
                JOIN "enterprise" e ON e."id" = k.enterprise_id
                CROSS JOIN LATERAL (
                    SELECT * FROM "allocation" a WHERE uuid_send(a."id") = uuid_send(k.id) LIMIT 1
                ) "allocation"
                JOIN "connection" c ON c."id" = "allocation"."connection_id"
                    AND c."partner_enterprise_id" = k.enterprise_id"#
            }
        });
        Ok(())
    }
}

impl Query for GetQuery {
    type SqlType = (
        BigInt,
        Timestamptz,
        Bool,
        SqlTypeOf<AsSelect<Option<Row>, Pg>>,
    );
}

/// Prepared once for each side.
impl QueryId for GetQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
