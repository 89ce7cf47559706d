//! What a batch reads of buckets.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio::try_join;
use tokio_postgres::{Client, Row, Statement};

use crate::ledger::model::bucket::{
    ActionKind, ActionStatus, BalanceAction, Bucket, BucketStatus, BucketUpdate, Cost, CostOwner,
    Drawn, Performed, Reserve, ReserveClosing, Transfer, UsageType, Validity,
};
use crate::ledger::model::{AccountKey, Cause};
use crate::ledger::state::Owner;
use crate::ledger::store::needs::BucketNeeds;
use crate::ledger::store::read::{amount, balance, content, stored};
use crate::ledger::store::{PgResult, StoreError, if_any};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

pub(super) struct Statements {
    pub(super) new_owners: Statement,
    pub(super) clock: Statement,
    pub(super) due: Statement,
    buckets: Statement,
    updates: Statement,
    keys: Statement,
    reserves: Statement,
}

/// In one order, so that no two transactions wait for each other.
const NEW_OWNERS: &str = "\
    INSERT INTO owner (owner_id) SELECT n.owner_id FROM unnest($1::uuid[]) n(owner_id) ORDER BY n.owner_id \
    ON CONFLICT DO NOTHING";

/// The clock, once, and the enterprises and buckets of which a reservation is due by it.
const CLOCK: &str = "\
    SELECT clock.now, \
        ARRAY(SELECT o.owner_id FROM unnest($1::uuid[]) o(owner_id) WHERE EXISTS (\
            SELECT FROM allocation a WHERE a.owner_id = o.owner_id AND a.status = 'RESERVED' \
            AND a.expire_time IS NOT NULL AND a.expire_time <= clock.now)), \
        ARRAY(SELECT o.owner_id FROM unnest($2::uuid[]) o(owner_id) WHERE EXISTS (\
            SELECT FROM bucket_action a WHERE a.owner_id = o.owner_id AND a.status = 'CREATED' \
            AND a.expire_time IS NOT NULL AND a.expire_time <= clock.now)) \
    FROM (SELECT clock_timestamp() AS now OFFSET 0) clock";

/// A bucket, the time of the last thing that happened to it, and its accounts.
const BUCKETS: &str = "\
    SELECT b.owner_id, b.tenant, b.id, b.name, b.description, b.status, b.usage_type, b.party_account_id, b.unit, \
           b.valid_from, b.valid_to, b.details::text, b.initiated_by, b.content_hash, b.opened_amount, b.opened_version, \
           b.version, b.created_at, b.updated_at, \
           greatest(b.updated_at, (SELECT max(t.time) FROM entry t WHERE t.owner_id = b.owner_id)), \
           own.available, own.held, own.version, world.available, world.held, world.version, \
           transit.available, transit.held, transit.version \
    FROM unnest($1::uuid[]) k(owner_id) JOIN bucket b USING (owner_id) \
    LEFT JOIN account own ON own.owner_id = b.owner_id AND own.unit = b.unit \
        AND own.account_id = '00000000-0000-0000-0000-000000000001' \
    LEFT JOIN account world ON world.owner_id = b.owner_id AND world.unit = b.unit \
        AND world.account_id = '00000000-0000-0000-0000-000000000002' \
    LEFT JOIN account transit ON transit.owner_id = b.owner_id AND transit.unit = b.unit \
        AND transit.account_id = '00000000-0000-0000-0000-000000000003'";
const LAST_TIME_COLUMN: usize = 19;
const ACCOUNT_COLUMNS: [(AccountId, usize); 3] = [
    (AccountId::OWN, 20),
    (AccountId::WORLD, 23),
    (AccountId::TRANSIT, 26),
];

const UPDATES: &str = "\
    SELECT u.owner_id, u.version, u.request_id, u.content_hash, u.own_version, u.initiated_by, u.created_at \
    FROM unnest($1::uuid[], $2::text[]) k(owner_id, request_id) JOIN bucket_update u USING (owner_id, request_id)";

/// The columns of an action, in the order that `action` reads them.
const ACTION: &str = "\
    a.owner_id, a.id, a.tenant, a.bucket_id, a.party_account_id, a.type, a.status, a.request_id, a.content_hash, a.unit, \
    a.amount, a.remaining_amount, a.expire_time, a.reserve_id, a.returned_amount, a.receiver_owner_id, \
    a.receiver_bucket_id, a.receiver_version, a.cost_amount, a.cost_owner, a.own_version, a.closed_cause, a.closed_by, \
    a.details::text, a.initiated_by, a.created_at, a.updated_at";

const KEYS: &str = "\
    SELECT {action} FROM unnest($1::uuid[], $2::text[], $3::text[]) k(owner_id, type, request_id) \
    JOIN bucket_action a USING (owner_id, type, request_id)";

/// Actions by id.
const RESERVES: &str = "\
    SELECT {action} FROM unnest($1::uuid[], $2::uuid[]) k(owner_id, id) JOIN bucket_action a USING (owner_id, id)";

/// What was due at a time, of each bucket the oldest.
const DUE: &str = "\
    SELECT {action} FROM unnest($1::uuid[]) o(owner_id) CROSS JOIN LATERAL (\
        SELECT * FROM bucket_action d WHERE d.owner_id = o.owner_id AND d.status = 'CREATED' \
        AND d.expire_time IS NOT NULL AND d.expire_time <= $2 ORDER BY d.expire_time, d.id LIMIT $3\
    ) a ORDER BY a.expire_time, a.id";

impl Statements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        let with_columns = |sql: &str| sql.replace("{action}", ACTION);
        Ok(Self {
            new_owners: client.prepare(NEW_OWNERS).await?,
            clock: client.prepare(CLOCK).await?,
            due: client.prepare(&with_columns(DUE)).await?,
            buckets: client.prepare(BUCKETS).await?,
            updates: client.prepare(UPDATES).await?,
            keys: client.prepare(&with_columns(KEYS)).await?,
            reserves: client.prepare(&with_columns(RESERVES)).await?,
        })
    }

    /// Sends what is needed, in one go with what the caller sends before and after.
    pub(super) async fn query(&self, client: &Client, needs: &BucketNeeds) -> PgResult<Rows> {
        let (buckets, updates, keys, reserves) = try_join!(
            biased;
            if_any(!needs.owners.is_empty(), async {
                client.query(&self.buckets, &[&needs.owners]).await
            }),
            if_any(!needs.update_keys.is_empty(), async {
                client.query(&self.updates, &[&needs.update_owners, &needs.update_keys]).await
            }),
            if_any(!needs.keys.is_empty(), async {
                let BucketNeeds { key_owners, key_types, keys, .. } = needs;
                client.query(&self.keys, &[key_owners, key_types, keys]).await
            }),
            if_any(!needs.reserves.is_empty(), async {
                client.query(&self.reserves, &[&needs.reserve_owners, &needs.reserves]).await
            }),
        )?;
        let actions = [keys, reserves].concat();
        Ok(Rows {
            buckets,
            updates,
            actions,
        })
    }
}

/// What was read.
pub(super) struct Rows {
    buckets: Vec<Row>,
    updates: Vec<Row>,
    actions: Vec<Row>,
}

impl Rows {
    /// Adds it to the owners that are locked, and those to `blocked` that are there but not locked.
    pub(super) fn load(
        &self,
        owners: &mut HashMap<OwnerId, Owner>,
        blocked: &mut HashSet<OwnerId>,
    ) -> Result<(), StoreError> {
        for row in &self.buckets {
            let bucket = bucket(row)?;
            let Some(owner) = owners.get_mut(&bucket.owner) else {
                // A bucket and its owner row are written together.
                blocked.insert(bucket.owner);
                continue;
            };
            owner.last_time = row
                .get::<_, Option<DateTime<Utc>>>(LAST_TIME_COLUMN)
                .map(Time::from);
            for (account, column) in ACCOUNT_COLUMNS {
                if let Some(balance) = balance(row, column)? {
                    let unit = bucket.unit.clone();
                    owner.load_account(AccountKey { account, unit }, balance);
                }
            }
            owner.prepaid.load_bucket(bucket);
        }
        for row in &self.updates {
            let update = update(row)?;
            if let Some(owner) = owners.get_mut(&update.owner) {
                owner.prepaid.load_update(update);
            }
        }
        for row in &self.actions {
            let action = action(row)?;
            if let Some(owner) = owners.get_mut(&action.owner) {
                owner.prepaid.load_action(action);
            }
        }
        Ok(())
    }
}

/// Adds what was due, of each bucket its share.
pub(super) fn load_due(
    owners: &mut HashMap<OwnerId, Owner>,
    rows: &[Row],
    share: usize,
) -> Result<(), StoreError> {
    for row in rows {
        let action = action(row)?;
        let Some(owner) = owners.get_mut(&action.owner) else {
            continue;
        };
        if owner.prepaid.due.len() == share {
            owner.more_due = true;
        } else {
            owner.prepaid.due.push(action.id);
        }
        owner.prepaid.load_action(action);
    }
    Ok(())
}

fn time(row: &Row, column: usize) -> Time {
    row.get::<_, DateTime<Utc>>(column).into()
}

fn optional_time(row: &Row, column: usize) -> Option<Time> {
    row.get::<_, Option<DateTime<Utc>>>(column).map(Time::from)
}

fn optional<T>(
    parse: impl Fn(&str) -> Option<T>,
    row: &Row,
    column: usize,
) -> Result<Option<T>, StoreError> {
    row.get::<_, Option<&str>>(column)
        .map(|_| stored(parse, row, column))
        .transpose()
}

fn bucket(row: &Row) -> Result<Bucket, StoreError> {
    Ok(Bucket {
        owner: OwnerId(row.get(0)),
        tenant: TenantId(row.get(1)),
        id: row.get(2),
        name: row.get(3),
        description: row.get(4),
        status: stored(BucketStatus::parse, row, 5)?,
        usage_type: optional(UsageType::parse, row, 6)?,
        party_account: row.get(7),
        unit: Unit::stored(row.get(8)),
        validity: Validity {
            from: optional_time(row, 9),
            to: optional_time(row, 10),
        },
        details: row.get(11),
        initiated_by: row.get(12),
        content: content(row, 13)?,
        opened_amount: amount(row, 14)?,
        opened_version: row.get(15),
        version: row.get(16),
        created_at: time(row, 17),
        updated_at: time(row, 18),
    })
}

fn update(row: &Row) -> Result<BucketUpdate, StoreError> {
    Ok(BucketUpdate {
        owner: OwnerId(row.get(0)),
        version: row.get(1),
        request_id: row.get(2),
        content: content(row, 3)?,
        own_version: row.get(4),
        initiated_by: row.get(5),
        created_at: time(row, 6),
    })
}

fn action(row: &Row) -> Result<BalanceAction, StoreError> {
    Ok(BalanceAction {
        owner: OwnerId(row.get(0)),
        id: ActionId(row.get(1)),
        tenant: TenantId(row.get(2)),
        bucket: row.get(3),
        party_account: row.get(4),
        status: stored(ActionStatus::parse, row, 6)?,
        request_id: row.get(7),
        content: content(row, 8)?,
        unit: Unit::stored(row.get(9)),
        amount: amount(row, 10)?,
        what: performed(row)?,
        own_version: row.get(20),
        details: row.get(23),
        initiated_by: row.get(24),
        created_at: time(row, 25),
        updated_at: time(row, 26),
    })
}

fn performed(row: &Row) -> Result<Performed, StoreError> {
    let reserve = || ActionId(row.get(13));
    Ok(match stored(ActionKind::parse, row, 5)? {
        ActionKind::Topup => Performed::Topup,
        ActionKind::Adjust => Performed::Adjust,
        ActionKind::Transfer => Performed::Transfer(Transfer {
            receiver: OwnerId(row.get(15)),
            receiver_bucket: row.get(16),
            receiver_version: row.get(17),
            cost: match optional_amount(row, 18)? {
                None => None,
                Some(amount) => Some(Cost {
                    amount,
                    owner: stored(CostOwner::parse, row, 19)?,
                }),
            },
        }),
        ActionKind::Reserve => Performed::Reserve(Reserve {
            remaining: amount(row, 11)?,
            expire_time: optional_time(row, 12),
            closed: optional(Cause::parse, row, 21)?.map(|cause| ReserveClosing {
                cause,
                by: row.get(22),
            }),
        }),
        ActionKind::Unreserve => Performed::Unreserve { reserve: reserve() },
        ActionKind::Deduct => {
            let returned = optional_amount(row, 14)?;
            Performed::Deduct(returned.map(|returned| Drawn {
                reserve: reserve(),
                returned,
            }))
        }
    })
}

fn optional_amount(row: &Row, column: usize) -> Result<Option<Amount>, StoreError> {
    row.get::<_, Option<Decimal>>(column)
        .map(|_| amount(row, column))
        .transpose()
}
