//! Calls: how many, how long, and how they end, by OpenTelemetry's conventions for RPCs.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Counter, Histogram};

use crate::metrics::instrument::described;

/// The names of gRPC's codes, each at its number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The codes that OpenTelemetry counts as errors of a server; others are the caller's.
const SERVER_ERRORS: [&str; 6] = [
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    described(
        "rpc.server.call.duration",
        "s",
        "Time from a call's headers to the end of its answer.",
    )
    .durations()
});

static ERRORS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    described(
        "earmark.call.errors",
        "{call}",
        "Calls that ended with an error, by the reason that the caller sees.",
    )
    .counter()
});

/// The durations of the calls of one method, by code.
#[derive(Debug)]
pub(crate) struct MethodDurations {
    method: String,
    /// Bound when a code first comes: most methods end with a few of them only.
    by_code: [OnceLock<BoundHistogram<f64>>; CODES.len()],
}

impl MethodDurations {
    /// Those of a method, `package.Service/Method`.
    pub(crate) fn of(method: &str) -> Self {
        Self {
            method: method.to_owned(),
            by_code: [const { OnceLock::new() }; CODES.len()],
        }
    }

    /// Records a call that has ended with this code of gRPC.
    pub(crate) fn record(&self, code: i32, duration: Duration) {
        let code = usize::try_from(code).unwrap_or_default();
        if let (Some(durations), Some(name)) = (self.by_code.get(code), CODES.get(code)) {
            let bound = durations.get_or_init(|| self.bind(name));
            bound.record(duration.as_secs_f64());
        }
    }

    fn bind(&self, code: &'static str) -> BoundHistogram<f64> {
        let mut labels = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", self.method.clone()),
            KeyValue::new("rpc.response.status_code", code),
        ];
        if SERVER_ERRORS.contains(&code) {
            labels.push(KeyValue::new("error.type", code));
        }
        DURATION.bind(&labels)
    }
}

/// Counts calls that ended with this reason, which must be one of the API. With 0 calls the reason is served from now on.
pub(crate) fn add_errors(reason: &'static str, calls: u64) {
    ERRORS.add(calls, &[KeyValue::new("reason", reason)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_at_their_numbers() {
        assert_eq!(
            [CODES[0], CODES[8], CODES[13], CODES[16]],
            ["OK", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAUTHENTICATED"]
        );
        assert!(SERVER_ERRORS.iter().all(|code| CODES.contains(code)));
    }
}
