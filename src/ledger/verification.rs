//! What verification has to check of a kind: parts of statements that the kind's folder gives, and `verify` puts together.
//!
//! In every part `$1` and `$2` are the first and the last owner of a chunk: a range rather than a list, so that an index
//! gives the rows in the order that windows and groups need, and so that no owner is left out between two chunks.

use crate::ledger::account::Cause;
use crate::ledger::breach::Invariant;

/// Stands in statements for the time before which everything is archived; `-infinity` if nothing is. Entries before it, and
/// what records say of them, are not looked at: they are in files, and some of them may still be in the database too.
pub(in crate::ledger) const ARCHIVED_UNTIL: &str = "ARCHIVED_UNTIL";

/// What verification has to check of a kind's tables.
#[derive(Clone, Copy, Debug)]
pub struct Verification {
    /// The causes of movements that open a record.
    pub opening_causes: &'static [Cause],
    /// The opening movements that the records require: `owner_id, id, account_id, cause, unit, time, version, available,
    /// held`; a version of NULL is not compared.
    pub opening_legs: &'static str,
    /// What holds of closing movements; none if the kind's records have none.
    pub closing: Option<ClosingVerification>,
    /// What open records of the kind hold, and how many of them hold it: `owner_id, account_id, unit, held, reservations`;
    /// none if the kind holds nothing. The sums over all kinds are what the account must have.
    pub held: Option<&'static str>,
    /// The causes of movements that may take a part of what a reservation holds, and leave it open.
    pub partial_causes: &'static [Cause],
    /// The idempotency keys: `owner_id, kind, external_id, id, account_id, unit`.
    pub keys: &'static str,
    /// Complete statements that answer a row for each breach: owner, account (NULL: all of the owner), unit, what is
    /// required, what is there.
    pub checks: &'static [(Invariant, &'static str)],
}

/// What verification has to check of movements that close a record.
#[derive(Clone, Copy, Debug)]
pub struct ClosingVerification {
    /// The causes of these movements.
    pub causes: &'static [Cause],
    /// The closing movements that the records require, in the form of [`Verification::opening_legs`].
    pub legs: &'static str,
    /// A subquery that has a row if the kind has a record with the owner and id of the entry `e`.
    pub record: &'static str,
}

/// SQL for an amount without trailing zeros.
macro_rules! amount {
    ($amount:literal) => {
        concat!("trim_scale(", $amount, ")")
    };
}

/// SQL for a time as replies have it; the session's time zone is UTC.
macro_rules! time {
    ($time:literal) => {
        concat!("to_char(", $time, ", 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    };
}

/// SQL for a balance as text. The parts of an account that does not exist are NULL.
macro_rules! balance {
    ($available:literal, $held:literal, $version:literal) => {
        concat!(
            "format('%s available, %s held, version %s', trim_scale(coalesce(",
            $available,
            ", 0)), \
             trim_scale(coalesce(",
            $held,
            ", 0)), coalesce(",
            $version,
            ", 0))"
        )
    };
}

/// The id of an owner's own account.
macro_rules! own {
    () => {
        "'00000000-0000-0000-0000-000000000001'::uuid"
    };
}

/// The id of an owner's world account.
macro_rules! world {
    () => {
        "'00000000-0000-0000-0000-000000000002'::uuid"
    };
}

/// The id of an owner's transit account.
macro_rules! transit {
    () => {
        "'00000000-0000-0000-0000-000000000003'::uuid"
    };
}

/// Compares with the journal the versions that a record keeps of accounts that its movement did not touch: each must be
/// that of the account's last entry before the movement, and 0 before the first. That entry takes one search of the index; it
/// is looked for in the last two months before, and only then in all partitions. Before all that are on line there is the
/// newest carry-forward of what is archived. What a record says of an account in archived time is not compared.
macro_rules! compare_versions {
    ($named:expr) => {
        concat!(
            "SELECT owner_id, account_id, unit, \
                    format('%s names version %s, which the account had at %s', id, v.version, ", time!("n.time"), "), \
                    format('version %s', coalesce(n.version::text, 'none')) \
             FROM (", $named, ") n \
             CROSS JOIN LATERAL (SELECT coalesce(\
                 (SELECT e.version FROM entry e \
                  WHERE e.owner_id = n.owner_id AND e.account_id = n.account_id AND e.unit = n.unit \
                    AND e.time <= n.time AND e.time > n.time - interval '60 days' AND e.time >= ARCHIVED_UNTIL \
                  ORDER BY e.time DESC, e.version DESC LIMIT 1), \
                 (SELECT e.version FROM entry e \
                  WHERE e.owner_id = n.owner_id AND e.account_id = n.account_id AND e.unit = n.unit AND e.time <= n.time \
                    AND e.time >= ARCHIVED_UNTIL \
                  ORDER BY e.time DESC, e.version DESC LIMIT 1), \
                 (SELECT c.version FROM carry_forward c \
                  WHERE c.owner_id = n.owner_id AND c.account_id = n.account_id AND c.unit = n.unit \
                    AND c.end_time <= ARCHIVED_UNTIL \
                  ORDER BY c.end_time DESC LIMIT 1), \
                 0) AS version\
             ) v \
             WHERE n.time >= ARCHIVED_UNTIL AND n.version IS DISTINCT FROM v.version"
        )
    };
}

pub(in crate::ledger) use {amount, balance, compare_versions, own, time, transit, world};
