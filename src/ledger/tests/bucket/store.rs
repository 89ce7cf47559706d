//! A store of buckets in memory: reads what the statements read and no more, and writes what they write.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::account::{Account, AccountKey, Balance, Entry};
use crate::ledger::books::Books;
use crate::ledger::bucket::delta::ActionValues;
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, ActionStatus, BalanceAction, Bucket, BucketUpdate, Buckets, KeptCall,
    KeyedCall,
};
use crate::ledger::bucket::request::{ActionRequest, BucketOperation};
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::kind::BalanceAt;
use crate::ledger::kinds::{RegisteredKind, States};
use crate::ledger::tests::bucket::reference::number;
use crate::ledger::tests::command::{Action, BatchState, Command};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, ActionId, OwnerId};
use crate::types::time::Time;

#[derive(Debug, Default)]
pub(super) struct Store {
    owners: BTreeSet<OwnerId>,
    buckets: BTreeMap<OwnerId, Bucket>,
    updates: BTreeMap<(OwnerId, i64), BucketUpdate>,
    calls: BTreeMap<(OwnerId, KeyedCall, String), KeptCall>,
    pub(super) actions: BTreeMap<(OwnerId, ActionId), BalanceAction>,
    accounts: BTreeMap<(OwnerId, AccountKey), Balance>,
    entries: BTreeMap<(OwnerId, AccountKey, i64), Entry>,
}

/// What commands name: actions, updates and other calls by their keys, and reserves.
type ReadKeys = (
    BTreeSet<(OwnerId, ActionKind, String)>,
    BTreeSet<(OwnerId, String)>,
    BTreeSet<(OwnerId, KeyedCall, String)>,
    BTreeSet<(OwnerId, ActionId)>,
);

impl Store {
    /// What has to be read for these commands; an owner is made for each creation.
    fn read_sets(&mut self, commands: &[&Command]) -> ReadKeys {
        let (mut keys, mut updates, mut calls, mut reserves) = ReadKeys::default();
        for command in commands {
            let Action::Bucket(asked) = &command.action else {
                continue;
            };
            let owner = command.owner;
            match &asked.operation {
                BucketOperation::Create(_) if !command.validate_only => {
                    self.owners.insert(owner);
                }
                BucketOperation::Create(_) => {}
                BucketOperation::Update(update) => {
                    let key = update.request_id.clone();
                    calls.extend(key.clone().map(|key| (owner, KeyedCall::Update, key)));
                    updates.extend(key.map(|key| (owner, key)));
                }
                BucketOperation::Act(act) => {
                    if let ActionRequest::Close { .. } = act.action {
                        calls.insert((owner, KeyedCall::Close, act.request_id.clone()));
                    }
                    keys.insert((owner, act.action.kind(), act.request_id.clone()));
                    reserves.extend(act.action.reserve().map(|id| (owner, id)));
                }
            }
        }
        (keys, updates, calls, reserves)
    }

    /// Reads for a batch. At most `release_max` due reserves of each owner are released.
    pub(super) fn load(
        &mut self,
        now: Time,
        release_max: usize,
        commands: &[&Command],
        owners: &BTreeSet<OwnerId>,
    ) -> BatchState {
        let (keys, updates, calls, reserves) = self.read_sets(commands);
        let locked = owners.intersection(&self.owners).copied();
        let mut state = BatchState {
            books: Books::new(now, locked),
            states: States::default(),
        };
        for (id, owner) in &mut state.books.owners {
            let records = Buckets::state(&mut state.states).records_mut(*id);
            if let Some(bucket) = self.buckets.get(id) {
                let times = self.entries.values().filter(|entry| entry.owner == *id);
                owner.last_time = times.map(|entry| entry.time).max();
                owner.touch(bucket.updated_at);
                for account in [AccountId::OWN, AccountId::WORLD, AccountId::TRANSIT] {
                    let key = AccountKey::new(account, &bucket.unit);
                    if let Some(balance) = self.accounts.get(&(*id, key.clone())) {
                        owner.load_account(key, *balance);
                    }
                }
                records.load_bucket(bucket.clone());
            }
            for update in self.updates.values().filter(|update| update.owner == *id) {
                let key = update.request_id.clone().map(|key| (*id, key));
                if key.is_some_and(|key| updates.contains(&key)) {
                    records.load_update(update.clone());
                }
            }
            for (key, call) in self.calls.iter().filter(|(key, _)| key.0 == *id) {
                if calls.contains(key) {
                    records.load_call(call.clone());
                }
            }
            for action in self.actions.values().filter(|action| action.owner == *id) {
                let key = (*id, action.kind(), action.request_id.clone());
                if keys.contains(&key) || reserves.contains(&(*id, action.id)) {
                    records.load_action(action.clone());
                }
            }
            let mut due = self.due(*id, now);
            owner.has_more_due = due.len() > release_max;
            // The first that is not released is read all the same: it shows that more are due.
            due.truncate(release_max + 1);
            records.due = due.iter().take(release_max).map(|due| due.id).collect();
            for action in due {
                records.load_action(action.clone());
            }
        }
        state
    }

    fn due(&self, id: OwnerId, now: Time) -> Vec<&BalanceAction> {
        let mut due: Vec<_> = self
            .actions
            .values()
            .filter(|action| action.owner == id && action.is_due(now))
            .collect();
        due.sort_by_key(|action| {
            let expires = action.reserve().and_then(|reserve| reserve.expire_time);
            (expires, action.id)
        });
        due
    }

    /// The balance that an entry left.
    pub(super) fn balance_at(&self, at: &BalanceAt) -> Option<Balance> {
        let entry = self.entries.get(&(at.owner, at.key.clone(), at.version));
        entry.map(|entry| {
            assert!(entry.time <= at.latest_time(), "{at:?}");
            entry.after
        })
    }

    /// Writes, with the keys, checks and row counts that the database has.
    pub(super) fn apply(&mut self, state: &BatchState) {
        let (books, kinds) = (state.books.changes(), state.states.changes());
        let changes = &kinds.bucket;
        for bucket in &changes.created {
            assert!(self.owners.contains(&bucket.owner));
            let before = self.buckets.insert(bucket.owner, (*bucket).clone());
            assert_eq!(before, None, "a bucket is made once");
        }
        for change in &changes.updated {
            let bucket = change.bucket.clone();
            let before = self.buckets.insert(bucket.owner, bucket);
            let before = before.map(|bucket| bucket.version);
            assert_eq!(before, Some(change.stored_version));
        }
        for update in &changes.updates {
            let twin = |found: &&BucketUpdate| {
                let same = found.owner == update.owner && found.request_id == update.request_id;
                same && found.request_id.is_some()
            };
            assert_eq!(self.updates.values().find(twin), None, "a key is unique");
            let place = (update.owner, update.version);
            let before = self.updates.insert(place, (*update).clone());
            assert_eq!(before, None, "a version is unique");
        }
        for call in &changes.calls {
            let place = (call.owner, call.call, call.request_id.clone());
            let before = self.calls.insert(place, (*call).clone());
            assert_eq!(before, None, "a key is unique");
        }
        for action in &changes.new_actions {
            let twin = |found: &&BalanceAction| {
                (found.owner, found.kind(), &found.request_id)
                    == (action.owner, action.kind(), &action.request_id)
            };
            assert_eq!(self.actions.values().find(twin), None, "a key is unique");
            let place = (action.owner, action.id);
            let before = self.actions.insert(place, (*action).clone());
            assert_eq!(before, None, "an id is unique");
        }
        for reserve in &changes.changed_reserves {
            let place = (reserve.owner, reserve.id);
            let before = self.actions.insert(place, (*reserve).clone());
            let before = before.expect("only what is stored can change");
            assert_eq!(before.status, ActionStatus::Created, "only what is open");
        }
        let new = books.new_accounts.iter().map(|account| (account, 0));
        let changed = books.changed_accounts.iter();
        let changed = changed.map(|change| (&change.account, change.stored_version));
        for (account, stored_version) in new.chain(changed) {
            let place = (account.owner, account.key.clone());
            let before = self.accounts.insert(place, account.balance);
            let before = before.map_or(0, |before| before.version);
            assert_eq!(before, stored_version);
        }
        for entry in &books.entries {
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

    /// What each bucket and each party account holds by the history of its buckets: remaining and reserved, counted in
    /// the last of twelve places.
    pub(super) fn histories(&self) -> BTreeMap<String, (i128, i128)> {
        let mut sums = BTreeMap::new();
        for bucket in self.buckets.values() {
            self.add(
                &mut sums,
                bucket.owner,
                (bucket.opened_amount, Amount::ZERO),
            );
        }
        for action in self.actions.values() {
            let values = ActionValues::from(action);
            let own = values.own_delta().expect("28 digits");
            self.add(&mut sums, action.owner, (own.remaining, own.reserved));
            if let ActionEffect::Transfer(transfer) = &action.effect {
                let received = values.receiver_delta().expect("28 digits");
                let received = (received.remaining, received.reserved);
                self.add(&mut sums, transfer.receiver, received);
            }
        }
        sums
    }

    /// What each bucket and each party account holds by the accounts of its buckets.
    pub(super) fn holdings(&self) -> BTreeMap<String, (i128, i128)> {
        let mut sums = BTreeMap::new();
        for (owner, balance) in self.balances() {
            self.add(&mut sums, owner, (balance.available, balance.held));
        }
        sums
    }

    /// Adds to the sums of a bucket, and of its party account in its unit.
    fn add(
        &self,
        sums: &mut BTreeMap<String, (i128, i128)>,
        owner: OwnerId,
        (remaining, reserved): (Amount, Amount),
    ) {
        let bucket = &self.buckets[&owner];
        let party = bucket.party_account.as_ref();
        let party = party.map(|party| format!("{party} {}", bucket.unit));
        for name in party.into_iter().chain([bucket.id.clone()]) {
            let sum = sums.entry(name).or_default();
            sum.0 += number(remaining);
            sum.1 += number(reserved);
        }
    }

    /// Everything, for the invariants.
    pub(super) fn dump(&self) -> LedgerDump {
        let accounts = self.accounts.iter();
        LedgerDump {
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
            ..LedgerDump::default()
        }
    }
}
