//! Records by id: all that are asked for at the same time, in one statement.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows::Row;
use crate::db::coalesce::ReadMany;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlTexts, Statement, select_list};
use crate::error::Result;
use crate::ledger::oes::model::AllocationRecord;
use crate::types::ids::{AllocationId, EnterpriseId, OwnerId};

/// A record, and the enterprise that asks for it as its client or as its partner.
#[derive(Clone, Copy, Debug)]
pub(in crate::allocation) struct AllocationKey {
    pub(in crate::allocation) enterprise: EnterpriseId,
    pub(in crate::allocation) id: AllocationId,
}

/// What was found by a key.
#[derive(Debug)]
pub(in crate::allocation) struct FoundAllocation {
    /// Whether the enterprise that asks has a licence; `None` if there is no such enterprise.
    pub(in crate::allocation) licensed: Option<bool>,
    /// The record's owner, if the record had expired: it is to be released before it is shown.
    pub(in crate::allocation) expired: Vec<OwnerId>,
    pub(in crate::allocation) record: Option<AllocationRecord>,
}

/// Reads records by id, many in one statement.
#[derive(Debug)]
pub(in crate::allocation) struct AllocationsById(pub(in crate::allocation) Pool);

impl ReadMany for AllocationsById {
    type Key = AllocationKey;
    type Value = FoundAllocation;

    fn read(
        &self,
        keys: &[AllocationKey],
    ) -> impl Future<Output = Result<Vec<Result<FoundAllocation>>>> + Send {
        get_all(&self.0, keys)
    }
}

/// What there is of each key, and who asks. Most that is asked for is open, and the enterprise's own: one statement looks
/// there, and another one wherever the rest may be. A record that is closed between the two is found by the second.
async fn get_all(pool: &Pool, keys: &[AllocationKey]) -> Result<Vec<Result<FoundAllocation>>> {
    let rows = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let mut rows: Vec<Option<KeyAnswer>> = keys.iter().map(|_| None).collect();
        let all: Vec<_> = (0..).zip(keys).collect();
        fill(&mut rows, load(db, WhereToLook::OwnOpen, &all).await?);
        let others: Vec<_> = all
            .into_iter()
            .zip(&rows)
            .filter_map(|(key, known)| {
                matches!(known, Some(KeyAnswer { row: None, .. })).then_some(key)
            })
            .collect();
        if !others.is_empty() {
            fill(&mut rows, load(db, WhereToLook::Any, &others).await?);
        }
        QueryResult::Ok(rows)
    })
    .await?;
    Ok(rows.into_iter().map(found).collect())
}

/// An enterprise that is there, and the record that it asks for.
struct KeyAnswer {
    now: DateTime<Utc>,
    licensed: bool,
    row: Option<Row>,
}

fn fill(rows: &mut [Option<KeyAnswer>], answers: Vec<(i64, DateTime<Utc>, bool, Option<Row>)>) {
    for (number, now, licensed, row) in answers {
        let place = usize::try_from(number).ok();
        if let Some(place) = place.and_then(|place| rows.get_mut(place)) {
            *place = Some(KeyAnswer { now, licensed, row });
        }
    }
}

fn found(known: Option<KeyAnswer>) -> Result<FoundAllocation> {
    let mut expired = Vec::new();
    let (mut licensed, mut record) = (None, None);
    if let Some(known) = known {
        licensed = Some(known.licensed);
        if let Some(row) = known.row {
            if row.is_expired(Some(known.now.into())) {
                expired.push(OwnerId(row.owner_id));
            }
            record = Some(AllocationRecord::try_from(row)?);
        }
    }
    Ok(FoundAllocation {
        licensed,
        expired,
        record,
    })
}

/// Where records are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WhereToLook {
    /// Among those that are open and of which the enterprise is the client.
    OwnOpen,
    /// Among all of which it is the client or the partner.
    Any,
}

async fn load(
    mut db: &AsyncPgConnection,
    lookup: WhereToLook,
    keys: &[(i64, &AllocationKey)],
) -> QueryResult<Vec<(i64, DateTime<Utc>, bool, Option<Row>)>> {
    statement(lookup, keys).load(&mut db).await
}

fn statement(lookup: WhereToLook, keys: &[(i64, &AllocationKey)]) -> Statement<FoundRowSql> {
    static TEXTS: SqlTexts<WhereToLook> = SqlTexts::new(text);

    let (numbers, keys): (Vec<_>, Vec<&AllocationKey>) = keys.iter().copied().unzip();
    let enterprises: Vec<_> = keys.iter().map(|key| key.enterprise.0).collect();
    let ids: Vec<_> = keys.iter().map(|key| key.id.0).collect();
    let first_id = ids.iter().min().copied().unwrap_or_default();
    let last_id = ids.iter().max().copied().unwrap_or_default();
    Statement::new(&TEXTS.get(lookup))
        .bind("numbers", numbers)
        .bind("enterprises", enterprises)
        .bind("ids", ids)
        .bind_if_named("first_id", first_id)
        .bind_if_named("last_id", last_id)
}

/// Each key's number, the clock, whether the enterprise has a licence, and the record if there is one for it; nothing for
/// an enterprise that does not exist.
type FoundRowSql = (
    BigInt,
    Timestamptz,
    Bool,
    SqlTypeOf<AsSelect<Option<Row>, Pg>>,
);

fn text(lookup: &WhereToLook) -> String {
    let columns = select_list::<Row>();
    // By the primary key, as the ledger's lookups.
    let records = match lookup {
        WhereToLook::OwnOpen => String::from(
            r#"LEFT JOIN LATERAL (
            SELECT * FROM "open_allocation" a
            WHERE a."owner_id" = k.enterprise_id AND a."id" >= k.id AND a."id" <= k.id ORDER BY a."id" LIMIT 1
        ) "allocation" ON true"#,
        ),
        // The id does not say whose it is, and a partner may have more clients than could be looked through. By the first
        // and last id, Postgres leaves out partitions when the statement begins, rather than to open each of them.
        WhereToLook::Any => {
            format!(
                r#"CROSS JOIN LATERAL (
            SELECT a."owner_id" FROM "allocation_key" a WHERE a."id" >= k.id AND a."id" <= k.id ORDER BY a."id" LIMIT 1
        ) o CROSS JOIN LATERAL (
            SELECT {columns} FROM "allocation"
            WHERE "allocation"."owner_id" = o.owner_id AND "allocation"."id" >= k.id AND "allocation"."id" <= k.id
              AND "allocation"."id" BETWEEN :first_id AND :last_id ORDER BY "allocation"."id" LIMIT 1
        ) "allocation"
        LEFT JOIN "connection" c ON c."id" = "allocation"."connection_id" AND c."partner_enterprise_id" = k.enterprise_id
        WHERE o.owner_id = k.enterprise_id OR c."id" IS NOT NULL"#
            )
        }
    };
    format!(
        r#"SELECT k.n, statement_timestamp(), e.oes_licensed, {columns}
        FROM unnest(:numbers, :enterprises, :ids) k(n, enterprise_id, id)
        JOIN "enterprise" e ON e."id" = k.enterprise_id
        {records}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_either_text_has_a_value() {
        for lookup in [WhereToLook::OwnOpen, WhereToLook::Any] {
            statement(lookup, &[]).sql().expect("complete");
        }
    }
}
