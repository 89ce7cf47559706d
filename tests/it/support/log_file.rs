//! The JSON log of a server in a process of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a line may take before it counts as missing.
const LINE_MAX: Duration = Duration::from_secs(20);

/// A log in a file of the test's own.
pub(crate) struct LogFile {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl LogFile {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        Self {
            path,
            _folder: folder,
        }
    }

    /// Where a process writes it.
    pub(crate) fn writer(&self) -> Stdio {
        File::create(&self.path).expect("a file").into()
    }

    /// All lines that are complete.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).expect("a log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parsed = whole.lines().map(|line| {
            let json = serde_json::from_str(line);
            json.unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        parsed.collect()
    }

    /// Waits for the first line that is asked for.
    pub(crate) async fn line(&self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|line| is_meant(line)) {
                return line.clone();
            }
            assert!(begun.elapsed() < LINE_MAX, "no {what} in {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the line of the call with this id.
    pub(crate) async fn call(&self, request_id: &str) -> Value {
        self.line(request_id, |line| {
            line["target"] == "earmark::access" && line["request_id"] == request_id
        })
        .await
    }
}
