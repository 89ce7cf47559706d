//! What verification asks the database: one statement for each thing that must hold. A statement answers a row for each
//! place where it does not: owner (none: all together), account (none: all of the owner), unit, what should be there,
//! what is there.
//!
//! `$1` and `$2` are the first and the last owner of a chunk. A range rather than a list, so that an index gives the
//! rows in the order that windows and groups need, and so that no owner can be overlooked between two chunks.

use crate::ledger::invariant::Invariant;

/// The owners that a chunk may begin or end with, behind `$1` or from it on: accounts, and entries by their count of
/// versions. An owner without accounts has no row, but lies in some chunk's range all the same.
pub(super) const OWNERS: &str = "\
    SELECT owner_id, count(*), least(sum(version), 9000000000000000000)::bigint \
    FROM account WHERE owner_id >= $1 GROUP BY owner_id ORDER BY owner_id LIMIT $2";

/// What the snapshot holds altogether.
pub(super) const TOTALS: &str =
    "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM entry)";

/// Asked for each chunk of owners, in this order.
pub(super) const PER_CHUNK: [(Invariant, &str); 18] = [
    (Invariant::L1, L1_CONSERVATION),
    (Invariant::L2, L2_OVERDRAFT),
    (Invariant::L3, L3_HELD),
    (Invariant::L4, L4_SEQUENCE),
    (Invariant::L4, L4_ACCOUNTS),
    (Invariant::L4, L4_ONE_TIME_PER_MOVEMENT),
    (Invariant::L4, L4_ONE_MOVEMENT_PER_TIME),
    (Invariant::L5, L5_STATUS),
    (Invariant::L5, L5_CLOSINGS),
    (Invariant::L5, L5_VERSIONS),
    (Invariant::L5, bucket::L5_DONE),
    (Invariant::L5, bucket::L5_RESERVES),
    (Invariant::L5, bucket::L5_CLOSED),
    (Invariant::L6, L6_OPENINGS),
    (Invariant::L6, L6_UNEXPLAINED),
    (Invariant::L6, L6_VERSIONS),
    (Invariant::L6, L6_KEYS),
    (Invariant::L7, L7_MOVEMENTS),
];

/// Asked once, since they span owners. They take no parameters.
pub(super) const OVER_ALL: [(Invariant, &str); 2] =
    [(Invariant::L7, L7_TRANSFERS), (Invariant::L7, L7_TRANSIT)];

/// An amount as people read it.
macro_rules! amount {
    ($amount:literal) => {
        concat!("trim_scale(", $amount, ")")
    };
}

/// A time as answers write it; the session's zone is UTC.
macro_rules! time {
    ($time:literal) => {
        concat!("to_char(", $time, ", 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    };
}

/// A balance as people read it. The parts of one that is not there are NULL: it was never used.
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

macro_rules! custody {
    () => {
        "'00000000-0000-0000-0000-000000000001'::uuid"
    };
}

macro_rules! world {
    () => {
        "'00000000-0000-0000-0000-000000000002'::uuid"
    };
}

macro_rules! transit {
    () => {
        "'00000000-0000-0000-0000-000000000003'::uuid"
    };
}

/// The account that an allocation's value leaves, or is held in.
macro_rules! source {
    () => {
        concat!(
            "CASE type WHEN 'ALLOCATION' THEN ",
            custody!(),
            " ELSE connection_id END"
        )
    };
}

/// The account that an allocation's value comes to.
macro_rules! target {
    () => {
        concat!(
            "CASE type WHEN 'ALLOCATION' THEN connection_id ELSE ",
            custody!(),
            " END"
        )
    };
}

#[macro_use]
mod bucket;

/// L1: an owner whose accounts do not sum to zero in a unit.
const L1_CONSERVATION: &str = concat!(
    "SELECT owner_id, NULL::uuid, unit, '0', ",
    amount!("sum(available + held)"),
    "::text \
     FROM account WHERE owner_id BETWEEN $1 AND $2 \
     GROUP BY owner_id, unit HAVING sum(available + held) <> 0"
);

/// L2: an account below zero that may not be.
const L2_OVERDRAFT: &str = concat!(
    "SELECT owner_id, account_id, unit, 'nothing below zero', ",
    balance!("available", "held", "version"),
    " \
     FROM account WHERE owner_id BETWEEN $1 AND $2 \
     AND (available < 0 OR held < 0) AND account_id NOT IN (",
    world!(),
    ", ",
    transit!(),
    ")"
);

/// L3: an account whose held value is not that of its open reservations, or reservations whose account is not there.
const L3_HELD: &str = concat!(
    "SELECT owner_id, account_id, unit, ",
    amount!("coalesce(r.held, 0)"),
    "::text, ",
    amount!("coalesce(a.held, 0)"),
    "::text \
     FROM (SELECT owner_id, account_id, unit, held FROM account WHERE owner_id BETWEEN $1 AND $2) a \
     FULL JOIN (\
         SELECT owner_id, ",
    source!(),
    " AS account_id, currency AS unit, sum(quantity) AS held \
         FROM allocation WHERE owner_id BETWEEN $1 AND $2 AND status = 'RESERVED' GROUP BY 1, 2, 3 \
         UNION ALL \
         SELECT owner_id, ",
    custody!(),
    ", unit, sum(remaining_amount) \
         FROM bucket_action WHERE owner_id BETWEEN $1 AND $2 AND status = 'CREATED' GROUP BY 1, 2, 3\
     ) r USING (owner_id, account_id, unit) \
     WHERE coalesce(a.held, 0) <> coalesce(r.held, 0)"
);

/// L4: an entry that does not follow from the one before it: a gap in the versions, a balance that is not the sum, a time
/// that stands still or goes back.
const L4_SEQUENCE: &str = concat!(
    "SELECT owner_id, account_id, unit, \
            format('%s available, %s held, version %s, later than %s', \
                   ",
    amount!("available_before + available_delta"),
    ", ",
    amount!("held_before + held_delta"),
    ", \
                   version_before::numeric + 1, coalesce(",
    time!("time_before"),
    ", 'any')), \
            ",
    balance!("available", "held", "version"),
    " || ', at ' || ",
    time!("time"),
    " \
     FROM (\
         SELECT *, coalesce(lag(available) OVER w, 0) AS available_before, coalesce(lag(held) OVER w, 0) AS held_before, \
                coalesce(lag(version) OVER w, 0) AS version_before, lag(time) OVER w AS time_before \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 \
         WINDOW w AS (PARTITION BY owner_id, account_id, unit ORDER BY version)\
     ) e \
     WHERE version - version_before <> 1 OR available <> available_before + available_delta \
        OR held <> held_before + held_delta OR time <= time_before"
);

/// L4: an account that is not the sum of its entries, has another version than the last of them, or is not there. Since
/// every entry follows from the one before, the sum is also what the last entry says.
const L4_ACCOUNTS: &str = concat!(
    "SELECT owner_id, account_id, unit, \
            ",
    balance!("e.available", "e.held", "e.version"),
    ", ",
    balance!("a.available", "a.held", "a.version"),
    " \
     FROM (\
         SELECT owner_id, account_id, unit, available, held, version FROM account WHERE owner_id BETWEEN $1 AND $2\
     ) a \
     FULL JOIN (\
         SELECT owner_id, account_id, unit, sum(available_delta) AS available, sum(held_delta) AS held, \
                max(version) AS version \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 GROUP BY owner_id, account_id, unit\
     ) e USING (owner_id, account_id, unit) \
     WHERE a.version IS DISTINCT FROM e.version OR a.available <> e.available OR a.held <> e.held"
);

/// L4: a movement whose entries bear several times. The account is one of those with the latest.
const L4_ONE_TIME_PER_MOVEMENT: &str = concat!(
    "SELECT m.owner_id, e.account_id, e.unit, \
            format('%s %s at one time', m.cause, m.cause_id), \
            format('%s %s from %s to %s', m.cause, m.cause_id, ",
    time!("m.first"),
    ", ",
    time!("m.last"),
    ") \
     FROM (\
         SELECT owner_id, cause_id, cause, min(time) AS first, max(time) AS last \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 \
         GROUP BY owner_id, cause_id, cause HAVING min(time) <> max(time)\
     ) m \
     CROSS JOIN LATERAL (\
         SELECT account_id, unit FROM entry e \
         WHERE e.owner_id = m.owner_id AND e.time = m.last AND e.cause_id = m.cause_id AND e.cause = m.cause \
         ORDER BY account_id, unit LIMIT 1\
     ) e"
);

/// L4: two movements of an owner with one time.
const L4_ONE_MOVEMENT_PER_TIME: &str = concat!(
    "SELECT owner_id, account_id, unit, \
            format('only %s %s at %s', cause_before, cause_id_before, ",
    time!("time"),
    "), \
            format('%s %s', cause, cause_id) \
     FROM (\
         SELECT owner_id, account_id, unit, cause, cause_id, time, lag(cause) OVER w AS cause_before, \
                lag(cause_id) OVER w AS cause_id_before, lag(time) OVER w AS time_before \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 \
         WINDOW w AS (PARTITION BY owner_id ORDER BY time, account_id, unit)\
     ) e \
     WHERE time = time_before AND (cause_id <> cause_id_before OR cause <> cause_before)"
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

/// Whether a cause opens a record or, but for INSTANT which does both, closes it.
macro_rules! causes {
    (opening) => {
        "IN ('ADJUST', 'RESERVE', 'INSTANT', 'OPENING', 'TOPUP', 'DEDUCT', 'UNRESERVE', 'TRANSFER', 'COST')"
    };
    (closing) => {
        "IN ('CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT')"
    };
}

/// The legs that the journal has of movements with some causes: how often, when, and what they sum to.
macro_rules! found_legs {
    ($kind:ident) => {
        concat!(
            "SELECT owner_id, cause_id AS id, account_id, cause, unit, count(*) AS made, max(time) AS time, \
                    max(version) AS version, sum(available_delta) AS available, sum(held_delta) AS held \
             FROM entry WHERE owner_id BETWEEN $1 AND $2 AND cause ", causes!($kind), " \
             GROUP BY owner_id, cause_id, account_id, cause, unit"
        )
    };
}

/// Holds the legs that records ask for against those that the journal has: each must be there exactly once.
macro_rules! compare_legs {
    (asked: $asked:expr, found: $found:expr) => {
        concat!(
            "SELECT owner_id, account_id, unit, \
                    CASE WHEN x.time IS NULL THEN format('no %s %s', cause, id) \
                         ELSE format('%s %s once, at %s: %s available, %s held, version %s', cause, id, ",
                                     time!("x.time"), ", ", amount!("x.available"), ", ", amount!("x.held"), ", x.version) END, \
                    CASE WHEN f.time IS NULL THEN 'none' \
                         ELSE format('made %s times, last at %s: %s available, %s held, version %s', f.made, ",
                                     time!("f.time"), ", ", amount!("f.available"), ", ", amount!("f.held"), ", f.version) END \
             FROM (", $asked, ") x \
             FULL JOIN (", $found, ") f USING (owner_id, id, account_id, cause, unit) \
             WHERE (f.made IS DISTINCT FROM 1 OR x.time IS DISTINCT FROM f.time OR x.version <> f.version \
                 OR x.available IS DISTINCT FROM f.available OR x.held IS DISTINCT FROM f.held)"
        )
    };
}

/// L5: a final record without its closing movement, with more than one, or with one that moved something else, at another
/// time, or to other versions than the record says; an open record with a closing movement.
const L5_CLOSINGS: &str = concat!(
    compare_legs!(
        asked: concat!(
            "SELECT owner_id, id, account_id, closed_cause AS cause, currency AS unit, updated_at AS time, version, \
                    available, held \
             FROM allocation CROSS JOIN LATERAL (VALUES \
                 (", source!(), ", \
                  CASE type WHEN 'ALLOCATION' THEN closed_custody_version ELSE closed_connection_version END, \
                  CASE closed_cause WHEN 'CLEAR' THEN 0 WHEN 'INSTANT' THEN -quantity ELSE quantity END, \
                  CASE closed_cause WHEN 'INSTANT' THEN 0 ELSE -quantity END, \
                  true), \
                 (", target!(), ", \
                  CASE type WHEN 'ALLOCATION' THEN closed_connection_version ELSE closed_custody_version END, \
                  quantity, 0, closed_cause IN ('CLEAR', 'INSTANT'))\
             ) leg(account_id, version, available, held, is_made) \
             WHERE owner_id BETWEEN $1 AND $2 AND closed_cause IS NOT NULL AND is_made \
             UNION ALL ",
            bucket_expiries!()
        ),
        found: found_legs!(closing)
    ),
    // What has no record at all is L6's.
    " AND (x.time IS NOT NULL OR EXISTS (\
         SELECT FROM allocation a WHERE a.owner_id = f.owner_id AND a.id = f.id AND a.owner_id BETWEEN $1 AND $2) \
     OR EXISTS (\
         SELECT FROM bucket_action a WHERE a.owner_id = f.owner_id AND a.id = f.id AND a.owner_id BETWEEN $1 AND $2))"
);

/// L6: a record without its opening movement, with more than one, or with one that moved something else than the record's
/// quantity, at another time, or to other versions than the record says; an opening movement without a record.
const L6_OPENINGS: &str = compare_legs!(
    asked: concat!(
        "SELECT owner_id, id, account_id, CASE WHEN at_once THEN 'INSTANT' ELSE 'RESERVE' END AS cause, \
                currency AS unit, created_at AS time, version, available, held \
         FROM allocation \
         CROSS JOIN LATERAL (SELECT coalesce(closed_cause = 'INSTANT', false) AS at_once) made \
         CROSS JOIN LATERAL (VALUES \
             (", source!(), ", \
              CASE type WHEN 'ALLOCATION' THEN opened_custody_version ELSE opened_connection_version END, \
              -quantity, CASE WHEN at_once THEN 0 ELSE quantity END, true), \
             (", target!(), ", \
              CASE type WHEN 'ALLOCATION' THEN opened_connection_version ELSE opened_custody_version END, \
              quantity, 0, at_once)\
         ) leg(account_id, version, available, held, is_made) \
         WHERE owner_id BETWEEN $1 AND $2 AND is_made \
         UNION ALL \
         SELECT owner_id, id, account_id, 'ADJUST', currency, created_at, version, available, 0 \
         FROM adjustment CROSS JOIN LATERAL (VALUES \
             (", world!(), ", NULL::bigint, -quantity), (", custody!(), ", custody_version, quantity)\
         ) leg(account_id, version, available) \
         WHERE owner_id BETWEEN $1 AND $2 \
         UNION ALL ",
        bucket_openings!()
    ),
    found: found_legs!(opening)
);

/// L6: an entry of a closing movement whose record is not there.
const L6_UNEXPLAINED: &str = concat!(
    "SELECT owner_id, account_id, unit, 'a record that explains the entry', format('%s %s', cause, cause_id) \
     FROM entry e WHERE owner_id BETWEEN $1 AND $2 AND cause NOT ",
    causes!(opening),
    " AND NOT EXISTS (\
         SELECT FROM allocation a WHERE a.owner_id = e.owner_id AND a.id = e.cause_id AND a.owner_id BETWEEN $1 AND $2) \
     AND NOT EXISTS (\
         SELECT FROM bucket_action a WHERE a.owner_id = e.owner_id AND a.id = e.cause_id AND a.owner_id BETWEEN $1 AND $2)"
);

/// Holds the versions that records name of accounts which their movement did not touch against the journal: each must be
/// that of the account's last entry before the movement, and 0 before the first. One look into the index for each: the
/// entry, if there is one, and the next lie side by side.
macro_rules! compare_versions {
    ($named:expr) => {
        concat!(
            "SELECT owner_id, account_id, unit, \
                    format('%s names the version that the account had at %s', id, ", time!("n.time"), "), \
                    format('version %s, of %s to %s', coalesce(n.version::text, 'none'), \
                           coalesce(", time!("e.time"), ", 'no entry'), coalesce(", time!("e.next"), ", 'now')) \
             FROM (", $named, ") n \
             CROSS JOIN LATERAL (\
                 SELECT max(e.time) FILTER (WHERE e.version = n.version) AS time, \
                        min(e.time) FILTER (WHERE e.version > n.version) AS next \
                 FROM entry e \
                 WHERE e.owner_id = n.owner_id AND e.account_id = n.account_id AND e.unit = n.unit \
                   AND e.version BETWEEN n.version AND least(n.version, 9000000000000000000) + 1\
             ) e \
             WHERE coalesce(e.time > n.time, n.version IS DISTINCT FROM 0) OR e.next <= n.time"
        )
    };
}

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

/// L6: a record whose key another one has. Unique constraints see to it; they are not asked, since they may be damaged.
const L6_KEYS: &str = concat!(
    "SELECT owner_id, account_id, unit, format('only %s with its key', id_before), id::text \
     FROM (\
         SELECT owner_id, account_id, unit, id, \
                lag(id) OVER (PARTITION BY owner_id, kind, external_id ORDER BY id) AS id_before \
         FROM (\
             SELECT owner_id, type AS kind, client_external_id AS external_id, id, ",
    source!(),
    " AS account_id, \
                    currency AS unit \
             FROM allocation WHERE owner_id BETWEEN $1 AND $2 \
             UNION ALL \
             SELECT owner_id, 'ADJUST', external_id, id, ",
    custody!(),
    ", currency \
             FROM adjustment WHERE owner_id BETWEEN $1 AND $2 \
             UNION ALL \
             SELECT owner_id, type, request_id, id, ",
    custody!(),
    ", unit \
             FROM bucket_action WHERE owner_id BETWEEN $1 AND $2\
         ) r\
     ) r \
     WHERE id_before IS NOT NULL"
);

/// L7: a movement whose entries of one owner do not sum to zero. The transit accounts are among them, so what holds for
/// each owner holds for all of them together.
const L7_MOVEMENTS: &str = concat!(
    "SELECT m.owner_id, e.account_id, m.unit, \
            format('%s %s sums to 0', m.cause, m.cause_id), \
            format('%s %s sums to %s', m.cause, m.cause_id, ",
    amount!("m.sum"),
    ") \
     FROM (\
         SELECT owner_id, cause_id, cause, unit, max(time) AS last, sum(available_delta + held_delta) AS sum \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 \
         GROUP BY owner_id, cause_id, cause, unit HAVING sum(available_delta + held_delta) <> 0\
     ) m \
     CROSS JOIN LATERAL (\
         SELECT account_id FROM entry e \
         WHERE e.owner_id = m.owner_id AND e.time = m.last AND e.cause_id = m.cause_id AND e.cause = m.cause \
           AND e.unit = m.unit \
         ORDER BY account_id LIMIT 1\
     ) e"
);

/// L7: a transfer that left an owner's transit account and did not reach another's. The owner is the first of them.
const L7_TRANSFERS: &str = concat!(
    "SELECT min(owner_id::text)::uuid, ",
    transit!(),
    ", unit, \
            format('%s %s has left all transit accounts', cause, cause_id), \
            format('%s %s left %s in them', cause, cause_id, ",
    amount!("sum(change)"),
    ") \
     FROM (SELECT DISTINCT owner_id FROM account WHERE account_id = ",
    transit!(),
    ") o \
     CROSS JOIN LATERAL (\
         SELECT unit, cause, cause_id, available_delta + held_delta AS change \
         FROM entry e WHERE e.owner_id = o.owner_id AND e.account_id = ",
    transit!(),
    " \
         OFFSET 0\
     ) e \
     GROUP BY cause, cause_id, unit HAVING sum(change) <> 0"
);

/// L7: a unit in which all transit accounts together are not empty.
const L7_TRANSIT: &str = concat!(
    "SELECT NULL::uuid, ",
    transit!(),
    ", unit, '0', ",
    amount!("sum(available + held)"),
    "::text \
     FROM account WHERE account_id = ",
    transit!(),
    " GROUP BY unit HAVING sum(available + held) <> 0"
);
