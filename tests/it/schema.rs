//! The rules of the database schema, checked in Postgres's catalogs, and those of the source tree.

mod checks;
mod imports;
mod migrations;
mod names;
mod sources;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tokio_postgres::Client;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks::session;

/// Small tables that cross owners; on a distributed database they would be reference tables.
const EXEMPT: [&str; 7] = [
    "archived_period",
    "client",
    "connection",
    "enterprise",
    "owner",
    "partner",
    "sealed_period",
];

/// Indexes for statements that cross owners: the sweep asks which reservations are due first, whoever's they are; a
/// tenant lists all its buckets and what was done with them; a period is hashed owner by owner.
const EXEMPT_INDEXES: [&str; 14] = [
    "allocation_key_id",
    "bucket_by_status",
    "bucket_by_usage_type",
    "bucket_ending",
    "bucket_list",
    "bucket_opening",
    "bucket_party_account",
    "bucket_product_list",
    "closed_bucket_action_list",
    "closed_bucket_action_receiver",
    "open_allocation_due_first",
    "open_bucket_action_due_first",
    "open_bucket_action_list",
    "sealed_owner_period",
];

async fn migrated() -> (TestDatabase, Client) {
    let db = database().await;
    let client = session(&db.url).await;
    (db, client)
}

/// The first column of each row that a query returns.
async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

/// Partitions have what their table has.
const TABLES: &str = "SELECT relname::text FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
        AND relname NOT LIKE '\\_\\_diesel%'";

/// Tables that grow all the time.
const SAMPLED: &str =
    "account, entry, open_allocation, closed_allocation, closed_allocation_default, allocation_key,
    open_bucket_action, closed_bucket_action, closed_bucket_action_default, bucket_action_key";

/// ANALYZE samples as many rows as the largest statistics target among a table's columns and index expressions needs.
#[tokio::test]
async fn analyze_of_growing_tables_samples_few_rows() {
    let (_db, client) = migrated().await;
    let columns = format!(
        "SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a
          WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM 20
            AND (a.attrelid = ANY('{{{SAMPLED}}}'::regclass[])
              OR EXISTS (
                SELECT FROM pg_index i WHERE i.indexrelid = a.attrelid AND i.indkey[a.attnum - 1] = 0
                   AND i.indrelid = ANY('{{{SAMPLED}}}'::regclass[])))"
    );
    assert_eq!(texts(&client, &columns).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_key_of_an_owners_table_starts_with_the_owner() {
    let (_db, client) = migrated().await;
    // Tables whose first column is another, or that of any of whose unique indexes.
    let tables = format!(
        "SELECT DISTINCT t.relname::text FROM pg_class t
           LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique
           LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
           JOIN pg_attribute first ON first.attrelid = t.oid AND first.attnum = 1
          WHERE t.relname IN ({TABLES}) AND (first.attname <> 'owner_id' OR a.attname IS DISTINCT FROM 'owner_id')
          ORDER BY 1"
    );
    let found = texts(&client, &tables).await;
    let exempt = EXEMPT.iter().filter(|table| **table != "owner");
    assert!(found.iter().eq(exempt), "{found:?}");
    let indexes = format!(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
           LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
          WHERE t.relname IN ({TABLES}) AND t.relname <> ALL('{{{}}}') AND a.attname IS DISTINCT FROM 'owner_id'
          ORDER BY 1",
        EXEMPT.join(",")
    );
    assert_eq!(texts(&client, &indexes).await, EXEMPT_INDEXES);
    // `owner` is exempt only in that it is what the others refer to.
    let lacking = format!(
        "SELECT t.relname || ' ' || c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
          WHERE t.relname IN ({TABLES}) AND c.contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_attribute a
             WHERE a.attrelid = t.oid AND a.attnum = ANY(c.conkey) AND a.attname = 'owner_id')"
    );
    for found in texts(&client, &lacking).await {
        let table = found.split(' ').next().expect("a table");
        assert!(
            EXEMPT.contains(&table),
            "a foreign key without the owner: {found}"
        );
    }
    let all: BTreeSet<String> = texts(&client, TABLES).await.into_iter().collect();
    let gone: Vec<_> = EXEMPT
        .iter()
        .filter(|table| !all.contains(**table))
        .collect();
    assert!(gone.is_empty(), "exempt, but not there: {gone:?}");
    assert!(all.len() > EXEMPT.len());
}

#[tokio::test]
async fn every_table_has_a_primary_key_and_every_constraint_an_explicit_name() {
    let (_db, client) = migrated().await;
    // A partition that was a table before has a primary key of its own, so that a partitioned table has a unique index only.
    let keyless = format!(
        "SELECT relname::text FROM pg_class t WHERE relname IN ({TABLES})
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid
                AND (i.indisprimary OR i.indisunique AND t.relkind = 'p'))"
    );
    assert_eq!(texts(&client, &keyless).await, [""; 0]);
    let migrations = migrations();
    // NOT NULL has had names of its own since Postgres 18; nobody reads them.
    let constraints = format!(
        "SELECT c.conname::text FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
          WHERE t.relname IN ({TABLES}) AND c.contype <> 'n'"
    );
    let constraints = texts(&client, &constraints).await;
    assert!(constraints.len() > 20);
    for name in constraints {
        let given = format!("CONSTRAINT {name} ");
        assert!(migrations.contains(&given), "{name} was not named by hand");
    }
}

fn migrations() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("migrations") {
        let file = entry.expect("an entry").path().join("up.sql");
        all += &fs::read_to_string(file).unwrap_or_default();
    }
    all
}

#[tokio::test]
async fn currencies_compare_by_bytes_whatever_the_databases_locale() {
    let (_db, client) = migrated().await;
    let by_locale = "SELECT t.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
        WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace AND a.attname IN ('currency', 'unit')
          AND a.attcollation <> '\"C\"'::regcollation";
    assert_eq!(texts(&client, by_locale).await, [""; 0]);
}

#[tokio::test]
async fn amounts_are_numeric_without_a_scale_and_with_a_range_check() {
    let (_db, client) = migrated().await;
    let scaled = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND (data_type IN ('real', 'double precision', 'money')
           OR data_type = 'numeric' AND (numeric_precision IS NOT NULL OR numeric_scale IS NOT NULL))";
    assert_eq!(texts(&client, scaled).await, [""; 0]);
    let unchecked = "SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a
        WHERE a.atttypid = 'numeric'::regtype AND a.attrelid IN (
            SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_constraint c
            WHERE c.conrelid = a.attrelid AND c.contype = 'c' AND a.attnum = ANY(c.conkey)
              AND pg_get_constraintdef(c.oid) LIKE '%10000000000000000%')";
    assert_eq!(texts(&client, unchecked).await, [""; 0], "no range");
}

/// Table by table: each column's type, and the primary key.
type Schema = BTreeMap<String, (BTreeMap<String, String>, Vec<String>)>;

/// The tables as `src/db/schema.rs` declares them.
fn believed() -> Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/schema.rs");
    let text = fs::read_to_string(path).expect("the schema");
    let mut schema = Schema::new();
    for table in text.split("diesel::table! {").skip(1) {
        let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
        let (name, key) = lines
            .next()
            .expect("a head")
            .split_once(" (")
            .expect("a key");
        let key = key.trim_end_matches(") {").split(", ").map(String::from);
        let mut columns = BTreeMap::new();
        let mut sql_name = None;
        for line in lines.take_while(|line| *line != "}") {
            if let Some(name) = line.strip_prefix("#[sql_name = \"") {
                sql_name = Some(name.trim_end_matches("\"]"));
            } else if let Some((column, kind)) = line.split_once(" -> ") {
                let column = sql_name.take().unwrap_or(column);
                columns.insert(column.into(), kind.trim_end_matches(',').into());
            }
        }
        schema.insert(name.into(), (columns, key.collect()));
    }
    schema
}

#[tokio::test]
async fn diesels_schema_matches_the_database() {
    let (_db, client) = migrated().await;
    let mut schema = Schema::new();
    let columns = "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_diesel%'
          AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition)";
    for row in client.query(columns, &[]).await.expect(columns) {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let kind = match row.get(2) {
            "uuid" => "Uuid",
            "text" => "Text",
            "boolean" => "Bool",
            "bigint" => "BigInt",
            "integer" => "Integer",
            "numeric" => "Numeric",
            "timestamp with time zone" => "Timestamptz",
            "bytea" => "Bytea",
            "jsonb" => "Jsonb",
            "ARRAY" => "Array<Text>",
            other => panic!("{table}.{column}: add {other} to this test"),
        };
        let kind = match row.get(3) {
            "YES" => format!("Nullable<{kind}>"),
            _ => kind.into(),
        };
        schema.entry(table).or_default().0.insert(column, kind);
    }
    let keys = "SELECT i.indrelid::regclass::text, a.attname::text FROM pg_index i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        JOIN pg_class t ON t.oid = i.indrelid
        WHERE i.indisprimary OR i.indisunique AND t.relkind = 'p' ORDER BY 1, k.place";
    for row in client.query(keys, &[]).await.expect(keys) {
        if let Some((_, key)) = schema.get_mut(row.get::<_, &str>(0)) {
            key.push(row.get(1));
        }
    }
    let partitions = "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'";
    let partitions = texts(&client, partitions).await;
    // Partitions are read through their tables. Open and final records are read through a view, whose columns are those of
    // both.
    let is_partition = |table: &str| partitions.iter().any(|name| name == table);
    schema.retain(|table, _| !is_partition(table));
    let names = |(columns, _): &(BTreeMap<String, String>, Vec<String>)| -> Vec<String> {
        columns.keys().cloned().collect()
    };
    for view in ["allocation", "bucket_action"] {
        schema.remove(&format!("{view}_key")).expect("keys");
        let closed = schema.remove(&format!("closed_{view}")).expect("a table");
        let open = schema.remove(&format!("open_{view}")).expect("a table");
        assert_eq!(open, closed);
        let of_view = schema.insert(view.into(), open).expect("a view");
        assert_eq!(names(&of_view), names(&closed));
    }
    assert_eq!(believed(), schema);
}
