//! Buckets with what is in them.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{CLOCK, amount, unknown};
use crate::bucket::model::{Accumulate, Accumulated, Details, Filter, List, Record, Seen};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{Parameter, Statement};
use crate::error::Result;
use crate::ledger::model::Balance;
use crate::ledger::model::bucket::{BucketStatus, UsageType, Validity};
use crate::types::ids::{AccountId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns of a bucket `b`, of its account `a`, and whether a reserve of it was due.
const COLUMNS: &str = "b.owner_id, b.id, b.name, b.description, b.status, b.usage_type, b.unit, b.valid_from, b.valid_to,
    b.details::text, b.version, b.created_at,
    coalesce(a.available, 0), coalesce(a.held, 0), coalesce(a.version, 0), d.due IS NOT NULL";

/// Behind a bucket `b`: its account, unless nothing was ever in it, and one due reserve. LIMIT keeps any plan to looking
/// these up for each bucket.
fn joins() -> String {
    format!(
        "LEFT JOIN LATERAL (SELECT available, held, version FROM account
            WHERE owner_id = b.owner_id AND account_id = '{own}' AND unit = b.unit LIMIT 1) a ON true
        LEFT JOIN LATERAL (SELECT true AS due FROM bucket_action
            WHERE owner_id = b.owner_id AND status = 'CREATED' AND expire_time <= {CLOCK} LIMIT 1) d ON true",
        own = AccountId::OWN
    )
}

/// `COLUMNS` as SQL types.
type RowSql = (
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
    is_due: bool,
}

impl Row {
    fn due(&self) -> Option<OwnerId> {
        self.is_due.then_some(OwnerId(self.owner))
    }

    /// The bucket as it reads at this clock.
    fn record(self, clock: Time) -> Result<Record> {
        let status = BucketStatus::parse(&self.status).ok_or_else(|| unknown("status"))?;
        let usage_type = match &self.usage_type {
            Some(text) => Some(UsageType::parse(text).ok_or_else(|| unknown("usage type"))?),
            None => None,
        };
        let validity = Validity {
            from: self.valid_from.map(Into::into),
            to: self.valid_to.map(Into::into),
        };
        Ok(Record {
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
            },
            validity,
            version: self.version + self.account_version,
            details: Details::parse(&self.details)?,
            created_at: self.created_at.into(),
        })
    }
}

/// A bucket by its owner.
pub(in crate::bucket) async fn bucket(
    pool: &Pool,
    owner: OwnerId,
    clock: Option<Time>,
) -> Result<Seen<Option<Record>>> {
    let row: Option<(DateTime<Utc>, Row)> = read::one(pool, async |db: &mut AsyncPgConnection| {
        let text = format!(
            "SELECT {CLOCK}, {COLUMNS} FROM bucket b {joins} WHERE b.owner_id = $2",
            joins = joins()
        );
        let parameters = vec![clock.into(), Parameter::Id(owner.0)];
        let bucket = Statement::<(Timestamptz, RowSql)>::new(text, parameters);
        bucket.get_result(db).await.optional()
    })
    .await?;
    let Some((clock, row)) = row else {
        return Ok(Seen {
            shown: None,
            clock,
            due: Vec::new(),
        });
    };
    let clock = Time::from(clock);
    Ok(Seen {
        due: row.due().into_iter().collect(),
        shown: Some(row.record(clock)?),
        clock: Some(clock),
    })
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bucket) struct Listed {
    /// The page and one more.
    pub(in crate::bucket) records: Vec<Record>,
    /// How many there are on all pages.
    pub(in crate::bucket) total: i64,
}

/// A page of the tenant's buckets and one more, and how many there are.
pub(in crate::bucket) async fn buckets(
    pool: &Pool,
    tenant: TenantId,
    list: &List,
    clock: Option<Time>,
) -> Result<Seen<Listed>> {
    let rows: Vec<(i64, DateTime<Utc>, Option<Row>)> =
        read::one(pool, async |db: &mut AsyncPgConnection| {
            list_statement(tenant, list, clock).load(db).await
        })
        .await?;
    let mut seen = Seen {
        shown: Listed {
            records: Vec::with_capacity(rows.len()),
            total: 0,
        },
        clock,
        due: Vec::new(),
    };
    for (total, clock, row) in rows {
        let clock = Time::from(clock);
        (seen.shown.total, seen.clock) = (total, Some(clock));
        if let Some(row) = row {
            seen.due.extend(row.due());
            seen.shown.records.push(row.record(clock)?);
        }
    }
    Ok(seen)
}

/// Where a list seeks. Its other filters, if there are any, are held against what it finds: so the texts are two for each
/// of these, since each is prepared once per connection and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    PartyAccount,
    Product,
    UsageType,
    /// Any but EXPIRED.
    Status,
    Expired,
    Tenant,
}

impl Lead {
    /// The filter that leaves the least.
    fn of(filter: &Filter) -> Self {
        match (filter.status, filter.usage_type) {
            _ if filter.party_account.is_some() => Self::PartyAccount,
            _ if filter.product.is_some() => Self::Product,
            (Some(BucketStatus::Expired), _) => Self::Expired,
            (None | Some(BucketStatus::Active), Some(_)) => Self::UsageType,
            (Some(_), _) => Self::Status,
            (None, None) => Self::Tenant,
        }
    }

    /// The conditions by which it seeks; of several, each finds a part.
    fn conditions(self) -> Vec<String> {
        let ended = format!("b.valid_to < {CLOCK}");
        match self {
            Self::PartyAccount => vec!["b.tenant = $2 AND b.party_account_id = $8".into()],
            Self::Product => vec!["k.tenant = $2 AND k.product_id = $7".into()],
            Self::UsageType => vec!["b.tenant = $2 AND b.usage_type = $10".into()],
            Self::Status => vec![format!(
                "b.tenant = $2 AND b.status = $9 AND (b.status <> 'ACTIVE' OR b.valid_to IS NULL OR NOT {ended})"
            )],
            Self::Expired => vec![
                "b.tenant = $2 AND b.status = 'EXPIRED'".into(),
                format!("b.tenant = $2 AND b.status = 'ACTIVE' AND {ended}"),
            ],
            Self::Tenant => vec!["b.tenant = $2".into()],
        }
    }
}

/// The filters that may stand beside one that leads.
const OTHERS: &str = " AND ($9 IS NULL OR $9 =
        CASE WHEN b.status = 'ACTIVE' AND b.valid_to < coalesce($1, statement_timestamp()) THEN 'EXPIRED' ELSE b.status END)
    AND ($10 IS NULL OR b.usage_type = $10)";
/// A product leads, unless a party account does. LIMIT keeps any plan from reading all products.
const OF_THE_PRODUCT: &str = " AND ($7 IS NULL
    OR (SELECT true FROM bucket_product p WHERE p.owner_id = b.owner_id AND p.product_id = $7 LIMIT 1))";

fn list_statement(
    tenant: TenantId,
    list: &List,
    clock: Option<Time>,
) -> Statement<(BigInt, Timestamptz, Nullable<RowSql>)> {
    let (filter, page) = (&list.filter, &list.page);
    let lead = Lead::of(filter);
    let filters = [
        filter.product.is_some(),
        filter.party_account.is_some(),
        filter.status.is_some(),
        filter.usage_type.is_some(),
    ];
    let is_alone = filters.iter().filter(|is_set| **is_set).count() <= 1;
    let (after_time, after_id) = match page.after() {
        Some(cursor) => (cursor.created_at, cursor.id.clone()),
        // Before everything.
        None => (Time::MIN, String::new()),
    };
    let parameters = vec![
        clock.into(),
        Parameter::Id(tenant.0),
        after_time.into(),
        Parameter::Text(after_id),
        Parameter::Count(page.fetch()),
        Parameter::Count(page.skip()),
        Parameter::OptionalText(filter.product.clone()),
        Parameter::OptionalText(filter.party_account.clone()),
        Parameter::OptionalText(filter.status.map(|status| status.as_str().into())),
        Parameter::OptionalText(
            filter
                .usage_type
                .map(|usage_type| usage_type.as_str().into()),
        ),
        Parameter::Count(page.fetch() + page.skip()),
    ];
    Statement::new(list_text(lead, is_alone), parameters)
}

fn list_text(lead: Lead, is_alone: bool) -> String {
    const BUCKETS: &str = "bucket b";
    /// Page by page in the order of the product's buckets.
    const OF_PRODUCT: &str = "bucket_product k CROSS JOIN LATERAL
        (SELECT * FROM bucket WHERE owner_id = k.owner_id LIMIT 1) b";
    /// All of them, in whichever way is cheapest.
    const ALL_OF_PRODUCT: &str =
        "bucket_product k JOIN bucket b ON b.owner_id = k.owner_id AND b.tenant = k.tenant";
    let (from, counted, time, id) = match (lead, is_alone) {
        (Lead::Product, true) => (
            OF_PRODUCT,
            "bucket_product k",
            "k.created_at",
            "k.bucket_id",
        ),
        (Lead::Product, false) => (OF_PRODUCT, ALL_OF_PRODUCT, "k.created_at", "k.bucket_id"),
        _ => (BUCKETS, BUCKETS, "b.created_at", "b.id"),
    };
    let others = match (lead, is_alone) {
        (_, true) => String::new(),
        (Lead::PartyAccount, false) => format!("{OTHERS}{OF_THE_PRODUCT}"),
        (_, false) => OTHERS.into(),
    };
    let (mut total, mut parts) = (String::new(), String::new());
    for (index, condition) in lead.conditions().iter().enumerate() {
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
            "{union}(SELECT b.* FROM {from} WHERE {condition}{others} AND ({time}, {id}) > ($3, $4)
                ORDER BY {time}, {id} LIMIT $11)"
        );
    }
    format!(
        "SELECT c.total, c.clock, page.*
        FROM (SELECT {total} AS total, {CLOCK} AS clock OFFSET 0) c
        LEFT JOIN (
            SELECT {COLUMNS}
            FROM (SELECT * FROM ({parts}) b ORDER BY created_at, id LIMIT $5 OFFSET $6) b
            {joins}
        ) page ON true
        ORDER BY page.created_at, page.id",
        joins = joins()
    )
}

/// What the party account's buckets hold, by unit.
pub(in crate::bucket) async fn accumulated(
    pool: &Pool,
    tenant: TenantId,
    accumulate: &Accumulate,
    clock: Option<Time>,
) -> Result<Seen<Vec<Accumulated>>> {
    type RowSql = (Timestamptz, Text, Text, Text, BigInt, Array<SqlUuid>);
    type Row = (DateTime<Utc>, String, String, String, i64, Vec<Uuid>);

    let rows: Vec<Row> = read::one(pool, async |db: &mut AsyncPgConnection| {
        let text = format!(
            "SELECT {CLOCK}, b.unit, trim_scale(sum(coalesce(a.available, 0)))::text,
                trim_scale(sum(coalesce(a.held, 0)))::text, count(*),
                coalesce(array_agg(b.owner_id) FILTER (WHERE d.due), '{{}}')
            FROM bucket b {joins}
            WHERE b.tenant = $2 AND b.party_account_id = $3 AND b.status <> 'CLOSED'
                AND ($4 IS NULL OR b.unit = $4)
            GROUP BY b.unit ORDER BY b.unit",
            joins = joins()
        );
        let parameters = vec![
            clock.into(),
            Parameter::Id(tenant.0),
            Parameter::Text(accumulate.party_account.clone()),
            Parameter::OptionalText(accumulate.unit.as_ref().map(ToString::to_string)),
        ];
        Statement::<RowSql>::new(text, parameters).load(db).await
    })
    .await?;
    let mut seen = Seen {
        shown: Vec::with_capacity(rows.len()),
        clock,
        due: Vec::new(),
    };
    for (clock, unit, available, held, buckets, due) in rows {
        seen.clock = Some(clock.into());
        seen.due.extend(due.into_iter().map(OwnerId));
        seen.shown.push(Accumulated {
            unit: Unit::stored(&unit),
            available,
            held,
            buckets,
        });
    }
    Ok(seen)
}
