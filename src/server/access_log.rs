//! The access log: one line per call. It is written on drop, so that calls which their client cancels have one too.
//!
//! Anybody who can connect can cause lines, as many as the network takes. So the lines of calls without an accepted token
//! are limited in number; the line of a call whose token was accepted is always written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Level;

use crate::auth::caller::Caller;
use crate::limits::REFUSED_CALL_LINES_PER_SECOND;
use crate::server::authorise::Route;
use crate::server::log_rate::LogRate;
use crate::server::peer::Peer;

/// The lines of calls that were refused before their token was accepted, of the whole process.
static REFUSED_CALLS: LogRate = LogRate::new(REFUSED_CALL_LINES_PER_SECOND);
/// Time between two lines about lines that were not written.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Whom the client's certificate names.
    peer_identity: Option<Arc<str>>,
    caller: Option<Arc<Caller>>,
    started: Instant,
    outcome: Option<CallOutcome>,
    /// Health and reflection are logged at debug level: probes call them every few seconds.
    is_public: bool,
}

impl AccessLogLine {
    /// Starts the clock of `duration_ms`.
    pub(super) fn new(path: &str, route: Route, request_id: Arc<str>, peer: &Peer) -> Self {
        Self {
            method: path.chars().take(PATH_CHARS_MAX).collect(),
            request_id,
            peer: peer.address,
            peer_identity: peer.identity.clone(),
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

/// Runs [`report_unlogged`] once a second, until it is dropped.
pub(super) async fn report_each_second() {
    loop {
        tokio::time::sleep(REPORT_INTERVAL).await;
        report_unlogged();
    }
}

/// Logs how many lines were not written since this was done last, if any.
pub(super) fn report_unlogged() {
    let unlogged = REFUSED_CALLS.take_suppressed();
    if unlogged > 0 {
        tracing::warn!(
            target: "earmark::access",
            unlogged,
            "{unlogged} refused calls without an accepted token were not logged"
        );
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
                    peer_identity = self.peer_identity.as_deref(),
                    "call"
                )
            };
        }
        let level = match code {
            Code::Internal | Code::Unknown | Code::DataLoss => Level::ERROR,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Level::WARN,
            _ if self.is_public => Level::DEBUG,
            _ => Level::INFO,
        };
        // Who sets the level to debug wants all of health's lines.
        let is_limited = self.caller.is_none() && level != Level::DEBUG;
        if is_limited && !REFUSED_CALLS.admit() {
            return;
        }
        match level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::DEBUG => line!(debug),
            _ => line!(info),
        }
    }
}
