//! What verification has to check of buckets and their actions.

use crate::ledger::account::Cause;
use crate::ledger::breach::Invariant;
use crate::ledger::verification::{
    ClosingVerification, Verification, balance, own, time, transit, world,
};

pub(super) const VERIFICATION: Verification = Verification {
    opening_causes: &[
        Cause::OPENING,
        Cause::TOPUP,
        Cause::ADJUST,
        Cause::RESERVE,
        Cause::DEDUCT,
        Cause::UNRESERVE,
        Cause::TRANSFER,
        Cause::COST,
    ],
    opening_legs: OPENING_LEGS,
    closing: Some(ClosingVerification {
        causes: &[Cause::EXPIRE],
        legs: CLOSING_LEGS,
        record: RECORD,
    }),
    held: Some(HELD),
    partial_causes: &[Cause::DEDUCT],
    keys: KEYS,
    checks: &[
        (Invariant::L5, L5_DONE),
        (Invariant::L5, L5_RESERVES),
        (Invariant::L5, L5_CLOSED),
        (Invariant::L5, L5_WRITE_OFFS),
        (Invariant::L6, L6_KEY_TABLE),
        (Invariant::L6, L6_KEY_WITHOUT_ACTION),
    ],
};

/// One opening movement for each bucket with an opening value and for each action, and one more for the price of a
/// transfer, right after it. A transfer is stored with its originator, and requires movements of its receiver too.
const OPENING_LEGS: &str = concat!(
    "SELECT owner_id, owner_id AS id, account_id, 'OPENING' AS cause, unit, created_at AS time, leg.version, available, \
                    0 AS held \
             FROM bucket CROSS JOIN LATERAL (VALUES \
                 (",
    own!(),
    ", opened_version, opened_amount), (",
    world!(),
    ", NULL, -opened_amount)\
             ) leg(account_id, version, available) \
             WHERE owner_id BETWEEN $1 AND $2 AND opened_amount > 0 \
             UNION ALL \
             SELECT owner_id, id, account_id, CASE type WHEN 'WRITEOFF' THEN 'ADJUST' ELSE type END, unit, created_at, \
                    version, available, held \
             FROM bucket_action CROSS JOIN LATERAL (VALUES \
                 (",
    own!(),
    ", \
                  CASE cost_owner WHEN 'ORIGINATOR' THEN own_version - 1 ELSE own_version END, \
                  CASE WHEN type IN ('TOPUP', 'ADJUST', 'WRITEOFF', 'UNRESERVE') THEN amount \
                       WHEN type = 'DEDUCT' THEN coalesce(returned_amount, -amount) ELSE -amount END, \
                  CASE type WHEN 'RESERVE' THEN amount WHEN 'UNRESERVE' THEN -amount \
                       WHEN 'DEDUCT' THEN -coalesce(amount + returned_amount, 0) ELSE 0 END, \
                  true), \
                 (",
    world!(),
    ", NULL, CASE type WHEN 'DEDUCT' THEN amount ELSE -amount END, 0, \
                  type IN ('TOPUP', 'ADJUST', 'WRITEOFF', 'DEDUCT')), \
                 (",
    transit!(),
    ", NULL, amount, 0, type = 'TRANSFER')\
             ) leg(account_id, version, available, held, is_made) \
             WHERE owner_id BETWEEN $1 AND $2 AND is_made \
             UNION ALL \
             SELECT receiver_owner_id, id, account_id, type, unit, created_at, version, available, 0 \
             FROM bucket_action CROSS JOIN LATERAL (VALUES \
                 (",
    own!(),
    ", CASE cost_owner WHEN 'RECEIVER' THEN receiver_version - 1 ELSE receiver_version END, \
                  amount), \
                 (",
    transit!(),
    ", NULL, -amount)\
             ) leg(account_id, version, available) \
             WHERE receiver_owner_id BETWEEN $1 AND $2 \
             UNION ALL \
             SELECT payer, id, account_id, 'COST', unit, created_at + interval '1 us', version, available, 0 \
             FROM (\
                 SELECT *, owner_id AS payer, own_version AS paid_version \
                 FROM bucket_action WHERE owner_id BETWEEN $1 AND $2 AND cost_owner = 'ORIGINATOR' \
                 UNION ALL \
                 SELECT *, receiver_owner_id, receiver_version \
                 FROM bucket_action WHERE receiver_owner_id BETWEEN $1 AND $2 AND cost_owner = 'RECEIVER'\
             ) paid \
             CROSS JOIN LATERAL (VALUES \
                 (",
    own!(),
    ", paid_version, -cost_amount), (",
    world!(),
    ", NULL, cost_amount)\
             ) leg(account_id, version, available)"
);

/// What the actions that name a reserve made of it, of a range of owners.
macro_rules! bucket_uses {
    () => {
        "SELECT owner_id, reserve_id AS id, coalesce(sum(amount) FILTER (WHERE type = 'DEDUCT'), 0) AS used, \
                sum(CASE type WHEN 'UNRESERVE' THEN amount ELSE returned_amount END) AS returned, \
                count(*) FILTER (WHERE type = 'UNRESERVE' OR returned_amount > 0) AS given_back, \
                max(created_at) AS last, (array_agg(id ORDER BY created_at DESC))[1] AS last_id, \
                (array_agg(type ORDER BY created_at DESC))[1] AS last_type, \
                (array_agg(type = 'UNRESERVE' OR returned_amount > 0 ORDER BY created_at DESC))[1] AS last_gave_back \
         FROM bucket_action WHERE owner_id BETWEEN $1 AND $2 AND reserve_id IS NOT NULL GROUP BY owner_id, reserve_id"
    };
}

/// An expired reserve gives back all that was not used.
const CLOSING_LEGS: &str = concat!(
    "SELECT r.owner_id, r.id, ",
    own!(),
    " AS account_id, r.closed_cause AS cause, r.unit, r.updated_at AS time, \
                    NULL::bigint AS version, r.amount - coalesce(u.used + u.returned, 0) AS available, \
                    coalesce(u.used + u.returned, 0) - r.amount AS held \
             FROM bucket_action r LEFT JOIN (",
    bucket_uses!(),
    ") u USING (owner_id, id) \
             WHERE r.owner_id BETWEEN $1 AND $2 AND r.closed_cause = 'EXPIRE'"
);

const RECORD: &str = "\
    SELECT FROM bucket_action a WHERE a.owner_id = e.owner_id AND a.id = e.cause_id AND a.owner_id BETWEEN $1 AND $2";

const HELD: &str = concat!(
    "SELECT owner_id, ",
    own!(),
    " AS account_id, unit, sum(remaining_amount) AS held, \
            count(*) FILTER (WHERE remaining_amount > 0) AS reservations \
     FROM open_bucket_action WHERE owner_id BETWEEN $1 AND $2 GROUP BY 1, 2, 3"
);

const KEYS: &str = concat!(
    "SELECT owner_id, type AS kind, request_id AS external_id, id, ",
    own!(),
    " AS account_id, unit FROM bucket_action WHERE owner_id BETWEEN $1 AND $2"
);

/// L5: an action other than a reserve that is not done, or that changed since.
const L5_DONE: &str = concat!(
    "SELECT owner_id, ",
    own!(),
    ", unit, format('%s COMPLETED at %s', id, ",
    time!("created_at"),
    "), \
            format('%s %s at %s, closed by %s', id, status, ",
    time!("updated_at"),
    ", coalesce(closed_cause, 'nothing')) \
     FROM bucket_action WHERE owner_id BETWEEN $1 AND $2 AND type <> 'RESERVE' \
     AND (status <> 'COMPLETED' OR updated_at <> created_at OR closed_cause IS NOT NULL OR closed_by IS NOT NULL)"
);

/// SQL for the state of a reserve, as it is or as it is required.
macro_rules! reserve_state {
    ($of:literal, $given_back:literal) => {
        concat!(
            "format('%s %s with %s left, %s expired, given back %s times, closed by %s %s, at %s', id, ",
            $of,
            "status, \
                    trim_scale(",
            $of,
            "remaining), trim_scale(",
            $of,
            "expired), ",
            $given_back,
            ", coalesce(",
            $of,
            "cause, 'nothing'), \
                    ",
            $of,
            "by, to_char(",
            $of,
            "updated, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))"
        )
    };
}

/// L5: a reserve that is not what its uses made of it: open with what they left, or closed by the last of them or by its
/// expiry, and given back at most once, at last; uses of a reserve that is not there.
const L5_RESERVES: &str = concat!(
    "SELECT owner_id, ",
    own!(),
    ", unit, ",
    reserve_state!("must_", "must_give_back"),
    ", \
            ",
    reserve_state!("is_", "given_back"),
    " \
     FROM (\
         SELECT *, \
                CASE WHEN must_remaining > 0 THEN 'CREATED' WHEN used > 0 THEN 'COMPLETED' ELSE 'CANCELLED' END AS must_status, \
                CASE WHEN expired THEN 'EXPIRE' WHEN rest = 0 THEN last_type END AS must_cause, \
                CASE WHEN expired THEN id WHEN rest = 0 THEN last_id END AS must_by, \
                CASE WHEN expired THEN is_updated ELSE coalesce(last, created_at) END AS must_updated, \
                CASE WHEN expired THEN rest ELSE 0 END AS must_expired, \
                coalesce(last_gave_back, false)::int AS must_give_back \
         FROM (\
             SELECT *, CASE WHEN expired THEN 0 ELSE rest END AS must_remaining \
             FROM (\
                 SELECT owner_id, id, r.unit, r.created_at, r.status AS is_status, \
                        coalesce(r.remaining_amount, 0) AS is_remaining, r.closed_cause AS is_cause, r.closed_by AS is_by, \
                        r.updated_at AS is_updated, coalesce(r.returned_amount, 0) AS is_expired, coalesce(u.used, 0) AS used, coalesce(u.given_back, 0) AS given_back, \
                        u.last, u.last_id, u.last_type, u.last_gave_back, \
                        r.amount - coalesce(u.used + u.returned, 0) AS rest, \
                        coalesce(r.closed_cause = 'EXPIRE' AND r.amount > coalesce(u.used + u.returned, 0) \
                            AND r.updated_at > coalesce(u.last, '-infinity'), false) AS expired \
                 FROM bucket_action r LEFT JOIN (",
    bucket_uses!(),
    ") u USING (owner_id, id) \
                 WHERE r.owner_id BETWEEN $1 AND $2 AND r.type = 'RESERVE'\
             ) r\
         ) r\
     ) r \
     WHERE is_status <> must_status OR is_remaining <> must_remaining OR is_cause IS DISTINCT FROM must_cause \
        OR is_expired <> must_expired OR is_by IS DISTINCT FROM must_by OR is_updated <> must_updated OR given_back <> must_give_back OR rest < 0 \
     UNION ALL \
     SELECT owner_id, ",
    own!(),
    ", unit, format('%s uses a reserve', id), format('%s uses %s', id, reserve_id) \
     FROM bucket_action a WHERE owner_id BETWEEN $1 AND $2 AND reserve_id IS NOT NULL AND NOT EXISTS (\
         SELECT FROM bucket_action r WHERE r.owner_id = a.owner_id AND r.id = a.reserve_id AND r.type = 'RESERVE' \
         AND r.owner_id BETWEEN $1 AND $2)"
);

/// L5: a closed bucket that is not empty.
const L5_CLOSED: &str = concat!(
    "SELECT owner_id, a.account_id, a.unit, 'nothing in a closed bucket', ",
    balance!("a.available", "a.held", "a.version"),
    " FROM bucket b JOIN account a USING (owner_id) \
     WHERE owner_id BETWEEN $1 AND $2 AND b.status = 'CLOSED' AND a.account_id = ",
    own!(),
    " AND (a.available <> 0 OR a.held <> 0)"
);

/// L5: a write-off whose bucket is not closed, or was closed at another time.
const L5_WRITE_OFFS: &str = concat!(
    "SELECT owner_id, ",
    own!(),
    ", a.unit, format('%s CLOSED at %s', a.id, ",
    time!("a.created_at"),
    "), format('%s at %s', coalesce(b.status, 'no bucket'), ",
    time!("b.updated_at"),
    ") FROM bucket_action a LEFT JOIN bucket b USING (owner_id) \
     WHERE owner_id BETWEEN $1 AND $2 AND a.type = 'WRITEOFF' \
     AND (b.status IS DISTINCT FROM 'CLOSED' OR b.updated_at <> a.created_at)"
);

/// L6: an action whose idempotency key is not in the table of keys, or leads to another action.
const L6_KEY_TABLE: &str = concat!(
    "SELECT a.owner_id, ",
    own!(),
    ", unit, format('the key %s leads to %s', request_id, a.id), \
            format('it leads to %s', coalesce(k.id::text, 'nothing')) \
     FROM bucket_action a \
     LEFT JOIN bucket_action_key k ON k.owner_id = a.owner_id AND k.key = bucket_action_key_of(type, request_id) \
     WHERE a.owner_id BETWEEN $1 AND $2 AND k.id IS DISTINCT FROM a.id"
);

/// L6: an idempotency key that leads to no action.
const L6_KEY_WITHOUT_ACTION: &str = concat!(
    "SELECT k.owner_id, ",
    own!(),
    ", coalesce(b.unit, ''), format('the key %s leads to an action', k.key), format('there is no %s', k.id) \
     FROM bucket_action_key k LEFT JOIN bucket b ON b.owner_id = k.owner_id \
     WHERE k.owner_id BETWEEN $1 AND $2 AND NOT EXISTS (\
         SELECT FROM bucket_action a WHERE a.owner_id = k.owner_id AND a.id = k.id AND a.owner_id BETWEEN $1 AND $2)"
);
