//! Buckets with what is in them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::columns::{CLOCK, amount, unknown};
use crate::bucket::model::{
    Accumulate, Accumulated, BucketDetails, BucketFilter, BucketRead, BucketRecord, BucketSums,
    List,
};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, SqlTexts, Statement};
use crate::error::Result;
use crate::ledger::account::Balance;
use crate::ledger::bucket::model::{BucketStatus, UsageType, Validity};
use crate::types::ids::{AccountId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns of a bucket `b`, of its account `a`, and whether a reserve of it has expired
/// but is stored as open.
const COLUMNS: &str = "b.owner_id, b.id, b.name, b.description, b.status, b.usage_type, b.unit, b.valid_from, b.valid_to,
    b.details::text, b.version, b.created_at,
    coalesce(a.available, 0), coalesce(a.held, 0), coalesce(a.version, 0), coalesce(a.reservation_count, 0),
    d.expired IS NOT NULL";

/// Behind a bucket `b`: its account, unless nothing was ever in it, and one expired reserve that is
/// stored as open. LIMIT keeps any plan to looking
/// these up for each bucket.
fn joins() -> String {
    format!(
        "LEFT JOIN LATERAL (SELECT available, held, version, reservation_count FROM account
            WHERE owner_id = b.owner_id AND account_id = '{own}' AND unit = b.unit LIMIT 1) a ON true
        LEFT JOIN LATERAL (SELECT true AS expired FROM open_bucket_action
            WHERE owner_id = b.owner_id AND expire_time <= {CLOCK}
            ORDER BY expire_time, id LIMIT 1) d ON true",
        own = AccountId::OWN
    )
}

/// `COLUMNS` as SQL types.
type BucketRowSql = (
    SqlUuid,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Text,
    Nullable<Text>,
    Text,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Text,
    BigInt,
    Timestamptz,
    Numeric,
    Numeric,
    BigInt,
    BigInt,
    Bool,
);

/// `COLUMNS` as they are read.
#[derive(Queryable)]
struct Row {
    owner: Uuid,
    id: String,
    name: Option<String>,
    description: Option<String>,
    status: String,
    usage_type: Option<String>,
    unit: String,
    valid_from: Option<DateTime<Utc>>,
    valid_to: Option<DateTime<Utc>>,
    details: String,
    version: i64,
    created_at: DateTime<Utc>,
    available: Decimal,
    held: Decimal,
    account_version: i64,
    reservation_count: i64,
    has_expired: bool,
}

impl Row {
    fn expired_owner(&self) -> Option<OwnerId> {
        self.has_expired.then_some(OwnerId(self.owner))
    }

    /// The bucket, with the status that it has at this clock.
    fn record(self, clock: Time) -> Result<BucketRecord> {
        let status = BucketStatus::parse(&self.status).ok_or_else(|| unknown("status"))?;
        let usage_type = match &self.usage_type {
            Some(text) => Some(UsageType::parse(text).ok_or_else(|| unknown("usage type"))?),
            None => None,
        };
        let validity = Validity {
            from: self.valid_from.map(Into::into),
            to: self.valid_to.map(Into::into),
        };
        Ok(BucketRecord {
            id: self.id,
            name: self.name,
            description: self.description,
            status: status.at(validity, clock),
            usage_type,
            unit: Unit::stored(&self.unit),
            balance: Balance {
                available: amount(self.available)?,
                held: amount(self.held)?,
                version: self.account_version,
                reservation_count: self.reservation_count,
            },
            validity,
            version: self.version + self.account_version,
            details: BucketDetails::parse(&self.details)?,
            created_at: self.created_at.into(),
        })
    }
}

/// The bucket that is this owner, if there is one.
pub(in crate::bucket) async fn bucket(
    pool: &Pool,
    owner: OwnerId,
    clock: Option<Time>,
) -> Result<BucketRead<Option<BucketRecord>>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT {CLOCK}, {COLUMNS} FROM bucket b {joins} WHERE b.owner_id = :owner",
            joins = joins()
        ))
    });
    let row: Option<(DateTime<Utc>, Row)> = read::one(pool, async |db: &mut AsyncPgConnection| {
        let statement = Statement::<(Timestamptz, BucketRowSql)>::new(&TEXT)
            .bind("clock", clock)
            .bind("owner", owner.0);
        statement.get_result(db).await.optional()
    })
    .await?;
    let Some((clock, row)) = row else {
        return Ok(BucketRead {
            found: None,
            clock,
            expired: Vec::new(),
        });
    };
    let clock = Time::from(clock);
    Ok(BucketRead {
        expired: row.expired_owner().into_iter().collect(),
        found: Some(row.record(clock)?),
        clock: Some(clock),
    })
}

/// What a list found.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bucket) struct BucketPage {
    /// The page's buckets and one more.
    pub(in crate::bucket) records: Vec<BucketRecord>,
    /// The number of buckets on all pages.
    pub(in crate::bucket) total: i64,
}

/// A page of the tenant's buckets and one more, and how many there are.
pub(in crate::bucket) async fn buckets(
    pool: &Pool,
    tenant: TenantId,
    list: &List,
    clock: Option<Time>,
) -> Result<BucketRead<BucketPage>> {
    let rows: Vec<(i64, DateTime<Utc>, Option<Row>)> =
        read::one(pool, async |db: &mut AsyncPgConnection| {
            list_statement(tenant, list, clock).load(db).await
        })
        .await?;
    let mut read = BucketRead {
        found: BucketPage {
            records: Vec::with_capacity(rows.len()),
            total: 0,
        },
        clock,
        expired: Vec::new(),
    };
    for (total, clock, row) in rows {
        let clock = Time::from(clock);
        (read.found.total, read.clock) = (total, Some(clock));
        if let Some(row) = row {
            read.expired.extend(row.expired_owner());
            read.found.records.push(row.record(clock)?);
        }
    }
    Ok(read)
}

/// The filter that a list of buckets is found by: the one that leaves the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BucketLead {
    PartyAccount,
    Product,
    UsageType,
    /// Any status but EXPIRED, which has a row of its own.
    Status,
    /// Buckets that are stored as EXPIRED, and active ones past their end.
    Expired,
    Tenant,
}

/// What the text of a list depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BucketListShape {
    lead: BucketLead,
    /// Whether any other filter is set. Then all of them stand in the text, and let everything pass while they are NULL.
    has_other_filters: bool,
}

impl BucketListShape {
    fn of(filter: &BucketFilter) -> Self {
        let filters = [
            filter.product.is_some(),
            filter.party_account.is_some(),
            filter.status.is_some(),
            filter.usage_type.is_some(),
        ];
        Self {
            lead: BucketLead::of(filter),
            has_other_filters: filters.iter().filter(|is_set| **is_set).count() > 1,
        }
    }
}

impl BucketLead {
    fn of(filter: &BucketFilter) -> Self {
        match (filter.status, filter.usage_type) {
            _ if filter.party_account.is_some() => Self::PartyAccount,
            _ if filter.product.is_some() => Self::Product,
            (Some(BucketStatus::Expired), _) => Self::Expired,
            (None | Some(BucketStatus::Active), Some(_)) => Self::UsageType,
            (Some(_), _) => Self::Status,
            (None, None) => Self::Tenant,
        }
    }

    /// The conditions that an index serves. Where there are several, each finds a part of the list.
    fn conditions(self) -> Vec<String> {
        let ended = format!("b.valid_to < {CLOCK}");
        match self {
            Self::PartyAccount => {
                vec!["b.tenant = :tenant AND b.party_account_id = :party_account".into()]
            }
            Self::Product => vec!["k.tenant = :tenant AND k.product_id = :product".into()],
            Self::UsageType => vec!["b.tenant = :tenant AND b.usage_type = :usage_type".into()],
            Self::Status => vec![format!(
                "b.tenant = :tenant AND b.status = :status
                AND (b.status <> 'ACTIVE' OR b.valid_to IS NULL OR NOT {ended})"
            )],
            Self::Expired => vec![
                "b.tenant = :tenant AND b.status = 'EXPIRED'".into(),
                format!("b.tenant = :tenant AND b.status = 'ACTIVE' AND {ended}"),
            ],
            Self::Tenant => vec!["b.tenant = :tenant".into()],
        }
    }

    /// What stands in the text beside the lead, if any other filter is set.
    fn other_filters(self) -> String {
        let status_and_usage_type = format!(
            " AND (:status IS NULL OR :status =
                CASE WHEN b.status = 'ACTIVE' AND b.valid_to < {CLOCK} THEN 'EXPIRED' ELSE b.status END)
            AND (:usage_type IS NULL OR b.usage_type = :usage_type)"
        );
        match self {
            // LIMIT keeps any plan from reading all products.
            Self::PartyAccount => format!(
                "{status_and_usage_type} AND (:product IS NULL OR (
                    SELECT true FROM bucket_product p
                    WHERE p.owner_id = b.owner_id AND p.product_id = :product LIMIT 1
                ))"
            ),
            // A product and a party account lead wherever they are set.
            _ => status_and_usage_type,
        }
    }
}

fn list_statement(
    tenant: TenantId,
    list: &List,
    clock: Option<Time>,
) -> Statement<(BigInt, Timestamptz, Nullable<BucketRowSql>)> {
    static TEXTS: SqlTexts<BucketListShape> = SqlTexts::new(list_text);

    let (filter, page) = (&list.filter, &list.page);
    let (after_time, after_id) = match page.after() {
        Some(cursor) => (cursor.created_at, cursor.id.clone()),
        // Before everything.
        None => (Time::MIN, String::new()),
    };
    let status = filter.status.map(|status| status.as_str());
    let usage_type = filter.usage_type.map(|usage_type| usage_type.as_str());
    Statement::new(&TEXTS.get(BucketListShape::of(filter)))
        .bind("clock", clock)
        .bind("tenant", tenant.0)
        .bind("after_time", after_time)
        .bind("after_id", after_id)
        .bind("limit", page.fetch())
        .bind("offset", page.skip())
        .bind("limit_of_part", page.fetch() + page.skip())
        .bind_if_named("product", filter.product.clone())
        .bind_if_named("party_account", filter.party_account.clone())
        .bind_if_named("status", status)
        .bind_if_named("usage_type", usage_type)
}

fn list_text(shape: &BucketListShape) -> String {
    const BUCKETS: &str = "bucket b";
    /// Page by page in the order of the product's buckets.
    const OF_PRODUCT: &str = "bucket_product k CROSS JOIN LATERAL
        (SELECT * FROM bucket WHERE owner_id = k.owner_id LIMIT 1) b";
    /// All of them, in whichever way is cheapest.
    const ALL_OF_PRODUCT: &str =
        "bucket_product k JOIN bucket b ON b.owner_id = k.owner_id AND b.tenant = k.tenant";
    let (from, counted, time, id) = match (shape.lead, shape.has_other_filters) {
        (BucketLead::Product, false) => (
            OF_PRODUCT,
            "bucket_product k",
            "k.created_at",
            "k.bucket_id",
        ),
        (BucketLead::Product, true) => (OF_PRODUCT, ALL_OF_PRODUCT, "k.created_at", "k.bucket_id"),
        _ => (BUCKETS, BUCKETS, "b.created_at", "b.id"),
    };
    let others = if shape.has_other_filters {
        shape.lead.other_filters()
    } else {
        String::new()
    };
    let (mut total, mut parts) = (String::new(), String::new());
    for (index, condition) in shape.lead.conditions().iter().enumerate() {
        let (plus, union) = if index == 0 {
            ("", "")
        } else {
            (" + ", " UNION ALL ")
        };
        // A String takes everything.
        _ = write!(
            total,
            "{plus}(SELECT count(*) FROM {counted} WHERE {condition}{others})"
        );
        _ = write!(
            parts,
            "{union}(SELECT b.* FROM {from} WHERE {condition}{others} AND ({time}, {id}) > (:after_time, :after_id)
                ORDER BY {time}, {id} LIMIT :limit_of_part)"
        );
    }
    format!(
        "SELECT c.total, c.clock, page.*
        FROM (SELECT {CLOCK} AS clock, {total} AS total OFFSET 0) c
        LEFT JOIN (
            SELECT {COLUMNS}
            FROM (SELECT * FROM ({parts}) b ORDER BY created_at, id LIMIT :limit OFFSET :offset) b
            {joins}
        ) page ON true
        ORDER BY page.created_at, page.id",
        joins = joins()
    )
}

/// The row of a unit, whose status is NULL, comes before those of its statuses.
fn accumulated_text() -> SqlText {
    SqlText::new(&format!(
        "SELECT max(c.clock), b.unit, b.status,
            trim_scale(coalesce(sum(b.available) FILTER (WHERE b.status = 'ACTIVE' AND b.has_begun), 0))::text,
            trim_scale(sum(b.available))::text, trim_scale(sum(b.held))::text, count(*),
            coalesce(array_agg(b.owner_id) FILTER (WHERE b.expired), '{{}}')
        FROM (SELECT {CLOCK} AS clock OFFSET 0) c CROSS JOIN LATERAL (
            SELECT b.unit, b.owner_id, d.expired, coalesce(a.available, 0) AS available, coalesce(a.held, 0) AS held,
                coalesce(b.valid_from <= c.clock, true) AS has_begun,
                CASE WHEN b.status = 'ACTIVE' AND b.valid_to < c.clock THEN 'EXPIRED' ELSE b.status END AS status
            FROM bucket b {joins}
            WHERE b.tenant = :tenant AND b.party_account_id = :party_account AND b.status <> 'CLOSED'
                AND b.unit IN (
                    SELECT DISTINCT u.unit FROM bucket u
                    WHERE u.tenant = :tenant AND u.party_account_id = :party_account AND u.status <> 'CLOSED'
                        AND (:unit IS NULL OR u.unit = :unit) AND u.unit > :after_unit
                    ORDER BY u.unit LIMIT :limit)
        ) b
        GROUP BY GROUPING SETS ((b.unit), (b.unit, b.status))
        ORDER BY b.unit, b.status NULLS FIRST",
        joins = joins()
    ))
}

/// What the party account's buckets hold, by unit and by status: a page of units and one more.
pub(in crate::bucket) async fn accumulated(
    pool: &Pool,
    tenant: TenantId,
    accumulate: &Accumulate,
    clock: Option<Time>,
) -> Result<BucketRead<Vec<Accumulated>>> {
    type SumsSql = (Text, Text, Text, BigInt);
    type UnitRowSql = (Timestamptz, Text, Nullable<Text>, SumsSql, Array<SqlUuid>);
    type Sums = (String, String, String, i64);
    type UnitRow = (DateTime<Utc>, String, Option<String>, Sums, Vec<Uuid>);

    static TEXT: LazyLock<SqlText> = LazyLock::new(accumulated_text);

    let rows: Vec<UnitRow> = read::one(pool, async |db: &mut AsyncPgConnection| {
        let unit = accumulate.unit.as_ref().map(ToString::to_string);
        let after_unit = accumulate.page.after().map(|cursor| cursor.0.clone());
        // Every unit comes after the empty text.
        let after_unit = after_unit.unwrap_or_default();
        let statement = Statement::<UnitRowSql>::new(&TEXT)
            .bind("clock", clock)
            .bind("tenant", tenant.0)
            .bind("party_account", accumulate.party_account.clone())
            .bind("unit", unit)
            .bind("after_unit", after_unit)
            .bind("limit", accumulate.page.fetch());
        statement.load(db).await
    })
    .await?;
    let mut read = BucketRead {
        found: Vec::with_capacity(rows.len()),
        clock,
        expired: Vec::new(),
    };
    for (clock, unit, status, (usable, available, held, buckets), expired) in rows {
        read.clock = Some(clock.into());
        let sums = BucketSums {
            usable,
            available,
            held,
            buckets,
        };
        let Some(status) = status else {
            read.expired.extend(expired.into_iter().map(OwnerId));
            read.found.push(Accumulated {
                unit: Unit::stored(&unit),
                sums,
                by_status: Vec::new(),
            });
            continue;
        };
        let status = BucketStatus::parse(&status).ok_or_else(|| unknown("status"))?;
        if let Some(of_unit) = read.found.last_mut() {
            of_unit.by_status.push((status, sums));
            of_unit.by_status.sort_by_key(|(status, _)| *status);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::page::{Page, Start};

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        let statuses = [
            None,
            Some(BucketStatus::Active),
            Some(BucketStatus::Suspended),
            Some(BucketStatus::Expired),
        ];
        for (status, bits) in statuses
            .into_iter()
            .flat_map(|status| (0..8).map(move |bits| (status, bits)))
        {
            let is_set = |bit: u32| bits & (1 << bit) > 0;
            let list = List {
                filter: BucketFilter {
                    product: is_set(0).then(String::new),
                    party_account: is_set(1).then(String::new),
                    status,
                    usage_type: is_set(2).then_some(UsageType::Voice),
                },
                page: Page::new(1, Start::First),
            };
            let sql = list_statement(TenantId(Uuid::nil()), &list, None).sql();
            assert!(sql.is_ok(), "{sql:?}: {list:?}");
        }
    }
}
