//! Records by id: all that are asked for at the same time, in one statement.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, BigInt, Timestamptz};
use diesel::{QueryResult, SelectableHelper};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::try_join;
use uuid::Uuid;

use super::{Found, Row};
use crate::allocation::model::Record;
use crate::db::coalesce::ReadMany;
use crate::db::pool::Pool;
use crate::db::{read, standing};
use crate::error::Result;
use crate::ledger::model::Status;
use crate::types::ids::{AllocationId, EnterpriseId, OwnerId};

/// An enterprise asks for a record, on whichever side of it it stands.
#[derive(Clone, Copy, Debug)]
pub(in crate::allocation) struct Asked {
    pub(in crate::allocation) enterprise: EnterpriseId,
    pub(in crate::allocation) id: AllocationId,
}

/// Reads records by id.
#[derive(Debug)]
pub(in crate::allocation) struct Records(pub(in crate::allocation) Pool);

impl ReadMany for Records {
    type Key = Asked;
    type Value = Found<Option<Record>>;

    fn read(
        &self,
        keys: &[Asked],
    ) -> impl Future<Output = Result<Vec<Result<Found<Option<Record>>>>>> + Send {
        get_all(&self.0, keys)
    }
}

/// What there is of each key, and who asks: one round trip.
async fn get_all(pool: &Pool, keys: &[Asked]) -> Result<Vec<Result<Found<Option<Record>>>>> {
    let (standings, rows) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        try_join!(
            standing::find_all(db, keys.iter().map(|key| key.enterprise)),
            load(db, keys)
        )
    })
    .await?;
    let mut rows: HashMap<i64, (DateTime<Utc>, Row)> = rows
        .into_iter()
        .map(|(number, now, row)| (number, (now, row)))
        .collect();
    let found = (1..).zip(keys).map(|(number, key)| {
        let mut due = Vec::new();
        let record = match rows.remove(&number) {
            None => None,
            Some((now, row)) => {
                let owner = OwnerId(row.owner_id);
                let record = Record::try_from(row)?;
                let is_due = record.expire_time.is_some_and(|time| time <= now.into());
                if record.status == Status::Reserved && is_due {
                    due.push(owner);
                }
                Some(record)
            }
        };
        Ok(Found {
            standing: standings.get(&key.enterprise).copied(),
            due,
            found: record,
        })
    });
    Ok(found.collect())
}

async fn load(
    mut db: &AsyncPgConnection,
    keys: &[Asked],
) -> QueryResult<Vec<(i64, DateTime<Utc>, Row)>> {
    let query = GetQuery {
        columns: Row::as_select(),
        enterprises: keys.iter().map(|key| key.enterprise.0).collect(),
        ids: keys.iter().map(|key| key.id.0).collect(),
    };
    query.load(&mut db).await
}

/// Each key's number from 1, the clock, and the record; nothing for a key that leads to none.
struct GetQuery {
    columns: AsSelect<Row, Pg>,
    enterprises: Vec<Uuid>,
    ids: Vec<Uuid>,
}

impl QueryFragment<Pg> for GetQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT k.n, statement_timestamp(), ");
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(" FROM unnest(");
        out.push_bind_param::<Array<sql_types::Uuid>, _>(&self.enterprises)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<sql_types::Uuid>, _>(&self.ids)?;
        // The client's side by its owner, else the partner's by the record's own id: a partner may have more connections
        // than could be looked through. The fence keeps any plan to that order.
        out.push_sql(
            r#") WITH ORDINALITY k(enterprise_id, id, n) CROSS JOIN LATERAL (
            SELECT a.* FROM "allocation" a WHERE a."owner_id" = k.enterprise_id AND a."id" = k.id
            UNION ALL
            SELECT a.* FROM (SELECT * FROM "allocation" b WHERE b."id" = k.id OFFSET 0) a
            JOIN "connection" c ON c."id" = a."connection_id"
            WHERE c."partner_enterprise_id" = k.enterprise_id
            LIMIT 1) "allocation""#,
        );
        Ok(())
    }
}

impl Query for GetQuery {
    type SqlType = (BigInt, Timestamptz, SqlTypeOf<AsSelect<Row, Pg>>);
}

/// Prepared once.
impl QueryId for GetQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
