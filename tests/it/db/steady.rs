//! What a server has its database prepare: each statement once for each connection, and then nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use earmark::app::AppSettings;

use crate::support::cluster::database;
use crate::support::earmark::{Earmark, Setup};
use crate::support::every_service::EveryService;
use crate::support::proxy::Proxy;

/// Longer than the sweep and the samples of metrics pause.
const WATCHED: Duration = Duration::from_secs(3);

/// A search has a text for each combination of filters, and keeps none. Records of services outside of the ledger are inserted
/// by diesel, which prepares each INSERT for itself.
fn is_prepared_each_time(text: &str) -> bool {
    text.starts_with("INSERT INTO \"") || text.contains("count(*) AS total")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_has_a_statement_prepared_twice() {
    let db = database().await;
    let proxy = Proxy::before(&db.url).await;
    let mut app = AppSettings::default();
    app.pool.max_size = 4;
    app.writer.writers = 1;
    let setup = Setup {
        app,
        ..Setup::default()
    };
    let earmark = Earmark::start_on(&proxy.url, setup).await;
    let records = EveryService::make(&earmark).await;
    let round = async || {
        for called in records.writes(&earmark).await {
            called.result.expect("written");
        }
        for called in records.reads_of_records(&earmark).await {
            called.result.expect("read");
        }
    };
    for _ in 0..10 {
        round().await;
    }
    tokio::time::sleep(WATCHED).await;
    for _ in 0..10 {
        round().await;
    }
    let mut once = BTreeSet::new();
    let mut again = Vec::new();
    for (connection, text) in proxy.prepared() {
        if !is_prepared_each_time(&text) && !once.insert((connection, text.clone())) {
            again.push(text);
        }
    }
    assert!(once.len() > 50, "{once:#?}");
    assert_eq!(again, Vec::<String>::new());
}
