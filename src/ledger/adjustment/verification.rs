//! What verification has to check of adjustments.

use crate::ledger::account::Cause;
use crate::ledger::verification::{Verification, own, world};

pub(super) const VERIFICATION: Verification = Verification {
    opening_causes: &[Cause::ADJUST],
    opening_legs: OPENING_LEGS,
    closing: None,
    held: None,
    partial_causes: &[],
    keys: KEYS,
    checks: &[],
};

const OPENING_LEGS: &str = concat!(
    "SELECT owner_id, id, account_id, 'ADJUST' AS cause, currency AS unit, created_at AS time, version, available, \
            0 AS held \
         FROM adjustment CROSS JOIN LATERAL (VALUES \
             (",
    world!(),
    ", NULL::bigint, -quantity), (",
    own!(),
    ", custody_version, quantity)\
         ) leg(account_id, version, available) \
         WHERE owner_id BETWEEN $1 AND $2"
);

const KEYS: &str = concat!(
    "SELECT owner_id, 'ADJUST' AS kind, external_id, id, ",
    own!(),
    " AS account_id, currency AS unit FROM adjustment WHERE owner_id BETWEEN $1 AND $2"
);
