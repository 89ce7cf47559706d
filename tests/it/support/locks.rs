//! Another session on the test's database: what a second process would do.

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
