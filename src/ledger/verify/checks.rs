//! The statements of a verification, one for each thing that must hold. A statement answers a row for each breach: owner
//! (NULL: all together), account (NULL: all of the owner), unit, what is required, what is there.

use crate::ledger::account::Cause;
use crate::ledger::breach::Invariant;
use crate::ledger::kinds::VERIFICATIONS;
use crate::ledger::verification::{
    ARCHIVED_UNTIL, Verification, amount, balance, time, transit, world,
};
use crate::types::time::Time;

/// The owners that a chunk may begin or end with, from `$1` on: their accounts, and their entries by the sum of versions.
/// An owner without accounts has no row here, but is in the range of some chunk all the same.
pub(super) const OWNERS: &str = "\
    SELECT owner_id, count(*), least(sum(version), 9000000000000000000)::bigint \
    FROM account WHERE owner_id >= $1 GROUP BY owner_id ORDER BY owner_id LIMIT $2";

/// The accounts and entries of the snapshot.
pub(super) const TOTALS: &str = "\
    SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM entry WHERE time >= ARCHIVED_UNTIL)";

/// A statement for a ledger of which everything before this time is archived; none if nothing is.
pub(super) fn after_archive(statement: &str, archived_until: Option<Time>) -> String {
    let until = archived_until.map_or("-infinity".into(), |until| until.to_string());
    statement.replace(ARCHIVED_UNTIL, &format!("'{until}'::timestamptz"))
}

/// The entries of a chunk that are on line, and before them for each account the balance that it had when everything before
/// was archived: as one entry that adds this balance, of which `is_opening` is true.
macro_rules! entries_and_openings {
    () => {
        "SELECT owner_id, account_id, unit, time, version, available_delta, held_delta, available, held, \
                reservation_count, cause, false AS is_opening \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL \
         UNION ALL \
         (SELECT DISTINCT ON (owner_id, account_id, unit) \
                 owner_id, account_id, unit, time, version, available, held, available, held, reservation_count, '', true \
          FROM carry_forward WHERE owner_id BETWEEN $1 AND $2 AND end_time <= ARCHIVED_UNTIL \
          ORDER BY owner_id DESC, account_id DESC, unit DESC, end_time DESC)"
    };
}

/// The statements that are run for each chunk of owners, by invariant.
pub(super) fn per_chunk() -> Vec<(Invariant, String)> {
    let mut checks: Vec<(Invariant, String)> = [
        (Invariant::L1, L1_CONSERVATION),
        (Invariant::L2, L2_OVERDRAFT),
        (Invariant::L4, L4_ACCOUNTS),
        (Invariant::L4, L4_COUNT),
        (Invariant::L4, L4_ONE_TIME_PER_MOVEMENT),
        (Invariant::L4, L4_ONE_MOVEMENT_PER_TIME),
        (Invariant::L7, L7_MOVEMENTS),
    ]
    .map(|(invariant, text)| (invariant, text.to_owned()))
    .into();
    checks.extend([
        (Invariant::L3, l3_held()),
        (Invariant::L4, l4_sequence()),
        (Invariant::L5, l5_closings()),
        (Invariant::L6, l6_openings()),
        (Invariant::L6, l6_unexplained()),
        (Invariant::L6, l6_keys()),
    ]);
    for verification in VERIFICATIONS {
        let of_kind = verification.checks.iter();
        checks.extend(of_kind.map(|(invariant, text)| (*invariant, (*text).to_owned())));
    }
    checks.sort_by_key(|(invariant, _)| *invariant);
    checks
}

/// The statements that are run once, since they compare owners with each other. They take no parameters.
pub(super) const OVER_ALL: [(Invariant, &str); 2] =
    [(Invariant::L7, L7_TRANSFERS), (Invariant::L7, L7_TRANSIT)];

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

/// L3: an account whose held value is not that of its open reservations, or whose counter is not their number, or
/// reservations whose account does not exist. Several kinds may hold value of one account.
fn l3_held() -> String {
    let held = union(|verification| verification.held);
    format!(
        concat!(
            "SELECT owner_id, account_id, unit, c.expected, c.actual \
             FROM (\
                 SELECT owner_id, account_id, unit, held, reservation_count \
                 FROM account WHERE owner_id BETWEEN $1 AND $2\
             ) a \
             FULL JOIN (\
                 SELECT owner_id, account_id, unit, sum(held) AS held, sum(reservations) AS reservations \
                 FROM ({held}) k GROUP BY 1, 2, 3\
             ) r USING (owner_id, account_id, unit) \
             CROSS JOIN LATERAL (VALUES \
                 (coalesce(a.held, 0) <> coalesce(r.held, 0), ",
            amount!("coalesce(r.held, 0)"),
            "::text, ",
            amount!("coalesce(a.held, 0)"),
            "::text), \
                 (coalesce(a.reservation_count, 0) <> coalesce(r.reservations, 0), \
                  format('%s open reservations', coalesce(r.reservations, 0)), \
                  format('%s counted', coalesce(a.reservation_count, 0)))\
             ) c(is_broken, expected, actual) \
             WHERE c.is_broken"
        ),
        held = held
    )
}

/// L4: an entry that does not follow from the one before it: a gap in the versions, a balance that is not the sum, a time
/// that stands still or goes back, a count of reservations that does not go on by the one that was opened or closed.
fn l4_sequence() -> String {
    let partial = VERIFICATIONS.iter().flat_map(|kind| kind.partial_causes);
    let partial = list(partial.copied());
    format!(
        concat!(
            "SELECT owner_id, account_id, unit, \
                    format('%s available, %s held by %s, version %s, later than %s', \
                           ",
            amount!("available_before + available_delta"),
            ", ",
            amount!("held_before + held_delta"),
            ", count_before + sign(held_delta), \
                           version_before::numeric + 1, coalesce(",
            time!("time_before"),
            ", 'any')), \
                    format('%s available, %s held by %s, version %s, at %s', \
                           ",
            amount!("available"),
            ", ",
            amount!("held"),
            ", reservation_count, version, ",
            time!("time"),
            ") \
             FROM (\
                 SELECT *, coalesce(lag(available) OVER w, 0) AS available_before, \
                        coalesce(lag(held) OVER w, 0) AS held_before, coalesce(lag(version) OVER w, 0) AS version_before, \
                        coalesce(lag(reservation_count) OVER w, 0) AS count_before, lag(time) OVER w AS time_before \
                 FROM (",
            entries_and_openings!(),
            ") j \
                 WINDOW w AS (PARTITION BY owner_id, account_id, unit ORDER BY time, version)\
             ) e \
             WHERE NOT is_opening AND (\
                version - version_before <> 1 OR available <> available_before + available_delta \
                OR held <> held_before + held_delta OR time <= time_before \
                OR (reservation_count - count_before <> sign(held_delta) \
                    AND NOT (cause IN ({partial}) AND held_delta < 0 AND reservation_count = count_before)) \
                OR (held = 0) <> (reservation_count = 0)\
             )"
        ),
        partial = partial
    )
}

/// L4: an account whose count of reservations is not that of its last entry.
const L4_COUNT: &str = concat!(
    "SELECT a.owner_id, a.account_id, a.unit, format('%s counted', e.reservation_count), \
            format('%s counted', a.reservation_count) \
     FROM (\
         SELECT * FROM account WHERE owner_id BETWEEN $1 AND $2\
     ) a \
     JOIN (",
    entries_and_openings!(),
    ") e USING (owner_id, account_id, unit, version) \
     WHERE a.reservation_count <> e.reservation_count"
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
         FROM (",
    entries_and_openings!(),
    ") j GROUP BY owner_id, account_id, unit\
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
         FROM entry WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL \
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
         FROM entry WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL \
         WINDOW w AS (PARTITION BY owner_id ORDER BY time, account_id, unit)\
     ) e \
     WHERE time = time_before AND (cause_id <> cause_id_before OR cause <> cause_before)"
);

/// The same part of every kind that has it, in one table.
fn union(part: impl Fn(&Verification) -> Option<&'static str>) -> String {
    let parts: Vec<&str> = VERIFICATIONS.iter().filter_map(part).collect();
    parts.join(" UNION ALL ")
}

/// A list for SQL's IN.
fn list(causes: impl Iterator<Item = Cause>) -> String {
    let names: Vec<String> = causes
        .map(|cause| format!("'{}'", cause.as_str()))
        .collect();
    names.join(", ")
}

fn opening_causes() -> String {
    list(
        VERIFICATIONS
            .iter()
            .flat_map(|kind| kind.opening_causes)
            .copied(),
    )
}

fn closing_causes() -> String {
    let closing = VERIFICATIONS.iter().filter_map(|kind| kind.closing);
    list(closing.flat_map(|closing| closing.causes).copied())
}

/// Whether one of the kinds that have closing movements has the record of the entry `e`.
fn has_record() -> String {
    let closing = VERIFICATIONS.iter().filter_map(|kind| kind.closing);
    let records: Vec<String> = closing
        .map(|closing| format!("EXISTS ({})", closing.record))
        .collect();
    records.join(" OR ")
}

/// Compares the legs that records require with those that the journal has of movements with these causes: each must
/// be there exactly once. What is required or found before the archive's end is left out: a record's legs have the movement's
/// time, so both sides of a movement are left out together.
fn compare_legs(required: &str, causes: &str) -> String {
    let found = format!(
        "SELECT owner_id, cause_id AS id, account_id, cause, unit, count(*) AS made, max(time) AS time, \
                max(version) AS version, sum(available_delta) AS available, sum(held_delta) AS held \
         FROM entry WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL AND cause IN ({causes}) \
         GROUP BY owner_id, cause_id, account_id, cause, unit"
    );
    format!(
        concat!(
            "SELECT owner_id, account_id, unit, \
                    CASE WHEN x.time IS NULL THEN format('no %s %s', cause, id) \
                         ELSE format('%s %s once, at %s: %s available, %s held, version %s', cause, id, ",
            time!("x.time"),
            ", ",
            amount!("x.available"),
            ", ",
            amount!("x.held"),
            ", x.version) END, \
                    CASE WHEN f.time IS NULL THEN 'none' \
                         ELSE format('made %s times, last at %s: %s available, %s held, version %s', f.made, ",
            time!("f.time"),
            ", ",
            amount!("f.available"),
            ", ",
            amount!("f.held"),
            ", f.version) END \
             FROM (SELECT * FROM ({required}) r WHERE r.time >= ARCHIVED_UNTIL) x \
             FULL JOIN ({found}) f USING (owner_id, id, account_id, cause, unit) \
             WHERE (f.made IS DISTINCT FROM 1 OR x.time IS DISTINCT FROM f.time OR x.version <> f.version \
                 OR x.available IS DISTINCT FROM f.available OR x.held IS DISTINCT FROM f.held)"
        ),
        required = required,
        found = found
    )
}

/// L5: a final record without its closing movement, with more than one, or with one that moved something else, at another
/// time, or to other versions than the record has; an open record with a closing movement.
fn l5_closings() -> String {
    let required = union(|verification| verification.closing.map(|closing| closing.legs));
    format!(
        // A movement without a record is L6's.
        "{} AND (x.time IS NOT NULL OR EXISTS (\
             SELECT FROM (SELECT f.owner_id, f.id AS cause_id) e WHERE {}))",
        compare_legs(&required, &closing_causes()),
        has_record()
    )
}

/// L6: a record without its opening movement, with more than one, or with one that moved something else than the record
/// says, at another time, or to other versions; an opening movement without a record.
fn l6_openings() -> String {
    let required = union(|verification| Some(verification.opening_legs));
    compare_legs(&required, &opening_causes())
}

/// L6: an entry of a closing movement whose record does not exist.
fn l6_unexplained() -> String {
    format!(
        "SELECT owner_id, account_id, unit, 'a record that explains the entry', format('%s %s', cause, cause_id) \
         FROM entry e \
         WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL AND cause NOT IN ({}) AND NOT ({})",
        opening_causes(),
        has_record()
    )
}

/// L6: a record that has the idempotency key of another one. Unique constraints prevent it; they are not relied on, since
/// they may be damaged.
fn l6_keys() -> String {
    let keys = union(|verification| Some(verification.keys));
    format!(
        "SELECT owner_id, account_id, unit, format('only %s with its key', id_before), id::text \
         FROM (\
             SELECT owner_id, account_id, unit, id, \
                    lag(id) OVER (PARTITION BY owner_id, kind, external_id ORDER BY id) AS id_before \
             FROM ({keys}) k\
         ) r \
         WHERE id_before IS NOT NULL"
    )
}

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
         FROM entry WHERE owner_id BETWEEN $1 AND $2 AND time >= ARCHIVED_UNTIL \
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
    " AND e.time >= ARCHIVED_UNTIL \
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
