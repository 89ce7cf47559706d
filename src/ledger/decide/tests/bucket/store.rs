//! A store of buckets in memory: reads what `store::read::bucket` reads and no more, writes as it is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ledger::command::bucket::BucketRequest;
use crate::ledger::command::{Action, Command};
use crate::ledger::invariant::Picture;
use crate::ledger::model::bucket::{ActionKind, ActionStatus, BalanceAction, Bucket, BucketUpdate};
use crate::ledger::model::{Account, AccountKey, Balance, Entry};
use crate::ledger::state::{Changes, Owner, State};
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;

#[derive(Debug, Default)]
pub(super) struct Store {
    owners: BTreeSet<OwnerId>,
    buckets: BTreeMap<OwnerId, Bucket>,
    updates: BTreeMap<(OwnerId, i64), BucketUpdate>,
    pub(super) actions: BTreeMap<(OwnerId, ActionId), BalanceAction>,
    accounts: BTreeMap<(OwnerId, AccountKey), Balance>,
    entries: BTreeMap<(OwnerId, AccountKey, i64), Entry>,
}

impl Store {
    /// Reads for a batch. At most `release_max` due reserves of each owner are released.
    pub(super) fn load(
        &mut self,
        now: Time,
        release_max: usize,
        commands: &[&Command],
        owners: &BTreeSet<OwnerId>,
    ) -> State {
        let (mut keys, mut updates, mut reserves) = <(
            BTreeSet<(OwnerId, ActionKind, String)>,
            BTreeSet<(OwnerId, String)>,
            BTreeSet<(OwnerId, ActionId)>,
        )>::default();
        for command in commands {
            let Action::Bucket(asked) = &command.action else {
                continue;
            };
            let owner = command.owner;
            match &asked.request {
                BucketRequest::Create(_) if !command.validate_only => {
                    self.owners.insert(owner);
                }
                BucketRequest::Create(_) => {}
                BucketRequest::Update(update) => {
                    updates.extend(update.request_id.clone().map(|key| (owner, key)));
                }
                BucketRequest::Act(act) => {
                    keys.insert((owner, act.deed.kind(), act.request_id.clone()));
                    reserves.extend(act.deed.reserve().map(|id| (owner, id)));
                }
            }
        }
        let mut loaded = HashMap::new();
        for id in owners.intersection(&self.owners) {
            let mut owner = Owner::default();
            if let Some(bucket) = self.buckets.get(id) {
                let times = self.entries.values().filter(|entry| entry.owner == *id);
                let last = times.map(|entry| entry.time).max();
                owner.last_time = last.max(Some(bucket.updated_at));
                for account in [AccountId::OWN, AccountId::WORLD, AccountId::TRANSIT] {
                    let unit = bucket.unit.clone();
                    let key = AccountKey { account, unit };
                    if let Some(balance) = self.accounts.get(&(*id, key.clone())) {
                        owner.load_account(key, *balance);
                    }
                }
                owner.prepaid.load_bucket(bucket.clone());
            }
            for update in self.updates.values().filter(|update| update.owner == *id) {
                let key = update.request_id.clone().map(|key| (*id, key));
                if key.is_some_and(|key| updates.contains(&key)) {
                    owner.prepaid.load_update(update.clone());
                }
            }
            for action in self.actions.values().filter(|action| action.owner == *id) {
                let key = (*id, action.kind(), action.request_id.clone());
                if keys.contains(&key) || reserves.contains(&(*id, action.id)) {
                    owner.prepaid.load_action(action.clone());
                }
            }
            let mut due: Vec<_> = self
                .actions
                .values()
                .filter(|action| action.owner == *id && action.is_due(now))
                .collect();
            due.sort_by_key(|action| {
                let expires = action.reserve().and_then(|reserve| reserve.expire_time);
                (expires, action.id)
            });
            owner.more_due = due.len() > release_max;
            // The first that is not released is read all the same: it tells that more are due.
            due.truncate(release_max + 1);
            owner.prepaid.due = due.iter().take(release_max).map(|due| due.id).collect();
            for action in due {
                owner.prepaid.load_action(action.clone());
            }
            loaded.insert(*id, owner);
        }
        State {
            now,
            owners: loaded,
            partners: HashMap::new(),
        }
    }

    /// The balance that an entry left.
    pub(super) fn past(&self, owner: OwnerId, key: &AccountKey, version: i64) -> Option<Balance> {
        let entry = self.entries.get(&(owner, key.clone(), version));
        entry.map(|entry| entry.after)
    }

    /// Writes, with the keys, checks and row counts that the database has.
    pub(super) fn apply(&mut self, changes: &Changes<'_>) {
        let prepaid = &changes.prepaid;
        for bucket in &prepaid.created {
            assert!(self.owners.contains(&bucket.owner));
            let before = self.buckets.insert(bucket.owner, (*bucket).clone());
            assert_eq!(before, None, "a bucket is made once");
        }
        for (bucket, version) in &prepaid.updated {
            let before = self.buckets.insert(bucket.owner, (*bucket).clone());
            assert_eq!(before.map(|bucket| bucket.version), Some(*version));
        }
        for update in &prepaid.updates {
            let twin = |found: &&BucketUpdate| {
                let same = found.owner == update.owner && found.request_id == update.request_id;
                same && found.request_id.is_some()
            };
            assert_eq!(self.updates.values().find(twin), None, "a key is unique");
            let place = (update.owner, update.version);
            let before = self.updates.insert(place, (*update).clone());
            assert_eq!(before, None, "a version is unique");
        }
        for action in &prepaid.made {
            let twin = |found: &&BalanceAction| {
                (found.owner, found.kind(), &found.request_id)
                    == (action.owner, action.kind(), &action.request_id)
            };
            assert_eq!(self.actions.values().find(twin), None, "a key is unique");
            let place = (action.owner, action.id);
            let before = self.actions.insert(place, (*action).clone());
            assert_eq!(before, None, "an id is unique");
        }
        for reserve in &prepaid.changed {
            let place = (reserve.owner, reserve.id);
            let before = self.actions.insert(place, (*reserve).clone());
            let before = before.expect("only what is stored can change");
            assert_eq!(before.status, ActionStatus::Created, "only what is open");
        }
        for account in changes.new_accounts.iter().chain(&changes.changed_accounts) {
            let place = (account.owner, account.key.clone());
            let before = self.accounts.insert(place, account.after);
            let before = before.map_or(0, |before| before.version);
            assert_eq!(before, account.stored_version);
        }
        for entry in &changes.entries {
            let place = (entry.owner, entry.key.clone(), entry.after.version);
            let before = self.entries.insert(place, (*entry).clone());
            assert_eq!(before, None, "a version is unique");
        }
    }

    /// What each bucket holds.
    pub(super) fn balances(&self) -> BTreeMap<OwnerId, Balance> {
        let own = |bucket: &Bucket| AccountKey {
            account: AccountId::OWN,
            unit: bucket.unit.clone(),
        };
        let balances = self.buckets.iter().map(|(id, bucket)| {
            let found = self.accounts.get(&(*id, own(bucket)));
            (*id, found.copied().unwrap_or_default())
        });
        balances.collect()
    }

    /// Everything, for the invariants.
    pub(super) fn picture(&self) -> Picture {
        let accounts = self.accounts.iter();
        Picture {
            accounts: accounts
                .map(|((owner, key), balance)| Account {
                    owner: *owner,
                    key: key.clone(),
                    balance: *balance,
                })
                .collect(),
            entries: self.entries.values().cloned().collect(),
            buckets: self.buckets.values().cloned().collect(),
            actions: self.actions.values().cloned().collect(),
            ..Picture::default()
        }
    }
}
