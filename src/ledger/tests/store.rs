//! A store in memory: reads what the statements of the kinds read and no more, and writes what they write. So a request
//! that does not name what its judgement named finds it missing here too.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::account::{Account, AccountKey, Balance, EnterpriseFacts, Entry};
use crate::ledger::adjustment::model::{Adjustment, Adjustments};
use crate::ledger::books::{Books, Owner};
use crate::ledger::invariant::dump::LedgerDump;
use crate::ledger::kind::BalanceAt;
use crate::ledger::kinds::{RegisteredKind, States};
use crate::ledger::oes::model::{Allocation, Direction, OesRecords, Status};
use crate::ledger::oes::records::PartnerFacts;
use crate::ledger::oes::request::CreateAllocation;
use crate::ledger::tests::command::{Action, BatchState, Command};
use crate::ledger::tests::network::Network;
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

/// What the commands name: what `Request::add_reads` collects.
#[derive(Default)]
struct NamedRecords {
    owners: BTreeSet<OwnerId>,
    partners: BTreeSet<EnterpriseId>,
    connections: BTreeSet<ConnectionId>,
    keys: BTreeSet<(OwnerId, Direction, String)>,
    adjustments: BTreeSet<(OwnerId, String)>,
    allocations: BTreeSet<(OwnerId, AllocationId)>,
    accounts: BTreeSet<(OwnerId, AccountId, Unit)>,
}

impl NamedRecords {
    fn of(commands: &[&Command]) -> Self {
        let mut named = Self::default();
        for command in commands {
            let owner = command.owner;
            named.owners.insert(owner);
            match &command.action {
                Action::Create(create) => named.create(owner, create),
                Action::Submit(creates) => {
                    for create in creates {
                        named.create(owner, create);
                    }
                }
                Action::Close(close) => {
                    named.allocations.insert((owner, close.allocation));
                    if let Some(partner) = close.verdict.partner() {
                        named.partners.insert(partner.enterprise);
                        named.connections.insert(partner.connection);
                    }
                }
                Action::Adjust(adjust) => {
                    named
                        .adjustments
                        .insert((owner, adjust.external_id.clone()));
                    for account in [AccountId::OWN, AccountId::WORLD] {
                        named.accounts.insert((owner, account, adjust.unit.clone()));
                    }
                }
                Action::Bucket(_) | Action::Expire(_) => {}
            }
        }
        named
    }

    fn create(&mut self, owner: OwnerId, create: &CreateAllocation) {
        let terms = &create.terms;
        self.connections.insert(terms.connection);
        let key = terms.client_external_id.clone();
        self.keys.insert((owner, terms.direction, key));
        for account in [AccountId::OWN, terms.connection.into()] {
            self.accounts.insert((owner, account, terms.unit.clone()));
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
    ) -> BatchState {
        let named = NamedRecords::of(commands);
        let locked = named.owners.iter().copied();
        let locked = locked.filter(|id| network.owners.contains(id));
        let mut state = BatchState {
            books: Books::new(now, locked),
            states: States::default(),
        };
        let ids: Vec<OwnerId> = state.books.owners.keys().copied().collect();
        for id in ids {
            self.load_owner(network, release_max, &named, id, &mut state);
        }
        let of_oes = OesRecords::state(&mut state.states);
        let connections = named.connections.iter();
        for (_, connection) in connections.filter_map(|id| network.connections.get(id)) {
            let partner = connection.partner_enterprise;
            let facts = PartnerFacts {
                is_licensed: network.enterprises[&partner].licensed,
                has_partner: true,
            };
            of_oes.context.0.insert(partner, facts);
        }
        for id in &named.partners {
            if let Some(enterprise) = network.enterprises.get(id) {
                let facts = PartnerFacts {
                    is_licensed: enterprise.licensed,
                    has_partner: enterprise.partner,
                };
                of_oes.context.0.insert(*id, facts);
            }
        }
        state
    }

    fn load_owner(
        &self,
        network: &Network,
        release_max: usize,
        named: &NamedRecords,
        id: OwnerId,
        state: &mut BatchState,
    ) {
        let now = state.books.now;
        let owner = state.books.owners.get_mut(&id).expect("a locked owner");
        owner.enterprise = network.enterprise(id).map(|enterprise| EnterpriseFacts {
            is_licensed: enterprise.licensed,
            client: enterprise.client,
        });
        let times = self.entries.values().filter(|entry| entry.owner == id);
        owner.last_time = times.map(|entry| entry.time).max();
        for (of, account, unit) in &named.accounts {
            if *of == id {
                self.load_account(owner, id, *account, unit);
            }
        }
        for (place, adjustment) in &self.adjustments {
            if place.0 == id && named.adjustments.contains(place) {
                let of_adjustments = Adjustments::state(&mut state.states);
                of_adjustments.records_mut(id).load(adjustment.clone());
            }
        }
        let records = OesRecords::state(&mut state.states).records_mut(id);
        for connection in &named.connections {
            if let Some((client, found)) = network.connections.get(connection)
                && *client == id
            {
                records.connections.insert(*connection, found.clone());
            }
        }
        for allocation in self.allocations.values() {
            let terms = &allocation.record.terms;
            let key = (id, terms.direction, terms.client_external_id.clone());
            if allocation.owner == id && named.keys.contains(&key) {
                records.load(allocation.clone());
            }
        }
        let mut due = self.due(id, now);
        owner.has_more_due = due.len() > release_max;
        // The first that is not released is read all the same: it shows that more are due.
        due.truncate(release_max + 1);
        records.due = due
            .iter()
            .take(release_max)
            .map(|due| due.record.id)
            .collect();
        let by_id = self.allocations.iter();
        let by_id = by_id.filter(|(place, _)| place.0 == id && named.allocations.contains(place));
        let by_id = by_id.map(|(_, allocation)| allocation);
        for allocation in by_id.chain(due) {
            let terms = &allocation.record.terms;
            for account in [AccountId::OWN, terms.connection.into()] {
                self.load_account(owner, id, account, &terms.unit);
            }
            records.load(allocation.clone());
        }
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
            .filter(|found| found.owner == id && found.record.status == Status::Reserved)
            .filter(|found| {
                let expire_time = found.record.terms.expire_time;
                expire_time.is_some_and(|time| time <= now)
            })
            .collect();
        due.sort_by_key(|found| (found.record.terms.expire_time, found.record.id));
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
        for created in &kinds.oes.created {
            check_allocation(created);
            let key = |found: &Allocation| {
                let terms = &found.record.terms;
                (
                    found.owner,
                    terms.direction,
                    terms.client_external_id.clone(),
                )
            };
            let twin = self
                .allocations
                .values()
                .find(|found| key(found) == key(created));
            assert_eq!(twin, None, "a key is unique");
            let place = (created.owner, created.record.id);
            let before = self.allocations.insert(place, (*created).clone());
            assert_eq!(before, None, "an id is unique");
        }
        for closed in &kinds.oes.closed {
            let place = (closed.owner, closed.record.id);
            let stored = self.allocations.get_mut(&place);
            let stored = stored.expect("only what is stored can be closed");
            assert_eq!(stored.record.status, Status::Reserved, "only what is open");
            // The columns that are written; the others stay as they were.
            stored.record.status = closed.record.status;
            stored.record.partner_external_id = closed.record.partner_external_id.clone();
            stored.record.reason = closed.record.reason.clone();
            stored.record.updated_at = closed.record.updated_at;
            stored.closed = closed.closed;
            check_allocation(stored);
        }
        for adjustment in &kinds.adjustment.created {
            let place = (adjustment.owner, adjustment.external_id.clone());
            let before = self.adjustments.insert(place, (*adjustment).clone());
            assert_eq!(before, None, "a key is unique");
        }
        for account in &books.new_accounts {
            let place = (account.owner, account.key.clone());
            let before = self.accounts.insert(place, account.balance);
            assert_eq!(before, None, "a new account has no row");
        }
        for change in &books.changed_accounts {
            let account = &change.account;
            let stored = self
                .accounts
                .get_mut(&(account.owner, account.key.clone()))
                .expect("a changed account has a row");
            assert_eq!(stored.version, change.stored_version);
            *stored = account.balance;
        }
        for entry in &books.entries {
            let place = (entry.owner, entry.key.clone(), entry.after.version);
            let before = self.entries.insert(place, (*entry).clone());
            assert_eq!(before, None, "a version is unique");
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
            allocations: self.allocations.values().cloned().collect(),
            adjustments: self.adjustments.values().cloned().collect(),
            ..LedgerDump::default()
        }
    }
}

/// The table's own checks.
fn check_allocation(allocation: &Allocation) {
    let record = &allocation.record;
    assert!(record.terms.quantity > Amount::ZERO);
    let released = record.status == Status::Released;
    assert!(record.reason.is_none() || released, "{allocation:?}");
    let reserved = record.status == Status::Reserved;
    assert_eq!(allocation.closed.is_none(), reserved, "{allocation:?}");
}
