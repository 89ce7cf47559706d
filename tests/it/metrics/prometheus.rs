//! A real Prometheus that scrapes a server. `scripts/check-prometheus` fetches it and runs what is ignored here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::MeasuredServer;
use crate::support::cluster::own_cluster;
use crate::support::every_service::{EveryService, health_becomes};
use crate::support::metrics::http;

/// How long an alert may take to fire: its own time, scrapes and evaluations each second, and a busy machine.
const FIRES_MAX: Duration = Duration::from_secs(90);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A running Prometheus; ended when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes this address each second, with the alerts of the repository.
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let rules = repository("deploy/prometheus/alerts.yaml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs: [{{job_name: earmark, static_configs: [{{targets: [\"{target}\"]}}]}}]\n",
            rules.display()
        );
        fs::write(&config, text).expect("written");
        // One that is free now: Prometheus does not listen where somebody else stands.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port");
        let child = Command::new(repository("target/tools/bin/prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/fetch prometheus");
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// What it answers, once that is as wanted.
    async fn until(
        &self,
        path: &str,
        limit: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let begun = Instant::now();
        loop {
            let answer = http(self.address, &format!("GET /api/v1/{path}")).await;
            let found: Value = match answer {
                Ok((_, body)) => body_of(&body),
                Err(_) => Value::Null,
            };
            if is_wanted(&found) {
                return found;
            }
            assert!(begun.elapsed() < limit, "{path}: {found:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The JSON of an answer, which may come in chunks.
fn body_of(body: &str) -> Value {
    let begin = body.find('{').unwrap_or_default();
    let end = body.rfind('}').map_or(body.len(), |end| end + 1);
    serde_json::from_str(&body[begin..end]).unwrap_or_default()
}

/// The names of the alerts in one of these states: `pending`, until their time is over, or `firing`.
fn in_state<'a>(alerts: &'a Value, states: &[&str]) -> Vec<&'a str> {
    let alerts = alerts["data"]["alerts"].as_array();
    let alerts = alerts.into_iter().flatten();
    let found = alerts.filter(|alert| states.iter().any(|state| alert["state"] == *state));
    found
        .filter_map(|alert| alert["labels"]["alertname"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/check-prometheus fetches a Prometheus and runs it"]
async fn an_alert_fires_when_postgres_stops() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let server = MeasuredServer::start_on(&url).await;
    health_becomes(&server.earmark, true, true).await;
    let prometheus = Prometheus::start(server.metrics);
    let calls = "query?query=sum(rpc_server_call_duration_seconds_count)";
    let is_scraped = |answer: &Value| !answer["data"]["result"][0]["value"][1].is_null();
    EveryService::make(&server.earmark).await;
    prometheus
        .until(calls, Duration::from_secs(30), is_scraped)
        .await;
    let rules = prometheus
        .until("rules", Duration::from_secs(30), |it| {
            it["status"] == "success"
        })
        .await;
    let rules = rules["data"]["groups"][0]["rules"].as_array().map(Vec::len);
    assert!(rules > Some(10), "{rules:?}");
    // Before the first scrape no server is known.
    let is_quiet = |alerts: &Value| {
        alerts["status"] == "success" && in_state(alerts, &["pending", "firing"]).is_empty()
    };
    prometheus
        .until("alerts", Duration::from_secs(30), is_quiet)
        .await;

    own.stop().await;
    let is_firing = |alerts: &Value| {
        in_state(alerts, &["firing"]).contains(&"EarmarkDatabaseUnreachable")
            && in_state(alerts, &["pending", "firing"]).contains(&"EarmarkNotServing")
    };
    prometheus.until("alerts", FIRES_MAX, is_firing).await;
}
