//! The pools of a process: who gets a connection, and what becomes of one whose caller is gone.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use earmark::db::connect::Connector;
use earmark::db::pg_error::TransactionError;
use earmark::db::pool::{self, Pool, PoolSettings};
use earmark::db::pools::{Pools, ReadLimits};
use earmark::db::pulse::Pulse;
use earmark::db::write::Transaction;
use earmark::db::{read, write};
use earmark::error::{Error, Result};
use earmark::types::ids::EnterpriseId;
use earmark::types::principal::Principal;
use earmark::types::read_class::ReadClass;
use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks::session;

const PATIENCE: Duration = Duration::from_secs(60);

fn enterprise(number: u128) -> Principal {
    Principal::Enterprise(EnterpriseId(Uuid::from_u128(number)))
}

/// Pools of which no read is too long and no call waits too long.
fn patient_pools(db: &TestDatabase) -> Pools {
    let connector = Connector::new(&db.url).expect("a URL");
    let connector = connector.adjusted(|session| session.lock_timeout = Duration::ZERO);
    let settings = PoolSettings {
        checkout_timeout: PATIENCE,
        ..PoolSettings::default()
    };
    let limits = ReadLimits {
        by_key: PATIENCE,
        list: PATIENCE,
        search: PATIENCE,
    };
    let pulse = Pulse::new(connector.clone());
    Pools::open(&connector, &settings, &limits, &pulse)
}

async fn run(pool: &Pool, sql: &'static str) -> Result<()> {
    let read = async |connection: &mut AsyncPgConnection| connection.batch_execute(sql).await;
    read::one(pool, read).await
}

/// The number that a query returns, once it fits.
async fn once(db: &TestDatabase, sql: &str, fits: impl Fn(i64) -> bool) -> i64 {
    let looking = session(&db.url).await;
    let look = async {
        loop {
            let number = looking.query_one(sql, &[]).await.expect(sql).get(0);
            if fits(number) {
                return number;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = timeout(Duration::from_secs(20), look).await;
    found.unwrap_or_else(|_| panic!("never as expected: {sql}"))
}

const SLEEPERS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event = 'PgSleep'";
const LOCK_WAITERS: &str = "SELECT count(*) FROM pg_locks
     WHERE locktype = 'advisory' AND NOT granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_with_many_calls_leaves_connections_of_each_lane_to_others() {
    const CALLS: u32 = 30;
    let db = database().await;
    let pools = patient_pools(&db);
    // Half of each lane, of which lists have 7 connections, and the others 3.
    let lanes = [
        (&pools.by_key, 2),
        (&pools.list, 4),
        (&pools.search, 2),
        (&pools.records, 2),
    ];
    for (lane, half) in lanes {
        let holder = session(&db.url).await;
        let lock = "SELECT pg_advisory_lock(1)";
        holder.batch_execute(lock).await.expect(lock);
        let done = Arc::new(AtomicU32::new(0));
        let many = (0..CALLS).map(|_| {
            let (pool, done) = (lane.on_behalf_of(enterprise(1)), Arc::clone(&done));
            tokio::spawn(async move {
                let answer = run(&pool, "SELECT pg_advisory_xact_lock_shared(1)").await;
                done.fetch_add(1, Ordering::SeqCst);
                answer
            })
        });
        let many: Vec<_> = many.collect();
        once(&db, LOCK_WAITERS, |waiting| waiting == half).await;
        let others = (2..8).map(async |number| {
            let pool = lane.on_behalf_of(enterprise(number));
            for _ in 0..5 {
                run(&pool, "SELECT 1").await.expect("nobody is in its way");
            }
        });
        join_all(others).await;
        assert_eq!(done.load(Ordering::SeqCst), 0, "{lane:?}");
        once(&db, LOCK_WAITERS, |waiting| waiting == half).await;
        let unlock = "SELECT pg_advisory_unlock(1)";
        holder.batch_execute(unlock).await.expect(unlock);
        for answer in join_all(many).await {
            assert_eq!(answer.expect("no panic"), Ok(()), "{lane:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_are_served_in_turn_by_principal() {
    let db = database().await;
    let one = PoolSettings {
        max_size: 1,
        checkout_timeout: PATIENCE,
        ..PoolSettings::default()
    };
    let pool = pool::open(Connector::new(&db.url).expect("a URL"), &one);
    let held = pool::checkout(&pool).await.expect("free");
    let order = std::sync::Mutex::new(Vec::new());
    let take = async |number: u128| {
        let pool = pool.on_behalf_of(enterprise(number));
        let connection = pool::checkout(&pool).await.expect("its turn");
        order.lock().expect("no panic").push(number);
        connection.settled();
    };
    let mut waiting = pin!(join_all([1, 1, 1, 2, 3, 2].map(take)));
    let early = timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "there is one connection, which is in use");
    held.settled();
    waiting.await;
    assert_eq!(*order.lock().expect("no panic"), [1, 2, 3, 1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_of_a_cancelled_read_ends_and_its_connection_is_used_again() {
    let db = database().await;
    let pools = patient_pools(&db);
    let pool = &pools.search;
    let pid = "SELECT pg_backend_pid()";
    run(pool, pid).await.expect(pid);
    for _ in 0..3 {
        let reads = (0..20).map(async |number| {
            let pool = pool.on_behalf_of(enterprise(number % 5));
            timeout(
                Duration::from_millis(300),
                run(&pool, "SELECT pg_sleep(60)"),
            )
            .await
        });
        for cancelled in join_all(reads).await {
            assert!(cancelled.is_err());
        }
        // The next read never meets what is left of the one before.
        let next = timeout(PATIENCE / 2, run(pool, "SELECT 1")).await;
        assert_eq!(next, Ok(Ok(())));
        once(&db, SLEEPERS, |running| running == 0).await;
    }
    let connections = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'earmark'";
    let open = once(&db, connections, |_| true).await;
    assert!(open <= 16 + 4, "{open} connections");
}

/// Sleeps for a second.
struct Nap;

impl Transaction for Nap {
    type Output = ();

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<(), TransactionError> {
        Ok(connection.batch_execute("SELECT pg_sleep(1)").await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_a_late_cancellation_meets_is_sent_again() {
    let db = database().await;
    let one = PoolSettings {
        max_size: 1,
        checkout_timeout: PATIENCE,
        ..PoolSettings::default()
    };
    let pool = pool::open(Connector::new(&db.url).expect("a URL"), &one);
    // As if the request that ended the statement before came only now.
    let late = async || {
        once(&db, SLEEPERS, |running| running == 1).await;
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'";
        assert_eq!(once(&db, cancel, |_| true).await, 1);
    };
    for is_write in [false, true] {
        let abandoned = run(&pool, "SELECT pg_sleep(60)");
        assert!(
            timeout(Duration::from_millis(300), abandoned)
                .await
                .is_err()
        );
        once(&db, SLEEPERS, |running| running == 0).await;
        let next = async {
            if is_write {
                write::run(&pool, || true, Nap).await
            } else {
                run(&pool, "SELECT pg_sleep(1)").await
            }
        };
        let (answer, ()) = tokio::join!(next, late());
        assert_eq!(answer, Ok(()), "a write: {is_write}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_snapshot_leaves_no_transaction() {
    let db = database().await;
    let pool = patient_pools(&db).list;
    let read = read::snapshot(&pool, async |connection: &mut AsyncPgConnection| {
        connection.batch_execute("SELECT pg_sleep(60)").await
    });
    let cancelled = timeout(Duration::from_millis(300), read).await;
    assert!(cancelled.is_err());
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'earmark' AND xact_start IS NOT NULL";
    once(&db, left, |transactions| transactions == 0).await;
    assert_eq!(run(&pool, "SELECT 1").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_after_the_time_of_its_class() {
    let db = database().await;
    let connector = Connector::new(&db.url).expect("a URL");
    let limits = ReadLimits {
        by_key: Duration::from_millis(200),
        list: Duration::from_millis(300),
        search: Duration::from_millis(400),
    };
    let pulse = Pulse::new(connector.clone());
    let pools = Pools::open(&connector, &PoolSettings::default(), &limits, &pulse);
    for (pool, class, limit) in [
        (&pools.by_key, ReadClass::ByKey, limits.by_key),
        (&pools.by_id, ReadClass::ByKey, limits.by_key),
        (&pools.list, ReadClass::List, limits.list),
        (&pools.search, ReadClass::Search, limits.search),
    ] {
        // The time that a connection takes to be made counts.
        answers(pool).await;
        let late = run(pool, "SELECT pg_sleep(60)").await;
        assert_eq!(late, Err(Error::ReadTooLong { class, limit }));
        once(&db, SLEEPERS, |running| running == 0).await;
        answers(pool).await;
    }
}

/// Reads until there is a connection.
async fn answers(pool: &Pool) {
    let mut tries = 1;
    while let Err(error) = run(pool, "SELECT 1").await {
        tries += 1;
        assert!(tries < 50, "{error:?}");
    }
}
