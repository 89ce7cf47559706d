//! Tables that were detached, until they are dropped.

use chrono::{DateTime, Utc};
use tokio_postgres::Client;

use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::removal::DETACHED;
use crate::types::time::Time;

/// A table that was a partition, and whose rows are in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DetachedTable {
    /// The name with its schema, quoted where SQL needs it.
    pub(super) name: String,
    /// The first and the last time of its rows, of entries or of closings; none if it is empty.
    pub(super) times: Option<(Time, Time)>,
}

/// They are where the journal is, and no partitions any more. The column by which rows belong to a period shows which they were.
const TABLES: &str = "\
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), \
           CASE WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'updated_at') \
                THEN 'updated_at' ELSE 'time' END \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'r' AND NOT c.relispartition \
      AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'entry'::regclass) \
      AND starts_with(obj_description(c.oid, 'pg_class'), $1) \
    ORDER BY 1";

/// Finds them all, by their names.
pub(super) async fn detached_tables(client: &Client) -> Result<Vec<DetachedTable>, ArchiveError> {
    let mut tables = Vec::new();
    for row in client.query(TABLES, &[&DETACHED]).await? {
        let (name, time): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let range = format!("SELECT min({time}), max({time}) FROM {name}");
        let range = client.query_one(&range, &[]).await?;
        let bound = |index| range.try_get::<_, Option<DateTime<Utc>>>(index);
        let times = bound(0)?.zip(bound(1)?);
        tables.push(DetachedTable {
            name,
            times: times.map(|(first, last)| (first.into(), last.into())),
        });
    }
    Ok(tables)
}

/// Drops one of them.
pub(super) async fn drop_table(client: &Client, table: &DetachedTable) -> Result<(), ArchiveError> {
    client
        .batch_execute(&format!("DROP TABLE {}", table.name))
        .await?;
    Ok(())
}
