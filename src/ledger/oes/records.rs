//! The allocations of a batch: what was read of each owner, and what has changed.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::{Error, RecordName, Result};
use crate::ledger::kind::{ChangeSet, KindState};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::model::{Allocation, Connection, Direction};
use crate::types::ids::{AllocationId, ConnectionId, EnterpriseId};
use crate::types::time::Time;

/// What the ledger reads of a partner's enterprise: of one that gives a verdict, or whose connection a command names. Its
/// row is not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartnerFacts {
    /// Whether the enterprise holds an OES licence.
    pub is_licensed: bool,
    /// Whether the enterprise has a partner.
    pub has_partner: bool,
}

/// The partners' enterprises of this batch: those that give verdicts, and those of the connections that were read.
#[derive(Debug, Default)]
pub struct Partners(pub HashMap<EnterpriseId, PartnerFacts>);

impl Partners {
    /// Whether this enterprise holds a licence.
    pub fn are_licensed(&self, enterprise: EnterpriseId) -> bool {
        self.0
            .get(&enterprise)
            .is_some_and(|facts| facts.is_licensed)
    }
}

/// The allocations of one owner.
#[derive(Clone, Debug, Default)]
pub struct AllocationRecords {
    /// The connections that commands name.
    pub connections: HashMap<ConnectionId, Connection>,
    /// Reservations whose `expire_time` has passed, oldest first.
    pub due: Vec<AllocationId>,
    by_id: HashMap<AllocationId, Allocation>,
    /// The idempotency keys of each direction.
    by_key: HashMap<Direction, HashMap<String, AllocationId>>,
    /// Keys that are used and whose records were not found, as they are stored.
    lost_keys: HashMap<Uuid, KeyWithoutRecord>,
    created: Vec<AllocationId>,
    closed: Vec<AllocationId>,
}

/// The record of a key that is used, but which is not in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWithoutRecord {
    /// The id of the record.
    pub id: AllocationId,
    /// The time before which everything is archived; if nothing is, the record is lost.
    pub archived_before: Option<Time>,
}

impl AllocationRecords {
    /// Adds an allocation as it was read.
    pub fn load(&mut self, allocation: Allocation) {
        let (id, terms) = (allocation.record.id, &allocation.record.terms);
        let keys = self.by_key.entry(terms.direction).or_default();
        keys.insert(terms.client_external_id.clone(), id);
        self.by_id.insert(id, allocation);
    }

    /// The allocation with this id, if it was read.
    pub fn get(&self, id: AllocationId) -> Option<&Allocation> {
        self.by_id.get(&id)
    }

    /// The allocation with this idempotency key.
    pub fn by_key(&self, direction: Direction, external_id: &str) -> Option<&Allocation> {
        let id = self.by_key.get(&direction)?.get(external_id)?;
        self.by_id.get(id)
    }

    /// Adds a key, as it is stored, whose record was not found.
    pub fn load_lost_key(&mut self, stored: Uuid, key: KeyWithoutRecord) {
        self.lost_keys.insert(stored, key);
    }

    /// Judges that nobody has used this idempotency key for a record that was not found.
    ///
    /// # Errors
    /// [`Error::Archived`] if the record is archived; an internal error if nothing is.
    pub fn require_unused(&self, direction: Direction, external_id: &str) -> Result<()> {
        // The stored form of a key is a hash, which few need.
        if self.lost_keys.is_empty() {
            return Ok(());
        }
        match self.lost_keys.get(&direction.stored_key(external_id)) {
            None => Ok(()),
            Some(KeyWithoutRecord {
                id,
                archived_before: Some(since),
            }) => Err(Error::Archived {
                record: Some(RecordName::Id(id.to_string())),
                since: *since,
            }),
            Some(key) => {
                let lack = format!("L6: a key has no record: {}", key.id);
                Err(Error::internal(lack))
            }
        }
    }

    /// Adds a new allocation.
    pub fn create(&mut self, allocation: Allocation) {
        self.created.push(allocation.record.id);
        self.load(allocation);
    }

    /// Replaces an allocation by its final form.
    pub fn close(&mut self, allocation: Allocation) {
        let id = allocation.record.id;
        // One that was created in this batch is written once, in its final form.
        if !self.created.contains(&id) {
            self.closed.push(id);
        }
        self.by_id.insert(id, allocation);
    }
}

/// What a batch has to write of allocations.
#[derive(Debug, Default)]
pub struct AllocationChanges<'a> {
    /// Records that are new.
    pub created: Vec<&'a Allocation>,
    /// Stored ones that became final.
    pub closed: Vec<&'a Allocation>,
}

impl<'a> AllocationChanges<'a> {
    pub(super) fn of(state: &'a KindState<OesRecords>) -> Self {
        let mut changes = Self::default();
        for records in state.by_owner().into_values() {
            let find = |id| records.by_id.get(id);
            changes
                .created
                .extend(records.created.iter().filter_map(find));
            changes
                .closed
                .extend(records.closed.iter().filter_map(find));
        }
        changes
    }
}

impl ChangeSet for AllocationChanges<'_> {
    fn is_empty(&self) -> bool {
        self.created.is_empty() && self.closed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_record_is_archived_or_lost_and_never_new() {
        let (id, since) = (AllocationId(Uuid::from_u128(7)), Time::MIN);
        let mut records = AllocationRecords::default();
        let judge = |records: &AllocationRecords, key: &str| {
            records.require_unused(Direction::Allocation, key)
        };
        assert_eq!(judge(&records, "k"), Ok(()));
        let stored = Direction::Allocation.stored_key("k");
        let archived_before = Some(since);
        records.load_lost_key(
            stored,
            KeyWithoutRecord {
                id,
                archived_before,
            },
        );
        let record = Some(RecordName::Id(id.to_string()));
        assert_eq!(judge(&records, "k"), Err(Error::Archived { record, since }));
        assert_eq!(judge(&records, "K"), Ok(()));
        let other = records.require_unused(Direction::Deallocation, "k");
        assert_eq!(other, Ok(()));
        let archived_before = None;
        records.load_lost_key(
            stored,
            KeyWithoutRecord {
                id,
                archived_before,
            },
        );
        assert!(matches!(judge(&records, "k"), Err(Error::Internal(..))));
    }
}
