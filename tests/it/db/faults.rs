//! Database errors, provoked on a live server and classified from both drivers: by diesel's kinds and by SQLSTATE.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use earmark::db::connect::Connector;
use earmark::db::pg_error::{DbError, TransactionError};
use earmark::db::pool::{self, Pool, PoolSettings};
use earmark::db::write::Transaction;
use earmark::db::{read, write};
use earmark::error::{DatabaseRefusal, Error, Outcome};
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::cluster::{TestDatabase, database, own_cluster};

async fn raw(db: &TestDatabase) -> Client {
    let connector = Connector::new(&db.url).expect("a URL");
    connector.connect().await.expect("a connection").0
}

async fn by_diesel(db: &TestDatabase) -> AsyncPgConnection {
    AsyncPgConnection::try_from(raw(db).await)
        .await
        .expect("a connection")
}

fn pool_of(url: &str) -> Pool {
    pool::open(
        Connector::new(url).expect("a URL"),
        &PoolSettings::default(),
    )
}

const OWNER: &str = "00000000-0000-0000-0000-00000000000a";

#[tokio::test]
async fn errors_of_both_drivers_are_classified_alike() {
    let db = database().await;
    let holder = raw(&db).await;
    let setup = format!(
        "INSERT INTO owner VALUES ('{OWNER}');
         CREATE TABLE parent (id int CONSTRAINT parent_pkey PRIMARY KEY);
         CREATE TABLE child (id int CONSTRAINT child_fkey REFERENCES parent);
         COMMIT; BEGIN; SELECT 1 FROM owner WHERE owner_id = '{OWNER}' FOR UPDATE"
    );
    holder.batch_execute(&setup).await.expect("held");
    let lock =
        format!("SET lock_timeout = 50; SELECT 1 FROM owner WHERE owner_id = '{OWNER}' FOR UPDATE");
    let nowait = lock.clone() + " NOWAIT";
    let account =
        "INSERT INTO account VALUES (gen_random_uuid(), gen_random_uuid(), 'x', -1, 0, 1)";
    let unique = format!("INSERT INTO owner VALUES ('{OWNER}')");
    let unique = unique.as_str();
    let cases: [(&str, DbError); 14] = [
        (unique, DbError::Unique("owner_pkey".into())),
        (account, DbError::Check("account_no_overdraft".into())),
        (
            "INSERT INTO child VALUES (1)",
            DbError::ForeignKey("child_fkey".into()),
        ),
        (&lock, DbError::LockTimeout),
        (&nowait, DbError::LockTimeout),
        (
            "SET statement_timeout = 50; SELECT pg_sleep(5)",
            DbError::StatementTimeout,
        ),
        (
            "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)",
            DbError::StatementTimeout,
        ),
        ("BEGIN READ ONLY; DELETE FROM owner", DbError::ReadOnly),
        ("SELECT 10::numeric ^ 200000", DbError::NumericOverflow),
        (
            "SELECT 9223372036854775807::bigint + 1",
            DbError::NumericOverflow,
        ),
        ("SELECT 1e5::numeric(4, 2)", DbError::NumericOverflow),
        ("SELECT FROM nowhere", DbError::MissingTable),
        ("SELECT nothing FROM owner", DbError::MissingTable),
        (
            "SELECT nothing.nothing FROM owner nothing",
            DbError::MissingTable,
        ),
    ];
    for (sql, fault) in cases {
        let error = raw(&db).await.batch_execute(sql).await.expect_err(sql);
        assert_eq!(DbError::from(error), fault, "tokio-postgres: {sql}");
        let mut diesel = by_diesel(&db).await;
        let error = diesel.batch_execute(sql).await.expect_err(sql);
        assert_eq!(DbError::from(error), fault, "diesel: {sql}");
    }
}

#[tokio::test]
async fn an_aborted_transaction_is_classified_alike_by_both_drivers() {
    let db = database().await;
    let (raw, mut diesel) = (raw(&db).await, by_diesel(&db).await);
    for (name, sql) in [
        ("the cause", "BEGIN; SELECT 1 / 0"),
        ("what hides it", "SELECT 1"),
    ] {
        let by_raw = DbError::from(raw.batch_execute(sql).await.expect_err(sql));
        let by_diesel = DbError::from(diesel.batch_execute(sql).await.expect_err(sql));
        let is_aborted = sql == "SELECT 1";
        for fault in [by_raw, by_diesel] {
            assert_eq!(
                fault == DbError::TransactionAborted,
                is_aborted,
                "{name}: {fault:?}"
            );
        }
    }
}

#[tokio::test]
async fn errors_of_the_servers_state_are_classified_alike_by_both_drivers() {
    let db = database().await;
    let raise = |code: &str, text: &str| {
        format!("DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'; END $$")
    };
    let no_space = "could not extend file \"base/5/1\": No space left on device";
    for (code, text, is_refused) in [
        ("53100", no_space, true),
        ("53200", "out of memory", true),
        (
            "53400",
            "temporary file size exceeds temp_file_limit (1kB)",
            true,
        ),
        (
            "25006",
            "cannot set transaction read-write mode during recovery",
            false,
        ),
    ] {
        let sql = raise(code, text);
        let by_raw = DbError::from(raw(&db).await.batch_execute(&sql).await.expect_err(text));
        let mut diesel = by_diesel(&db).await;
        let by_diesel = DbError::from(diesel.batch_execute(&sql).await.expect_err(text));
        for fault in [by_raw, by_diesel] {
            let is_as_expected = match fault {
                DbError::OutOfResources(_) => is_refused,
                DbError::ReadOnly => !is_refused,
                _ => false,
            };
            assert!(is_as_expected, "{code}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_connection_is_classified_alike_by_both_drivers() {
    let db = database().await;
    let sql = "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)";
    let error = raw(&db).await.batch_execute(sql).await.expect_err(sql);
    let fault = DbError::from(error);
    assert!(fault.is_connection_lost(), "{fault:?}");

    let mut diesel = by_diesel(&db).await;
    for attempt in ["while it happens", "afterwards"] {
        let error = diesel.batch_execute(sql).await.expect_err(sql);
        let fault = DbError::from(error);
        assert!(fault.is_connection_lost(), "{attempt}: {fault:?}");
    }
}

#[tokio::test]
async fn serialization_failures_and_deadlocks_are_contention() {
    let db = database().await;
    let (one, mut two) = (raw(&db).await, by_diesel(&db).await);
    let ids = ["a", "b"].map(|end| format!("00000000-0000-0000-0000-00000000000{end}"));
    one.batch_execute(&format!(
        "CREATE TABLE counter (id uuid PRIMARY KEY, n int);
         INSERT INTO counter VALUES ('{}', 0), ('{}', 0)",
        ids[0], ids[1]
    ))
    .await
    .expect("set up");

    let count = |id: &str| format!("UPDATE counter SET n = n + 1 WHERE id = '{id}'");
    two.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM counter")
        .await
        .expect("a snapshot");
    one.batch_execute(&count(&ids[0])).await.expect("written");
    let error = two.batch_execute(&count(&ids[0])).await.expect_err("stale");
    assert_eq!(DbError::from(error), DbError::Serialization);
    two.batch_execute("ROLLBACK").await.expect("rolled back");

    // Postgres cancels the session that waits for the full second.
    one.batch_execute("SET deadlock_timeout = '100s'; BEGIN")
        .await
        .expect("begun");
    one.batch_execute(&count(&ids[0])).await.expect("written");
    two.batch_execute(&format!(
        "SET deadlock_timeout = '200ms'; BEGIN; {}",
        count(&ids[1])
    ))
    .await
    .expect("written");
    let (first, second) = (count(&ids[1]), count(&ids[0]));
    let (ends_well, ends) = tokio::join!(one.batch_execute(&first), two.batch_execute(&second));
    let fault = DbError::from(ends.expect_err("a deadlock"));
    assert_eq!(fault, DbError::Deadlock);
    drop(ends_well);
}

/// Inserts an owner; the first `failing` runs do `before` instead and pass its error on.
struct Insert {
    owner: &'static str,
    before: &'static str,
    failing: u32,
    runs: Arc<AtomicU32>,
}

impl Transaction for Insert {
    type Output = u32;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<u32, TransactionError> {
        let sql = format!("INSERT INTO owner VALUES ('{}')", self.owner);
        connection.batch_execute(&sql).await?;
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        if run <= self.failing {
            connection.batch_execute(self.before).await?;
        }
        Ok(run)
    }
}

const DEADLOCK: &str =
    "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$";

fn insert(before: &'static str, failing: u32) -> (Insert, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let insert = Insert {
        owner: OWNER,
        before,
        failing,
        runs: Arc::clone(&runs),
    };
    (insert, runs)
}

async fn owners(db: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM owner";
    raw(db).await.query_one(sql, &[]).await.expect(sql).get(0)
}

#[tokio::test]
async fn a_conflicting_write_is_retried_a_bounded_number_of_times() {
    let db = database().await;
    let pool = pool_of(&db.url);
    let (transaction, runs) = insert(DEADLOCK, u32::MAX);
    let refused = write::run(&pool, || true, transaction).await;
    assert_eq!(refused, Err(Error::Contention));
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    assert_eq!(owners(&db).await, 0);

    let (transaction, _) = insert(DEADLOCK, 2);
    assert_eq!(write::run(&pool, || true, transaction).await, Ok(3));
    assert_eq!(owners(&db).await, 1);
}

#[tokio::test]
async fn a_write_whose_connection_is_lost_before_commit_is_retried() {
    let db = database().await;
    let pool = pool_of(&db.url);
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    let (transaction, _) = insert(end, 1);
    assert_eq!(write::run(&pool, || true, transaction).await, Ok(2));
    assert_eq!(owners(&db).await, 1);

    let (transaction, _) = insert("SELECT 1 / 0", 1);
    let error = write::run(&pool, || true, transaction).await;
    let error = error.expect_err("the key is taken");
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn a_connection_lost_during_commit_leaves_the_outcome_unknown() {
    let db = database().await;
    // A deferred constraint terminates the session at COMMIT.
    let sql = "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
               CREATE CONSTRAINT TRIGGER gone AFTER INSERT ON owner
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gone()";
    raw(&db).await.batch_execute(sql).await.expect("set up");
    let (transaction, runs) = insert("", 0);
    let lost = write::run(&pool_of(&db.url), || true, transaction).await;
    assert_eq!(lost, Err(Error::DatabaseUnavailable(Outcome::Unknown)));
    assert_eq!(
        runs.load(Ordering::SeqCst),
        1,
        "never repeated by ourselves"
    );
}

#[tokio::test]
async fn a_withdrawn_write_is_not_started() {
    let db = database().await;
    let (transaction, runs) = insert("", 0);
    let late = write::run(&pool_of(&db.url), || false, transaction).await;
    assert_eq!(late, Err(Error::Deadline(Outcome::NotApplied)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_write_commits_after_its_caller_was_dropped() {
    let db = database().await;
    let pool = pool_of(&db.url);
    let (transaction, runs) = insert("SELECT pg_sleep(3)", 1);
    let call = write::run(&pool, || true, transaction);
    _ = timeout(Duration::from_secs(1), call).await;
    assert_eq!(owners(&db).await, 0, "still running");
    let mut waited = 0;
    while owners(&db).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += 1;
        assert!(waited < 300, "never committed");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_read_of_several_statements_has_one_snapshot_and_is_read_only() {
    let db = database().await;
    let pool = pool_of(&db.url);
    let other = raw(&db).await;
    let counts = read::snapshot(&pool, async |connection: &mut AsyncPgConnection| {
        let mut counts = Vec::new();
        for _ in 0..2 {
            use diesel::QueryDsl;
            use diesel_async::RunQueryDsl;
            let owners = earmark::db::schema::owner::table.count();
            counts.push(owners.get_result::<i64>(connection).await?);
            let sql = "INSERT INTO owner VALUES (gen_random_uuid())";
            other.batch_execute(sql).await.expect(sql);
        }
        Ok::<_, TransactionError>(counts)
    })
    .await;
    assert_eq!(counts, Ok(vec![0, 0]));

    let written = read::snapshot(&pool, async |connection: &mut AsyncPgConnection| {
        connection.batch_execute("DELETE FROM owner").await
    });
    let error = written.await.expect_err("read only");
    assert_eq!(error, Error::DatabaseRefuses(DatabaseRefusal::ReadOnly));
}

#[tokio::test]
async fn reads_succeed_when_pooled_connections_are_dead() {
    let db = database().await;
    let pool = pool_of(&db.url);
    let select = async || {
        let read =
            async |connection: &mut AsyncPgConnection| connection.batch_execute("SELECT 1").await;
        read::one(&pool, read).await
    };
    assert_eq!(select().await, Ok(()));
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    raw(&db).await.batch_execute(sql).await.expect(sql);
    for _ in 0..10 {
        assert_eq!(select().await, Ok(()));
    }
}

#[tokio::test]
async fn an_exhausted_pool_is_overloaded_and_an_unreachable_server_unavailable() {
    let own = own_cluster().await;
    let url = own.database("gone").await;
    let settings = PoolSettings {
        max_size: 1,
        checkout_timeout: Duration::from_millis(300),
        ..PoolSettings::default()
    };
    let pool = pool::open(Connector::new(&url).expect("a URL"), &settings);
    let held = Mutex::new(Some(pool::checkout(&pool).await.expect("one")));
    let refused = pool::checkout(&pool).await.map(|_| ());
    assert_eq!(refused, Err(Error::Overloaded));
    drop(held.lock().expect("no panic").take());
    assert!(pool::checkout(&pool).await.is_ok());

    own.stop().await;
    let refused = pool::checkout(&pool).await.map(|_| ());
    assert_eq!(
        refused,
        Err(Error::DatabaseUnavailable(Outcome::NotApplied))
    );
}

#[tokio::test]
async fn a_freed_connection_goes_to_the_longest_waiting_caller() {
    let db = database().await;
    let one = PoolSettings {
        max_size: 1,
        ..PoolSettings::default()
    };
    let pool = pool::open(Connector::new(&db.url).expect("a URL"), &one);
    let held = pool::checkout(&pool).await.expect("one");
    let order = Mutex::new(Vec::new());
    let checkout = async |name: &'static str| {
        let _connection = pool::checkout(&pool).await.expect("in its turn");
        order.lock().expect("no panic").push(name);
    };
    let mut earlier = pin!(checkout("earlier"));
    let waited = timeout(Duration::from_millis(50), &mut earlier).await;
    assert!(waited.is_err(), "there is one connection, which is in use");
    drop(held);
    // This caller asks before the waiting one has been woken.
    tokio::join!(biased; checkout("later"), earlier);
    assert_eq!(*order.lock().expect("no panic"), ["earlier", "later"]);
}
