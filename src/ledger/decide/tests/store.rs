//! A store in memory: reads what `store::read` reads and no more, writes what `store::write` writes and as it does.
//! So a `decide` that forgot to ask for something finds it missing here too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ledger::command::{Action, Command, Create, Verdict};
use crate::ledger::decide::tests::network::Network;
use crate::ledger::invariant::Picture;
use crate::ledger::model::{
    Account, AccountKey, Adjustment, Allocation, Balance, Direction, Entry, Status,
};
use crate::ledger::state::{Changes, Owner, PartnerStanding, Standing, State};
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, AllocationId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) accounts: BTreeMap<(OwnerId, AccountKey), Balance>,
    pub(super) entries: BTreeMap<(OwnerId, AccountKey, i64), Entry>,
    pub(super) allocations: BTreeMap<(OwnerId, AllocationId), Allocation>,
    pub(super) adjustments: BTreeMap<(OwnerId, String), Adjustment>,
}

/// What the commands name: what `store::Needs` collects.
#[derive(Default)]
struct Needs {
    owners: BTreeSet<OwnerId>,
    partners: BTreeSet<EnterpriseId>,
    connections: BTreeSet<ConnectionId>,
    keys: BTreeSet<(OwnerId, Direction, String)>,
    adjustments: BTreeSet<(OwnerId, String)>,
    allocations: BTreeSet<(OwnerId, AllocationId)>,
    accounts: BTreeSet<(OwnerId, AccountId, Unit)>,
}

impl Needs {
    fn of(commands: &[&Command]) -> Self {
        let mut needs = Self::default();
        for command in commands {
            let owner = command.owner;
            needs.owners.insert(owner);
            match &command.action {
                Action::Create(create) => needs.create(owner, create),
                Action::Submit(creates) => {
                    for create in creates {
                        needs.create(owner, create);
                    }
                }
                Action::Close(close) => {
                    needs.allocations.insert((owner, close.allocation));
                    if let Verdict::Clear(partner) | Verdict::Release { partner, .. } =
                        &close.verdict
                    {
                        needs.partners.insert(partner.enterprise);
                        needs.connections.insert(partner.connection);
                    }
                }
                Action::Adjust(adjust) => {
                    needs
                        .adjustments
                        .insert((owner, adjust.external_id.clone()));
                    for account in [AccountId::OWN, AccountId::WORLD] {
                        needs.accounts.insert((owner, account, adjust.unit.clone()));
                    }
                }
                Action::Bucket(_) | Action::Expire(_) => {}
            }
        }
        needs
    }

    fn create(&mut self, owner: OwnerId, create: &Create) {
        self.connections.insert(create.connection);
        let key = create.client_external_id.clone();
        self.keys.insert((owner, create.direction, key));
        for account in [AccountId::OWN, create.connection.into()] {
            self.accounts.insert((owner, account, create.unit.clone()));
        }
    }
}

impl Store {
    /// Reads for a batch. At most `release_max` due reservations of each owner are released.
    pub(super) fn load(
        &self,
        network: &Network,
        now: Time,
        release_max: usize,
        commands: &[&Command],
    ) -> State {
        let needs = Needs::of(commands);
        let mut owners = HashMap::new();
        for id in &needs.owners {
            if network.owners.contains(id) {
                owners.insert(*id, self.load_owner(network, now, release_max, &needs, *id));
            }
        }
        let partners = needs.partners.iter().filter_map(|id| {
            let enterprise = network.enterprises.get(id)?;
            let standing = PartnerStanding {
                licensed: enterprise.licensed,
                has_partner: enterprise.partner,
            };
            Some((*id, standing))
        });
        State {
            now,
            partners: partners.collect(),
            owners,
        }
    }

    fn load_owner(
        &self,
        network: &Network,
        now: Time,
        release_max: usize,
        needs: &Needs,
        id: OwnerId,
    ) -> Owner {
        let mut owner = Owner::default();
        owner.enterprise = network.enterprise(id).map(|enterprise| Standing {
            licensed: enterprise.licensed,
            client: enterprise.client,
        });
        let times = self.entries.values().filter(|entry| entry.owner == id);
        owner.last_time = times.map(|entry| entry.time).max();
        for connection in &needs.connections {
            if let Some((client, found)) = network.connections.get(connection)
                && *client == id
            {
                owner.connections.insert(*connection, found.clone());
            }
        }
        for allocation in self.allocations.values() {
            let key = (
                id,
                allocation.direction,
                allocation.client_external_id.clone(),
            );
            if allocation.owner == id && needs.keys.contains(&key) {
                owner.load_allocation(allocation.clone());
            }
        }
        for (place, adjustment) in &self.adjustments {
            if place.0 == id && needs.adjustments.contains(place) {
                owner.load_adjustment(adjustment.clone());
            }
        }
        for (of, account, unit) in &needs.accounts {
            if *of == id {
                self.load_account(&mut owner, id, *account, unit);
            }
        }
        let mut due = self.due(id, now);
        owner.more_due = due.len() > release_max;
        // The first that is not released is read all the same: it tells that more are due.
        due.truncate(release_max + 1);
        owner.due = due.iter().take(release_max).map(|due| due.id).collect();
        let named = self.allocations.iter();
        let named = named.filter(|(place, _)| place.0 == id && needs.allocations.contains(place));
        let named = named.map(|(_, allocation)| allocation);
        for allocation in named.chain(due) {
            for account in [AccountId::OWN, allocation.connection.into()] {
                self.load_account(&mut owner, id, account, &allocation.unit);
            }
            owner.load_allocation(allocation.clone());
        }
        owner
    }

    fn load_account(&self, owner: &mut Owner, id: OwnerId, account: AccountId, unit: &Unit) {
        let key = AccountKey {
            account,
            unit: unit.clone(),
        };
        if let Some(balance) = self.accounts.get(&(id, key.clone())) {
            owner.load_account(key, *balance);
        }
    }

    fn due(&self, id: OwnerId, now: Time) -> Vec<&Allocation> {
        let mut due: Vec<_> = self
            .allocations
            .values()
            .filter(|found| found.owner == id && found.status == Status::Reserved)
            .filter(|found| found.expire_time.is_some_and(|time| time <= now))
            .collect();
        due.sort_by_key(|found| (found.expire_time, found.id));
        due
    }

    /// The balance that an entry left.
    pub(super) fn past(&self, owner: OwnerId, key: &AccountKey, version: i64) -> Option<Balance> {
        let entry = self.entries.get(&(owner, key.clone(), version));
        entry.map(|entry| entry.after)
    }

    /// Writes, with the keys, checks and row counts that the database has.
    pub(super) fn apply(&mut self, changes: &Changes<'_>) {
        for created in &changes.created {
            check_allocation(created);
            let twin = self.allocations.values().find(|found| {
                (found.owner, found.direction) == (created.owner, created.direction)
                    && found.client_external_id == created.client_external_id
            });
            assert_eq!(twin, None, "a key is unique");
            let place = (created.owner, created.id);
            let before = self.allocations.insert(place, (*created).clone());
            assert_eq!(before, None, "an id is unique");
        }
        for closed in &changes.closed {
            let stored = self.allocations.get_mut(&(closed.owner, closed.id));
            let stored = stored.expect("only what is stored can be closed");
            assert_eq!(stored.status, Status::Reserved, "only what is open");
            // The columns that are written; the others stay as they were.
            stored.status = closed.status;
            stored.partner_external_id = closed.partner_external_id.clone();
            stored.reason = closed.reason.clone();
            stored.updated_at = closed.updated_at;
            stored.closed = closed.closed;
            check_allocation(stored);
        }
        for adjustment in &changes.adjustments {
            let place = (adjustment.owner, adjustment.external_id.clone());
            let before = self.adjustments.insert(place, (*adjustment).clone());
            assert_eq!(before, None, "a key is unique");
        }
        for account in &changes.new_accounts {
            assert_eq!(account.stored_version, 0);
            let place = (account.owner, account.key.clone());
            let before = self.accounts.insert(place, account.after);
            assert_eq!(before, None, "a new account has no row");
        }
        for account in &changes.changed_accounts {
            let stored = self
                .accounts
                .get_mut(&(account.owner, account.key.clone()))
                .expect("a changed account has a row");
            assert_eq!(stored.version, account.stored_version);
            *stored = account.after;
        }
        for entry in &changes.entries {
            let place = (entry.owner, entry.key.clone(), entry.after.version);
            let before = self.entries.insert(place, (*entry).clone());
            assert_eq!(before, None, "a version is unique");
        }
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
            allocations: self.allocations.values().cloned().collect(),
            adjustments: self.adjustments.values().cloned().collect(),
            ..Picture::default()
        }
    }
}

/// The table's own checks.
fn check_allocation(allocation: &Allocation) {
    assert!(allocation.quantity > Amount::ZERO);
    let released = allocation.status == Status::Released;
    assert!(allocation.reason.is_none() || released, "{allocation:?}");
    let reserved = allocation.status == Status::Reserved;
    assert_eq!(allocation.closed.is_none(), reserved, "{allocation:?}");
}
