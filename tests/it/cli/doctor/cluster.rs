//! Faults of a whole server: it cannot be reached, refuses, stops to answer, or is set up too small.

use std::fs;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::{diagnose, doctor};
use crate::support::cluster::{as_server, database, own_cluster, own_cluster_with};
use crate::support::locks::session;
use crate::support::process::{earmark, run, text};
use crate::support::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_says_why() {
    for (url, found, advice) in [
        (
            "postgres://u@127.0.0.1:1/d",
            "127.0.0.1:1/d",
            "start PostgreSQL there",
        ),
        (
            "postgres://u@nowhere.invalid/d",
            "lookup address",
            "correct the host",
        ),
        (
            "postgres://u@%2Fnone/d",
            "/none:5432/d",
            "start PostgreSQL there",
        ),
        (
            "nonsense",
            "must start with postgres://",
            "correct --database-url",
        ),
        (
            "postgres://u@h/d?sslmode=verify-full&sslrootcert=/none.pem",
            "/none.pem",
            "correct --database-url",
        ),
    ] {
        let diagnosed = diagnose(url, &[]);
        diagnosed.has("database.connection", "problem", found, advice);
        diagnosed.has("database", "not_looked_at", "no connection", "again");
        assert!(diagnosed.names().contains("capacity.open_files"), "{url}");
    }
    let output = doctor("postgres://u:secret@127.0.0.1:1/d", &[]);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(!printed.contains("secret") && !said.contains("secret"));
    assert!(said.contains("there are problems"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_database_are_told_apart() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let owner = session(&url).await;
    // The superuser goes on without a password.
    let rules = "local all earmark trust\nlocal all all scram-sha-256\n";
    let file = own.folder.path().join("data/postgres/pg_hba.conf");
    fs::write(file, rules).expect("written");
    let strict = "CREATE ROLE clerk LOGIN PASSWORD 'right'; SELECT pg_reload_conf()";
    owner.batch_execute(strict).await.expect(strict);
    let as_clerk =
        |password: &str| url.replacen("://earmark@", &format!("://clerk:{password}@"), 1);
    // Until the rules are read, nobody needs a password.
    let begun = Instant::now();
    let refused = loop {
        let found = diagnose(&as_clerk("wrong"), &[]);
        if found.check("database.connection")["state"] == "problem" {
            break found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:#}",
            found.value
        );
    };
    refused.has(
        "database.connection",
        "problem",
        "28P01",
        "give the role's password",
    );
    let right = diagnose(&as_clerk("right"), &[]);
    right.is_ok("database.connection");
    right.has("role.privileges", "problem", "lacks ", "--grant");

    let elsewhere = url.replacen("/shelf", "/attic", 1);
    let elsewhere = diagnose(&elsewhere, &[]);
    elsewhere.has("database.connection", "problem", "3D000", "CREATE DATABASE");
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_cluster_with_a_prepared_transaction_is_found() {
    let settings = [
        ("max_connections", "20"),
        ("max_prepared_transactions", "5"),
    ];
    let own = own_cluster_with(&settings).await;
    let url = own.database("shelf").await;
    let owner = session(&url).await;
    let prepare = "BEGIN; LOCK TABLE partner IN EXCLUSIVE MODE; PREPARE TRANSACTION 'left behind'";
    owner.batch_execute(prepare).await.expect(prepare);
    let found = diagnose(&as_server(&url), &["--writers", "8"]);
    // The cluster of a test does without what makes it durable.
    found.has(
        "settings.fsync",
        "problem",
        "off (",
        "ALTER SYSTEM SET fsync = on",
    );
    found.has(
        "capacity.connections",
        "problem",
        "needs up to 33",
        "max_connections = 36",
    );
    found.has(
        "sessions.prepared_transactions",
        "warning",
        "\"left behind\" in shelf",
        "ROLLBACK PREPARED 'left behind'",
    );
    let smaller = ["--writers", "1", "--pool-size", "8"];
    let fits = diagnose(&as_server(&url), &smaller);
    let state = &fits.check("capacity.connections")["state"];
    assert_eq!(state, "problem", "18 of 17");
    let done = "ROLLBACK PREPARED 'left behind'; ALTER ROLE earmark_server CONNECTION LIMIT 3";
    for sql in done.split("; ") {
        owner.batch_execute(sql).await.expect(sql);
    }
    diagnose(&as_server(&url), &[]).is_ok("sessions.prepared_transactions");
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_answers_nothing_is_given_up() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let frozen = own.freeze();
    let begun = Instant::now();
    let found = diagnose(&url, &[]);
    found.has("database.connection", "problem", "no answer", "no firewall");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    drop(frozen);
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_to_answer_does_not_hold_up_the_rest() {
    let db = database().await;
    let proxy = Proxy::before(&db.url).await;
    let url = proxy.url.clone();
    let diagnosed = tokio::task::spawn_blocking(move || {
        let mut doctor = earmark(&["doctor", "--format", "json"]);
        run(doctor.env("DATABASE_URL", url))
    });
    // When it has found no pooler, and is at the further checks.
    let begun = Instant::now();
    while proxy.round_trips() < 80 {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{}",
            proxy.round_trips()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    proxy.stall(true);
    let output = diagnosed.await.expect("no panic");
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let value: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let found: Vec<&str> = value["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["state"] == "problem")
        .filter_map(|check| check["found"].as_str())
        .collect();
    let some = |part: &str| found.iter().any(|found| found.contains(part));
    assert!(some("no answer within"), "{found:?}");
    assert!(some("the connection was lost"), "{found:?}");
    assert!(printed.contains("there is no connection any more"));
    assert!(printed.contains("\"keys.jwks\""), "other groups go on");
    block_in_place(|| proxy.stall(false));
}
