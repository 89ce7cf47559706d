//! Partitions are made while the table is written and read: no statement is refused, and none waits for long.

use std::env;
use std::time::{Duration, Instant};

use earmark::db::partitions::{MaintainError, maintain};
use earmark::types::time::Time;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{RULES, count, id_in_days, made, month, partitioned, run};
use crate::support::cluster::as_server;
use crate::support::locks::session;

/// Rows of the DEFAULT partition; set to 10,000,000 to measure what a large installation sees.
const ROWS: &str = "EARMARK_MIGRATION_ROWS";
/// The longest time that a statement may wait on a machine that does other things too. Alone, it is below 100 ms.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Writes to both tables and reads again and again, each as a statement of its own, until it is stopped; returns the longest
/// time that one took, and how many rows were written to each table.
fn keep_using(url: &str, stop: watch::Receiver<bool>) -> JoinHandle<(Duration, i64)> {
    let url = as_server(url);
    tokio::spawn(async move {
        let client = session(&url).await;
        let (mut longest, mut written) = (Duration::ZERO, 0);
        let entry = client
            .prepare("INSERT INTO entry VALUES (gen_random_uuid(), clock_timestamp(), 1, 'now')")
            .await
            .expect("a statement");
        let newest = client
            .prepare("SELECT FROM entry WHERE owner_id = '00000000-0000-0000-0000-00000000000a' ORDER BY time DESC LIMIT 1")
            .await
            .expect("a statement");
        while !*stop.borrow() {
            let closed = format!(
                "INSERT INTO closed_allocation VALUES (gen_random_uuid(), '{}')",
                id_in_days(0)
            );
            let begun = Instant::now();
            client.execute(&entry, &[]).await.expect("written");
            longest = longest.max(begun.elapsed());
            let begun = Instant::now();
            client.batch_execute(&closed).await.expect("written");
            longest = longest.max(begun.elapsed());
            let begun = Instant::now();
            client.query(&newest, &[]).await.expect("read");
            longest = longest.max(begun.elapsed());
            written += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (longest, written)
    })
}

async fn stopped(
    stopping: &watch::Sender<bool>,
    using: Vec<JoinHandle<(Duration, i64)>>,
) -> (Duration, i64) {
    stopping.send(true).expect("they run");
    let (mut longest, mut written) = (Duration::ZERO, 0);
    for user in using {
        let (slowest, rows) = user.await.expect("no panic");
        assert!(rows > 10, "{rows}");
        longest = longest.max(slowest);
        written += rows;
    }
    eprintln!("the longest statement took {longest:?}; {written} rows in each table");
    (longest, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_partition_becomes_another_one_under_load() {
    let count_of = env::var(ROWS).ok().and_then(|rows| rows.parse().ok());
    let held: i64 = count_of.unwrap_or(200_000);
    let (db, client) = partitioned().await;
    run(&client, "SET statement_timeout = 0").await;
    // The last partition has ended with the last month, and what came since is in the DEFAULT partition.
    let rows = format!(
        "DO $$ BEGIN EXECUTE format('CREATE TABLE entry_earlier PARTITION OF entry FOR VALUES FROM (%L) TO (%L)', {}, {}); END $$;
         INSERT INTO entry SELECT gen_random_uuid(), greatest({}, now() - n * interval '1 ms'), n
           FROM generate_series(1, {held}) n",
        month(-1),
        month(0),
        month(0)
    );
    run(&client, &rows).await;
    let (stopping, stop) = watch::channel(false);
    let using = (0..3).map(|_| keep_using(&db.url, stop.clone())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let changes = made(&db.url).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (longest, written) = stopped(&stopping, using).await;
    assert!(longest < WAIT_MAX, "{longest:?}");
    let turned: Vec<_> = changes.iter().filter(|change| change.was_default).collect();
    assert_eq!(turned.len(), 2, "{changes:?}");
    for (change, rows) in turned.iter().zip([written, written + held]) {
        assert!(change.to > Time::now());
        let partition = change.partition.as_deref().expect("a name");
        assert_eq!(count(&client, partition).await, rows, "{partition}");
        assert_eq!(
            count(&client, &format!("{}_default", change.table)).await,
            0
        );
    }
    assert_eq!(made(&db.url).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_delays_partitions_and_nobody_else() {
    let (db, client) = partitioned().await;
    let (stopping, stop) = watch::channel(false);
    let using = (0..2).map(|_| keep_using(&db.url, stop.clone())).collect();
    // Rows go to the DEFAULT partition, as long as there is no other.
    let report = session(&db.url).await;
    run(&report, "BEGIN; SELECT count(*) FROM entry").await;
    let making = tokio::spawn({
        let url = db.url.clone();
        async move { maintain(&url, RULES).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!making.is_finished(), "it waits for the report");
    run(&report, "ROLLBACK").await;
    let made: Result<_, MaintainError> = making.await.expect("no panic");
    assert!(made.expect("partitions").len() >= 6);
    let (longest, written) = stopped(&stopping, using).await;
    assert!(longest < WAIT_MAX, "{longest:?}");
    assert_eq!(count(&client, "entry").await, written);
    assert_eq!(count(&client, "entry_default").await, 0);
}
