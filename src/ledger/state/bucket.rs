//! What a batch knows of a bucket, but for its accounts.

use std::collections::HashMap;

use crate::ledger::model::bucket::{ActionKind, BalanceAction, Bucket, BucketUpdate};
use crate::types::ids::ActionId;

/// A bucket, and what commands name of it.
#[derive(Clone, Debug, Default)]
pub struct Prepaid {
    /// Due reserves, oldest first.
    pub due: Vec<ActionId>,
    bucket: Option<Bucket>,
    /// The version that was read; 0 where there was no bucket.
    stored_version: i64,
    /// By the key.
    updates: HashMap<String, BucketUpdate>,
    actions: HashMap<ActionId, BalanceAction>,
    keys: HashMap<(ActionKind, String), ActionId>,
    effects: Effects,
}

/// What a batch did to it.
#[derive(Clone, Debug, Default)]
struct Effects {
    /// Of a new bucket.
    products: Vec<String>,
    updates: Vec<BucketUpdate>,
    made: Vec<ActionId>,
    changed: Vec<ActionId>,
}

impl Prepaid {
    /// Adds the bucket as it was read.
    pub fn load_bucket(&mut self, bucket: Bucket) {
        self.stored_version = bucket.version;
        self.bucket = Some(bucket);
    }

    /// Adds an update that has a key, as it was read.
    pub fn load_update(&mut self, update: BucketUpdate) {
        if let Some(key) = update.request_id.clone() {
            self.updates.insert(key, update);
        }
    }

    /// Adds an action as it was read.
    pub fn load_action(&mut self, action: BalanceAction) {
        let key = (action.kind(), action.request_id.clone());
        self.keys.insert(key, action.id);
        self.actions.insert(action.id, action);
    }

    /// The bucket, if there is one.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// The update with this key, if there is one.
    pub fn update_by_key(&self, request_id: &str) -> Option<&BucketUpdate> {
        self.updates.get(request_id)
    }

    /// The action with this id, if it was read.
    pub fn action(&self, id: ActionId) -> Option<&BalanceAction> {
        self.actions.get(&id)
    }

    /// The action with this key, if there is one.
    pub fn action_by_key(&self, kind: ActionKind, request_id: &str) -> Option<&BalanceAction> {
        let id = self.keys.get(&(kind, request_id.to_owned()))?;
        self.actions.get(id)
    }

    /// Makes the bucket.
    pub fn create(&mut self, bucket: Bucket, products: Vec<String>) {
        self.bucket = Some(bucket);
        self.effects.products = products;
    }

    /// Replaces the bucket by its next version.
    pub fn update(&mut self, bucket: Bucket, update: BucketUpdate) {
        self.bucket = Some(bucket);
        self.effects.updates.push(update.clone());
        self.load_update(update);
    }

    /// Adds a new action.
    pub fn act(&mut self, action: BalanceAction) {
        self.effects.made.push(action.id);
        self.load_action(action);
    }

    /// Replaces a reserve by what became of it.
    pub fn change(&mut self, reserve: BalanceAction) {
        let Effects { made, changed, .. } = &mut self.effects;
        // Whatever happens to it in one batch, it is written once.
        if !made.contains(&reserve.id) && !changed.contains(&reserve.id) {
            changed.push(reserve.id);
        }
        self.actions.insert(reserve.id, reserve);
    }

    pub(super) fn add_changes<'a>(&'a self, changes: &mut PrepaidChanges<'a>) {
        let Effects {
            products,
            updates,
            made,
            changed,
        } = &self.effects;
        if let Some(bucket) = &self.bucket {
            if self.stored_version == 0 {
                let products = products.iter().map(|product| (bucket, product.as_str()));
                changes.products.extend(products);
                changes.created.push(bucket);
            } else if self.stored_version < bucket.version {
                changes.updated.push((bucket, self.stored_version));
            }
        }
        changes.updates.extend(updates);
        let find = |id| self.actions.get(id);
        changes.made.extend(made.iter().filter_map(find));
        changes.changed.extend(changed.iter().filter_map(find));
    }
}

/// Everything that a batch writes of buckets, but for their accounts and entries.
#[derive(Debug, Default)]
pub struct PrepaidChanges<'a> {
    /// New buckets.
    pub created: Vec<&'a Bucket>,
    /// Their products.
    pub products: Vec<(&'a Bucket, &'a str)>,
    /// Buckets that were there, each with the version that was read.
    pub updated: Vec<(&'a Bucket, i64)>,
    /// What was done to buckets, but for their value.
    pub updates: Vec<&'a BucketUpdate>,
    /// New actions.
    pub made: Vec<&'a BalanceAction>,
    /// Reserves that were there and hold less now.
    pub changed: Vec<&'a BalanceAction>,
}

impl PrepaidChanges<'_> {
    /// Whether there is nothing to write. No action is without entries.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.updated.is_empty()
    }
}
