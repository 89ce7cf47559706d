//! The statements of balance actions, beside those of buckets.

pub(in crate::ledger::bucket) mod statements;
