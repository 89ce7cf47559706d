//! `earmark doctor`: each fault that can be made is found, with what to do, and hinders no other check.

mod cluster;
mod keys;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, ISSUER, JWKS_FILE};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::support::cluster::{SERVER_ROLE, as_server, database, own_folder};
use crate::support::locks::{session, somebody_waits};
use crate::support::process::{Dev, earmark, run, text};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// What `earmark doctor` has printed as JSON, and its exit code.
struct Diagnosed {
    code: Option<i32>,
    value: Value,
}

fn doctor(url: &str, arguments: &[&str]) -> Output {
    block_in_place(|| {
        let mut doctor = earmark(&["doctor"]);
        run(doctor.args(arguments).env("DATABASE_URL", url))
    })
}

fn diagnose(url: &str, arguments: &[&str]) -> Diagnosed {
    let output = doctor(url, &[arguments, &["--format", "json"]].concat());
    let printed = text(&output.stdout);
    let value = serde_json::from_str(&printed);
    Diagnosed {
        code: output.status.code(),
        value: value.unwrap_or_else(|_| panic!("{printed}{}", text(&output.stderr))),
    }
}

impl Diagnosed {
    fn names(&self) -> BTreeSet<&str> {
        let checks = self.value["checks"].as_array().expect("checks").iter();
        checks.filter_map(|check| check["name"].as_str()).collect()
    }

    fn check(&self, name: &str) -> &Value {
        let mut checks = self.value["checks"].as_array().expect("checks").iter();
        let found = checks.find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {:#}", self.value))
    }

    /// Asserts the state of a check, and parts of what it says.
    fn has(&self, name: &str, state: &str, found: &str, advice: &str) {
        let check = self.check(name);
        assert_eq!(check["state"], state, "{check:#}");
        let part = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
        assert!(part("found").contains(found), "{found}: {check:#}");
        assert!(part("advice").contains(advice), "{advice}: {check:#}");
        let expected = match state {
            "problem" => Some(1),
            _ => self.code,
        };
        assert_eq!(self.code, expected);
    }

    fn is_ok(&self, name: &str) {
        self.has(name, "ok", "", "");
    }
}

/// The names of checks in the documentation: the first column of the table below «Doctor».
fn documented() -> BTreeSet<&'static str> {
    let (_, section) = OPERATIONS.split_once("\n## Doctor\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_server_has_no_problem_and_every_check_is_documented() {
    let folder = own_folder();
    let data_dir = folder.path().join("data");
    let dev = block_in_place(|| Dev::start(&data_dir));
    let url = as_server(dev.database());
    let jwks = data_dir.join(JWKS_FILE);
    let jwks = jwks.to_str().expect("UTF-8");
    let keys = ["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks", jwks];
    let healthy = diagnose(&url, &keys);
    assert_eq!(healthy.value["counts"]["problem"], 0, "{:#}", healthy.value);
    assert_eq!(healthy.code, Some(0));
    for name in [
        "database.connection",
        "database.clock",
        "database.version",
        "database.tls",
        "database.pooler",
        "role.privileges",
        "role.limits",
        "schema.migrations",
        "schema.indexes",
        "schema.statistics_targets",
        "schema.partitions",
        "settings.fsync",
        "settings.autovacuum",
        "capacity.connections",
        "tables.autovacuum",
        "tables.transaction_ids",
        "sessions.prepared_transactions",
        "reservations.allocations",
        "reservations.buckets",
        "keys.jwks",
    ] {
        healthy.is_ok(name);
    }
    healthy.has("keys.jwks", "ok", "1 usable key (1 EdDSA)", "");
    healthy.has(
        "replication.archive",
        "warning",
        "archive_mode = off",
        "archive_command",
    );

    // Only what is ok needs no advice, and the whole has the state of its worst part.
    for check in healthy.value["checks"].as_array().expect("checks") {
        assert_eq!(check["state"] == "ok", check["advice"].is_null(), "{check}");
    }
    assert_eq!(healthy.value["state"], "warning");
    let strict = diagnose(&url, &[&keys[..], &["--strict"]].concat());
    assert_eq!(strict.code, Some(1), "warnings count");

    let printed = text(&doctor(&url, &[]).stdout);
    assert!(printed.contains("\nnot looked at  keys.jwks"), "{printed}");
    assert!(
        printed.contains("\n               → give --issuer"),
        "{printed}"
    );
    assert!(printed.contains(": problem 0, "), "{printed}");

    let documented = documented();
    let undocumented: Vec<_> = healthy
        .names()
        .into_iter()
        .filter(|name| !documented.contains(name))
        .collect();
    assert_eq!(undocumented, [""; 0], "docs/operations.md, «Doctor»");
    let code = sources();
    for name in documented {
        assert!(code.contains(&format!("\"{name}\"")), "{name} is no check");
    }
}

/// The text of all checks.
fn sources() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/doctor");
    let files = fs::read_dir(folder).expect("a folder");
    let each = files.map(|file| fs::read_to_string(file.expect("an entry").path()));
    each.collect::<Result<String, _>>().expect("sources")
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_database_and_the_role_are_found() {
    let db = database().await;
    let owner = session(&db.url).await;
    let does = async |sql: &str| owner.batch_execute(sql).await.expect(sql);
    let url = as_server(&db.url);

    let as_superuser = diagnose(&db.url, &[]);
    as_superuser.has("role.limits", "warning", "is a superuser", "--grant");
    as_superuser.is_ok("role.privileges");
    as_superuser.is_ok("schema.migrations");

    let name = &db.name;
    does(&format!(
        "ALTER DATABASE \"{name}\" SET default_transaction_read_only = on;
         ALTER DATABASE \"{name}\" SET idle_session_timeout = '1min';
         SET default_transaction_read_only = off;
         REVOKE INSERT ON entry FROM {SERVER_ROLE};
         GRANT UPDATE ON adjustment TO {SERVER_ROLE};
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'entry_by_time'::regclass;
         ALTER TABLE open_allocation SET (autovacuum_enabled = false);
         ALTER TABLE entry ALTER COLUMN cause SET STATISTICS 500;
         DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)"
    ))
    .await;
    let found = diagnose(&url, &[]);
    found.has(
        "settings.default_transaction_read_only",
        "problem",
        "on (database)",
        &format!("ALTER DATABASE {name} RESET default_transaction_read_only"),
    );
    found.has(
        "settings.time_limits",
        "warning",
        "idle_session_timeout is 1 min",
        "= 0",
    );
    found.has(
        "role.privileges",
        "problem",
        "INSERT on entry",
        &format!("earmark migrate --grant {SERVER_ROLE}`"),
    );
    found.has("role.limits", "warning", "UPDATE on adjustment", "--grant");
    found.has(
        "schema.indexes",
        "problem",
        "entry_by_time on entry",
        "REINDEX INDEX CONCURRENTLY entry_by_time",
    );
    found.has(
        "tables.autovacuum",
        "problem",
        "off for open_allocation",
        "ALTER TABLE open_allocation RESET (autovacuum_enabled)",
    );
    found.has(
        "schema.statistics_targets",
        "warning",
        "6 columns: entry.cause, entry_2",
        "ALTER TABLE entry ALTER COLUMN cause SET STATISTICS 20",
    );
    found.has("schema.migrations", "problem", "1 of ", "earmark migrate");
    // What autovacuum is for the whole cluster of the tests.
    found.has(
        "settings.autovacuum",
        "problem",
        "off (",
        "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_a_warning_and_one_without_tables_a_problem() {
    let db = database().await;
    let owner = session(&db.url).await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000001')";
    owner.batch_execute(newer).await.expect(newer);
    let url = as_server(&db.url);
    let found = diagnose(&url, &[]);
    found.has(
        "schema.migrations",
        "warning",
        "1 of a newer one: 29991231000001",
        "newer version",
    );

    let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    owner.batch_execute(empty).await.expect(empty);
    let found = diagnose(&url, &[]);
    found.has(
        "schema.migrations",
        "problem",
        " are missing: ",
        "earmark migrate",
    );
    found.has(
        "role.privileges",
        "problem",
        "tables are not there",
        "earmark migrate",
    );
    found.has(
        "reservations.allocations",
        "not_looked_at",
        "allocation",
        "earmark migrate",
    );
    found.is_ok("sessions.prepared_transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_is_found() {
    let db = database().await;
    let owner = session(&db.url).await;
    // Found before the function of Postgres itself.
    let shifted = format!(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
             AS $$ SELECT pg_catalog.clock_timestamp() + interval '90 s' $$;
         ALTER DATABASE \"{}\" SET search_path = public, pg_catalog",
        db.name
    );
    owner.batch_execute(&shifted).await.expect(&shifted);
    let found = diagnose(&as_server(&db.url), &[]);
    found.has(
        "database.clock",
        "problem",
        "ahead of this machine's",
        "chrony",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_fails_its_own_check_only() {
    let db = database().await;
    let holder = session(&db.url).await;
    let lock = "BEGIN; LOCK TABLE entry IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect(lock);
    let pid = holder.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid: i32 = pid.expect("a pid").get(0);
    let waiter = session(&db.url).await;
    let unlimited = "SET lock_timeout = 0; SET statement_timeout = 0";
    waiter.batch_execute(unlimited).await.expect(unlimited);
    let waiting =
        tokio::spawn(async move { waiter.batch_execute("SELECT FROM entry LIMIT 1").await });
    somebody_waits(&db.url).await;

    // As somebody who sees the sessions of others. The wait for the table's size takes a second by itself.
    let found = diagnose(&db.url, &[]);
    found.has(
        "tables.size",
        "problem",
        "lock timeout",
        "pg_terminate_backend",
    );
    found.has(
        "sessions.locks",
        "warning",
        &format!("of entry, behind pid {pid}"),
        &format!("pg_terminate_backend({pid})"),
    );
    for name in [
        "schema.migrations",
        "schema.indexes",
        "sessions.prepared_transactions",
        "reservations.allocations",
        "tables.transaction_ids",
    ] {
        found.is_ok(name);
    }
    holder.batch_execute("ROLLBACK").await.expect("released");
    waiting.await.expect("no panic").expect("it goes on");
}

/// Open allocations that expire at these times after now, as an interval of `n`.
fn open_allocations(count: u32, expire: &str) -> String {
    format!(
        "INSERT INTO open_allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
             client_external_id, initiated_by, expire_time, created_at, updated_at, content_hash,
             opened_custody_version, opened_connection_version)
         SELECT gen_random_uuid(), gen_random_uuid(), 'ALLOCATION', 'RESERVED', 'BTC', 1, gen_random_uuid(),
             gen_random_uuid(), gen_random_uuid(), 'copy ' || n, 'test', now() + {expire}, now() - interval '1 day', now(),
             '', n, n
         FROM generate_series(1, {count}) n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_reservations_are_counted_without_reading_a_table() {
    const OVERDUE: u32 = 15_000;
    let db = database().await;
    let owner = session(&db.url).await;
    let does = async |sql: &str| owner.batch_execute(sql).await.expect(sql);
    does(&open_allocations(2, "interval '2 h'")).await;
    let url = as_server(&db.url);
    let found = diagnose(&url, &[]);
    found.has(
        "reservations.allocations",
        "ok",
        "expires in 1 h 59 min",
        "",
    );

    does(&open_allocations(
        20_000,
        "interval '1 h' + n * interval '1 s'",
    ))
    .await;
    does(&open_allocations(3, "- interval '30 s'")).await;
    let found = diagnose(&url, &[]);
    found.has(
        "reservations.allocations",
        "warning",
        "3 have expired",
        "earmark serve",
    );

    does(&open_allocations(
        OVERDUE,
        "- interval '1 h' - n * interval '1 ms'",
    ))
    .await;
    for (table, counter) in [("tables", "seq_tup_read"), ("indexes", "idx_tup_read")] {
        let reads = format!(
            "SELECT coalesce(sum({counter}), 0)::int8 FROM pg_stat_user_{table}
              WHERE relname NOT LIKE '\\_\\_diesel%'"
        );
        let before = settled(&owner, &reads).await;
        let found = diagnose(&url, &[]);
        found.has(
            "reservations.allocations",
            "problem",
            "at least 10,000 have expired",
            "earmark serve",
        );
        let read = settled(&owner, &reads).await - before;
        let expected = match counter {
            "seq_tup_read" => 0..=0,
            _ => 10_000..=10_100,
        };
        assert!(expected.contains(&read), "{read} {counter} of {OVERDUE}");
    }
}

/// A counter of the statistics once no session of `earmark doctor` is left, since each reports its own when it ends.
async fn settled(client: &tokio_postgres::Client, sql: &str) -> i64 {
    let sessions = "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = 'earmark-doctor' AND datname = current_database()";
    let begun = Instant::now();
    loop {
        let left = client.query_one(sessions, &[]).await.expect(sessions);
        if left.get::<_, i64>(0) == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let flushed = "SELECT pg_stat_force_next_flush()";
    client.batch_execute(flushed).await.expect(flushed);
    client.query_one(sql, &[]).await.expect(sql).get(0)
}
