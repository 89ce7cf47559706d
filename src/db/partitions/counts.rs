//! What is partitioned, and how many partitions are ahead of the time: from the catalogs alone, so that the role of a server
//! may ask it.

/// The tables that are partitioned by time, or by ids that begin with a time. Those that a database lacks, or that are not
/// partitioned in it, are left out.
pub(crate) const PARTITIONED_TABLES: [&str; 3] =
    ["entry", "closed_allocation", "closed_bucket_action"];

/// What keeps rows out of the DEFAULT partition while it is changed. It is dropped afterwards; one that was left by a process
/// that has died refuses writes from some day on.
pub(super) const CHECK: &str = "earmark_maintain_check";

/// What was found of a partitioned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionCounts {
    /// The partitioned table, one of [`PARTITIONED_TABLES`].
    pub(crate) table: String,
    /// Partitions that begin in the future.
    pub(crate) ahead: i64,
    /// The size of the DEFAULT partition's rows. It is zero if it was never written to.
    pub(crate) default_bytes: i64,
    /// Whether the DEFAULT partition has a check that is needed only while partitions are made.
    pub(crate) has_check: bool,
}

/// Tables that are partitioned, `of_table`, and `bounds`, their partitions but DEFAULT, with the bounds as texts and as
/// microseconds since 1970, which are null where there is no bound, and their names. To be followed by a query.
pub(super) fn with_bounds(query: &str) -> String {
    let names = PARTITIONED_TABLES
        .map(|name| format!("'{name}'"))
        .join(", ");
    let micros = |bound: &str| {
        format!(
            "CASE WHEN NOT is_id THEN (extract(epoch FROM {bound}::timestamptz) * 1000000)::int8
                  ELSE ('x' || left(replace({bound}, '-', ''), 12))::bit(48)::int8 * 1000 END"
        )
    };
    let (lower_micros, upper_micros) = (micros("lower"), micros("upper"));
    format!(
        "WITH of_table AS (
            SELECT c.oid AS table_id, c.relname::text AS name, c.relnamespace::regnamespace::text AS schema,
                   quote_ident(a.attname) AS key, a.atttypid = 'uuid'::regtype AS is_id, p.partdefid AS default_id
              FROM unnest(ARRAY[{names}]) t(name)
              JOIN pg_partitioned_table p ON p.partrelid = to_regclass(t.name)
              JOIN pg_class c ON c.oid = p.partrelid
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
             WHERE p.partstrat = 'r' AND p.partnatts = 1 AND a.atttypid IN ('uuid'::regtype, 'timestamptz'::regtype)
        ), texts AS (
            SELECT t.table_id, t.is_id, quote_ident(k.relname) AS partition,
                   substring(b.text FROM 'FROM \\(''(.*)''\\) TO') AS lower,
                   substring(b.text FROM 'TO \\(''(.*)''\\)') AS upper
              FROM of_table t
              JOIN pg_inherits i ON i.inhparent = t.table_id AND i.inhrelid <> t.default_id
              JOIN pg_class k ON k.oid = i.inhrelid
             CROSS JOIN LATERAL pg_get_expr(k.relpartbound, k.oid) b(text)
        ), bounds AS (
            SELECT table_id, partition, lower, upper, {lower_micros} AS lower_micros, {upper_micros} AS upper_micros FROM texts
        ) {query}"
    )
}

/// The query that answers the four members of [`PartitionCounts`] in their order.
pub(crate) fn counts_sql() -> String {
    with_bounds(&format!(
        "SELECT t.name,
                (SELECT count(*) FROM bounds b WHERE b.table_id = t.table_id
                    AND b.lower_micros > extract(epoch FROM statement_timestamp()) * 1000000),
                coalesce(pg_relation_size(nullif(t.default_id, 0)), 0),
                EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.default_id AND conname = '{CHECK}')
           FROM of_table t ORDER BY t.name"
    ))
}
