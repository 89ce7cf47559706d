//! Changes the partitions of a table. Nobody waits for long: a statement that needs a lock which conflicts with reads or
//! writes waits for it, and holds it, only for an instant, and is tried again if that was not enough.

use tokio_postgres::Client;

use crate::db::partitions::at_once::at_once;
use crate::db::partitions::counts::CHECK;
use crate::db::partitions::error::MaintainError;
use crate::db::partitions::key::KeyBound;
use crate::db::partitions::state::PartitionedTable;

/// The longest name that Postgres keeps.
const NAME_BYTES_MAX: usize = 63;

/// Changes the partitions of one table.
pub(super) struct PartitionChanger<'a> {
    pub(super) client: &'a Client,
    pub(super) table: &'a PartitionedTable,
}

impl PartitionChanger<'_> {
    /// Makes a partition of this range, and returns its name. It looks like the DEFAULT partition.
    ///
    /// Postgres locks the DEFAULT partition, and reads it unless a check shows that it has no row of this range.
    pub(super) async fn create(
        &self,
        from: &KeyBound,
        to: &KeyBound,
    ) -> Result<String, MaintainError> {
        let name = self.free_name(from).await?;
        let (table, partition) = (self.table.path(), self.table.in_schema(&name));
        let shape = self.shape(self.table.default.as_deref()).await?;
        let like = like(&table, &partition, &shape);
        let (from, to) = (&from.literal, &to.literal);
        self.instantly(&format!(
            "{like}
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}');"
        ))
        .await?;
        Ok(name)
    }

    /// Turns the DEFAULT partition into that of this range, which must hold all of its rows, and makes another one. Returns
    /// the new name of the former.
    pub(super) async fn turn_default(
        &self,
        default: &str,
        from: &KeyBound,
        to: &KeyBound,
    ) -> Result<String, MaintainError> {
        let name = self.free_name(from).await?;
        let (key, from, to) = (&self.table.key, &from.literal, &to.literal);
        let renamed = self.renamed_indexes(default, &name).await?;
        let shape = self.shape(Some(default)).await?;
        self.check(default, &format!("{key} >= '{from}' AND {key} < '{to}'"))
            .await?;
        let table = self.table.path();
        let (default_path, partition) =
            (self.table.in_schema(default), self.table.in_schema(&name));
        let like = like(&table, &default_path, &shape);
        let swapped = self
            .instantly(&format!(
                "LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE;
                 ALTER TABLE {table} DETACH PARTITION {default_path};
                 ALTER TABLE {default_path} RENAME TO {name};
                 {renamed}
                 {like}
                 ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}');
                 ALTER TABLE {table} ATTACH PARTITION {default_path} DEFAULT;
                 ALTER TABLE {partition} DROP CONSTRAINT {CHECK};"
            ))
            .await;
        if let Err(failure) = swapped {
            _ = self.drop_check(default).await;
            return Err(failure);
        }
        Ok(name)
    }

    /// Adds a check to the DEFAULT partition which Postgres relies on instead of reading it under a lock. From then on, it
    /// refuses rows that do not satisfy it. If the rows that it has do not, the check is dropped again.
    pub(super) async fn check(&self, default: &str, condition: &str) -> Result<(), MaintainError> {
        let path = self.table.in_schema(default);
        self.instantly(&format!(
            "ALTER TABLE {path} ADD CONSTRAINT {CHECK} CHECK ({condition}) NOT VALID;"
        ))
        .await?;
        // Reads all rows, under a lock that conflicts with changes of the table's definition only.
        let validate = format!("ALTER TABLE {path} VALIDATE CONSTRAINT {CHECK}");
        if let Err(source) = self.client.batch_execute(&validate).await {
            // The first failure is the one to report. What is left, the next run drops.
            _ = self.drop_check(default).await;
            return Err(self.failed(source));
        }
        Ok(())
    }

    /// Drops the check of [`Self::check`], if there is one.
    pub(super) async fn drop_check(&self, default: &str) -> Result<(), MaintainError> {
        let path = self.table.in_schema(default);
        self.instantly(&format!(
            "ALTER TABLE {path} DROP CONSTRAINT IF EXISTS {CHECK};"
        ))
        .await
    }

    /// Gives the expressions in the indexes of new partitions the statistics targets of an older partition's indexes, which
    /// `LIKE` does not copy.
    pub(super) async fn copy_index_statistics(&self, model: &str) -> Result<(), MaintainError> {
        let sql = "SELECT coalesce(string_agg(format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s;',
                                  made.indexrelid::regclass, wanted.attnum, wanted.attstattarget), ' '), '')
              FROM pg_index m
              JOIN pg_inherits above ON above.inhrelid = m.indexrelid
              JOIN pg_inherits beside ON beside.inhparent = above.inhparent
              JOIN pg_index made ON made.indexrelid = beside.inhrelid
              JOIN pg_attribute wanted ON wanted.attrelid = m.indexrelid AND wanted.attstattarget >= 0
              JOIN pg_attribute found ON found.attrelid = made.indexrelid AND found.attnum = wanted.attnum
             WHERE m.indrelid = $1::text::regclass AND coalesce(found.attstattarget, -1) < 0";
        let alter = self.text(sql, &[&self.table.in_schema(model)]).await?;
        if alter.is_empty() {
            return Ok(());
        }
        self.instantly(&alter).await
    }

    /// A name for the partition that begins here, which no other relation has.
    async fn free_name(&self, from: &KeyBound) -> Result<String, MaintainError> {
        let day = from.at.to_string()[..10].replace('-', "");
        let name = format!("{}_{day}", self.table.name);
        let sql = "SELECT name FROM (
                SELECT $2::text AS name, 1 AS number
                 UNION ALL SELECT $2::text || '_' || number, number FROM generate_series(2, 1000) number
            ) names WHERE to_regclass($1::text || '.' || name) IS NULL ORDER BY number LIMIT 1";
        self.text(sql, &[&self.table.schema, &name]).await
    }

    /// What `LIKE` does not copy of a partition: the actions of an ALTER TABLE that set its storage parameters and the
    /// statistics targets of its columns. Empty if there is nothing to set.
    async fn shape(&self, model: Option<&str>) -> Result<String, MaintainError> {
        let Some(model) = model else {
            return Ok(String::new());
        };
        let sql = "WITH model AS (SELECT * FROM pg_class WHERE oid = $1::text::regclass),
            parameters AS (
                SELECT format('%I = %L', option_name, option_value) AS parameter
                  FROM model, pg_options_to_table(reloptions)
                 UNION ALL
                SELECT format('toast.%I = %L', option_name, option_value)
                  FROM model JOIN pg_class t ON t.oid = model.reltoastrelid, pg_options_to_table(t.reloptions)
            ), actions AS (
                SELECT format('SET (%s)', string_agg(parameter, ', ')) AS action FROM parameters HAVING count(*) > 0
                 UNION ALL
                SELECT format('ALTER COLUMN %I SET STATISTICS %s', attname, attstattarget)
                  FROM model JOIN pg_attribute a ON a.attrelid = model.oid
                 WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
            )
            SELECT coalesce(string_agg(action, ', '), '') FROM actions";
        self.text(sql, &[&self.table.in_schema(model)]).await
    }

    /// The statements that give the indexes of the DEFAULT partition, which bear its name, that of the partition it becomes.
    async fn renamed_indexes(&self, default: &str, name: &str) -> Result<String, MaintainError> {
        let sql = "SELECT coalesce(string_agg(format('ALTER INDEX %s RENAME TO %I;', i.indexrelid::regclass, named.name), ' '), '')
              FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid,
                   LATERAL (SELECT $3::text || substr(c.relname, length($2::text) + 1)) named(name)
             WHERE i.indrelid = $1::text::regclass AND starts_with(c.relname, $2::text || '_')
               AND octet_length(named.name) <= $4
               AND NOT EXISTS (SELECT FROM pg_class other
                                WHERE other.relnamespace = c.relnamespace AND other.relname = named.name)";
        let longest = i32::try_from(NAME_BYTES_MAX).unwrap_or(i32::MAX);
        self.text(
            sql,
            &[&self.table.in_schema(default), &default, &name, &longest],
        )
        .await
    }

    async fn text(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<String, MaintainError> {
        let row = self.client.query_one(sql, parameters).await;
        row.map(|row| row.get(0))
            .map_err(|source| self.failed(source))
    }

    /// Runs statements in one transaction as [`at_once`] does.
    async fn instantly(&self, statements: &str) -> Result<(), MaintainError> {
        at_once(self.client, &self.table.name, statements).await
    }

    fn failed(&self, source: tokio_postgres::Error) -> MaintainError {
        MaintainError::Table {
            table: self.table.name.clone(),
            source,
        }
    }
}

/// The statements that make a table with everything that the partitioned one and its DEFAULT partition have.
fn like(table: &str, partition: &str, shape: &str) -> String {
    let create = format!("CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);");
    match shape {
        "" => create,
        _ => format!("{create} ALTER TABLE {partition} {shape};"),
    }
}
