//! The commands that make partitions: what they print, and with what they exit.

use std::process::Output;

use tokio::task::block_in_place;

use super::{count, partitioned};
use crate::support::cluster::database;
use crate::support::process::{earmark, run, text};

fn command(url: &str, arguments: &[&str]) -> Output {
    block_in_place(|| run(earmark(arguments).env("DATABASE_URL", url)))
}

fn printed(url: &str, arguments: &[&str]) -> Vec<String> {
    let output = command(url, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn maintain_prints_what_it_makes() {
    let (db, client) = partitioned().await;
    let arguments = ["maintain", "--period", "week", "--ahead", "2"];
    let would_make = printed(&db.url, &[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(would_make.len(), 6, "{would_make:?}");
    assert_eq!(
        count(&client, "pg_class WHERE relname ~ '^entry_2'").await,
        0
    );
    let made = printed(&db.url, &arguments);
    assert_eq!(made.len(), 6);
    for (made, planned) in made.iter().zip(&would_make) {
        let (_, range) = planned.split_once(" from ").expect(planned);
        assert!(made.starts_with("Made the partition "), "{made}");
        assert!(made.ends_with(range), "{made}: {planned}");
    }
    assert_eq!(printed(&db.url, &arguments), ["No partition is missing."]);
    // Those of the next months, behind the weeks.
    let migrated = printed(&db.url, &["migrate"]);
    assert_eq!(migrated[0], "The schema is up to date.");
    assert!(migrated.len() > 4, "{migrated:?}");
    assert_eq!(
        printed(&db.url, &["migrate"]),
        ["The schema is up to date."]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn maintain_exits_as_migrate_does() {
    let db = database().await;
    let unreachable = command("postgres://127.0.0.1:1/earmark", &["maintain"]);
    assert_eq!(unreachable.status.code(), Some(2), "{unreachable:?}");
    assert!(text(&unreachable.stderr).contains("--database-url"));
    let refused = command(&db.url, &["maintain", "--ahead", "1"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("2..=60"), "{refused:?}");
    let (db, _client) = partitioned().await;
    let by_a_server = command(
        &crate::support::cluster::as_server(&db.url),
        &["maintain", "--dry-run"],
    );
    assert_eq!(by_a_server.status.code(), Some(0), "{by_a_server:?}");
    let by_a_server = command(&crate::support::cluster::as_server(&db.url), &["maintain"]);
    assert_eq!(by_a_server.status.code(), Some(1), "{by_a_server:?}");
    assert!(text(&by_a_server.stderr).contains("the partitions of closed_allocation"));
}
