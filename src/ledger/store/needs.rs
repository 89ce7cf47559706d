//! What a batch's commands need to know, before anything is read.

use std::collections::HashSet;

use uuid::Uuid;

use crate::ledger::command::bucket::{BucketCommand, BucketRequest};
use crate::ledger::command::{Action, Command, Create, OwnerKind, Verdict};
use crate::ledger::model::Direction;
use crate::ledger::model::bucket::ActionKind;
use crate::types::ids::{AccountId, ActionId, AllocationId};
use crate::types::unit::Unit;

/// What a batch's commands need to know, as the arrays that the statements take.
#[derive(Debug, Default)]
pub struct Needs {
    /// Of both kinds: all that is locked.
    pub(super) owners: Vec<Uuid>,
    pub(super) enterprises: Vec<Uuid>,
    pub(super) partners: Vec<Uuid>,
    pub(super) connections: Vec<Uuid>,
    pub(super) connection_owners: Vec<Uuid>,
    pub(super) key_owners: Vec<Uuid>,
    pub(super) key_types: Vec<&'static str>,
    pub(super) key_ids: Vec<String>,
    pub(super) adjustment_owners: Vec<Uuid>,
    pub(super) adjustment_ids: Vec<String>,
    pub(super) allocation_owners: Vec<Uuid>,
    pub(super) allocation_ids: Vec<Uuid>,
    pub(super) account_owners: Vec<Uuid>,
    pub(super) account_ids: Vec<Uuid>,
    pub(super) account_units: Vec<String>,
    pub(super) buckets: BucketNeeds,
}

/// The same of commands on buckets.
#[derive(Debug, Default)]
pub(super) struct BucketNeeds {
    pub(super) owners: Vec<Uuid>,
    /// Those that are to be made.
    pub(super) new_owners: Vec<Uuid>,
    pub(super) update_owners: Vec<Uuid>,
    pub(super) update_keys: Vec<String>,
    pub(super) key_owners: Vec<Uuid>,
    pub(super) key_types: Vec<&'static str>,
    pub(super) keys: Vec<String>,
    pub(super) reserve_owners: Vec<Uuid>,
    pub(super) reserves: Vec<Uuid>,
}

/// What was collected already.
#[derive(Default)]
struct Seen<'a> {
    owners: HashSet<Uuid>,
    enterprises: HashSet<Uuid>,
    buckets: HashSet<Uuid>,
    new_buckets: HashSet<Uuid>,
    updates: HashSet<(Uuid, &'a str)>,
    actions: HashSet<(Uuid, ActionKind, &'a str)>,
    reserves: HashSet<(Uuid, ActionId)>,
    partners: HashSet<Uuid>,
    connections: HashSet<(Uuid, Uuid)>,
    keys: HashSet<(Uuid, Direction, &'a str)>,
    adjustments: HashSet<(Uuid, &'a str)>,
    allocations: HashSet<(Uuid, AllocationId)>,
    accounts: HashSet<(Uuid, AccountId, &'a Unit)>,
}

impl Needs {
    /// Collects what the commands need.
    pub fn of(commands: &[&Command]) -> Self {
        let mut needs = Self::default();
        let mut seen = Seen::default();
        for command in commands {
            needs.add(command, &mut seen);
        }
        needs.owners = seen.owners.into_iter().collect();
        needs.enterprises = seen.enterprises.into_iter().collect();
        needs.buckets.owners = seen.buckets.into_iter().collect();
        needs.buckets.new_owners = seen.new_buckets.into_iter().collect();
        needs.partners = seen.partners.into_iter().collect();
        (needs.connections, needs.connection_owners) = seen.connections.into_iter().unzip();
        for (owner, account, unit) in seen.accounts {
            needs.account_owners.push(owner);
            needs.account_ids.push(account.0);
            needs.account_units.push(unit.to_string());
        }
        needs
    }

    fn add<'a>(&mut self, command: &'a Command, seen: &mut Seen<'a>) {
        let owner = command.owner.0;
        seen.owners.extend(command.owners().map(|owner| owner.0));
        match command.kind() {
            OwnerKind::Enterprise => _ = seen.enterprises.insert(owner),
            OwnerKind::Bucket => seen.buckets.extend(command.owners().map(|owner| owner.0)),
        }
        match &command.action {
            Action::Create(create) => self.add_create(owner, create, seen),
            Action::Submit(creates) => {
                for create in creates {
                    self.add_create(owner, create, seen);
                }
            }
            Action::Close(close) => {
                if let Verdict::Clear(partner) | Verdict::Release { partner, .. } = &close.verdict {
                    seen.partners.insert(partner.enterprise.0);
                    seen.connections.insert((partner.connection.0, owner));
                }
                if seen.allocations.insert((owner, close.allocation)) {
                    self.allocation_owners.push(owner);
                    self.allocation_ids.push(close.allocation.0);
                }
            }
            Action::Adjust(adjust) => {
                if seen.adjustments.insert((owner, &adjust.external_id)) {
                    self.adjustment_owners.push(owner);
                    self.adjustment_ids.push(adjust.external_id.clone());
                }
                for account in [AccountId::OWN, AccountId::WORLD] {
                    seen.accounts.insert((owner, account, &adjust.unit));
                }
            }
            Action::Bucket(asked) => {
                self.buckets.add(owner, command.validate_only, asked, seen);
            }
            Action::Expire(_) => {}
        }
    }

    fn add_create<'a>(&mut self, owner: Uuid, create: &'a Create, seen: &mut Seen<'a>) {
        seen.connections.insert((create.connection.0, owner));
        let (direction, key) = (create.direction, &create.client_external_id);
        if seen.keys.insert((owner, direction, key)) {
            self.key_owners.push(owner);
            self.key_types.push(direction.as_str());
            self.key_ids.push(key.clone());
        }
        for account in [AccountId::OWN, create.connection.into()] {
            seen.accounts.insert((owner, account, &create.unit));
        }
    }
}

impl BucketNeeds {
    fn add<'a>(
        &mut self,
        owner: Uuid,
        validate_only: bool,
        asked: &'a BucketCommand,
        seen: &mut Seen<'a>,
    ) {
        match &asked.request {
            BucketRequest::Create(_) => {
                if !validate_only {
                    seen.new_buckets.insert(owner);
                }
            }
            BucketRequest::Update(update) => {
                if let Some(key) = &update.request_id
                    && seen.updates.insert((owner, key))
                {
                    self.update_owners.push(owner);
                    self.update_keys.push(key.clone());
                }
            }
            BucketRequest::Act(act) => {
                let kind = act.deed.kind();
                if seen.actions.insert((owner, kind, &act.request_id)) {
                    self.key_owners.push(owner);
                    self.key_types.push(kind.as_str());
                    self.keys.push(act.request_id.clone());
                }
                if let Some(reserve) = act.deed.reserve()
                    && seen.reserves.insert((owner, reserve))
                {
                    self.reserve_owners.push(owner);
                    self.reserves.push(reserve.0);
                }
            }
        }
    }
}
