//! The access log has one line per call, whatever its result.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use earmark::limits::REFUSED_CALL_LINES_PER_SECOND;
use futures_util::future::join_all;
use serde_json::Value;

use crate::server::running::{ADJUST, Running, adjust};
use crate::support::raw::frame_bytes;

/// The log of this process, of all its tests: callers tell their lines by their request ids. A subscriber per thread
/// would now and then miss lines, since the threads share what they know of levels.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn capture() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let start = || {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_env_filter("earmark=debug")
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("the only one");
            log
        };
        LOG.get_or_init(start).clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }

    /// The line of the call with this id.
    fn line(&self, request_id: &str) -> Option<Value> {
        let text = self.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .filter(|line: &Value| {
                line["target"] == "earmark::access" && line["request_id"] == request_id
            })
            .collect();
        assert!(lines.len() < 2, "one line a call: {lines:?}");
        lines.into_iter().next()
    }

    pub(super) async fn wait_for(&self, request_id: &str) -> Value {
        for _ in 0..500 {
            if let Some(line) = self.line(request_id) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no line of {request_id} in {}", self.text());
    }

    /// Waits for a line with this text, of whichever server.
    pub(super) async fn wait_for_text(&self, text: &str) {
        for _ in 0..1_000 {
            if self.text().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {text} in {}", self.text());
    }

    /// How many lines were not written, by the lines that say so.
    fn unlogged(&self) -> u64 {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains("were not logged"));
        lines
            .map(|line| {
                let line: Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(
                    (&line["level"], &line["target"]),
                    (&"WARN".into(), &"earmark::access".into())
                );
                line["unlogged"].as_u64().expect("a number")
            })
            .sum()
    }

    /// How many lines there are of calls whose ids begin so.
    fn lines(&self, id: &str) -> u64 {
        let text = self.text();
        let start = format!("\"request_id\":\"{id}");
        let lines = text.lines().filter(|line| {
            line.contains("\"target\":\"earmark::access\"") && line.contains(&start)
        });
        lines.count() as u64
    }
}

/// Held by each test that needs a line of a refused call: the number of such lines is limited for the whole process.
static REFUSED_LINES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn every_call_is_logged_in_one_line() {
    let _alone = REFUSED_LINES.lock().await;
    let log = Log::capture();
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let raw = server.raw().await;
    let call = async |id: &str, path: &str, what: &str, extra: &[(&str, &str)]| {
        let mut metadata = vec![("authorization", bearer.as_str()), ("x-request-id", id)];
        metadata.extend(extra);
        raw.call(path, &metadata, adjust(what)).await;
        log.wait_for(id).await
    };

    let line = call("good", ADJUST, "x", &[]).await;
    assert_eq!(
        (&line["level"], &line["code"]),
        (&"INFO".into(), &"Ok".into())
    );
    assert_eq!(line["method"], ADJUST);
    assert_eq!(line["subject"], "somebody");
    assert!(
        line["duration_ms"]
            .as_f64()
            .is_some_and(|duration| duration > 0.0)
    );
    assert!(line.get("reason").is_none());

    let line = call("refused", ADJUST, "refuse", &[]).await;
    assert_eq!(line["code"], "AlreadyExists");
    assert_eq!(line["reason"], "CLIENT_EXISTS");

    let line = call("late", ADJUST, "sleep", &[("grpc-timeout", "50m")]).await;
    assert_eq!(
        (&line["level"], &line["reason"]),
        (&"WARN".into(), &"DEADLINE".into())
    );

    let line = call("panicked", ADJUST, "panic", &[]).await;
    assert_eq!(
        (&line["level"], &line["reason"]),
        (&"ERROR".into(), &"INTERNAL".into())
    );
    let why = log.text().contains("as asked, secret");
    assert!(why, "what the caller must not see, the log has");

    let line = call("nowhere", "/nowhere", "x", &[]).await;
    assert_eq!(line["reason"], "METHOD_UNKNOWN");

    let body = frame_bytes(0, &[]);
    let metadata = [("x-request-id", "probe")];
    raw.call("/grpc.health.v1.Health/Check", &metadata, body)
        .await;
    let line = log.wait_for("probe").await;
    assert_eq!(line["level"], "DEBUG", "probes do not fill the log");
    assert!(!log.text().contains(&bearer[20..]), "no token in the log");
}

#[tokio::test]
async fn a_cancelled_call_is_logged_too() {
    let log = Log::capture();
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str()), ("x-request-id", "left")];
    let raw = server.raw().await;
    tokio::select! {
        answer = raw.call(ADJUST, &metadata, adjust("sleep")) => panic!("{answer:?}"),
        () = server.seen.wait_for("began sleep") => {}
    }
    let line = log.wait_for("left").await;
    assert_eq!(line["code"], "Cancelled");
    assert_eq!(line["subject"], "somebody");
}

#[tokio::test]
async fn lines_of_calls_without_an_accepted_token_are_limited_and_others_are_not() {
    let _alone = REFUSED_LINES.lock().await;
    let log = Log::capture();
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let raw = server.raw().await;
    let started = Instant::now();
    let mut sent = 0;
    let flood = async {
        while log.unlogged() == 0 {
            let calls = (0..400).map(async |number| {
                let id = match number % 4 {
                    0 => format!("welcome-{sent}-{number}"),
                    _ => format!("flood-{sent}-{number}"),
                };
                let mut metadata = vec![("x-request-id", id.as_str())];
                if number % 4 == 0 {
                    metadata.push(("authorization", bearer.as_str()));
                }
                raw.call(ADJUST, &metadata, adjust("x")).await;
            });
            join_all(calls).await;
            sent += 100;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), flood).await;
    in_time.expect("a flood is limited");
    // Each call is in the log or in a number, and nothing else in this process floods.
    let all_counted = async {
        while log.lines("flood-") + log.unlogged() < 3 * sent || log.lines("welcome-") < sent {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), all_counted).await;
    in_time.expect("every call is counted");
    assert_eq!(log.lines("welcome-"), sent);
    let allowed = u64::from(REFUSED_CALL_LINES_PER_SECOND) * (started.elapsed().as_secs() + 2);
    assert!(log.lines("flood-") <= allowed, "{allowed}");
    // Later tests of this process find the limit as it was.
    tokio::time::sleep(Duration::from_secs(1)).await;
}
