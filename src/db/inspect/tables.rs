//! The schema and its tables: migrations, indexes, what the statistics collector has counted, and sizes. All of it stands
//! in Postgres's catalogs; no row of a table is read.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use crate::db::inspect::look::{InspectError, Look};
use crate::db::migrate;
use crate::db::roles::TABLES;

/// The migrations that a database has, compared with those of this program.
#[derive(Clone, Debug, Default)]
pub(crate) struct MigrationFacts {
    pub(crate) applied: usize,
    /// The newest of those applied.
    pub(crate) newest: Option<String>,
    /// Those of this program that the database lacks, the oldest first.
    pub(crate) lacking: Vec<String>,
    /// Those applied that this program lacks.
    pub(crate) unknown: Vec<String>,
}

pub(crate) async fn migrations(look: &Look<'_>) -> Result<MigrationFacts, InspectError> {
    let table = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL";
    let mut applied = BTreeSet::new();
    if look.row(table, &[]).await?.get(0) {
        let sql = "SELECT version FROM __diesel_schema_migrations";
        let rows = look.rows(sql, &[]).await?;
        applied.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    let (lacking, unknown) = migrate::compare(&applied);
    Ok(MigrationFacts {
        applied: applied.len(),
        newest: applied.last().cloned(),
        lacking,
        unknown,
    })
}

/// An index that is not used, or not maintained.
#[derive(Clone, Debug)]
pub(crate) struct InvalidIndex {
    pub(crate) name: String,
    pub(crate) table: String,
    /// Whether a session builds it at the moment.
    pub(crate) is_being_built: bool,
}

pub(crate) async fn invalid_indexes(look: &Look<'_>) -> Result<Vec<InvalidIndex>, InspectError> {
    let sql = "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text,
                      EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid)
                 FROM pg_index i
                WHERE NOT (i.indisvalid AND i.indisready)
                  AND i.indrelid IN (
                    SELECT to_regclass(name)::oid FROM unnest($1::text[]) t(name)
                    UNION ALL
                    SELECT p.inhrelid FROM pg_inherits p JOIN unnest($1::text[]) t(name) ON p.inhparent = to_regclass(name)
                  )
                ORDER BY 1";
    let rows = look
        .rows(sql, &[(&table_names(), Type::TEXT_ARRAY)])
        .await?;
    let each = rows.iter().map(|row| InvalidIndex {
        name: row.get(0),
        table: row.get(1),
        is_being_built: row.get(2),
    });
    Ok(each.collect())
}

/// The tables for which a migration sets how many rows ANALYZE samples.
const SAMPLED_TABLES: [&str; 10] = [
    "account",
    "allocation_key",
    "bucket_action_key",
    "closed_allocation",
    "closed_allocation_default",
    "closed_bucket_action",
    "closed_bucket_action_default",
    "entry",
    "open_allocation",
    "open_bucket_action",
];
/// The statistics target that it sets for each column of theirs, and for the expressions of their indexes.
pub(crate) const STATISTICS_TARGET: i32 = 20;

/// The columns, as `table.column`, whose statistics target is not what the migrations set.
pub(crate) async fn statistics_targets(look: &Look<'_>) -> Result<Vec<String>, InspectError> {
    let sql = "WITH sampled AS (
            SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) t(name)
            UNION ALL
            SELECT p.inhrelid FROM pg_inherits p JOIN unnest($1::text[]) t(name) ON p.inhparent = to_regclass(name)
        )
        SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM $2
           AND (a.attrelid IN (SELECT oid FROM sampled) OR EXISTS (
                SELECT FROM pg_index i
                 WHERE i.indexrelid = a.attrelid AND i.indkey[a.attnum - 1] = 0
                   AND i.indrelid IN (SELECT oid FROM sampled)))
         ORDER BY 1";
    let names: Vec<&str> = SAMPLED_TABLES.to_vec();
    let target = i16::try_from(STATISTICS_TARGET).unwrap_or(i16::MAX);
    let rows = look
        .rows(sql, &[(&names, Type::TEXT_ARRAY), (&target, Type::INT2)])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What Postgres has counted of a table, or of a partition of one, since its statistics were last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableFacts {
    pub(crate) name: String,
    pub(crate) live_rows: i64,
    /// Versions of rows that nobody needs any longer and vacuum has not removed.
    pub(crate) dead_rows: i64,
    /// Rows that were changed since the table was analyzed last.
    pub(crate) changed_rows: i64,
    /// Whether the planner has statistics of it: false if it was never analyzed or vacuumed.
    pub(crate) is_analyzed: bool,
    pub(crate) has_autovacuum: bool,
    /// Seconds since the last vacuum, by hand or by itself.
    pub(crate) vacuumed_s: Option<f64>,
    /// Bytes of its rows, as of its last vacuum.
    pub(crate) pages_bytes: i64,
}

pub(crate) async fn tables(look: &Look<'_>) -> Result<Vec<TableFacts>, InspectError> {
    let sql = "SELECT c.relname::text, coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0),
            coalesce(s.n_mod_since_analyze, 0), c.reltuples >= 0,
            coalesce((SELECT option_value::bool FROM pg_options_to_table(c.reloptions)
                       WHERE option_name = 'autovacuum_enabled'), true),
            extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8,
            c.relpages::int8 * current_setting('block_size')::int8
        FROM unnest($1::text[]) t(name)
        JOIN pg_class c ON c.oid = to_regclass(t.name) OR c.oid IN (
            SELECT p.inhrelid FROM pg_inherits p WHERE p.inhparent = to_regclass(t.name))
        LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
        WHERE c.relkind <> 'p'
        ORDER BY 1";
    let rows = look
        .rows(sql, &[(&table_names(), Type::TEXT_ARRAY)])
        .await?;
    let each = rows.iter().map(|row| TableFacts {
        name: row.get(0),
        live_rows: row.get(1),
        dead_rows: row.get(2),
        changed_rows: row.get(3),
        is_analyzed: row.get(4),
        has_autovacuum: row.get(5),
        vacuumed_s: row.get(6),
        pages_bytes: row.get(7),
    });
    Ok(each.collect())
}

/// What a table takes on disk.
#[derive(Clone, Debug)]
pub(crate) struct TableSize {
    pub(crate) name: String,
    /// Its rows and everything that belongs to them.
    pub(crate) total_bytes: i64,
    pub(crate) index_bytes: i64,
}

/// The sizes of the tables with their partitions, the largest first. Needs a lock of each table that only ACCESS EXCLUSIVE conflicts with.
pub(crate) async fn sizes(look: &Look<'_>) -> Result<Vec<TableSize>, InspectError> {
    let sql = "SELECT t.name, sum(pg_total_relation_size(part.oid))::int8, sum(pg_indexes_size(part.oid))::int8
                 FROM unnest($1::text[]) t(name)
                 CROSS JOIN LATERAL (
                    SELECT to_regclass(t.name)::oid AS oid
                    UNION ALL SELECT p.inhrelid FROM pg_inherits p WHERE p.inhparent = to_regclass(t.name)
                 ) part
                WHERE to_regclass(t.name) IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1";
    let rows = look
        .rows(sql, &[(&table_names(), Type::TEXT_ARRAY)])
        .await?;
    let each = rows.iter().map(|row| TableSize {
        name: row.get(0),
        total_bytes: row.get(1),
        index_bytes: row.get(2),
    });
    Ok(each.collect())
}

/// How far the numbers of transactions are used up.
#[derive(Clone, Debug)]
pub(crate) struct TransactionIdFacts {
    /// The database of the cluster whose oldest transaction is the oldest of all.
    pub(crate) database: String,
    pub(crate) xid_age: i64,
    /// The same for multixacts, in whatever database.
    pub(crate) multixact_age: i64,
}

pub(crate) async fn transaction_ids(look: &Look<'_>) -> Result<TransactionIdFacts, InspectError> {
    let sql = "SELECT datname::text, age(datfrozenxid)::int8,
                      (SELECT max(mxid_age(datminmxid))::int8 FROM pg_database)
                 FROM pg_database ORDER BY age(datfrozenxid) DESC LIMIT 1";
    let row = look.row(sql, &[]).await?;
    Ok(TransactionIdFacts {
        database: row.get(0),
        xid_age: row.get(1),
        multixact_age: row.get(2),
    })
}

fn table_names() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| *name).collect()
}
