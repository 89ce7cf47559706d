use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use earmark::db::connect::Connector;
use earmark::db::migrate;
use earmark::db::pool::{self, PoolSettings};

use crate::support::cluster::database;
use crate::support::earmark::Earmark;
use crate::support::load::Load;
use crate::support::process::{earmark, run, text};

#[tokio::test]
async fn migrations_run_up_down_and_up_again_on_a_current_thread_runtime() {
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

/// What `migrate` locks, so that replicas wait for each other.
const LOCK: i64 = 0x6561_726d_6172_6b21;

#[tokio::test(flavor = "multi_thread")]
async fn replicas_wait_for_a_running_migration_while_old_code_keeps_serving() {
    let server = Earmark::start().await;
    let load = Load::start(&[&server], 4, 8, 31).await;
    // The first replica of newer code: it expands, as every migration has to before the old code is gone.
    let newer = server.sql().await;
    let lock = format!("SELECT pg_advisory_lock({LOCK})");
    newer.batch_execute(&lock).await.expect("locked");
    let replicas: Vec<_> = (0..3)
        .map(|_| {
            let url = server.url.clone();
            tokio::task::spawn_blocking(move || run(earmark(&["migrate"]).env("DATABASE_URL", url)))
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'earmark-migrate' AND query LIKE '%try_advisory_lock%'";
    let begun = Instant::now();
    while server.count(waiting).await < 3 {
        assert!(begun.elapsed() < Duration::from_secs(15), "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.goes_on(30).await;
    for table in ["account", "open_allocation", "entry", "owner", "enterprise"] {
        let expand = format!("ALTER TABLE {table} ADD COLUMN later text");
        newer.batch_execute(&expand).await.expect(&expand);
    }
    let done = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000001')";
    newer.batch_execute(done).await.expect(done);
    load.goes_on(30).await;
    drop(newer);
    for replica in replicas {
        let migrated = replica.await.expect("no panic");
        assert_eq!(migrated.status.code(), Some(0), "{migrated:?}");
        assert_eq!(text(&migrated.stdout), "The schema is up to date.\n");
    }
    load.goes_on(30).await;
    let connector = Connector::new(&server.url).expect("a URL");
    let pool = pool::open(connector, &PoolSettings::default());
    assert_eq!(migrate::is_current(&pool).await, Ok(true));
    let counts = load.finish(&server).await;
    assert_eq!((counts.not_applied, counts.unknown), (0, 0), "{counts}");
}

#[tokio::test]
async fn the_tables_in_the_code_match_the_database() {
    let db = database().await;
    let (client, _driver) = connect(&db.url).await;
    // A view has the columns of either table behind it, and partitions those of their tables.
    let sql = "SELECT CASE WHEN c.relname IN ('open_allocation', 'open_bucket_action') THEN substr(c.relname, 6)
                           ELSE c.relname::text END, a.attname::text,
                      t.typname::text, NOT a.attnotnull
                 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                  AND a.attnum > 0 AND NOT a.attisdropped
                  AND c.relname NOT IN ('__diesel_schema_migrations', 'allocation_key', 'closed_allocation',
                      'bucket_action_key', 'closed_bucket_action')";
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
                "Array<Text>" => "_text",
                "BigInt" => "int8",
                "Bool" => "bool",
                "Bytea" => "bytea",
                "Integer" => "int4",
                "Jsonb" => "jsonb",
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

/// Before an institution identifier was unique among an enterprise's partners: the identifiers of one enterprise's partners
/// by their ids, which ascend with their creation, and one of another enterprise.
fn with_doubles(identifiers: &[&str]) -> String {
    let partners: String = identifiers
        .iter()
        .zip(1..)
        .map(|(identifier, number)| {
            format!(
                "INSERT INTO partner (id, enterprise_id, name, institution_identifier, created_at, updated_at)
                 SELECT lpad('{number}', 32, '0')::uuid, id, 'p', '{identifier}', now(), now()
                   FROM enterprise WHERE name = 'one';"
            )
        })
        .collect();
    format!(
        "INSERT INTO enterprise SELECT gen_random_uuid(), name, true, 1, now(), now()
           FROM unnest('{{one,other}}'::text[]) name;
         {partners}
         INSERT INTO partner (id, enterprise_id, name, institution_identifier, created_at, updated_at)
         SELECT gen_random_uuid(), id, 'p', '{}', now(), now() FROM enterprise WHERE name = 'other'",
        identifiers[0]
    )
}

#[tokio::test]
async fn institution_identifiers_that_were_the_same_are_told_apart_and_logged() {
    let db = database().await;
    let (client, _driver) = connect(&db.url).await;
    let migrations = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/migrations/2026-11-29-000011_partner_identifier"
    );
    let down = std::fs::read_to_string(format!("{migrations}/down.sql")).expect("the way down");
    let long = "x".repeat(128);
    let identifiers = ["A", "A", "A-2", &*long, "A", "B", &*long];
    let before = [
        &*down,
        "DELETE FROM __diesel_schema_migrations WHERE version = '20261129000011'",
        &with_doubles(&identifiers),
    ];
    for sql in before {
        client.batch_execute(sql).await.expect(sql);
    }
    let url = db.url.clone();
    let migrated =
        tokio::task::spawn_blocking(move || run(earmark(&["migrate"]).env("DATABASE_URL", url)));
    let migrated = migrated.await.expect("no panic");
    assert_eq!(migrated.status.code(), Some(0), "{migrated:?}");

    let sql =
        "SELECT institution_identifier FROM partner p JOIN enterprise e ON e.id = p.enterprise_id
                ORDER BY e.name, p.id";
    let rows = client.query(sql, &[]).await.expect("the partners");
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let cut = format!("{}-2", "x".repeat(126));
    assert_eq!(found, ["A", "A-3", "A-2", &*long, "A-4", "B", &*cut, "A"]);
    let log = text(&migrated.stderr) + &text(&migrated.stdout);
    for (number, told_apart) in [("2", "A-3"), ("5", "A-4"), ("7", &*cut)] {
        let id = format!("00000000-0000-0000-0000-{number:0>12}");
        let line = log.lines().find(|line| line.contains(&id));
        let line = line.unwrap_or_else(|| panic!("{id} is not in {log}"));
        assert!(line.contains(told_apart), "{line}");
    }
    assert_eq!(log.matches("institution identifier").count(), 3, "{log}");
}
