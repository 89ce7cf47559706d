//! What a batch has to lock and read, collected from its commands before anything is sent.

use std::collections::HashSet;

use uuid::Uuid;

use crate::ledger::account::OwnerKind;
use crate::ledger::engine::pending::Pending;
use crate::ledger::kind::AccountReads;
use crate::ledger::kinds::ReadSets;

/// What a batch has to lock and read.
#[derive(Default)]
pub(super) struct BatchReads {
    /// All owners that the batch locks.
    pub(super) owners: Vec<Uuid>,
    /// Those that are enterprises.
    pub(super) enterprises: Vec<Uuid>,
    /// Those that are buckets.
    pub(super) buckets: Vec<Uuid>,
    /// Those that may have no row yet, and get one.
    pub(super) new_owners: Vec<Uuid>,
    /// The accounts that commands name.
    pub(super) accounts: AccountReads,
    /// The keys that commands name, of each kind.
    pub(super) kinds: ReadSets,
}

impl BatchReads {
    /// Collects what these commands name.
    pub(super) fn of<'a>(commands: impl Iterator<Item = &'a dyn Pending>) -> Self {
        let mut reads = Self::default();
        let (mut enterprises, mut buckets) = (HashSet::new(), HashSet::new());
        let mut new_owners = HashSet::new();
        for command in commands {
            let kind = command.owner_kind();
            let of_kind = match kind {
                OwnerKind::Enterprise => &mut enterprises,
                OwnerKind::Bucket => &mut buckets,
            };
            for owner in command.owners() {
                if of_kind.insert(owner.0) {
                    reads.kinds.add_owner(kind, owner);
                }
            }
            let head = command.head();
            if command.creates_owner() && !head.validate_only {
                new_owners.insert(head.owner.0);
            }
            command.add_reads(&mut reads.kinds, &mut reads.accounts);
        }
        reads.owners = enterprises.union(&buckets).copied().collect();
        reads.enterprises = enterprises.into_iter().collect();
        reads.buckets = buckets.into_iter().collect();
        reads.new_owners = new_owners.into_iter().collect();
        reads
    }
}
