//! The access log: one line per call. It is written on drop, so that calls which their client cancels have one too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::auth::caller::Caller;
use crate::server::authorise::Route;

/// Characters of a path that are logged. Every known path is shorter; unknown ones come from the client.
const PATH_CHARS_MAX: usize = 200;

/// How a call ended: its gRPC code, and the `ErrorReason` of its `ErrorInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallOutcome {
    code: Code,
    reason: Option<String>,
}

impl CallOutcome {
    /// The outcome of a call that succeeded.
    pub(super) const OK: Self = Self {
        code: Code::Ok,
        reason: None,
    };

    /// The outcome that a status describes; without an `ErrorInfo` it has no reason.
    pub(super) fn of(status: &Status) -> Self {
        Self {
            code: status.code(),
            reason: status.get_details_error_info().map(|info| info.reason),
        }
    }
}

/// The log line of one call, written when it is dropped. A line without an outcome is logged as CANCELLED: the client
/// has closed the stream before the call ended.
#[derive(Debug)]
pub(super) struct AccessLogLine {
    method: String,
    request_id: Arc<str>,
    peer: SocketAddr,
    caller: Option<Arc<Caller>>,
    started: Instant,
    outcome: Option<CallOutcome>,
    /// Health and reflection are logged at debug level: probes call them every few seconds.
    is_public: bool,
}

impl AccessLogLine {
    /// Starts the clock of `duration_ms`.
    pub(super) fn new(path: &str, route: Route, request_id: Arc<str>, peer: SocketAddr) -> Self {
        Self {
            method: path.chars().take(PATH_CHARS_MAX).collect(),
            request_id,
            peer,
            caller: None,
            started: Instant::now(),
            outcome: None,
            is_public: matches!(route, Route::Public(_)),
        }
    }

    /// Sets the caller, once the token is verified.
    pub(super) fn set_caller(&mut self, caller: Arc<Caller>) {
        self.caller = Some(caller);
    }

    /// Sets the outcome; a later one replaces an earlier one.
    pub(super) fn set_outcome(&mut self, outcome: CallOutcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for AccessLogLine {
    fn drop(&mut self) {
        let (code, reason) = match &self.outcome {
            Some(outcome) => (outcome.code, outcome.reason.as_deref()),
            None => (Code::Cancelled, None),
        };
        let duration_ms = self.started.elapsed().as_micros() as f64 / 1_000.0;
        // A macro, because tracing needs the level at compile time.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "earmark::access",
                    // Without the call's span, whose fields the line has as its own.
                    parent: None,
                    method = self.method,
                    code = ?code,
                    reason,
                    subject = self.caller.as_ref().map(|caller| caller.subject.as_str()),
                    duration_ms,
                    request_id = &*self.request_id,
                    peer = %self.peer,
                    "call"
                )
            };
        }
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss => line!(error),
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => line!(warn),
            _ if self.is_public => line!(debug),
            _ => line!(info),
        }
    }
}
