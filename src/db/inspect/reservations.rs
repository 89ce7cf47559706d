//! Open reservations by the time at which they expire. Each statement reads the first rows of a partial index, and its cost
//! does not grow with the tables.

use crate::db::inspect::look::{InspectError, Look};
use crate::limits::DOCTOR_OVERDUE_MAX;

/// Open reservations of one kind that have an expire time.
#[derive(Clone, Debug, Default)]
pub(crate) struct DueFacts {
    /// Seconds until the first one expires; negative if it is overdue. `None` if there is none.
    pub(crate) first_due_s: Option<f64>,
    /// Seconds since that one was made.
    pub(crate) first_age_s: Option<f64>,
    /// Those that have expired and are not released, counted up to [`DOCTOR_OVERDUE_MAX`].
    pub(crate) overdue: i64,
}

pub(crate) async fn of_allocations(look: &Look<'_>) -> Result<DueFacts, InspectError> {
    due(look, "open_allocation").await
}

pub(crate) async fn of_buckets(look: &Look<'_>) -> Result<DueFacts, InspectError> {
    due(look, "open_bucket_action").await
}

async fn due(look: &Look<'_>, table: &str) -> Result<DueFacts, InspectError> {
    // Whatever the planner assumes of the table: the index gives the rows in their order.
    let by_index = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off";
    look.execute(by_index).await?;
    let first = format!(
        "SELECT extract(epoch FROM expire_time - statement_timestamp())::float8,
                extract(epoch FROM statement_timestamp() - created_at)::float8
           FROM {table} WHERE expire_time IS NOT NULL ORDER BY expire_time LIMIT 1"
    );
    let overdue = format!(
        "SELECT count(*) FROM (
            SELECT FROM {table} WHERE expire_time <= statement_timestamp()
            ORDER BY expire_time LIMIT {DOCTOR_OVERDUE_MAX}
        ) due"
    );
    let rows = look.rows(&first, &[]).await?;
    Ok(DueFacts {
        first_due_s: rows.first().map(|row| row.get(0)),
        first_age_s: rows.first().map(|row| row.get(1)),
        overdue: look.row(&overdue, &[]).await?.get(0),
    })
}
