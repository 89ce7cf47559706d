//! What verification has to check of allocations.

use crate::ledger::account::Cause;
use crate::ledger::breach::Invariant;
use crate::ledger::verification::{ClosingVerification, Verification, compare_versions, own, time};

pub(super) const VERIFICATION: Verification = Verification {
    opening_causes: &[Cause::RESERVE, Cause::INSTANT],
    opening_legs: OPENING_LEGS,
    closing: Some(ClosingVerification {
        causes: &[
            Cause::CLEAR,
            Cause::RELEASE,
            Cause::CANCEL,
            Cause::EXPIRE,
            Cause::INSTANT,
        ],
        legs: CLOSING_LEGS,
        record: RECORD,
    }),
    held: Some(HELD),
    partial_causes: &[],
    keys: KEYS,
    checks: &[
        (Invariant::L5, L5_STATUS),
        (Invariant::L5, L5_VERSIONS),
        (Invariant::L6, L6_VERSIONS),
        (Invariant::L6, L6_KEY_TABLE),
    ],
};

/// The account that an allocation's value leaves, or is held in.
macro_rules! source {
    () => {
        concat!(
            "CASE type WHEN 'ALLOCATION' THEN ",
            own!(),
            " ELSE connection_id END"
        )
    };
}

/// The account that an allocation's value arrives in.
macro_rules! target {
    () => {
        concat!(
            "CASE type WHEN 'ALLOCATION' THEN connection_id ELSE ",
            own!(),
            " END"
        )
    };
}

const OPENING_LEGS: &str = concat!(
    "SELECT owner_id, id, account_id, CASE WHEN at_once THEN 'INSTANT' ELSE 'RESERVE' END AS cause, \
                currency AS unit, created_at AS time, version, available, held \
         FROM allocation \
         CROSS JOIN LATERAL (SELECT coalesce(closed_cause = 'INSTANT', false) AS at_once) made \
         CROSS JOIN LATERAL (VALUES \
             (",
    source!(),
    ", \
              CASE type WHEN 'ALLOCATION' THEN opened_custody_version ELSE opened_connection_version END, \
              -quantity, CASE WHEN at_once THEN 0 ELSE quantity END, true), \
             (",
    target!(),
    ", \
              CASE type WHEN 'ALLOCATION' THEN opened_connection_version ELSE opened_custody_version END, \
              quantity, 0, at_once)\
         ) leg(account_id, version, available, held, is_made) \
         WHERE owner_id BETWEEN $1 AND $2 AND is_made"
);

const CLOSING_LEGS: &str = concat!(
    "SELECT owner_id, id, account_id, closed_cause AS cause, currency AS unit, updated_at AS time, version, \
                    available, held \
             FROM allocation CROSS JOIN LATERAL (VALUES \
                 (",
    source!(),
    ", \
                  CASE type WHEN 'ALLOCATION' THEN closed_custody_version ELSE closed_connection_version END, \
                  CASE closed_cause WHEN 'CLEAR' THEN 0 WHEN 'INSTANT' THEN -quantity ELSE quantity END, \
                  CASE closed_cause WHEN 'INSTANT' THEN 0 ELSE -quantity END, \
                  true), \
                 (",
    target!(),
    ", \
                  CASE type WHEN 'ALLOCATION' THEN closed_connection_version ELSE closed_custody_version END, \
                  quantity, 0, closed_cause IN ('CLEAR', 'INSTANT'))\
             ) leg(account_id, version, available, held, is_made) \
             WHERE owner_id BETWEEN $1 AND $2 AND closed_cause IS NOT NULL AND is_made"
);

const RECORD: &str = "\
    SELECT FROM allocation a WHERE a.owner_id = e.owner_id AND a.id = e.cause_id AND a.owner_id BETWEEN $1 AND $2";

const HELD: &str = concat!(
    "SELECT owner_id, ",
    source!(),
    " AS account_id, currency AS unit, sum(quantity) AS held, count(*) AS reservations \
     FROM open_allocation WHERE owner_id BETWEEN $1 AND $2 GROUP BY 1, 2, 3"
);

const KEYS: &str = concat!(
    "SELECT owner_id, type AS kind, client_external_id AS external_id, id, ",
    source!(),
    " AS account_id, currency AS unit FROM allocation WHERE owner_id BETWEEN $1 AND $2"
);

/// L5: a record whose status is not that of the movement it names, or that is open and changed.
const L5_STATUS: &str = concat!(
    "SELECT owner_id, ",
    source!(),
    ", currency, \
            format('%s as its status %s says', id, status), \
            format('%s closed by %s, made at %s, changed at %s', id, coalesce(closed_cause, 'nothing'), \
                   ",
    time!("created_at"),
    ", ",
    time!("updated_at"),
    ") \
     FROM allocation WHERE owner_id BETWEEN $1 AND $2 \
     AND NOT (\
         CASE status \
             WHEN 'RESERVED' THEN closed_cause IS NULL AND updated_at = created_at \
             WHEN 'CLEARED' THEN coalesce(closed_cause, '') IN ('CLEAR', 'INSTANT') \
             WHEN 'RELEASED' THEN coalesce(closed_cause, '') IN ('RELEASE', 'CANCEL', 'EXPIRE') \
             ELSE false END \
         AND (status = 'RESERVED') = (closed_custody_version IS NULL) \
         AND (status = 'RESERVED') = (closed_connection_version IS NULL))"
);

/// L5: a record that was given back and names another version of the account it would have gone to.
const L5_VERSIONS: &str = compare_versions!(concat!(
    "SELECT owner_id, id, ",
    target!(),
    " AS account_id, currency AS unit, updated_at AS time, \
            CASE type WHEN 'ALLOCATION' THEN closed_connection_version ELSE closed_custody_version END AS version \
     FROM allocation WHERE owner_id BETWEEN $1 AND $2 AND closed_cause IN ('RELEASE', 'CANCEL', 'EXPIRE')"
));

/// L6: a reservation that names another version of the account it was to go to.
const L6_VERSIONS: &str = compare_versions!(concat!(
    "SELECT owner_id, id, ",
    target!(),
    " AS account_id, currency AS unit, created_at AS time, \
            CASE type WHEN 'ALLOCATION' THEN opened_connection_version ELSE opened_custody_version END AS version \
     FROM allocation WHERE owner_id BETWEEN $1 AND $2 AND closed_cause IS DISTINCT FROM 'INSTANT'"
));

/// L6: a record whose idempotency key is not in the table of keys, or leads to another record.
const L6_KEY_TABLE: &str = concat!(
    "SELECT a.owner_id, ",
    source!(),
    ", currency, format('the key %s leads to %s', client_external_id, a.id), \
            format('it leads to %s', coalesce(k.id::text, 'nothing')) \
     FROM allocation a \
     LEFT JOIN allocation_key k ON k.owner_id = a.owner_id AND k.key = allocation_key_of(type, client_external_id) \
     WHERE a.owner_id BETWEEN $1 AND $2 AND k.id IS DISTINCT FROM a.id"
);
