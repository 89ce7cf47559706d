//! What a collector receives, and what happens while it receives nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::MeasuredServer;
use crate::support::cluster::database;
use crate::support::every_service::{EveryService, assert_answered, health_becomes};
use crate::support::metrics::{Scrape, scrape_until};
use crate::support::process::{earmark, run, text};

/// Takes every export, and passes it on.
struct Collector(UnboundedSender<ExportMetricsServiceRequest>);

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        _ = self.0.send(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn collector() -> (SocketAddr, UnboundedReceiver<ExportMetricsServiceRequest>) {
    let (exports, received) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = Server::builder()
        .add_service(MetricsServiceServer::new(Collector(exports)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    (address, received)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn metrics(export: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    let scopes = export
        .resource_metrics
        .iter()
        .flat_map(|it| &it.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

/// The counts of the histogram of calls, by method.
fn calls(export: &ExportMetricsServiceRequest, method: &str) -> Option<u64> {
    let found = metrics(export).find(|it| it.name == "rpc.server.call.duration")?;
    assert_eq!(found.unit, "s");
    let Some(Data::Histogram(histogram)) = &found.data else {
        panic!("{found:?}");
    };
    let points = histogram.data_points.iter();
    let of_method =
        points.filter(|it| attribute(&it.attributes, "rpc.method").as_deref() == Some(method));
    Some(of_method.map(|it| it.count).sum())
}

/// The first export with so many calls of a method.
async fn export_with(
    exports: &mut UnboundedReceiver<ExportMetricsServiceRequest>,
    method: &str,
    count: u64,
) -> ExportMetricsServiceRequest {
    let wanted = async {
        loop {
            let export = exports.recv().await.expect("it serves");
            if calls(&export, method) == Some(count) {
                return export;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), wanted).await;
    found.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_receives_all_metrics_under_opentelemetrys_names() {
    let (collector, mut exports) = collector().await;
    let db = database().await;
    let endpoint = format!("http://{collector}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ];
    let mut server = MeasuredServer::start_with(&db.url, &settings).await;
    health_becomes(&server.earmark, true, true).await;
    server.earmark.enterprise("Counted").await;
    let method = "earmark.network.v1.NetworkService/CreateEnterprise";
    let export = export_with(&mut exports, method, 1).await;
    let resource = export.resource_metrics[0].resource.as_ref().expect("set");
    let of_resource = |key| attribute(&resource.attributes, key);
    assert_eq!(of_resource("service.name").as_deref(), Some("earmark"));
    assert_eq!(
        of_resource("deployment.environment.name").as_deref(),
        Some("test")
    );
    assert!(of_resource("service.instance.id").is_some());
    let names: Vec<_> = metrics(&export).map(|it| it.name.as_str()).collect();
    for name in [
        "earmark.lane.waiting",
        "earmark.writer.phase.duration",
        "process.cpu",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // The last calls before the end are sent at the end.
    server.earmark.enterprise("Counted too").await;
    server.earmark.process().send(Signal::SIGTERM);
    export_with(&mut exports, method, 2).await;
}

/// A port that takes connections and answers nothing.
async fn silent_port() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener.local_addr().expect("bound"), listener)
}

fn dropped(scrape: &Scrape) -> f64 {
    let signal = [("signal", "metrics")];
    let dropped = scrape.value("earmark_telemetry_dropped_total", &signal);
    dropped.expect("it is served from the start")
}

/// Serves calls beside a collector that takes nothing until so many exports were dropped, and ends.
async fn serves_without(collector: SocketAddr, exports_dropped: f64) {
    let db = database().await;
    let endpoint = format!("http://{collector}");
    let settings = [
        ("EARMARK_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ];
    let mut server = MeasuredServer::start_with(&db.url, &settings).await;
    health_becomes(&server.earmark, true, true).await;
    let records = EveryService::make(&server.earmark).await;
    let memory = |scrape: &Scrape| scrape.value("process_resident_memory_bytes", &[]);
    let limit = Duration::from_secs(60);
    let first = scrape_until(server.metrics, limit, |it| dropped(it) >= 1.0).await;
    let last = loop {
        let begun = Instant::now();
        let (writes, reads) = (
            records.writes(&server.earmark).await,
            records.reads_of_records(&server.earmark).await,
        );
        assert_answered(&[writes, reads].concat());
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let scrape = scrape_until(server.metrics, limit, |_| true).await;
        if dropped(&scrape) >= exports_dropped {
            break scrape;
        }
    };
    if cfg!(target_os = "linux") {
        let (before, after) = (memory(&first).expect("set"), memory(&last).expect("set"));
        assert!(
            after - before < 64.0 * 1024.0 * 1024.0,
            "{before} → {after}"
        );
    }
    let begun = Instant::now();
    server.earmark.process().send(Signal::SIGTERM);
    let code = server
        .earmark
        .process()
        .ended_within(Duration::from_secs(15));
    assert_eq!(code, Some(0));
    // Two seconds for the last export; the rest is the usual end, on a machine that may be busy.
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_exports_only() {
    let (address, listener) = silent_port().await;
    drop(listener);
    serves_without(address, 50.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_costs_exports_only() {
    let (address, _listener) = silent_port().await;
    serves_without(address, 1.0).await;
}

#[test]
fn another_protocol_than_grpc_is_refused_with_the_reason() {
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
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("DATABASE_URL", "postgres://u@h/d"));
    let why = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(
        why.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && why.contains("4317"),
        "{why}"
    );
}
