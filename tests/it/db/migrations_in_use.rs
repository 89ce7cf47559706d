//! Migrations on a database that is full and in use: nothing that servers do meanwhile waits for long, whatever state the
//! database is in.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use earmark::db::migrate::{self, MigrateError};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::support::cluster::{TestDatabase, database, own_cluster};
use crate::support::locks::session;

/// Rows of the largest table; set to 10,000,000 to measure what a large installation sees.
const ROWS: &str = "EARMARK_MIGRATION_ROWS";
/// The longest time that a statement may wait on a machine that does other things too.
const WAIT_MAX: Duration = Duration::from_millis(500);

fn migration(number: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let part = format!("-{number:06}_");
    let mut folders = fs::read_dir(folder).expect("a folder").flatten();
    let found = folders.find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("2026-11-22") && name.contains(&part)
    });
    found.expect("a migration").path()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

/// The folders of the migrations behind the first nine, the last one first.
fn later() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let folders = fs::read_dir(folder).expect("a folder").flatten();
    let mut later: Vec<PathBuf> = folders
        .map(|entry| entry.path())
        .filter(|path| !path.to_string_lossy().contains("/2026-11-22-"))
        .collect();
    later.sort();
    later.reverse();
    later
}

/// Takes a migration back.
async fn revert(client: &Client, folder: &Path) {
    let down = fs::read_to_string(folder.join("down.sql")).expect("a file");
    run(client, &down).await;
    let name = folder.file_name().expect("a name").to_string_lossy();
    let version = name.split('_').next().expect("a version").replace('-', "");
    let forget = format!(
        "DELETE FROM __diesel_schema_migrations WHERE replace(version, '-', '') = '{version}'"
    );
    let forgotten = client.execute(&forget, &[]).await.expect(&forget);
    assert_eq!(forgotten, 1, "{forget}");
}

/// A database in the state before these migrations of the first ones, the last one first, and all later ones.
async fn before(numbers: &[u32]) -> (TestDatabase, Client) {
    let db = database().await;
    let client = session(&db.url).await;
    for folder in later() {
        revert(&client, &folder).await;
    }
    for number in numbers {
        revert(&client, &migration(*number)).await;
    }
    (db, client)
}

/// The definitions of the indexes of allocations.
async fn indexes(client: &Client) -> Vec<String> {
    let sql = "SELECT pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END FROM pg_index
                WHERE indrelid IN (SELECT oid FROM pg_class WHERE relname LIKE '%allocation%' AND relname NOT LIKE 'ca%'
                      AND relname !~ '_[0-9]{8}$')
                ORDER BY 1";
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

const FILL: &str = "
    INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
        client_external_id, initiated_by, created_at, updated_at, content_hash, opened_custody_version,
        opened_connection_version)
    SELECT '00000000-0000-0000-0000-00000000000a', (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
               || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid,
           'ALLOCATION', 'RESERVED', 'BTC', 1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), KEY, 'somebody',
           now(), now(), '', 1, 0";

/// Writes and reads a record again and again, each as a statement of its own, until it is stopped; returns the longest
/// time that one took and how many there were.
fn keep_using(url: &str, stop: tokio::sync::watch::Receiver<bool>) -> JoinHandle<(Duration, u32)> {
    let url = url.to_owned();
    tokio::spawn(async move {
        let client = session(&url).await;
        let insert = FILL.replace("KEY", "gen_random_uuid()::text");
        let select =
            "SELECT FROM allocation WHERE owner_id = '00000000-0000-0000-0000-00000000000a'
                       AND client_external_id = 'key 7' AND type = 'ALLOCATION'";
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !*stop.borrow() {
            for sql in [insert.as_str(), select] {
                let begun = Instant::now();
                run(&client, sql).await;
                longest = longest.max(begun.elapsed());
                count += 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (longest, count)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_of_a_large_table_keep_no_statement_waiting() {
    let rows = env::var(ROWS).ok().and_then(|rows| rows.parse().ok());
    let rows: u32 = rows.unwrap_or(50_000);
    let (db, client) = before(&[9, 8, 7, 3]).await;
    run(&client, "SET statement_timeout = 0").await;
    let fill = FILL.replace("KEY", "'key ' || n") + &format!(" FROM generate_series(1, {rows}) n");
    run(&client, &fill).await;
    let (stopping, stop) = tokio::sync::watch::channel(false);
    let (reader, other) = (keep_using(&db.url, stop.clone()), keep_using(&db.url, stop));
    // A report that takes long: a migration that needs the table for itself has to wait for it, and nobody behind it.
    let report = session(&db.url).await;
    run(&report, "BEGIN; SELECT count(*) FROM allocation").await;
    let migrating = tokio::spawn({
        let url = db.url.clone();
        async move {
            let begun = Instant::now();
            (migrate::run(&url).await, begun.elapsed())
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!migrating.is_finished(), "it waits for the report");
    run(&report, "ROLLBACK").await;
    let (migrated, took) = migrating.await.expect("no panic");
    assert_eq!(migrated.expect("migrated").len(), 4 + later().len());
    stopping.send(true).expect("they run");
    let used = [reader.await, other.await].map(|used| used.expect("no panic"));
    eprintln!(
        "{rows} rows: migrated in {took:?}; the longest statement of each session and their number: {used:?}"
    );
    for (longest, count) in used {
        assert!(longest < WAIT_MAX && count > 100, "{longest:?} of {count}");
    }
    // What a new database has, and what servers of the version before need besides.
    let fresh = database().await;
    let expected = indexes(&session(&fresh.url).await).await;
    let found = indexes(&client).await;
    let others: Vec<&String> = found
        .iter()
        .filter(|index| !expected.contains(index))
        .collect();
    assert_eq!(found.len() - others.len(), expected.len(), "{found:#?}");
    assert!(
        others.iter().all(|index| !index.contains("INVALID")
            && (index.contains(".closed_allocation_before ")
                || index.contains(" open_allocation_by_"))),
        "{others:#?}"
    );
    let open = "SELECT count(*) FILTER (WHERE status = 'RESERVED') = (SELECT count(*) FROM open_allocation),
                       count(*) = (SELECT count(*) FROM allocation_key), (SELECT count(*) FROM closed_allocation)
                  FROM allocation";
    let row = client.query_one(open, &[]).await.expect(open);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (true, true, 0_i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_applied_before_the_indexes_are_the_same() {
    let fresh = database().await;
    let expected = indexes(&session(&fresh.url).await).await;
    // As the migrations were before they were concurrent.
    let earlier_7 =
        "DROP INDEX allocation_id; CREATE INDEX allocation_id ON allocation (uuid_send(id));
                     INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000007')";
    let earlier_8 = "DROP INDEX allocation_open;
                     CREATE INDEX allocation_open ON allocation (owner_id, connection_id, currency, type)
                         WHERE status = 'RESERVED';
                     INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000008')";
    // What an interrupted migration leaves.
    let interrupted = "CREATE INDEX allocation_id_bytes ON allocation (uuid_send(id));
                       UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'allocation_id_bytes'::regclass";
    for applied in [
        vec![],
        vec![earlier_7],
        vec![earlier_7, earlier_8],
        vec![interrupted],
    ] {
        let (db, client) = before(&[9, 8, 7]).await;
        for sql in &applied {
            run(&client, sql).await;
        }
        migrate::run(&db.url).await.expect("migrated");
        assert_eq!(indexes(&client).await, expected, "{applied:?}");
        assert_eq!(migrate::run(&db.url).await.expect("nothing to do").len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused_and_stays_empty() {
    let own = own_cluster().await;
    let server = session(&own.cluster.url("postgres")).await;
    for (name, encoding) in [("latin", "LATIN1"), ("bytes", "SQL_ASCII")] {
        let create = format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        run(&server, &create).await;
        let url = own.cluster.url(name);
        let refused = migrate::run(&url).await.expect_err("refused");
        assert!(
            matches!(refused, MigrateError::Encoding { .. }),
            "{refused:?}"
        );
        let text = refused.to_string();
        for part in [name, encoding, "UTF8"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        let row = session(&url)
            .await
            .query_one(tables, &[])
            .await
            .expect(tables);
        assert_eq!(row.get::<_, i64>(0), 0);
    }
    own.stop().await;
}
