//! Partitions that are made ahead: what `earmark maintain` makes, what state it goes on from, and that nobody waits for it.

mod command;
mod in_use;
mod watched;

use std::collections::BTreeSet;

use earmark::db::partitions::{PartitionChange, PartitionRules, maintain, planned};
use earmark::types::ids::ordered_id;
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;
use tokio_postgres::Client;

use crate::support::cluster::{SERVER_ROLE, TestDatabase, as_server, database};
use crate::support::locks::session;

/// A journal by time and closed records by id, each with a DEFAULT partition, in the place of the ledger's own.
const TABLES: &str = "
    DROP TABLE IF EXISTS entry, closed_allocation, closed_bucket_action CASCADE;
    CREATE TABLE entry (
        owner_id uuid NOT NULL,
        time timestamptz NOT NULL,
        version bigint NOT NULL,
        note text COLLATE \"C\",
        CONSTRAINT entry_version CHECK (version >= 1)
    ) PARTITION BY RANGE (time);
    CREATE UNIQUE INDEX entry_key ON entry (owner_id, time, version);
    CREATE INDEX entry_note ON entry (upper(note));
    CREATE TABLE entry_default PARTITION OF entry DEFAULT
        WITH (fillfactor = 90, autovacuum_enabled = false, toast.autovacuum_enabled = false);
    ALTER TABLE entry_default ALTER COLUMN owner_id SET STATISTICS 20;
    ALTER INDEX entry_default_upper_idx ALTER COLUMN 1 SET STATISTICS 30;
    CREATE TABLE closed_allocation (
        owner_id uuid NOT NULL,
        id uuid NOT NULL,
        CONSTRAINT closed_allocation_pkey PRIMARY KEY (owner_id, id)
    ) PARTITION BY RANGE (id);
    CREATE TABLE closed_allocation_default PARTITION OF closed_allocation DEFAULT;
    GRANT SELECT, INSERT ON entry, closed_allocation TO earmark_server;";

const RULES: PartitionRules = PartitionRules {
    period: CalendarPeriod::Month,
    ahead: 3,
};

async fn partitioned() -> (TestDatabase, Client) {
    assert_eq!(SERVER_ROLE, "earmark_server");
    let db = database().await;
    let client = session(&db.url).await;
    run(&client, TABLES).await;
    (db, client)
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

async fn made(url: &str) -> Vec<PartitionChange> {
    maintain(url, RULES).await.expect("partitions")
}

async fn count(client: &Client, from: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {from}");
    client.query_one(&sql, &[]).await.expect(&sql).get(0)
}

/// The partitions of a table with their bounds.
async fn partitions(client: &Client, table: &str) -> BTreeSet<(String, String)> {
    let sql = "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid)
                 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass";
    let rows = client.query(sql, &[&table]).await.expect(sql);
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// What a partition has besides its rows: columns, indexes, constraints, storage parameters and statistics targets.
async fn shape(client: &Client, partition: &str) -> Vec<String> {
    let sql = "SELECT format('%s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attstattarget)
                 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0
                UNION ALL
               SELECT replace(pg_get_indexdef(indexrelid), $1, 'PARTITION') || ' ' || (
                   SELECT string_agg(attstattarget::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = indexrelid)
                 FROM pg_index WHERE indrelid = $1::text::regclass
                UNION ALL
               SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass
                UNION ALL
               SELECT format('%s | %s', c.reloptions, t.reloptions)
                 FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1::text::regclass
                ORDER BY 1";
    let rows = client.query(sql, &[&partition]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

/// The first day of the month that is so many months from now, in the database's time, as SQL.
fn month(offset: i32) -> String {
    format!("(date_trunc('month', now()) + interval '{offset} months')")
}

/// An id of this many days from now.
fn id_in_days(days: i64) -> String {
    let micros = Time::now().micros() + days * 24 * 60 * 60 * 1_000_000;
    let time = Time::from_micros(micros).expect("a time");
    ordered_id(time, fastrand::u64(..).to_be_bytes()).to_string()
}

#[tokio::test]
async fn partitions_are_made_ahead_and_look_like_the_default_one() {
    let (db, client) = partitioned().await;
    let would_be = planned(&db.url, RULES).await.expect("a plan");
    let changes = made(&db.url).await;
    assert_eq!(changes.len(), 2 * 4);
    let without_names = changes.iter().cloned().map(|change| PartitionChange {
        partition: None,
        ..change
    });
    assert_eq!(without_names.collect::<Vec<_>>(), would_be);
    assert_eq!(made(&db.url).await, []);
    for (table, key) in [("entry", "time"), ("closed_allocation", "id")] {
        let found = partitions(&client, table).await;
        assert_eq!(found.len(), 5, "{table} by {key}: {found:?}");
        let default = format!("{table}_default");
        let expected = shape(&client, &default).await;
        for (partition, bound) in &found {
            assert_eq!(shape(&client, partition).await, expected, "{partition}");
            assert_eq!(bound == "DEFAULT", *partition == default);
        }
    }
    // The role of a server writes to them through the table.
    let server = session(&as_server(&db.url)).await;
    for offset in 0..5 {
        let time = month(offset);
        let insert = format!(
            "INSERT INTO entry VALUES (gen_random_uuid(), {time}, 1), (gen_random_uuid(), {time} - interval '1 us', 1)"
        );
        run(&server, &insert).await;
    }
    // What is before the current month, and after the last one.
    assert_eq!(count(&client, "entry_default").await, 2);
    let names: BTreeSet<_> = changes.iter().map(|change| &change.partition).collect();
    assert_eq!(names.len(), changes.len());
}

#[tokio::test]
async fn ids_go_to_the_partition_of_their_time() {
    let (db, client) = partitioned().await;
    let daily = PartitionRules {
        period: CalendarPeriod::Day,
        ahead: 3,
    };
    let changes = maintain(&db.url, daily).await.expect("partitions");
    let of_ids = changes
        .iter()
        .filter(|change| change.table == "closed_allocation");
    let names: Vec<_> = of_ids
        .filter_map(|change| change.partition.clone())
        .collect();
    for (days, partition) in (0..).zip(&names) {
        let insert = format!(
            "INSERT INTO closed_allocation VALUES (gen_random_uuid(), '{}')",
            id_in_days(days)
        );
        run(&client, &insert).await;
        // A day may have passed since they were made.
        let since = names.iter().skip(usize::try_from(days).expect("few"));
        assert!(!partition.is_empty() && since.len() > 0);
    }
    let in_default = count(&client, "closed_allocation_default").await;
    assert!(in_default <= 1, "{in_default} at midnight");
    assert_eq!(count(&client, "closed_allocation").await, 4);
}

#[tokio::test]
async fn the_next_partition_begins_where_a_table_ended_that_was_attached() {
    let (db, client) = partitioned().await;
    run(
        &client,
        "CREATE TABLE entry_legacy (LIKE entry INCLUDING ALL);
         ALTER TABLE entry ATTACH PARTITION entry_legacy FOR VALUES FROM (MINVALUE) TO ('2026-12-19 13:00:00+00')",
    )
    .await;
    let changes = made(&db.url).await;
    let of_entry: Vec<_> = changes
        .iter()
        .filter(|change| change.table == "entry")
        .collect();
    assert_eq!(of_entry[0].from.to_string(), "2026-12-19T13:00:00.000000Z");
    assert_eq!(of_entry[0].partition.as_deref(), Some("entry_20261219"));
    let found = partitions(&client, "entry").await;
    let bound = |name: &str| {
        let partition = found.iter().find(|(partition, _)| partition == name);
        partition.map(|(_, bound)| bound.clone())
    };
    let first = bound("entry_20261219").expect("a partition");
    assert!(
        first.starts_with("FOR VALUES FROM ('2026-12-19 13:00:00+00')"),
        "{first}"
    );
    // A table without an end needs nothing ahead.
    run(
        &client,
        "ALTER TABLE closed_allocation DETACH PARTITION closed_allocation_default;
         DO $$ DECLARE made record; BEGIN
            FOR made IN SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'closed_allocation'::regclass
            LOOP EXECUTE format('DROP TABLE %s', made.name); END LOOP; END $$;
         ALTER TABLE closed_allocation ATTACH PARTITION closed_allocation_default FOR VALUES FROM (MINVALUE) TO (MAXVALUE)",
    )
    .await;
    assert_eq!(made(&db.url).await, []);
}

#[tokio::test]
async fn rows_that_came_before_any_partition_keep_their_place() {
    let (db, client) = partitioned().await;
    let rows = format!(
        "INSERT INTO entry SELECT gen_random_uuid(), {} + n * interval '1 day', 1 FROM generate_series(0, 40) n;
         INSERT INTO closed_allocation VALUES (gen_random_uuid(), '{}'), (gen_random_uuid(), '{}')",
        month(-3),
        id_in_days(-70),
        id_in_days(0),
    );
    run(&client, &rows).await;
    let before = shape(&client, "entry_default").await;
    let changes = made(&db.url).await;
    let turned: Vec<_> = changes.iter().filter(|change| change.was_default).collect();
    assert_eq!(turned.len(), 2, "{changes:?}");
    for change in turned {
        let name = change.partition.as_deref().expect("a name");
        let table = change.table.as_str();
        assert_eq!(count(&client, &format!("{table}_default")).await, 0);
        assert_eq!(count(&client, name).await, count(&client, table).await);
        assert!(
            change.to > Time::now(),
            "what is written now has its place: {change}"
        );
        if table == "entry" {
            assert_eq!(shape(&client, name).await, before);
            assert_eq!(shape(&client, "entry_default").await, before);
        }
    }
    let checks = "pg_constraint WHERE conname LIKE 'earmark_maintain%'";
    assert_eq!(count(&client, checks).await, 0);
    assert_eq!(made(&db.url).await, []);
    // It can happen again: all names are free, those of indexes too.
    let late = format!(
        "INSERT INTO entry VALUES (gen_random_uuid(), {}, 1)",
        month(9)
    );
    run(&client, &late).await;
    let ahead = PartitionRules { ahead: 12, ..RULES };
    let changes = maintain(&db.url, ahead).await.expect("partitions");
    assert!(changes.iter().any(|change| change.was_default));
    assert_eq!(count(&client, "entry_default").await, 0);
    let odd = "pg_class WHERE relname LIKE 'entry_default%' AND relkind = 'i'";
    assert_eq!(count(&client, odd).await, 2);
}

#[tokio::test]
async fn rows_that_no_partition_can_take_stay_in_the_default_one() {
    let (db, client) = partitioned().await;
    // One partition, rows before it, and rows since it has ended. The rows before it have come late.
    let rows = format!(
        "DO $$ BEGIN EXECUTE format('CREATE TABLE entry_earlier PARTITION OF entry FOR VALUES FROM (%L) TO (%L)', {}, {}); END $$;
         INSERT INTO entry SELECT gen_random_uuid(), {} - interval '1 day', n FROM generate_series(1, 200000) n;
         INSERT INTO entry VALUES (gen_random_uuid(), now(), 1)",
        month(-2),
        month(-1),
        month(-2)
    );
    run(&client, &rows).await;
    assert!(count(&client, "entry_default").await > 1);
    let changes = made(&db.url).await;
    let of_entry: Vec<_> = changes
        .iter()
        .filter(|change| change.table == "entry")
        .collect();
    assert_eq!(of_entry.len(), 3, "{of_entry:?}");
    for change in of_entry {
        assert!(!change.was_default && change.from > Time::now(), "{change}");
    }
    assert_eq!(count(&client, "entry_default").await, 200_001);
    run(
        &client,
        "INSERT INTO entry VALUES (gen_random_uuid(), now(), 2)",
    )
    .await;
    let checks = "pg_constraint WHERE conname LIKE 'earmark_maintain%'";
    assert_eq!(count(&client, checks).await, 0);
    assert_eq!(made(&db.url).await, []);
}

#[tokio::test]
async fn what_an_interrupted_run_has_left_is_dropped() {
    let (db, client) = partitioned().await;
    run(
        &client,
        "ALTER TABLE entry_default ADD CONSTRAINT earmark_maintain_check CHECK (time < '2026-01-01')",
    )
    .await;
    assert_eq!(made(&db.url).await.len(), 8);
    let later = format!(
        "INSERT INTO entry VALUES (gen_random_uuid(), {}, 1)",
        month(30)
    );
    run(&client, &later).await;
    assert_eq!(count(&client, "entry_default").await, 1);
    assert_eq!(made(&db.url).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_make_each_partition_once() {
    let (db, client) = partitioned().await;
    let starts = (0..4).map(|_| {
        let url = db.url.clone();
        tokio::spawn(async move { made(&url).await.len() })
    });
    let mut total = 0;
    for start in starts.collect::<Vec<_>>() {
        total += start.await.expect("no panic");
    }
    assert_eq!(total, 8);
    assert_eq!(partitions(&client, "entry").await.len(), 5);
}
