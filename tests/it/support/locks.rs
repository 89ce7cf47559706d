//! Sessions on the test's database that hold locks, as a second process would.

use std::time::Duration;

use earmark::db::connect::{Connector, Session};
use tokio_postgres::Client;

/// A session of another process. It may hold locks for as long as it likes.
pub(crate) async fn session(url: &str) -> Client {
    let session = Session {
        idle_in_transaction_timeout: Duration::ZERO,
        application_name: "a test",
        ..Session::default()
    };
    let connector = Connector::with_session(url, &session).expect("a URL");
    connector.connect().await.expect("a connection").0
}

/// Begins a transaction that holds the lock of an owner.
pub(crate) async fn hold_owner(url: &str, owner_id: &str) -> Client {
    let holder = session(url).await;
    let sql = format!("BEGIN; SELECT FROM owner WHERE owner_id = '{owner_id}' FOR NO KEY UPDATE");
    holder.batch_execute(&sql).await.expect("locked");
    holder
}

/// Waits until a session waits for a lock in this database.
pub(crate) async fn somebody_waits(url: &str) {
    let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let looking = session(url).await;
    let waits = async {
        loop {
            let row = looking.query_one(sql, &[]).await.expect(sql);
            if row.get::<_, i64>(0) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits)
        .await
        .expect("somebody waits for a lock");
}
