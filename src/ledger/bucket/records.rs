//! The buckets of a batch: what was read of each, and what has changed.

use std::collections::HashMap;

use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::model::{
    ActionKind, BalanceAction, Bucket, BucketChange, BucketProduct, BucketUpdate, KeptCall,
    KeyedCall,
};
use crate::ledger::kind::{ChangeSet, KindState, RecordProof};
use crate::types::ids::ActionId;

/// A bucket, and what commands name of it.
#[derive(Clone, Debug, Default)]
pub struct BucketRecords {
    /// Reserves whose `expire_time` has passed, oldest first.
    pub due: Vec<ActionId>,
    bucket: Option<Bucket>,
    /// The version that was read; 0 if there was no bucket.
    stored_version: i64,
    updates_by_key: HashMap<String, BucketUpdate>,
    calls_by_key: HashMap<(KeyedCall, String), KeptCall>,
    actions: HashMap<ActionId, BalanceAction>,
    actions_by_key: HashMap<(ActionKind, String), ActionId>,
    changed: ChangedRecords,
}

/// What a batch did to a bucket.
#[derive(Clone, Debug, Default)]
struct ChangedRecords {
    /// The products of a new bucket.
    products: Vec<String>,
    updates: Vec<BucketUpdate>,
    calls: Vec<KeptCall>,
    new_actions: Vec<ActionId>,
    changed_reserves: Vec<ActionId>,
}

impl BucketRecords {
    /// Adds the bucket as it was read.
    pub fn load_bucket(&mut self, bucket: Bucket) {
        self.stored_version = bucket.version;
        self.bucket = Some(bucket);
    }

    /// Adds an update as it was read, if it has a key.
    pub fn load_update(&mut self, update: BucketUpdate) {
        if let Some(key) = update.request_id.clone() {
            self.updates_by_key.insert(key, update);
        }
    }

    /// Adds a call as it was read.
    pub fn load_call(&mut self, call: KeptCall) {
        let key = (call.call, call.request_id.clone());
        self.calls_by_key.insert(key, call);
    }

    /// Adds an action as it was read.
    pub fn load_action(&mut self, action: BalanceAction) {
        let key = (action.kind(), action.request_id.clone());
        self.actions_by_key.insert(key, action.id);
        self.actions.insert(action.id, action);
    }

    /// The bucket; none if it does not exist.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// The update with this idempotency key.
    pub fn update_by_key(&self, request_id: &str) -> Option<&BucketUpdate> {
        self.updates_by_key.get(request_id)
    }

    /// The call with this idempotency key.
    pub fn call_by_key(&self, call: KeyedCall, request_id: &str) -> Option<&KeptCall> {
        self.calls_by_key.get(&(call, request_id.to_owned()))
    }

    /// The action with this id, if it was read.
    pub fn action(&self, id: ActionId) -> Option<&BalanceAction> {
        self.actions.get(&id)
    }

    /// The action with this idempotency key.
    pub fn action_by_key(&self, kind: ActionKind, request_id: &str) -> Option<&BalanceAction> {
        let id = self.actions_by_key.get(&(kind, request_id.to_owned()))?;
        self.actions.get(id)
    }

    /// Adds a new bucket.
    pub fn create(&mut self, bucket: Bucket, products: Vec<String>) {
        self.bucket = Some(bucket);
        self.changed.products = products;
    }

    /// Replaces the bucket by its next version.
    pub fn update(&mut self, bucket: Bucket, update: BucketUpdate) {
        self.bucket = Some(bucket);
        self.changed.updates.push(update.clone());
        self.load_update(update);
    }

    /// Adds the key of a new call.
    pub fn add_call(&mut self, call: KeptCall) {
        self.changed.calls.push(call.clone());
        self.load_call(call);
    }

    /// Adds a new action.
    pub fn add_action(&mut self, action: BalanceAction) {
        self.changed.new_actions.push(action.id);
        self.load_action(action);
    }

    /// Replaces a reserve by what is left of it.
    pub fn change_reserve(&mut self, reserve: BalanceAction) {
        let ChangedRecords {
            new_actions,
            changed_reserves,
            ..
        } = &mut self.changed;
        // However often it changes in one batch, it is written once.
        if !new_actions.contains(&reserve.id) && !changed_reserves.contains(&reserve.id) {
            changed_reserves.push(reserve.id);
        }
        self.actions.insert(reserve.id, reserve);
    }

    fn add_changes<'a>(&'a self, changes: &mut BucketChanges<'a>) {
        let changed = &self.changed;
        if let Some(bucket) = &self.bucket {
            if self.stored_version == 0 {
                let products = changed.products.iter().map(|product| BucketProduct {
                    owner: bucket.owner,
                    product: product.clone(),
                    tenant: bucket.tenant,
                    bucket: bucket.id.clone(),
                    created_at: bucket.created_at,
                });
                changes.products.extend(products);
                changes.created.push(bucket);
            } else if self.stored_version < bucket.version {
                changes.updated.push(BucketChange {
                    bucket: bucket.clone(),
                    stored_version: self.stored_version,
                });
            }
        }
        changes.updates.extend(&changed.updates);
        changes.calls.extend(&changed.calls);
        let find = |id| self.actions.get(id);
        changes
            .new_actions
            .extend(changed.new_actions.iter().filter_map(find));
        changes
            .changed_reserves
            .extend(changed.changed_reserves.iter().filter_map(find));
    }
}

/// What a batch has to write of buckets.
#[derive(Debug, Default)]
pub struct BucketChanges<'a> {
    /// Buckets that are new.
    pub created: Vec<&'a Bucket>,
    /// The products of the new ones.
    pub products: Vec<BucketProduct>,
    /// Stored buckets that were updated.
    pub updated: Vec<BucketChange>,
    /// The updates themselves, which keep their idempotency keys.
    pub updates: Vec<&'a BucketUpdate>,
    /// Keys of calls that may have left no other record.
    pub calls: Vec<&'a KeptCall>,
    /// Actions that are new.
    pub new_actions: Vec<&'a BalanceAction>,
    /// Stored reserves of which something was used or given back.
    pub changed_reserves: Vec<&'a BalanceAction>,
}

impl<'a> BucketChanges<'a> {
    pub(super) fn of(state: &'a KindState<Buckets>) -> Self {
        let mut changes = Self::default();
        for records in state.by_owner().into_values() {
            records.add_changes(&mut changes);
        }
        changes
    }

    /// A bucket that was created or updated, or a key that was kept: this may be all that a transaction did.
    pub(super) fn proof(&self) -> Option<RecordProof> {
        let created = self
            .created
            .first()
            .map(|bucket| (bucket.owner, bucket.created_at));
        let updated = self
            .updates
            .first()
            .map(|update| (update.owner, update.created_at));
        let kept = self.calls.first().map(|call| (call.owner, call.created_at));
        let (owner, time) = created.or(updated).or(kept)?;
        Some(RecordProof { owner, time })
    }
}

impl ChangeSet for BucketChanges<'_> {
    fn is_empty(&self) -> bool {
        self.created.is_empty()
            && self.updated.is_empty()
            && self.calls.is_empty()
            && self.new_actions.is_empty()
            && self.changed_reserves.is_empty()
    }
}
