//! Records by id: all that are asked for at the same time, in one statement.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows::Row;
use crate::allocation::model::AllocationSide;
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

/// What there is of each key, and who asks: one statement, and another for those of which the enterprise is not the client.
async fn get_all(pool: &Pool, keys: &[AllocationKey]) -> Result<Vec<Result<FoundAllocation>>> {
    let rows = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let db = &*connection;
        let mut rows: Vec<Option<KeyAnswer>> = keys.iter().map(|_| None).collect();
        let all: Vec<_> = (0..).zip(keys).collect();
        fill(&mut rows, load(db, AllocationSide::Client, &all).await?);
        let others: Vec<_> = all
            .into_iter()
            .zip(&rows)
            .filter_map(|(key, known)| {
                matches!(known, Some(KeyAnswer { row: None, .. })).then_some(key)
            })
            .collect();
        if !others.is_empty() {
            fill(&mut rows, load(db, AllocationSide::Partner, &others).await?);
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

async fn load(
    mut db: &AsyncPgConnection,
    side: AllocationSide,
    keys: &[(i64, &AllocationKey)],
) -> QueryResult<Vec<(i64, DateTime<Utc>, bool, Option<Row>)>> {
    statement(side, keys).load(&mut db).await
}

fn statement(side: AllocationSide, keys: &[(i64, &AllocationKey)]) -> Statement<FoundRowSql> {
    static TEXTS: SqlTexts<AllocationSide> = SqlTexts::new(text);

    let (numbers, keys): (Vec<_>, Vec<&AllocationKey>) = keys.iter().copied().unzip();
    let enterprises: Vec<_> = keys.iter().map(|key| key.enterprise.0).collect();
    let ids: Vec<_> = keys.iter().map(|key| key.id.0).collect();
    Statement::new(&TEXTS.get(side))
        .bind("numbers", numbers)
        .bind("enterprises", enterprises)
        .bind("ids", ids)
}

/// Each key's number, the clock, whether the enterprise has a licence, and the record if there is one for it; nothing for
/// an enterprise that does not exist.
type FoundRowSql = (
    BigInt,
    Timestamptz,
    Bool,
    SqlTypeOf<AsSelect<Option<Row>, Pg>>,
);

/// The record of `k` that this owner has, by the primary key, as the ledger's lookups.
fn record(owner: &str) -> String {
    format!(
        r#"
            SELECT * FROM "allocation" a WHERE a."owner_id" = {owner} AND a."id" >= k.id AND a."id" <= k.id
            ORDER BY a."id" LIMIT 1
        "#
    )
}

fn text(side: &AllocationSide) -> String {
    let columns = select_list::<Row>();
    let records = match side {
        AllocationSide::Client => {
            let record = record("k.enterprise_id");
            format!(r#"LEFT JOIN LATERAL ({record}) "allocation" ON true"#)
        }
        // The id does not say whose it is, and a partner may have more clients than could be looked through.
        AllocationSide::Partner => {
            let record = record("o.owner_id");
            format!(
                r#"CROSS JOIN LATERAL (
            SELECT a."owner_id" FROM "allocation_key" a WHERE a."id" >= k.id AND a."id" <= k.id ORDER BY a."id" LIMIT 1
        ) o CROSS JOIN LATERAL ({record}) "allocation"
        JOIN "connection" c ON c."id" = "allocation"."connection_id"
            AND c."partner_enterprise_id" = k.enterprise_id"#
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
        for side in [AllocationSide::Client, AllocationSide::Partner] {
            statement(side, &[]).sql().expect("complete");
        }
    }
}
