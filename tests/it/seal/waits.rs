//! What a seal waits for, and who waits for a seal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use earmark::ledger::seal::run::{SealError, SealOptions};
use earmark::proto::network::v1::ConnectionMode;
use earmark::types::time::Time;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{BY_MONTH, at, count, journal, sealed};
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::locks::{hold_owner, session};
use crate::support::process::{earmark, run};

fn until_15() -> SealOptions {
    SealOptions {
        until: Some(at("2026-01-15T00:00:00Z")),
        ..BY_MONTH
    }
}

/// An owner's transaction that has begun before the seal may write an entry of the period until it ends.
#[tokio::test]
async fn a_seal_waits_for_transactions_that_hold_an_owner() {
    let (db, sql) = journal(3, 2).await;
    let owner = "00000000-0000-0000-0001-000000000002";
    let writer = hold_owner(&db.url, owner).await;
    let url = db.url.clone();
    let sealing = tokio::spawn(async move { sealed(&url, &until_15()).await });
    sleep(Duration::from_millis(400)).await;
    assert!(!sealing.is_finished());
    assert_eq!(count(&sql, "sealed_owner").await, 0);
    let late = format!(
        "UPDATE account SET version = 3, available = available + 1 WHERE owner_id = '{owner}' AND available > 0;
         INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                            cause_id, time, reservation_count)
         SELECT owner_id, account_id, unit, version, 1, 0, available, 0, 'ADJUST', gen_random_uuid(),
                '2026-01-14T23:59:59Z', 0 FROM account WHERE owner_id = '{owner}' AND available > 0;
         COMMIT"
    );
    writer.batch_execute(&late).await.expect("written");
    let periods = sealing.await.expect("ended").expect("sealed");
    assert_eq!(periods[0].entries, 3 * 2 * 2 + 1, "with the late entry");
}

/// The row of a new bucket cannot be seen until the transaction ends that writes its first entries.
#[tokio::test]
async fn a_seal_waits_for_transactions_that_insert_an_owner() {
    let (db, _sql) = journal(1, 2).await;
    let writer = session(&db.url).await;
    let begin = "BEGIN; INSERT INTO owner (owner_id) VALUES (owner_at(9))";
    writer.batch_execute(begin).await.expect("begun");
    let url = db.url.clone();
    let sealing = tokio::spawn(async move { sealed(&url, &until_15()).await });
    sleep(Duration::from_millis(400)).await;
    assert!(!sealing.is_finished());
    let entry = "INSERT INTO account (owner_id, account_id, unit, available, held, version, reservation_count)
         VALUES (owner_at(9), '00000000-0000-0000-0000-000000000001', 'EUR', 7, 0, 1, 0);
         INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                            cause_id, time, reservation_count)
         VALUES (owner_at(9), '00000000-0000-0000-0000-000000000001', 'EUR', 1, 7, 0, 7, 0, 'OPENING',
                 gen_random_uuid(), '2026-01-14T23:59:59Z', 0);
         COMMIT";
    writer.batch_execute(entry).await.expect("written");
    let periods = sealing.await.expect("ended").expect("sealed");
    assert_eq!((periods[0].owners, periods[0].entries), (2, 5));
}

#[tokio::test]
async fn only_one_seal_runs_at_a_time() {
    let (db, _sql) = journal(2, 2).await;
    let holder = hold_owner(&db.url, "00000000-0000-0000-0001-000000000002").await;
    let url = db.url.clone();
    let first = tokio::spawn(async move { sealed(&url, &until_15()).await });
    sleep(Duration::from_millis(300)).await;
    let second = sealed(&db.url, &until_15()).await.expect_err("busy");
    assert!(matches!(second, SealError::Busy), "{second}");
    holder.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(first.await.expect("ended").expect("sealed").len(), 1);
}

/// Reservations are open all the time, writes go on, and no caller waits long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seals_during_writes_hold_and_let_the_writers_go_on() {
    let fixture = Arc::new(AllocationFixture::open(ConnectionMode::Confirmed).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let (fixture, stop) = (Arc::clone(&fixture), Arc::clone(&stop));
        writers.spawn(async move {
            let (mut written, mut longest, mut open) = (0, Duration::ZERO, None);
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let held = fixture.allocate("1", &format!("{writer}-{written}")).await;
                longest = longest.max(begun.elapsed());
                // One is always open.
                if let Some(before) = open.replace(held.id) {
                    fixture.release(&before).await;
                }
                written += 1;
            }
            (written, longest)
        });
    }
    let sql = fixture.earmark.sql().await;
    let mut entries = Vec::new();
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        let clock = sql.query_one("SELECT clock_timestamp()", &[]).await;
        let clock: chrono::DateTime<chrono::Utc> = clock.expect("a clock").get(0);
        let now = SealOptions {
            grace: Duration::ZERO,
            until: Some(Time::from(clock)),
            ..BY_MONTH
        };
        let periods = sealed(&fixture.earmark.url, &now).await.expect("sealed");
        entries.push(periods.iter().map(|period| period.entries).sum::<i64>());
    }
    stop.store(true, Ordering::Relaxed);
    let written = writers.join_all().await;
    assert!(entries.iter().all(|count| *count > 0), "{entries:?}");
    let longest = written.iter().map(|(_, longest)| *longest).max();
    // A whole call, in a debug build beside the rest of the tests; the seal itself holds a lock for a statement.
    assert!(longest < Some(Duration::from_secs(2)), "{longest:?}");
    let url = &fixture.earmark.url;
    let verified = run(&mut earmark(&["verify", "--database-url", url]));
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}
