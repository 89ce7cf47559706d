//! Balance actions.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{CLOCK, amount, unknown};
use crate::bucket::model::{Action, ActionDetails, ActionList, Seen};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{Parameter, Statement};
use crate::error::Result;
use crate::ledger::model::bucket::{ActionKind, ActionStatus, CostOwner};
use crate::types::ids::{ActionId, OwnerId, TenantId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns of an action `a`.
const COLUMNS: &str = "a.owner_id, a.id, a.type, a.status, a.bucket_id, a.request_id, a.unit, a.amount, a.remaining_amount,
    a.expire_time, a.reserve_id, a.receiver_bucket_id, a.cost_amount, a.cost_owner, a.initiated_by, a.details::text,
    a.created_at, a.updated_at";

/// The clock, and `COLUMNS` as SQL types.
type RowSql = (
    Timestamptz,
    SqlUuid,
    SqlUuid,
    Text,
    Text,
    Text,
    Text,
    Text,
    Numeric,
    Nullable<Numeric>,
    Nullable<Timestamptz>,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Numeric>,
    Nullable<Text>,
    Text,
    Text,
    Timestamptz,
    Timestamptz,
);

/// The clock, and `COLUMNS` as they are read.
#[derive(Queryable)]
struct Row {
    clock: DateTime<Utc>,
    owner: Uuid,
    id: Uuid,
    kind: String,
    status: String,
    bucket: String,
    request_id: String,
    unit: String,
    amount: Decimal,
    remaining: Option<Decimal>,
    expire_time: Option<DateTime<Utc>>,
    reserve: Option<Uuid>,
    receiver: Option<String>,
    cost: Option<Decimal>,
    cost_owner: Option<String>,
    initiated_by: String,
    details: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    /// The bucket, if this is a reserve that is shown as open although it was due.
    fn due(&self) -> Option<OwnerId> {
        let is_open = self.status == ActionStatus::Created.as_str();
        let is_past = self.expire_time.is_some_and(|time| time <= self.clock);
        (is_open && is_past).then_some(OwnerId(self.owner))
    }

    fn action(self) -> Result<Action> {
        let cost = match (self.cost, &self.cost_owner) {
            (Some(cost), Some(owner)) => {
                let owner = CostOwner::parse(owner).ok_or_else(|| unknown("cost owner"))?;
                Some((amount(cost)?, owner))
            }
            _ => None,
        };
        Ok(Action {
            id: ActionId(self.id),
            kind: ActionKind::parse(&self.kind).ok_or_else(|| unknown("type"))?,
            status: ActionStatus::parse(&self.status).ok_or_else(|| unknown("status"))?,
            bucket: self.bucket,
            request_id: self.request_id,
            unit: Unit::stored(&self.unit),
            amount: amount(self.amount)?,
            remaining: self.remaining.map(amount).transpose()?,
            expire_time: self.expire_time.map(Into::into),
            reserve: self.reserve.map(ActionId),
            receiver: self.receiver,
            cost,
            initiated_by: self.initiated_by,
            details: ActionDetails::parse(&self.details)?,
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
        })
    }
}

/// An action of the tenant's.
pub(in crate::bucket) async fn action(
    pool: &Pool,
    tenant: TenantId,
    id: ActionId,
    clock: Option<Time>,
) -> Result<Seen<Option<Action>>> {
    let rows = read::one(pool, async |db: &mut AsyncPgConnection| {
        let text = format!(
            "SELECT {CLOCK}, {COLUMNS} FROM bucket_action a WHERE a.tenant = $2 AND a.id = $3"
        );
        let parameters = vec![clock.into(), Parameter::Id(tenant.0), Parameter::Id(id.0)];
        Statement::<RowSql>::new(text, parameters).load(db).await
    })
    .await?;
    let seen = seen(rows, clock)?;
    Ok(Seen {
        shown: seen.shown.into_iter().next(),
        clock: seen.clock,
        due: seen.due,
    })
}

/// A page of the tenant's actions and one more.
pub(in crate::bucket) async fn actions(
    pool: &Pool,
    tenant: TenantId,
    list: &ActionList,
    clock: Option<Time>,
) -> Result<Seen<Vec<Action>>> {
    let rows = read::one(pool, async |db: &mut AsyncPgConnection| {
        list_statement(tenant, list, clock).load(db).await
    })
    .await?;
    seen(rows, clock)
}

fn seen(rows: Vec<Row>, clock: Option<Time>) -> Result<Seen<Vec<Action>>> {
    Ok(Seen {
        clock: rows
            .as_slice()
            .first()
            .map(|row| row.clock.into())
            .or(clock),
        due: rows.iter().filter_map(Row::due).collect(),
        shown: rows.into_iter().map(Row::action).collect::<Result<_>>()?,
    })
}

/// Where a list seeks; in each, ids are the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    Buckets,
    PartyAccounts,
    Tenant,
}

fn list_statement(tenant: TenantId, list: &ActionList, clock: Option<Time>) -> Statement<RowSql> {
    let lead = match (list.buckets.is_empty(), list.party_accounts.is_empty()) {
        (false, _) => Lead::Buckets,
        (true, false) => Lead::PartyAccounts,
        (true, true) => Lead::Tenant,
    };
    let owners = list
        .buckets
        .iter()
        .map(|id| OwnerId::of_bucket(tenant, id).0);
    let (first, last) = id_range(list);
    let parameters = vec![
        clock.into(),
        Parameter::Id(tenant.0),
        Parameter::Ids(each_once(owners.collect())),
        Parameter::Texts(each_once(list.party_accounts.clone())),
        Parameter::Texts(list.kinds.iter().map(|kind| kind.as_str().into()).collect()),
        Parameter::Texts(list.request_ids.clone()),
        Parameter::Id(first),
        Parameter::Id(last),
        Parameter::Count(list.page.fetch()),
    ];
    Statement::new(list_text(lead), parameters)
}

/// Three texts, since each is prepared once per connection and kept: the filters that lead nowhere stand in all of them.
fn list_text(lead: Lead) -> String {
    const FILTERS: &str = "id BETWEEN $7 AND $8
        AND ($4 = '{}' OR party_account_id = ANY($4))
        AND ($5 = '{}' OR type = ANY($5))
        AND ($6 = '{}' OR request_id = ANY($6))
        ORDER BY id LIMIT $9";
    let from = match lead {
        Lead::Buckets => format!(
            "unnest($3) k(owner_id) CROSS JOIN LATERAL (
                (SELECT * FROM bucket_action WHERE owner_id = k.owner_id AND {FILTERS})
                UNION ALL
                -- Transfers that came in from buckets that are not asked for themselves.
                (SELECT * FROM bucket_action
                    WHERE receiver_owner_id = k.owner_id AND owner_id <> ALL($3) AND {FILTERS})
            ) a"
        ),
        Lead::PartyAccounts => format!(
            "unnest($4) k(party_account) CROSS JOIN LATERAL (
                SELECT * FROM bucket_action
                WHERE tenant = $2 AND party_account_id = k.party_account AND {FILTERS}
            ) a"
        ),
        Lead::Tenant => {
            format!("(SELECT * FROM bucket_action WHERE tenant = $2 AND {FILTERS}) a")
        }
    };
    format!("SELECT {CLOCK}, {COLUMNS} FROM {from} ORDER BY a.id LIMIT $9")
}

fn each_once<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

/// Times and the cursor as bounds of the ids, which sort by creation down to the microsecond.
fn id_range(list: &ActionList) -> (Uuid, Uuid) {
    let first = list
        .from
        .map_or(Uuid::nil(), |time| ordered_id(time, [0; 8]));
    let last = list
        .to
        .map_or(Uuid::max(), |time| ordered_id(time, [0xff; 8]));
    let after = list.page.after().map(|cursor| cursor.0.0.as_u128());
    let after = after.map_or(Uuid::nil(), |id| Uuid::from_u128(id.saturating_add(1)));
    (first.max(after), last)
}
