//! Records by id: all that are asked for at the same time, in one statement.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, BigInt, Timestamptz};
use diesel::{QueryResult, SelectableHelper};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use super::Row;
use crate::allocation::model::{Record, Side};
use crate::db::coalesce::ReadMany;
use crate::db::pool::Pool;
use crate::db::{read, standing};
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

/// What there is of each key, and who asks: one round trip, and another for what is not the caller's own as a client.
async fn get_all(pool: &Pool, keys: &[Asked]) -> Result<Vec<Result<Found>>> {
    let (licenses, rows) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let enterprises = keys.iter().map(|key| key.enterprise);
        let numbered: Vec<_> = (0..).zip(keys).collect();
        let (licenses, mut rows) = try_join!(
            standing::licenses(db, enterprises),
            load(db, Side::Client, &numbered)
        )?;
        let is_found: HashSet<i64> = rows.iter().map(|(number, ..)| *number).collect();
        let others: Vec<_> = numbered
            .into_iter()
            .filter(|(number, _)| !is_found.contains(number))
            .collect();
        if !others.is_empty() {
            rows.extend(load(db, Side::Partner, &others).await?);
        }
        QueryResult::Ok((licenses, rows))
    })
    .await?;
    let mut rows: HashMap<i64, (DateTime<Utc>, Row)> = rows
        .into_iter()
        .map(|(number, now, row)| (number, (now, row)))
        .collect();
    let found = (0..).zip(keys).map(|(number, key)| {
        let mut due = Vec::new();
        let record = match rows.remove(&number) {
            None => None,
            Some((now, row)) => {
                if row.is_due(Some(now.into())) {
                    due.push(OwnerId(row.owner_id));
                }
                Some(Record::try_from(row)?)
            }
        };
        Ok(Found {
            licensed: licenses.get(&key.enterprise).copied(),
            due,
            record,
        })
    });
    Ok(found.collect())
}

async fn load(
    mut db: &AsyncPgConnection,
    side: Side,
    keys: &[(i64, &Asked)],
) -> QueryResult<Vec<(i64, DateTime<Utc>, Row)>> {
    let query = GetQuery {
        columns: Row::as_select(),
        side,
        numbers: keys.iter().map(|(number, _)| *number).collect(),
        enterprises: keys.iter().map(|(_, key)| key.enterprise.0).collect(),
        ids: keys.iter().map(|(_, key)| key.id.0).collect(),
    };
    query.load(&mut db).await
}

/// Each key's number, the clock, and the record; nothing for a key that leads to none.
struct GetQuery {
    columns: AsSelect<Row, Pg>,
    side: Side,
    numbers: Vec<i64>,
    enterprises: Vec<Uuid>,
    ids: Vec<Uuid>,
}

impl QueryFragment<Pg> for GetQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT k.n, statement_timestamp(), ");
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
                JOIN "allocation" ON "allocation"."owner_id" = k.enterprise_id AND "allocation"."id" = k.id"#
            }
            // By the record's own id: a partner may have more connections than could be looked through. The fence keeps
            // any plan to that order.
            Side::Partner => {
                r#") k(n, enterprise_id, id)
                CROSS JOIN LATERAL (SELECT * FROM "allocation" a WHERE a."id" = k.id OFFSET 0) "allocation"
                JOIN "connection" c ON c."id" = "allocation"."connection_id"
                    AND c."partner_enterprise_id" = k.enterprise_id"#
            }
        });
        Ok(())
    }
}

impl Query for GetQuery {
    type SqlType = (BigInt, Timestamptz, SqlTypeOf<AsSelect<Row, Pg>>);
}

/// Prepared once for each side.
impl QueryId for GetQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
