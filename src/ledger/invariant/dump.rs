//! What the invariants look at.

use crate::ledger::account::{Account, Entry};
use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::bucket::model::{BalanceAction, Bucket};
use crate::ledger::oes::model::Allocation;

/// Everything that is stored of one or more owners.
#[derive(Clone, Debug, Default)]
pub struct LedgerDump {
    /// All accounts of these owners.
    pub accounts: Vec<Account>,
    /// The whole journal of these owners.
    pub entries: Vec<Entry>,
    /// All their allocations and deallocations.
    pub allocations: Vec<Allocation>,
    /// All their deposits and withdrawals.
    pub adjustments: Vec<Adjustment>,
    /// The buckets among them.
    pub buckets: Vec<Bucket>,
    /// All their balance actions.
    pub actions: Vec<BalanceAction>,
}
