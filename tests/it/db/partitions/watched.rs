//! What servers and `earmark doctor` say of partitions.

use serde_json::Value;
use tokio::task::block_in_place;

use super::{made, partitioned, run};
use crate::db::roles::first_line_of;
use crate::support::cluster::as_server;
use crate::support::process::{earmark, run as run_command, text};

/// What `earmark doctor` finds of partitions.
fn diagnosed(url: &str) -> Value {
    let output = block_in_place(|| {
        let mut doctor = earmark(&["doctor", "--format", "json"]);
        run_command(doctor.env("DATABASE_URL", url))
    });
    let printed = text(&output.stdout);
    let found: Value = serde_json::from_str(&printed).expect(&printed);
    let mut checks = found["checks"].as_array().expect("checks").iter();
    let check = checks.find(|check| check["name"] == "schema.partitions");
    check.expect("a check").clone()
}

fn found(check: &Value) -> &str {
    check["found"].as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_warns_while_few_partitions_are_ahead() {
    let (db, client) = partitioned().await;
    made(&db.url).await;
    run(
        &client,
        "DROP TABLE closed_allocation; INSERT INTO entry VALUES (gen_random_uuid(), '2000-01-01', 1);
         DO $$ DECLARE last record; BEGIN
            FOR last IN SELECT inhrelid::regclass AS name FROM pg_inherits
                         WHERE inhparent = 'entry'::regclass AND inhrelid <> 'entry_default'::regclass ORDER BY 1 DESC LIMIT 2
            LOOP EXECUTE format('DROP TABLE %s', last.name); END LOOP; END $$",
    )
    .await;
    let server = as_server(&db.url);
    let line = block_in_place(|| first_line_of(&server, "earmark::db::partition_watch"));
    assert_eq!(line["level"], "WARN", "{line}");
    assert_eq!(line["table"], "entry", "{line}");
    assert_eq!(line["ahead"], 1, "{line}");
    let message = line["message"].as_str().expect("a text");
    assert!(message.contains("earmark maintain"), "{line}");
    let few = diagnosed(&server);
    assert_eq!(few["state"], "warning", "{few}");
    assert_eq!(
        found(&few),
        "1 ahead for entry (8.0 KiB in the DEFAULT one)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_looks_at_partitions() {
    let (db, client) = partitioned().await;
    let server = as_server(&db.url);
    let none = diagnosed(&server);
    assert_eq!(none["state"], "warning", "{none}");
    assert!(
        found(&none).contains("0 ahead for closed_allocation, 0 ahead for entry"),
        "{none}"
    );
    let advice = none["advice"].as_str().expect("a text");
    assert!(advice.contains("earmark maintain"), "{none}");
    made(&db.url).await;
    let enough = diagnosed(&server);
    assert_eq!(enough["state"], "ok", "{enough}");
    assert_eq!(
        found(&enough),
        "3 ahead for closed_allocation, 3 ahead for entry"
    );
    run(
        &client,
        "ALTER TABLE entry_default ADD CONSTRAINT earmark_maintain_check CHECK (time < '2026-01-01')",
    )
    .await;
    let interrupted = diagnosed(&server);
    assert_eq!(interrupted["state"], "warning", "{interrupted}");
    assert!(
        found(&interrupted).contains("of entry refuses"),
        "{interrupted}"
    );
    run(&client, "DROP TABLE entry, closed_allocation").await;
    let without = diagnosed(&server);
    assert_eq!(found(&without), "no table has any", "{without}");
}
