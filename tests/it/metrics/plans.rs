//! How open and overdue reservations are counted: by the indexes of what is open, and no further than the limit.

use std::time::{Duration, Instant};

use earmark::ledger::reservation_sampling;
use tokio_util::sync::CancellationToken;

use crate::support::cluster::database;
use crate::support::locks::session;
use crate::support::plan::Prepared;
use crate::support::service::on_one_connection;

/// Twice as many open reservations as are counted.
const RECORDS: usize = 20_000;

/// Reservations of a hundred enterprises. All that are open may be read for their number alone.
fn fill() -> String {
    format!(
        r"
        CREATE FUNCTION pg_temp.an_id(n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql
            RETURN ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid;
        INSERT INTO owner SELECT pg_temp.an_id(n) FROM generate_series(0, 100) n;
        INSERT INTO open_allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
                                client_external_id, initiated_by, created_at, updated_at, content_hash,
                                opened_custody_version, opened_connection_version, expire_time)
            SELECT pg_temp.an_id(n % 100), pg_temp.an_id(n),
                   CASE n % 2 WHEN 0 THEN 'ALLOCATION' ELSE 'DEALLOCATION' END, 'RESERVED', 'EUR', 1, pg_temp.an_id(n % 100),
                   pg_temp.an_id(n % 100), pg_temp.an_id(0), n, 'x', now(), now(), '\x00', 1, 1, now() + n * interval '1 s'
              FROM generate_series(1, {RECORDS}) n;
        ANALYZE open_allocation;
        "
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_are_counted_by_the_indexes_of_what_is_open() {
    let db = database().await;
    let sql = session(&db.url).await;
    sql.batch_execute(&fill()).await.expect("filled");
    let (_, pool, _writer) = on_one_connection(&db.url);
    let closing = CancellationToken::new();
    reservation_sampling::sample(pool.clone(), closing.clone());
    let begun = Instant::now();
    let prepared = loop {
        let found = Prepared::find(&pool, "SELECT (SELECT count(*)%FROM open_allocation%").await;
        match found {
            Some(prepared) => break prepared,
            None => assert!(begun.elapsed() < Duration::from_secs(20), "never sampled"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    closing.cancel();
    let as_sampled = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
                      SET enable_incremental_sort = off";
    sql.batch_execute(as_sampled).await.expect("set");
    // Once for what is there, and once after most of it was closed, when the planner still expects it to be open.
    for closed in [false, true] {
        if closed {
            let close = format!(
                "DELETE FROM open_allocation WHERE id IN (SELECT id FROM allocation ORDER BY id LIMIT {})",
                RECORDS - 100
            );
            sql.batch_execute(&close).await.expect("closed");
        }
        let cost = prepared.explain(&sql, "10000").await;
        let of_table = cost
            .scans
            .iter()
            .filter(|scan| scan.starts_with("allocation "));
        for scan in of_table {
            let indexes = [
                "allocation_open_in_custody",
                "allocation_open_on_connection",
                "allocation_due_first",
            ];
            assert!(
                indexes.iter().any(|index| scan.ends_with(index)),
                "{cost:?}"
            );
        }
    }
}
