//! The partitions that a table has, for whoever takes them away.

use tokio_postgres::{Client, Row};

use crate::db::partitions::counts::with_bounds;
use crate::types::time::Time;

/// A partition of a table, other than the DEFAULT partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttachedPartition {
    /// The name with its schema, quoted where SQL needs it.
    pub(crate) name: String,
    /// The time of its first keys; none if it has no lower bound.
    pub(crate) from: Option<Time>,
    /// The time that its last keys are before; none if it has no upper bound.
    pub(crate) to: Option<Time>,
    /// The bounds as Postgres takes them between quotes.
    pub(crate) literals: (Option<String>, Option<String>),
}

/// The partitions of a table by their bounds, but for the DEFAULT partition.
pub(crate) async fn attached(
    client: &Client,
    table: &str,
) -> Result<Vec<AttachedPartition>, tokio_postgres::Error> {
    let sql = with_bounds(
        "SELECT t.schema || '.' || b.partition, b.lower, b.upper, b.lower_micros, b.upper_micros
           FROM of_table t JOIN bounds b ON b.table_id = t.table_id WHERE t.name = $1
          ORDER BY b.upper_micros NULLS LAST",
    );
    let time = |micros: Option<i64>| micros.and_then(Time::from_micros);
    let read = |row: &Row| {
        Ok(AttachedPartition {
            name: row.try_get(0)?,
            literals: (row.try_get(1)?, row.try_get(2)?),
            from: time(row.try_get(3)?),
            to: time(row.try_get(4)?),
        })
    };
    client
        .query(&sql, &[&table])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The name of a table's DEFAULT partition, with its schema; none if it has none.
pub(crate) async fn default_partition(
    client: &Client,
    table: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = with_bounds(
        "SELECT t.schema || '.' || quote_ident(d.relname) FROM of_table t JOIN pg_class d ON d.oid = t.default_id
          WHERE t.name = $1",
    );
    let row = client.query_opt(&sql, &[&table]).await?;
    row.map(|row| row.try_get(0)).transpose()
}
