//! The ledger's invariants, asked of the database itself.

use tokio_postgres::Client;

/// What must find nothing; the names are those of the crate's documentation.
const INVARIANTS: [(&str, &str); 7] = [
    (
        "L1 conservation",
        "SELECT owner_id, unit FROM account GROUP BY 1, 2 HAVING sum(available + held) <> 0",
    ),
    (
        "L3 held is explained",
        "SELECT FROM account a
          WHERE account_id::text NOT LIKE '00000000-0000-0000-0000-%2' AND held <> (
            SELECT coalesce(sum(quantity), 0) FROM allocation r
             WHERE r.owner_id = a.owner_id AND r.currency = a.unit AND r.status = 'RESERVED'
               AND a.account_id = CASE r.type WHEN 'ALLOCATION' THEN '00000000-0000-0000-0000-000000000001'
                                  ELSE r.connection_id END)",
    ),
    (
        "L4 an account is the sum of its entries",
        "SELECT FROM account a JOIN (
            SELECT owner_id, account_id, unit, sum(available_delta) available, sum(held_delta) held, count(*) entries
              FROM entry GROUP BY 1, 2, 3) e USING (owner_id, account_id, unit)
          WHERE (a.available, a.held, a.version) IS DISTINCT FROM (e.available, e.held, e.entries)",
    ),
    (
        "L4 each entry follows from the one before",
        "SELECT FROM (
            SELECT *, lag(available, 1, 0) OVER w + available_delta AS a, lag(held, 1, 0) OVER w + held_delta AS h,
                   row_number() OVER w AS number, lag(time) OVER w AS before
              FROM entry WINDOW w AS (PARTITION BY owner_id, account_id, unit ORDER BY version)) e
          WHERE (available, held, version) IS DISTINCT FROM (a, h, number) OR before > time",
    ),
    (
        "L6 a record has its movement",
        "SELECT FROM allocation a WHERE NOT EXISTS (
            SELECT FROM entry e WHERE e.owner_id = a.owner_id AND e.cause_id = a.id AND e.time = a.created_at)",
    ),
    (
        "L6 a movement has its record",
        "SELECT FROM entry e WHERE NOT EXISTS (SELECT FROM allocation a WHERE a.id = e.cause_id)
            AND NOT EXISTS (SELECT FROM adjustment a WHERE a.id = e.cause_id)",
    ),
    (
        "L7 a movement's entries sum to zero",
        "SELECT cause_id FROM entry GROUP BY cause_id, cause HAVING sum(available_delta + held_delta) <> 0",
    ),
];

/// Asserts that nothing was lost and nothing made.
pub(crate) async fn assert_whole(client: &Client) {
    for (name, sql) in INVARIANTS {
        let breaches = client.query(sql, &[]).await.expect(name).len();
        assert_eq!(breaches, 0, "{name}");
    }
}
