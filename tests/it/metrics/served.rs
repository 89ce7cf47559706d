//! What the metrics port answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use earmark::proto::balance::v1::GetBalanceRequest;
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use super::MeasuredServer;
use crate::docs::{code, rows_of_all_tables};
use crate::support::allocation_fixture::in_micros;
use crate::support::cluster::database;
use crate::support::earmark::{Earmark, NOBODY, Setup};
use crate::support::every_service::{EveryService, assert_answered, health_becomes};
use crate::support::metrics::{Scrape, http, scrape, scrape_until};
use crate::support::process::{OwnAddress, earmark, run, text};

const METRICS: &str = include_str!("../../../docs/metrics.md");
const DURATION: &str = "rpc_server_call_duration_seconds";
/// What only a server with TLS has.
const OF_TLS: [&str; 2] = [
    "earmark_tls_certificate_not_after_timestamp_seconds",
    "earmark_tls_reload_failures_total",
];
/// Longer than the time between two samples of the reservations.
const SAMPLED_MAX: Duration = Duration::from_secs(40);

/// What docs/metrics.md says of each metric: its type and its labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = rows_of_all_tables(METRICS, "metric");
    let described = rows.into_iter().map(|row| {
        let [name, kind, labels, meaning, _] = row[..] else {
            panic!("{row:?}");
        };
        assert!(!meaning.is_empty(), "{name}");
        let labels = code(labels).map(String::from).collect();
        (code(name).collect(), (kind.to_owned(), labels))
    });
    described.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_described_and_every_description_is_served() {
    let db = database().await;
    let server = MeasuredServer::start_on(&db.url).await;
    health_becomes(&server.earmark, true, true).await;
    let records = EveryService::make(&server.earmark).await;
    assert_answered(&records.writes(&server.earmark).await);
    assert_answered(&records.reads(&server.earmark).await);
    unavailable(&server.earmark).await;
    let sampled = ["earmark_reservations_open", "earmark_partitions_ahead"];
    let is_sampled = |scrape: &Scrape| sampled.iter().all(|name| scrape.types.contains_key(*name));
    let scrape = scrape_until(server.metrics, SAMPLED_MAX, is_sampled).await;

    let labels = scrape.labels();
    let served: BTreeMap<_, _> = scrape
        .types
        .iter()
        .map(|(name, kind)| (name.clone(), (kind.clone(), labels[name].clone())))
        .collect();
    let mut documented = documented();
    for name in OF_TLS {
        assert!(documented.remove(name).is_some(), "{name}");
    }
    assert_eq!(served, documented);
    for (name, (kind, _)) in &served {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    }
}

/// A call that ends with a code that counts as a fault of the server: nobody has the method.
async fn unavailable(earmark: &Earmark) {
    let raw = earmark.raw().await;
    let path = "/earmark.balance.v1.BalanceService/None";
    let answer = raw.call(path, &[], Bytes::new()).await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
}

async fn get_balance(earmark: &Earmark, enterprise: &str) -> Code {
    let request = GetBalanceRequest {
        enterprise_id: enterprise.into(),
        currency: "BTC".into(),
        ..Default::default()
    };
    let mut client = earmark.member(&[enterprise]).balance;
    let answer = client.get_balance(request).await;
    answer.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_method_code_and_reason() {
    let db = database().await;
    let server = MeasuredServer::start_on(&db.url).await;
    health_becomes(&server.earmark, true, true).await;
    let parties = server.earmark.parties(ConnectionMode::Confirmed).await;
    server
        .earmark
        .deposit(&parties.enterprise, "BTC", "5")
        .await;
    let method = ("rpc_method", "earmark.balance.v1.BalanceService/GetBalance");
    let count = |scrape: &Scrape, code: &str| {
        let labels = [method, ("rpc_response_status_code", code)];
        scrape.value(&format!("{DURATION}_count"), &labels)
    };
    let before = scrape(server.metrics).await;
    let not_found = [("reason", "ENTERPRISE_NOT_FOUND")];
    let refused = |scrape: &Scrape| scrape.value("earmark_call_errors_total", &not_found);
    assert_eq!(count(&before, "OK"), None);
    assert_eq!(refused(&before), Some(0.0), "served before it comes");
    for _ in 0..7 {
        assert_eq!(
            get_balance(&server.earmark, &parties.enterprise).await,
            Code::Ok
        );
    }
    let code = get_balance(&server.earmark, NOBODY).await;
    assert_eq!(code, Code::NotFound);
    let all_counted = |scrape: &Scrape| count(scrape, "OK") == Some(7.0);
    let after = scrape_until(server.metrics, Duration::from_secs(10), all_counted).await;
    assert_eq!(count(&after, "NOT_FOUND"), Some(1.0));
    assert_eq!(refused(&after), Some(1.0));
    let seconds = after.value(&format!("{DURATION}_sum"), &[method]);
    assert!(
        seconds.is_some_and(|it| it > 0.0 && it < 60.0),
        "{seconds:?}"
    );
    let waited = after.value("earmark_lane_wait_duration_seconds_count", &[]);
    assert!(waited >= Some(7.0), "{waited:?}");
    let batches = after.value("earmark_writer_batch_commands_count", &[]);
    assert_eq!(
        batches,
        after.value(
            "earmark_writer_phase_duration_seconds_count",
            &[("phase", "commit")]
        )
    );
    let serving = after.value("earmark_health_serving", &[("service", "overall")]);
    assert_eq!(serving, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_series_comes_from_a_client_or_its_ids() {
    let db = database().await;
    let server = MeasuredServer::start_on(&db.url).await;
    health_becomes(&server.earmark, true, true).await;
    let first = EveryService::make(&server.earmark).await;
    assert_answered(&first.reads(&server.earmark).await);
    // The calls' metrics are recorded when their connections have sent the answers.
    let is_recorded = |scrape: &Scrape| {
        let method = "earmark.catalogue.v1.CatalogueService/ListAvailableAllocations";
        let count = scrape.value(&format!("{DURATION}_count"), &[("rpc_method", method)]);
        count == Some(1.0) && scrape.types.contains_key("earmark_reservations_open")
    };
    let before = scrape_until(server.metrics, SAMPLED_MAX, is_recorded).await;
    for _ in 0..3 {
        let parties = server.earmark.parties(ConnectionMode::Confirmed).await;
        server
            .earmark
            .deposit(&parties.enterprise, "BTC", "5")
            .await;
        assert_eq!(
            get_balance(&server.earmark, &parties.enterprise).await,
            Code::Ok
        );
        let raw = server.earmark.raw().await;
        let path = format!("/{}/Made", parties.enterprise);
        raw.call(&path, &[], Bytes::new()).await;
    }
    let after = scrape(server.metrics).await;
    let all = |scrape: &Scrape| -> BTreeSet<_> {
        let series = scrape.series.iter();
        series
            .map(|it| format!("{} {:?}", it.name, it.labels))
            .collect()
    };
    let added: Vec<_> = all(&after).difference(&all(&before)).cloned().collect();
    let from_path = |series: &&String| !series.contains("_OTHER");
    assert_eq!(added.iter().filter(from_path).count(), 0, "{added:#?}");
    let ids = [&first.parties.enterprise, &first.parties.connection];
    for series in &after.series {
        let values = series.labels.values();
        assert!(!values.clone().any(|it| ids.contains(&it)), "{series:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_reservations_and_their_lag_are_sampled() {
    let db = database().await;
    let writing = Earmark::start_on(&db.url, Setup::default()).await;
    let parties = writing.parties(ConnectionMode::Confirmed).await;
    writing.deposit(&parties.enterprise, "BTC", "100").await;
    let mut member = writing.member(&[&parties.enterprise]).allocation;
    for key in ["stays", "stays too"] {
        let request = parties.allocation("BTC", "1", key);
        member.create_allocation(request).await.expect("reserved");
    }
    let mut request = parties.allocation("BTC", "1", "expires");
    request.expire_time = Some(in_micros(&writing, 2_000_000).await);
    let created = member.create_allocation(request).await.expect("reserved");
    let id = created.into_inner().allocation.expect("set").id;
    // So that no sweep releases it.
    let sql = writing.sql().await;
    let lock = format!(
        "BEGIN; SELECT FROM owner WHERE owner_id = '{}' FOR UPDATE",
        parties.enterprise
    );
    sql.batch_execute(&lock).await.expect("locked");
    let of_record =
        format!("SELECT count(*) FROM allocation WHERE id = '{id}' AND status = 'RESERVED'");
    assert_eq!(
        writing.count(&of_record).await,
        1,
        "locked before it expired"
    );
    let overdue = format!("{of_record} AND expire_time < clock_timestamp()");
    while writing.count(&overdue).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let server = MeasuredServer::start_on(&db.url).await;
    let of = |scrape: &Scrape, name: &str| scrape.value(name, &[("kind", "allocation")]);
    let is_overdue = |scrape: &Scrape| of(scrape, "earmark_reservations_overdue") == Some(1.0);
    let found = scrape_until(server.metrics, SAMPLED_MAX, is_overdue).await;
    assert_eq!(of(&found, "earmark_reservations_open"), Some(3.0));
    let lag = of(&found, "earmark_reservations_expiry_lag_seconds");
    assert!(lag.is_some_and(|it| it > 0.0 && it < 60.0), "{lag:?}");
    sql.batch_execute("ROLLBACK").await.expect("unlocked");
    let is_released = |scrape: &Scrape| {
        of(scrape, "earmark_reservations_overdue") == Some(0.0)
            && of(scrape, "earmark_reservations_expiry_lag_seconds") == Some(0.0)
    };
    let found = scrape_until(server.metrics, SAMPLED_MAX, is_released).await;
    assert_eq!(of(&found, "earmark_reservations_open"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_metrics_are_served_there() {
    let db = database().await;
    let server = MeasuredServer::start_on(&db.url).await;
    scrape(server.metrics).await;
    for (request, status) in [
        ("GET /", "404"),
        ("GET /metrics/x", "404"),
        ("POST /metrics", "405"),
    ] {
        let (head, body) = http(server.metrics, request).await.expect("an answer");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(body.ends_with(".\n"), "{body}");
    }
    let (head, body) = http(server.metrics, "HEAD /metrics")
        .await
        .expect("an answer");
    assert!(
        head.starts_with("HTTP/1.1 200") && body.is_empty(),
        "{head}{body}"
    );
}

#[test]
fn a_port_that_cannot_be_had_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let refusal = |setting: &str, value: &str| {
        let mut serve = earmark(&[
            "serve",
            "--issuer",
            "i",
            "--audience",
            "a",
            "--jwks",
            "/none",
        ]);
        let refused = run(serve
            .args([setting, value])
            .env("EARMARK_LISTEN", OwnAddress::new().address.to_string())
            .env("DATABASE_URL", "postgres://u@h/d"));
        (refused.status.code(), text(&refused.stderr))
    };
    let (code, why) = refusal("--metrics-listen", &port);
    assert_eq!(code, Some(1), "{why}");
    assert!(
        why.contains(&format!("127.0.0.1:{port}")),
        "a port is of this machine: {why}"
    );
    assert!(why.contains("with --metrics-listen"), "{why}");
    for (setting, value) in [
        ("--metrics-listen", "nine"),
        ("--metrics-listen", "70000"),
        ("--otlp-endpoint", "collector:4317"),
    ] {
        let (code, why) = refusal(setting, value);
        assert_eq!(code, Some(2), "{why}");
        assert!(
            why.contains(setting) && why.contains("for example"),
            "{why}"
        );
    }
}
