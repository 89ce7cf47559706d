//! Fills tables by COPY, and builds their indexes afterwards.

use std::pin::pin;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Client;

/// How much is sent at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// SHA-256 of «seed», as COPY's text format has it.
pub(super) const CONTENT_HASH: &str =
    "\\\\x19b25856e1c150ca834cffc8b59b23adbd0ec0389e58eb22b3b64768098d002b";

/// Fills tables that have lost their indexes, and gives them back.
pub(crate) struct Loader<'c> {
    client: &'c Client,
    /// What makes the indexes and constraints again.
    rebuild: Vec<String>,
}

impl<'c> Loader<'c> {
    /// Takes the indexes off these tables, those of primary keys and unique constraints too.
    pub(crate) async fn begin(client: &'c Client, tables: &[&'static str]) -> Result<Self> {
        let constraints = "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) \
                           FROM pg_constraint \
                           WHERE conrelid::regclass::text = ANY($1) AND contype IN ('p', 'u') ORDER BY 1, 2";
        let mut rebuild = Vec::new();
        for row in client.query(constraints, &[&tables]).await? {
            let (table, name, definition): (&str, &str, &str) =
                (row.get(0), row.get(1), row.get(2));
            let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {name}");
            client.batch_execute(&drop).await?;
            rebuild.push(format!(
                "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
            ));
        }
        // Those of constraints are gone by now.
        let indexes = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index \
                       WHERE indrelid::regclass::text = ANY($1) ORDER BY 1";
        for row in client.query(indexes, &[&tables]).await? {
            let (name, definition): (&str, &str) = (row.get(0), row.get(1));
            // ONLY: without the partitions.
            rebuild.push(definition.replace(" ON ONLY ", " ON "));
            // What its expressions have of their own would go with it.
            let targets = "SELECT attnum::int, attstattarget::int FROM pg_attribute \
                           WHERE attrelid = $1::text::regclass AND attstattarget >= 0";
            for row in client.query(targets, &[&name]).await? {
                let (column, target): (i32, i32) = (row.get(0), row.get(1));
                rebuild.push(format!(
                    "ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS {target}"
                ));
            }
            client.batch_execute(&format!("DROP INDEX {name}")).await?;
        }
        Ok(Self { client, rebuild })
    }

    /// Sends lines as COPY's text format has them, each with its end, to a table and its columns.
    pub(crate) async fn copy(
        &self,
        table_and_columns: &str,
        lines: impl Iterator<Item = String>,
    ) -> Result<u64> {
        let sink = self
            .client
            .copy_in::<_, Bytes>(&format!("COPY {table_and_columns} FROM STDIN"))
            .await
            .with_context(|| format!("copying to {table_and_columns}"))?;
        let mut sink = pin!(sink);
        let mut chunk = String::with_capacity(2 * CHUNK_BYTES);
        for line in lines {
            chunk.push_str(&line);
            if chunk.len() >= CHUNK_BYTES {
                let full = std::mem::replace(&mut chunk, String::with_capacity(2 * CHUNK_BYTES));
                sink.send(Bytes::from(full)).await?;
            }
        }
        sink.send(Bytes::from(chunk)).await?;
        sink.finish()
            .await
            .with_context(|| format!("copying to {table_and_columns}"))
    }

    /// Builds the indexes again, and gathers the planner's statistics.
    pub(crate) async fn end(self) -> Result<()> {
        self.client
            .batch_execute("SET maintenance_work_mem = '1GB'")
            .await?;
        for statement in &self.rebuild {
            self.client
                .batch_execute(statement)
                .await
                .with_context(|| statement.clone())?;
        }
        self.client.batch_execute("VACUUM ANALYZE").await?;
        Ok(())
    }
}
