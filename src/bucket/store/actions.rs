//! Balance actions.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::columns::{CLOCK, amount, unknown};
use crate::bucket::model::{ActionDetails, ActionList, BucketActionRecord, BucketRead};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, SqlTexts, Statement};
use crate::error::Result;
use crate::ledger::bucket::model::{ActionKind, ActionStatus, CostOwner};
use crate::types::ids::{ActionId, OwnerId, TenantId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns of an action `a`.
const COLUMNS: &str = "a.owner_id, a.id, a.type, a.status, a.bucket_id, a.request_id, a.unit, a.amount, a.remaining_amount,
    a.expire_time, a.reserve_id, a.receiver_bucket_id, a.cost_amount, a.cost_owner, a.initiated_by, a.details::text,
    a.created_at, a.updated_at";

/// The clock, and `COLUMNS` as SQL types.
type ActionRowSql = (
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
    /// The bucket, if this is a reserve that is stored as open although its expire time has passed.
    fn expired_owner(&self) -> Option<OwnerId> {
        let is_open = self.status == ActionStatus::Created.as_str();
        let is_past = self.expire_time.is_some_and(|time| time <= self.clock);
        (is_open && is_past).then_some(OwnerId(self.owner))
    }

    fn action(self) -> Result<BucketActionRecord> {
        let cost = match (self.cost, &self.cost_owner) {
            (Some(cost), Some(owner)) => {
                let owner = CostOwner::parse(owner).ok_or_else(|| unknown("cost owner"))?;
                Some((amount(cost)?, owner))
            }
            _ => None,
        };
        Ok(BucketActionRecord {
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

/// An action of the tenant's, if there is one with this id.
pub(in crate::bucket) async fn action(
    pool: &Pool,
    tenant: TenantId,
    id: ActionId,
    clock: Option<Time>,
) -> Result<BucketRead<Option<BucketActionRecord>>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT {CLOCK}, {COLUMNS} FROM bucket_action a WHERE a.tenant = :tenant AND a.id = :id"
        ))
    });
    let rows = read::one(pool, async |db: &mut AsyncPgConnection| {
        let statement = Statement::<ActionRowSql>::new(&TEXT)
            .bind("clock", clock)
            .bind("tenant", tenant.0)
            .bind("id", id.0);
        statement.load(db).await
    })
    .await?;
    let read = read_of(rows, clock)?;
    Ok(BucketRead {
        found: read.found.into_iter().next(),
        clock: read.clock,
        expired: read.expired,
    })
}

/// A page of the tenant's actions and one more.
pub(in crate::bucket) async fn actions(
    pool: &Pool,
    tenant: TenantId,
    list: &ActionList,
    clock: Option<Time>,
) -> Result<BucketRead<Vec<BucketActionRecord>>> {
    let rows = read::one(pool, async |db: &mut AsyncPgConnection| {
        list_statement(tenant, list, clock).load(db).await
    })
    .await?;
    read_of(rows, clock)
}

fn read_of(rows: Vec<Row>, clock: Option<Time>) -> Result<BucketRead<Vec<BucketActionRecord>>> {
    Ok(BucketRead {
        clock: rows
            .as_slice()
            .first()
            .map(|row| row.clock.into())
            .or(clock),
        expired: rows.iter().filter_map(Row::expired_owner).collect(),
        found: rows.into_iter().map(Row::action).collect::<Result<_>>()?,
    })
}

/// What a list of actions is found by. Each way leads to the actions in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ActionLead {
    Buckets,
    PartyAccounts,
    Tenant,
}

fn list_statement(
    tenant: TenantId,
    list: &ActionList,
    clock: Option<Time>,
) -> Statement<ActionRowSql> {
    static TEXTS: SqlTexts<ActionLead> = SqlTexts::new(list_text);

    let lead = match (list.buckets.is_empty(), list.party_accounts.is_empty()) {
        (false, _) => ActionLead::Buckets,
        (true, false) => ActionLead::PartyAccounts,
        (true, true) => ActionLead::Tenant,
    };
    let (first_id, last_id) = id_range(list);
    let kinds: Vec<_> = list.kinds.iter().map(|kind| kind.as_str()).collect();
    let statement = Statement::new(&TEXTS.get(lead))
        .bind("clock", clock)
        .bind("party_accounts", each_once(list.party_accounts.clone()))
        .bind("kinds", kinds)
        .bind("request_ids", list.request_ids.clone())
        .bind("first_id", first_id)
        .bind("last_id", last_id)
        .bind("limit", list.page.fetch());
    match lead {
        ActionLead::Buckets => {
            let buckets = list.buckets.iter();
            let owners = buckets.map(|id| OwnerId::of_bucket(tenant, id).0);
            statement.bind("owners", each_once(owners.collect()))
        }
        ActionLead::PartyAccounts | ActionLead::Tenant => statement.bind("tenant", tenant.0),
    }
}

/// Filters that no index serves stand in every text, and let everything pass while they are empty.
fn list_text(lead: &ActionLead) -> String {
    const FILTERS: &str = "id BETWEEN :first_id AND :last_id
        AND (:party_accounts = '{}' OR party_account_id = ANY(:party_accounts))
        AND (:kinds = '{}' OR type = ANY(:kinds))
        AND (:request_ids = '{}' OR request_id = ANY(:request_ids))
        ORDER BY id LIMIT :limit";
    let from = match lead {
        // The second part: transfers that came in from buckets that are not asked for themselves.
        ActionLead::Buckets => format!(
            "unnest(:owners) k(owner_id) CROSS JOIN LATERAL (
                (SELECT * FROM bucket_action WHERE owner_id = k.owner_id AND {FILTERS})
                UNION ALL
                (SELECT * FROM bucket_action
                    WHERE receiver_owner_id = k.owner_id AND owner_id <> ALL(:owners) AND {FILTERS})
            ) a"
        ),
        ActionLead::PartyAccounts => format!(
            "unnest(:party_accounts) k(party_account) CROSS JOIN LATERAL (
                SELECT * FROM bucket_action
                WHERE tenant = :tenant AND party_account_id = k.party_account AND {FILTERS}
            ) a"
        ),
        ActionLead::Tenant => {
            format!("(SELECT * FROM bucket_action WHERE tenant = :tenant AND {FILTERS}) a")
        }
    };
    format!("SELECT {CLOCK}, {COLUMNS} FROM {from} ORDER BY a.id LIMIT :limit")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::page::{Page, Start};

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        for (buckets, party_accounts) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let list = ActionList {
                kinds: Vec::new(),
                buckets: vec![String::new(); buckets],
                party_accounts: vec![String::new(); party_accounts],
                request_ids: Vec::new(),
                from: None,
                to: None,
                page: Page::new(1, Start::First),
            };
            let sql = list_statement(TenantId(Uuid::nil()), &list, None).sql();
            assert!(sql.is_ok(), "{sql:?}: {list:?}");
        }
    }
}
