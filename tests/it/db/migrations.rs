use std::collections::BTreeSet;

use earmark::db::connect::Connector;
use earmark::db::migrate;
use earmark::db::pool::{self, PoolSettings};

use crate::support::cluster::database;

#[tokio::test]
async fn migrations_run_up_down_and_up_again_on_a_runtime_of_one_thread() {
    let db = database().await;
    let connector = Connector::new(&db.url).expect("a URL");
    let pool = pool::open(connector, &PoolSettings::default());
    assert_eq!(migrate::run(&db.url).await.expect("nothing to do").len(), 0);
    assert_eq!(migrate::is_current(&pool).await, Ok(true));

    let reverted = migrate::revert_all(&db.url).await.expect("the way down");
    assert_eq!(migrate::is_current(&pool).await, Ok(false));
    let applied = migrate::run(&db.url).await.expect("the way up");
    assert_eq!(
        reverted.iter().rev().collect::<Vec<_>>(),
        applied.iter().collect::<Vec<_>>()
    );
    assert_eq!(migrate::is_current(&pool).await, Ok(true));
}

#[tokio::test]
async fn a_database_without_any_migration_is_not_current() {
    let db = database().await;
    let (client, _driver) = connect(&db.url).await;
    client
        .batch_execute("DROP TABLE __diesel_schema_migrations")
        .await
        .expect("dropped");
    let pool = pool::open(
        Connector::new(&db.url).expect("a URL"),
        &PoolSettings::default(),
    );
    assert_eq!(migrate::is_current(&pool).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_migrate_once() {
    let db = database().await;
    let all = migrate::revert_all(&db.url)
        .await
        .expect("the way down")
        .len();
    let starts = (0..4).map(|_| {
        let url = db.url.clone();
        tokio::spawn(async move { migrate::run(&url).await.expect("migrated").len() })
    });
    let mut applied = 0;
    for start in starts.collect::<Vec<_>>() {
        applied += start.await.expect("no panic");
    }
    assert_eq!(applied, all);
}

#[tokio::test]
async fn the_tables_of_the_code_are_those_of_the_database() {
    let db = database().await;
    let (client, _driver) = connect(&db.url).await;
    let sql = "SELECT table_name::text, column_name::text, udt_name::text, is_nullable = 'YES'
                 FROM information_schema.columns
                WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'";
    let rows = client.query(sql, &[]).await.expect("the catalogs");
    let found = rows.iter().map(|row| {
        let nullable: bool = row.get(3);
        (row.get(0), row.get(1), row.get(2), nullable)
    });
    let found: BTreeSet<(String, String, String, bool)> = found.collect();
    assert_eq!(declared(), found);
}

/// What `schema.rs` says, read from its text: diesel keeps no list of its own.
fn declared() -> BTreeSet<(String, String, String, bool)> {
    let mut declared = BTreeSet::new();
    let (mut table, mut sql_name) = (String::new(), None);
    for line in include_str!("../../../src/db/schema.rs").lines() {
        let line = line.trim();
        if let Some((name, "{")) = line.split_once(") ").and_then(|(head, tail)| {
            let (name, _) = head.split_once(" (")?;
            Some((name, tail))
        }) {
            table = name.into();
        } else if let Some(name) = line.strip_prefix("#[sql_name = \"") {
            sql_name = name.strip_suffix("\"]").map(str::to_owned);
        } else if let Some((column, kind)) = line.split_once(" -> ") {
            let kind = kind.trim_end_matches(',');
            let inner = kind
                .strip_prefix("Nullable<")
                .map(|k| k.trim_end_matches('>'));
            let udt = match inner.unwrap_or(kind) {
                "BigInt" => "int8",
                "Bool" => "bool",
                "Bytea" => "bytea",
                "Numeric" => "numeric",
                "Text" => "text",
                "Timestamptz" => "timestamptz",
                "Uuid" => "uuid",
                other => panic!("a type this test does not know: {other}"),
            };
            let column = sql_name.take().unwrap_or_else(|| column.into());
            declared.insert((table.clone(), column, udt.into(), inner.is_some()));
        }
    }
    declared
}

async fn connect(url: &str) -> (tokio_postgres::Client, tokio::task::JoinHandle<()>) {
    let connector = Connector::new(url).expect("a URL");
    connector.connect().await.expect("a connection")
}
