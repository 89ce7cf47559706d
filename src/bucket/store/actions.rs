//! Balance actions.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::columns::{CLOCK, amount, unknown};
use crate::bucket::model::{
    ActionDetails, ActionList, BucketActionRecord, BucketRead, ListedEnds, ListedKind,
};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, SqlTexts, Statement};
use crate::error::Result;
use crate::ledger::bucket::model::{ActionKind, ActionStatus, CostOwner};
use crate::types::ids::{ActionId, OwnerId, TenantId, ordered_id, ordered_micros};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns of a stored action, and the alias of each.
const STORED: &str = "owner_id, id, type, status, bucket_id, request_id, unit, amount, remaining_amount, expire_time,
    reserve_id, returned_amount, receiver_owner_id, receiver_bucket_id, cost_amount, cost_owner, initiated_by, details,
    created_at, updated_at";

/// The same columns of the action by which the opening value of a bucket `b` is shown.
fn opening() -> String {
    format!(
        "b.owner_id, {OPENING_ID} AS id, 'OPENING' AS type, 'COMPLETED' AS status, b.id AS bucket_id, '' AS request_id,
        b.unit, b.opened_amount AS amount, NULL::numeric AS remaining_amount, NULL::timestamptz AS expire_time,
        NULL::uuid AS reserve_id, NULL::numeric AS returned_amount, NULL::uuid AS receiver_owner_id,
        NULL::text AS receiver_bucket_id, NULL::numeric AS cost_amount, NULL::text AS cost_owner, b.initiated_by,
        '{{}}'::jsonb AS details, b.created_at, b.created_at AS updated_at"
    )
}

/// [`ActionId::of_opening`] of a bucket `b`: a UUID of version 7 by its creation, whose last half is that of its owner.
const OPENING_ID: &str =
    "(lpad(to_hex((extract(epoch FROM b.created_at) * 1000000)::bigint / 1000), 12, '0')
    || to_hex(28672 + (extract(epoch FROM b.created_at) * 1000000)::bigint % 1000 * 4)
    || right(replace(b.owner_id::text, '-', ''), 16))::uuid";

/// What is read of an action `a`.
const COLUMNS: &str = "a.owner_id, a.id, a.type, a.status, a.bucket_id, a.request_id, a.unit, a.amount, a.remaining_amount,
    a.expire_time, a.reserve_id, a.returned_amount, a.receiver_bucket_id, a.cost_amount, a.cost_owner, a.initiated_by,
    a.details::text, a.created_at, a.updated_at";

/// The clock, `COLUMNS`, and which ends are listed, as SQL types.
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
    Nullable<Numeric>,
    Nullable<Text>,
    Nullable<Numeric>,
    Nullable<Text>,
    Text,
    Text,
    Timestamptz,
    Timestamptz,
    Bool,
    Nullable<Bool>,
);

/// The clock, `COLUMNS`, and which ends are listed, as they are read.
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
    returned: Option<Decimal>,
    receiver: Option<String>,
    cost: Option<Decimal>,
    cost_owner: Option<String>,
    initiated_by: String,
    details: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    own_is_listed: bool,
    /// None if there is no receiver.
    receiver_is_listed: Option<bool>,
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
        let listed = ListedEnds {
            own: self.own_is_listed,
            receiver: self.receiver_is_listed.unwrap_or(false),
        };
        let record = BucketActionRecord {
            id: ActionId(self.id),
            kind: ListedKind::parse(&self.kind).ok_or_else(|| unknown("type"))?,
            status: ActionStatus::parse(&self.status).ok_or_else(|| unknown("status"))?,
            bucket: self.bucket,
            request_id: self.request_id,
            unit: Unit::stored(&self.unit),
            amount: amount(self.amount)?,
            remaining: self.remaining.map(amount).transpose()?,
            returned: self.returned.map(amount).transpose()?,
            expire_time: self.expire_time.map(Into::into),
            reserve: self.reserve.map(ActionId),
            receiver: self.receiver,
            cost,
            initiated_by: self.initiated_by,
            details: ActionDetails::parse(&self.details)?,
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
            deltas: Vec::new(),
        };
        record.with_deltas(listed)
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
            "SELECT {CLOCK}, {COLUMNS}, true, true FROM (
                SELECT {STORED} FROM bucket_action WHERE tenant = :tenant AND id = :id
                UNION ALL
                SELECT {opening} FROM bucket b
                WHERE b.tenant = :tenant AND b.created_at = :time AND b.opened_amount > 0 AND {OPENING_ID} = :id
            ) a",
            opening = opening()
        ))
    });
    let time = time_of(id.0);
    let rows = read::one(pool, async |db: &mut AsyncPgConnection| {
        let statement = Statement::<ActionRowSql>::new(&TEXT)
            .bind("clock", clock)
            .bind("tenant", tenant.0)
            .bind("time", time)
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
    /// Idempotency keys of buckets.
    KeysOfBuckets,
    /// Idempotency keys of party accounts' buckets.
    KeysOfPartyAccounts,
}

fn list_statement(
    tenant: TenantId,
    list: &ActionList,
    clock: Option<Time>,
) -> Statement<ActionRowSql> {
    static TEXTS: SqlTexts<ActionLead> = SqlTexts::new(list_text);

    let has_keys = !list.request_ids.is_empty();
    let lead = match (list.buckets.is_empty(), list.party_accounts.is_empty()) {
        (false, _) if has_keys => ActionLead::KeysOfBuckets,
        (false, _) => ActionLead::Buckets,
        (true, false) if has_keys => ActionLead::KeysOfPartyAccounts,
        (true, false) => ActionLead::PartyAccounts,
        (true, true) => ActionLead::Tenant,
    };
    let (first_id, last_id) = id_range(list);
    let kinds: Vec<_> = list.kinds.iter().map(|kind| kind.as_str()).collect();
    let statement = Statement::new(&TEXTS.get(lead))
        .bind("clock", clock)
        .bind("kinds", kinds)
        .bind("request_ids", list.request_ids.clone())
        .bind("first_id", first_id)
        .bind("last_id", last_id)
        .bind_if_named("keys", stored_keys(&list.request_ids))
        .bind("limit", list.page.fetch());
    let party_accounts = || each_once(list.party_accounts.clone());
    match lead {
        ActionLead::Buckets | ActionLead::KeysOfBuckets => {
            let buckets = list.buckets.iter();
            let owners = buckets.map(|id| OwnerId::of_bucket(tenant, id).0);
            statement
                .bind("owners", each_once(owners.collect()))
                .bind("party_accounts", party_accounts())
        }
        ActionLead::PartyAccounts | ActionLead::KeysOfPartyAccounts => statement
            .bind("tenant", tenant.0)
            .bind("party_accounts", party_accounts()),
        ActionLead::Tenant => statement
            .bind("tenant", tenant.0)
            .bind("first_time", time_of(first_id))
            .bind("last_time", time_of(last_id)),
    }
}

/// The stored actions that fit all filters, in order: those that are open, of which each is a reserve, and those that are
/// final. Filters that no index serves stand in every text, and let everything pass while they are empty. No stored action is
/// an opening: where only these are asked for, Postgres finds that out before it reads any.
fn listed_actions(condition: &str) -> String {
    format!(
        "(SELECT {STORED} FROM open_bucket_action WHERE {condition} AND {of_reserves})
        UNION ALL
        (SELECT {STORED} FROM closed_bucket_action WHERE {condition} AND {of_all})",
        of_reserves = filters("'RESERVE'"),
        of_all = filters("type"),
    )
}

/// The filters of a table, and the order, given the type of its actions.
fn filters(kind: &str) -> String {
    format!(
        "id BETWEEN :first_id AND :last_id
            AND (:kinds = '{{}}' OR {kind} = ANY(:kinds)) AND :kinds <> '{{OPENING}}'
            AND (:request_ids = '{{}}' OR request_id = ANY(:request_ids))
            ORDER BY id LIMIT :limit"
    )
}

fn list_text(lead: &ActionLead) -> String {
    let opening = opening();
    // An opening has no key.
    let opening_filters = format!(
        "b.opened_amount > 0 AND {OPENING_ID} BETWEEN :first_id AND :last_id
        AND (:kinds = '{{}}' OR 'OPENING' = ANY(:kinds)) AND :request_ids = '{{}}'"
    );
    let listed = match lead {
        ActionLead::Buckets | ActionLead::KeysOfBuckets => {
            "SELECT k.owner_id FROM unnest(:owners) k(owner_id)
            WHERE :party_accounts = '{}' OR (
                SELECT b.party_account_id = ANY(:party_accounts) FROM bucket b WHERE b.owner_id = k.owner_id LIMIT 1
            )"
        }
        ActionLead::PartyAccounts | ActionLead::KeysOfPartyAccounts => {
            "SELECT b.owner_id FROM bucket b WHERE b.tenant = :tenant AND b.party_account_id = ANY(:party_accounts)"
        }
        // Both ends of a transfer are the tenant's, so that every action is listed for all its ends.
        ActionLead::Tenant => {
            return format!(
                "SELECT {CLOCK}, {COLUMNS}, true, true FROM (
                    {stored}
                    UNION ALL
                    (SELECT {opening} FROM bucket b
                        WHERE b.tenant = :tenant AND b.created_at BETWEEN :first_time AND :last_time
                            AND {opening_filters}
                        ORDER BY b.created_at, {OPENING_ID} LIMIT :limit)
                ) a ORDER BY a.id LIMIT :limit",
                stored = listed_actions("tenant = :tenant")
            );
        }
    };
    let stored = listed_actions(match lead {
        ActionLead::KeysOfBuckets | ActionLead::KeysOfPartyAccounts => {
            "owner_id = k.owner_id AND id = ANY(ARRAY(
                SELECT s.id FROM bucket_action_key s WHERE s.owner_id = k.owner_id AND s.key = ANY(:keys)))"
        }
        _ => "owner_id = k.owner_id",
    });
    // The last part but one: transfers that came in from buckets that are not listed themselves.
    format!(
        "WITH listed AS MATERIALIZED ({listed})
        SELECT {CLOCK}, {COLUMNS}, a.owner_id IN (SELECT owner_id FROM listed),
            a.receiver_owner_id IN (SELECT owner_id FROM listed)
        FROM listed k CROSS JOIN LATERAL (
            {stored}
            UNION ALL
            (SELECT {STORED} FROM closed_bucket_action
                WHERE receiver_owner_id = k.owner_id AND owner_id NOT IN (SELECT owner_id FROM listed)
                    AND {of_all})
            UNION ALL
            (SELECT {opening} FROM bucket b WHERE b.owner_id = k.owner_id AND {opening_filters})
        ) a ORDER BY a.id LIMIT :limit",
        of_all = filters("type"),
    )
}

/// The keys of actions of every kind with these request ids.
fn stored_keys(request_ids: &[String]) -> Vec<Uuid> {
    let of_kinds = |id| ActionKind::ALL.iter().map(move |kind| kind.stored_key(id));
    request_ids.iter().flat_map(|id| of_kinds(id)).collect()
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

/// The time that an id of version 7 names; of any other a time that is no later than its first bits say.
fn time_of(id: Uuid) -> Time {
    Time::from_micros(ordered_micros(id)).unwrap_or(Time::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::page::{Page, Start};

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        for bits in 0..8 {
            let filter = |bit: u32| vec![String::new(); usize::from(bits & (1 << bit) > 0)];
            let list = ActionList {
                kinds: Vec::new(),
                buckets: filter(0),
                party_accounts: filter(1),
                request_ids: filter(2),
                from: None,
                to: None,
                page: Page::new(1, Start::First),
            };
            let sql = list_statement(TenantId(Uuid::nil()), &list, None).sql();
            assert!(sql.is_ok(), "{sql:?}: {list:?}");
        }
    }
}
