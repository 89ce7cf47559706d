//! What a server has its database prepare: each statement once for each connection, and then nothing.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;

use crate::support::cluster::database;
use crate::support::earmark::{Earmark, Setup};
use crate::support::every_service::EveryService;
use crate::support::proxy::Proxy;

/// Longer than the sweep and the samples of metrics pause.
const WATCHED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn in_a_steady_state_nothing_is_prepared_anew() {
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
    // Until each connection has met each statement.
    let begun = Instant::now();
    // A search has a text for each combination of filters, and keeps none of the others; records of services outside of the
    // ledger are inserted by diesel, which prepares each INSERT for itself.
    let take_prepared = || -> Vec<String> {
        let mut prepared = proxy.take_prepared();
        prepared.retain(|text| {
            !text.starts_with("INSERT INTO \"") && !text.contains("count(*) AS total")
        });
        prepared
    };
    let mut quiet = 0;
    let mut prepared = Vec::new();
    while quiet < 5 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "never steady: {prepared:#?}"
        );
        round().await;
        prepared = take_prepared();
        quiet = if prepared.is_empty() { quiet + 1 } else { 0 };
    }
    tokio::time::sleep(WATCHED).await;
    for _ in 0..10 {
        round().await;
    }
    assert_eq!(take_prepared(), Vec::<String>::new());
}
