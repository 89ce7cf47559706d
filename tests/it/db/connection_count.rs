//! How many connections a busy server opens, compared with docs/operations.md.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use futures_util::future::join_all;

use crate::support::cluster::SERVER_ROLE;
use crate::support::earmark::Earmark;
use crate::support::every_service::EveryService;
use crate::support::locks::session;

/// Callers of different tenants, since one alone is not given a whole lane.
const TENANTS: usize = 4;
/// Rounds of reads and writes of each tenant at the same time.
const ROUNDS: usize = 10;
/// The tables that the calls of every service read first. While they are locked no call ends, and each lane fills.
const TABLES: &str = "account, allocation, bucket, cas_allocation, catalogue_company, enterprise";
/// Connections beside the pool, the writers and verifications: `--pool-size` + 7 + `--writers`.
const BESIDE: i64 = 7;
const VERIFICATIONS: i64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_opens_no_more_connections_than_documented() {
    let settings = AppSettings::default();
    let pool = i64::from(settings.pool.max_size);
    let writers = i64::try_from(settings.writer.writers).expect("few");
    let earmark = Earmark::start().await;
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        tenants.push(EveryService::make(&earmark).await);
    }

    let locker = session(&earmark.url).await;
    let lock = format!("BEGIN; LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE");
    locker.batch_execute(&lock).await.expect(&lock);
    let calls = tenants.iter().flat_map(|tenant| {
        (0..ROUNDS).map(async |_| tokio::join!(tenant.reads(&earmark), tenant.writes(&earmark)))
    });
    let count = async {
        let counter = session(&earmark.url).await;
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = '{SERVER_ROLE}'"
        );
        let begun = Instant::now();
        let mut most: i64 = 0;
        // Longer than a read by key may take, and than the server takes to try another connection.
        while begun.elapsed() < Duration::from_secs(4) {
            let row = counter.query_one(&sql, &[]).await.expect("counted");
            most = most.max(row.get(0));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        locker.batch_execute("ROLLBACK").await.expect("unlocked");
        most
    };
    // The calls' outcome does not matter: most of them took too long.
    let (most, _) = tokio::join!(count, join_all(calls));

    let documented = pool + BESIDE + writers + VERIFICATIONS;
    assert!(most <= documented, "{most} of {documented}");
    assert!(most >= pool + writers, "{most}: the lanes were not filled");
}
