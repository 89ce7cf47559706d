//! The SQL of buckets.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio::try_join;
use tokio_postgres::{Client, Row, Statement};

use crate::ledger::account::AccountKey;
use crate::ledger::books::Books;
use crate::ledger::bucket::action::statements::ActionStatements;
use crate::ledger::bucket::action_key::{ActionIdKey, ActionKey};
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::model::{
    BalanceAction, Bucket, BucketChange, BucketProduct, BucketUpdate, KeptCall, KeyedCall,
};
use crate::ledger::bucket::records::BucketChanges;
use crate::ledger::kind::{DueQuery, KindState, RecordProof};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::{Described, columns, read_first, select_list};
use crate::ledger::table::statements::{Insert, Lookup, Update, UpdateShape};
use crate::ledger::table::values::read_balance_if_joined;
use crate::trace;
use crate::types::ids::{AccountId, OwnerId};

/// Finds a bucket by its owner id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey {
    /// The bucket's owner id.
    pub owner: OwnerId,
}

columns!(BucketKey {
    owner: ["owner_id"];
});

/// Finds an update by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpdateKey {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The idempotency key to find.
    pub request_id: String,
}

columns!(UpdateKey {
    owner: ["owner_id"];
    request_id: ["request_id"];
});

/// Finds a call by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The call; each has keys of its own.
    pub call: KeyedCall,
    /// The idempotency key to find.
    pub request_id: String,
}

columns!(CallKey {
    owner: ["owner_id"];
    call: ["rpc"];
    request_id: ["request_id"];
});

/// What commands on buckets name.
#[derive(Debug, Default)]
pub struct BucketReads {
    /// Buckets, each with its accounts.
    pub buckets: HashSet<BucketKey>,
    /// Updates by idempotency key.
    pub updates: HashSet<UpdateKey>,
    /// Calls that may have left no other record, by idempotency key.
    pub calls: HashSet<CallKey>,
    /// Actions by idempotency key.
    pub keys: HashSet<ActionKey>,
    /// Reserves that are named by id.
    pub reserves: HashSet<ActionIdKey>,
}

/// The rows that were found for [`BucketReads`].
pub struct BucketRows {
    buckets: Vec<Row>,
    updates: Vec<Row>,
    calls: Vec<Row>,
    actions: Vec<Row>,
}

/// The prepared statements of the kind.
pub struct BucketStatements {
    buckets: Lookup<BucketKey>,
    updates: Lookup<UpdateKey>,
    calls: Lookup<CallKey>,
    actions: ActionStatements,
    due: Statement,
    proof: Statement,
    insert_buckets: Insert<Bucket>,
    insert_products: Insert<BucketProduct>,
    update_buckets: Update<BucketChange>,
    insert_updates: Insert<BucketUpdate>,
    insert_calls: Insert<KeptCall>,
}

/// The kind's part of the clock statement, see [`crate::ledger::kind::Kind::DUE_OWNERS`].
pub(super) const DUE_OWNERS: &str = "\
    SELECT o.owner_id FROM {owners} o(owner_id) CROSS JOIN LATERAL (\
        SELECT FROM open_bucket_action a WHERE a.owner_id = o.owner_id \
        AND a.expire_time IS NOT NULL AND a.expire_time <= clock.now ORDER BY a.expire_time, a.id LIMIT 1) due";

/// The oldest reserves of each bucket that were due at a time.
const DUE: &str = "\
    SELECT {action} FROM unnest($1::uuid[]) o(owner_id) CROSS JOIN LATERAL (\
        SELECT * FROM open_bucket_action d WHERE d.owner_id = o.owner_id \
        AND d.expire_time IS NOT NULL AND d.expire_time <= $2 ORDER BY d.expire_time, d.id LIMIT $3\
    ) t ORDER BY t.expire_time, t.id";

const PROOF: &str = "\
    SELECT EXISTS (SELECT FROM bucket WHERE owner_id = $1 AND created_at = $2) \
        OR EXISTS (SELECT FROM bucket_update WHERE owner_id = $1 AND created_at = $2) \
        OR EXISTS (SELECT FROM bucket_key WHERE owner_id = $1 AND created_at = $2)";

/// The accounts of a bucket, which are read with it, in this order.
const ACCOUNTS: [AccountId; 3] = [AccountId::OWN, AccountId::WORLD, AccountId::TRANSIT];
const ACCOUNT_COLUMNS: &str = "\
    own.available, own.held, own.version, own.reservation_count, \
    world.available, world.held, world.version, world.reservation_count, \
    transit.available, transit.held, transit.version, transit.reservation_count";
const JOIN_ACCOUNTS: &str = "\
    LEFT JOIN account own ON own.owner_id = t.owner_id AND own.unit = t.unit \
        AND own.account_id = '00000000-0000-0000-0000-000000000001' \
    LEFT JOIN account world ON world.owner_id = t.owner_id AND world.unit = t.unit \
        AND world.account_id = '00000000-0000-0000-0000-000000000002' \
    LEFT JOIN account transit ON transit.owner_id = t.owner_id AND transit.unit = t.unit \
        AND transit.account_id = '00000000-0000-0000-0000-000000000003'";

/// The version that was read must still be the stored one.
const UPDATED: UpdateShape = UpdateShape {
    table: "bucket",
    keys: &["owner_id"],
    set: &[
        "name",
        "description",
        "status",
        "valid_from",
        "valid_to",
        "version",
        "updated_at",
        "status_since",
    ],
    compared: &["stored_version"],
    condition: "t.version = n.stored_version",
    has_other_indexes: false,
};

impl BucketStatements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        let bucket = format!("{}, {ACCOUNT_COLUMNS}", select_list::<Bucket>("t"));
        let due = DUE.replace("{action}", &select_list::<BalanceAction>("t"));
        Ok(Self {
            buckets: Lookup::prepare_select(client, &bucket, "bucket", JOIN_ACCOUNTS).await?,
            updates: Lookup::prepare::<BucketUpdate>(client, "bucket_update").await?,
            calls: Lookup::prepare::<KeptCall>(client, "bucket_key").await?,
            actions: ActionStatements::prepare(client).await?,
            due: client.prepare(&due).await?,
            proof: client.prepare(PROOF).await?,
            insert_buckets: Insert::prepare(client, "bucket").await?,
            insert_products: Insert::prepare(client, "bucket_product").await?,
            update_buckets: Update::prepare(client, UPDATED).await?,
            insert_updates: Insert::prepare(client, "bucket_update").await?,
            insert_calls: Insert::prepare(client, "bucket_key").await?,
        })
    }

    pub(super) async fn read(
        &self,
        client: &Client,
        read_set: &BucketReads,
    ) -> PgResult<BucketRows> {
        let (buckets, updates, calls, actions) = try_join!(
            biased;
            self.buckets.query(client, &read_set.buckets),
            self.updates.query(client, &read_set.updates),
            self.calls.query(client, &read_set.calls),
            self.actions.read(client, &read_set.keys, &read_set.reserves),
        )?;
        Ok(BucketRows {
            buckets,
            updates,
            calls,
            actions,
        })
    }

    pub(super) async fn read_due(&self, client: &Client, due: &DueQuery) -> PgResult<Vec<Row>> {
        let now: DateTime<Utc> = due.now;
        trace::statement(
            "SELECT",
            "open_bucket_action",
            client.query(&self.due, &[&due.owners, &now, &due.limit]),
        )
        .await
    }

    pub(super) async fn write(
        &self,
        client: &Client,
        changes: &BucketChanges<'_>,
    ) -> Result<(), StoreError> {
        let products: Vec<&BucketProduct> = changes.products.iter().collect();
        let updated: Vec<&BucketChange> = changes.updated.iter().collect();
        try_join!(
            biased;
            self.insert_buckets.execute(client, &changes.created),
            self.insert_products.execute(client, &products),
            self.update_buckets.execute(client, &updated),
            self.insert_updates.execute(client, &changes.updates),
            self.insert_calls.execute(client, &changes.calls),
            self.actions.write(client, changes),
        )?;
        Ok(())
    }

    pub(super) async fn find_proof(&self, client: &Client, proof: RecordProof) -> PgResult<bool> {
        let row = client
            .query_one(&self.proof, &[&proof.owner.0, &proof.time.to_chrono()])
            .await?;
        Ok(row.get(0))
    }
}

impl BucketRows {
    pub(super) fn load(
        &self,
        books: &mut Books,
        state: &mut KindState<Buckets>,
    ) -> Result<(), StoreError> {
        for row in &self.buckets {
            let mut position = 0;
            let bucket = Bucket::read(row, &mut position)?;
            let Some(owner) = books.owners.get_mut(&bucket.owner) else {
                // A bucket is inserted together with its owner's row, so that row exists, but was not locked.
                books.blocked.insert(bucket.owner);
                continue;
            };
            owner.touch(bucket.updated_at);
            for account in ACCOUNTS {
                if let Some(balance) = read_balance_if_joined(row, &mut position)? {
                    owner.load_account(AccountKey::new(account, &bucket.unit), balance);
                }
            }
            state.records_mut(bucket.owner).load_bucket(bucket);
        }
        for row in &self.updates {
            let update: BucketUpdate = read_first(row)?;
            if books.is_locked(update.owner) {
                state.records_mut(update.owner).load_update(update);
            }
        }
        for row in &self.calls {
            let call: KeptCall = read_first(row)?;
            if books.is_locked(call.owner) {
                state.records_mut(call.owner).load_call(call);
            }
        }
        for row in &self.actions {
            let action: BalanceAction = read_first(row)?;
            if books.is_locked(action.owner) {
                state.records_mut(action.owner).load_action(action);
            }
        }
        Ok(())
    }
}

pub(super) fn load_due(
    rows: &[Row],
    share: usize,
    books: &mut Books,
    state: &mut KindState<Buckets>,
) -> Result<(), StoreError> {
    for row in rows {
        let action: BalanceAction = read_first(row)?;
        let Some(owner) = books.owners.get_mut(&action.owner) else {
            continue;
        };
        let records = state.records_mut(action.owner);
        if records.due.len() < share {
            records.due.push(action.id);
        } else {
            owner.has_more_due = true;
        }
        records.load_action(action);
    }
    Ok(())
}
