//! How many reservations are open and overdue, at a cost that does not grow with the tables: each count ends at
//! [`RESERVATIONS_COUNTED_MAX`], and is read from an index of what is open. Above that, what is open is what Postgres
//! estimates of the size of these indexes, at the last VACUUM or ANALYZE.
//!
//! There is no index of the buckets' reservations without an expire time, so these are not counted.

use std::sync::LazyLock;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::db::statement::{SqlText, Statement};
use crate::limits::RESERVATIONS_COUNTED_MAX;
use crate::metrics::reservations::ReservationSample;

/// Until the end of the transaction. The indexes of what is open have the order of each count, and nothing else has: with a
/// sequential scan a table of final records would be read for the few that are open.
const INDEXES_ONLY: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                            SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off";

/// What is open and overdue: of allocations with deallocations, and of the buckets' reservations that have an expire time.
/// The connection must be in a transaction.
pub(crate) async fn sample(
    db: &mut AsyncPgConnection,
) -> QueryResult<(ReservationSample, ReservationSample)> {
    db.batch_execute(INDEXES_ONLY).await?;
    Ok((of_allocations(db).await?, of_bucket_actions(db).await?))
}

async fn of_allocations(db: &mut AsyncPgConnection) -> QueryResult<ReservationSample> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT (SELECT count(*) FROM (
                    SELECT FROM open_allocation WHERE type = 'ALLOCATION'
                    ORDER BY owner_id, currency LIMIT :counted_max) held_in_custody)
                + (SELECT count(*) FROM (
                    SELECT FROM open_allocation WHERE type = 'DEALLOCATION'
                    ORDER BY owner_id, connection_id, currency LIMIT :counted_max) held_on_connections),
                {}, {}",
            estimate(&[
                "open_allocation_in_custody",
                "open_allocation_on_connection"
            ]),
            overdue("open_allocation")
        ))
    });
    counted(db, &TEXT).await
}

async fn of_bucket_actions(db: &mut AsyncPgConnection) -> QueryResult<ReservationSample> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT (SELECT count(*) FROM (
                    SELECT FROM open_bucket_action WHERE expire_time IS NOT NULL
                    ORDER BY expire_time LIMIT :counted_max) expiring),
                {}, {}",
            estimate(&["open_bucket_action_due_first"]),
            overdue("open_bucket_action")
        ))
    });
    counted(db, &TEXT).await
}

/// The entries of these indexes, as Postgres last estimated them.
fn estimate(indexes: &[&str]) -> String {
    let indexes: Vec<_> = indexes
        .iter()
        .map(|index| format!("to_regclass('{index}')"))
        .collect();
    format!(
        "(SELECT coalesce(sum(greatest(reltuples, 0)), 0)::float8 FROM pg_class WHERE oid IN ({}))",
        indexes.join(", ")
    )
}

/// The number of overdue reservations, and for how many seconds the oldest is overdue.
fn overdue(table: &str) -> String {
    format!(
        "(SELECT count(*) FROM (
            SELECT FROM {table} WHERE expire_time <= statement_timestamp()
            ORDER BY expire_time LIMIT :counted_max) overdue),
        (SELECT coalesce(greatest(extract(epoch FROM statement_timestamp() - min(expire_time)), 0), 0)::float8 FROM (
            SELECT expire_time FROM {table} WHERE expire_time IS NOT NULL
            ORDER BY expire_time LIMIT 1) oldest)"
    )
}

async fn counted(db: &mut AsyncPgConnection, text: &SqlText) -> QueryResult<ReservationSample> {
    let statement: Statement<(BigInt, Double, BigInt, Double)> =
        Statement::new(text).bind("counted_max", RESERVATIONS_COUNTED_MAX);
    let (counted, estimate, overdue, lag): (i64, f64, i64, f64) = statement.get_result(db).await?;
    let open = if counted < RESERVATIONS_COUNTED_MAX {
        counted as f64
    } else {
        estimate.max(counted as f64)
    };
    Ok(ReservationSample {
        open,
        overdue: overdue as f64,
        lag: Duration::try_from_secs_f64(lag).unwrap_or_default(),
    })
}
