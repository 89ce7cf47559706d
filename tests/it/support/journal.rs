//! The journal's table in other states than the migrations of an empty database leave it.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const PARTITION: &str =
    include_str!("../../../migrations/2026-11-30-000016-3_entry_partitions/up.sql");
const UNPARTITION: &str =
    include_str!("../../../migrations/2026-11-30-000016-3_entry_partitions/down.sql");

/// Makes one table of it, with its rows, as it was before it was partitioned.
pub(crate) async fn unpartition(sql: &Client) {
    sql.batch_execute(UNPARTITION).await.expect("one table");
}

/// Partitions it as the migration does, again for as long as somebody else has it locked.
pub(crate) async fn partition(sql: &Client) {
    loop {
        match sql.batch_execute(PARTITION).await {
            Ok(()) => return,
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("partitioned: {error:?}"),
        }
    }
}

/// Makes partitions of its rows: six between the first and the last eighth of them, which stay in `entry_default`. Each
/// partition begins with the time of a movement.
pub(crate) async fn split(sql: &Client) {
    let split = "
        DO $$
        DECLARE
            bounds timestamptz[];
            made regclass;
        BEGIN
            CREATE TEMPORARY TABLE kept ON COMMIT DROP AS TABLE entry;
            TRUNCATE entry;
            FOR made IN
                SELECT inhrelid::regclass FROM pg_inherits
                WHERE inhparent = 'entry'::regclass AND inhrelid <> 'entry_default'::regclass
            LOOP
                EXECUTE format('DROP TABLE %s', made);
            END LOOP;
            SELECT array_agg(DISTINCT bound ORDER BY bound) INTO bounds FROM (
                SELECT percentile_disc(part / 8.0) WITHIN GROUP (ORDER BY time) AS bound
                FROM kept, generate_series(1, 7) part GROUP BY part
            ) b;
            FOR part IN 1..cardinality(bounds) - 1 LOOP
                EXECUTE format('CREATE TABLE entry_part_%s PARTITION OF entry FOR VALUES FROM (%L) TO (%L)',
                    part, bounds[part], bounds[part + 1]);
            END LOOP;
            INSERT INTO entry SELECT * FROM kept;
        END $$";
    sql.batch_execute(split).await.expect(split);
    let used = "SELECT count(DISTINCT tableoid) FROM entry";
    let used: i64 = sql.query_one(used, &[]).await.expect(used).get(0);
    assert!(
        used > 4,
        "{used} partitions with rows, the default one among them"
    );
}
