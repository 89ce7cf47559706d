//! The adjustments of a batch: what was read of each owner, and what is new.

use std::collections::HashMap;

use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::kind::{ChangeSet, KindState};

/// The adjustments of one owner.
#[derive(Clone, Debug, Default)]
pub struct AdjustmentRecords {
    by_key: HashMap<String, Adjustment>,
    /// The keys of new ones, in the order in which they were made.
    created: Vec<String>,
    /// How many currencies the owner has, those of this batch included; counted only if one that is deposited may be new.
    currencies: usize,
}

impl AdjustmentRecords {
    /// Adds an adjustment as it was read.
    pub fn load(&mut self, adjustment: Adjustment) {
        self.by_key
            .insert(adjustment.external_id.clone(), adjustment);
    }

    /// The adjustment with this idempotency key.
    pub fn by_key(&self, external_id: &str) -> Option<&Adjustment> {
        self.by_key.get(external_id)
    }

    /// Sets how many currencies the owner has.
    pub fn load_currencies(&mut self, count: usize) {
        self.currencies = count;
    }

    /// How many currencies the owner has, given that it has not had one that is deposited now.
    pub fn currencies(&self) -> usize {
        self.currencies
    }

    /// Adds a currency that the owner has not had.
    pub fn add_currency(&mut self) {
        self.currencies += 1;
    }

    /// Adds a new adjustment.
    pub fn create(&mut self, adjustment: Adjustment) {
        self.created.push(adjustment.external_id.clone());
        self.load(adjustment);
    }
}

/// What a batch has to write of adjustments.
#[derive(Debug, Default)]
pub struct AdjustmentChanges<'a> {
    /// Records that are new.
    pub created: Vec<&'a Adjustment>,
}

impl<'a> AdjustmentChanges<'a> {
    pub(super) fn of(state: &'a KindState<Adjustments>) -> Self {
        let mut changes = Self::default();
        for records in state.by_owner().into_values() {
            let created = records.created.iter();
            changes
                .created
                .extend(created.filter_map(|key| records.by_key.get(key)));
        }
        changes
    }
}

impl ChangeSet for AdjustmentChanges<'_> {
    fn is_empty(&self) -> bool {
        self.created.is_empty()
    }
}
