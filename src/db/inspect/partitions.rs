//! The partitions that are made ahead.

use crate::db::inspect::look::{InspectError, Look};
use crate::db::partitions::counts::{PartitionCounts, counts_sql};

pub(crate) async fn partitions(look: &Look<'_>) -> Result<Vec<PartitionCounts>, InspectError> {
    let rows = look.rows(&counts_sql(), &[]).await?;
    let each = rows.iter().map(|row| PartitionCounts {
        table: row.get(0),
        ahead: row.get(1),
        default_bytes: row.get(2),
        has_check: row.get(3),
    });
    Ok(each.collect())
}
