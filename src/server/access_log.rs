//! The access log: one line per call, and the end of its span. Both are made on drop, so that calls which their client
//! cancels have them too.
//!
//! The line of a write is its audit record: who called in whose name, what became of it, and which records it wrote.
//!
//! Anybody who can connect can cause lines, as many as the network takes. So the lines of calls without an accepted token
//! are limited in number; the line of a call whose token was accepted is always written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Level;

use crate::audit::CallWrites;
use crate::auth::caller::Caller;
use crate::limits::REFUSED_CALL_LINES_PER_SECOND;
use crate::metrics::calls::MethodDurations;
use crate::server::authorise::Route;
use crate::server::call_metrics;
use crate::server::code_name::{self, code_name};
use crate::server::log_rate::LogRate;
use crate::server::peer::Peer;
use crate::trace::CallTrace;
use crate::types::principal::Principal;

/// The lines of calls that were refused before their token was accepted, of the whole process.
static REFUSED_CALLS: LogRate = LogRate::new(REFUSED_CALL_LINES_PER_SECOND);
/// Time between two lines about lines that were not written.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Characters of a path that are logged. Every known path is shorter; unknown ones come from the client.
const PATH_CHARS_MAX: usize = 200;

/// Whether anybody reads the lines of calls that succeed.
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: "earmark::access", Level::INFO)
}

/// How a call ended: its gRPC code, and what its `ErrorInfo` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallOutcome {
    code: Code,
    /// The name of the `ErrorReason` without its prefix.
    reason: Option<String>,
    /// Of a write that failed: whether it was applied.
    write: Option<String>,
}

impl CallOutcome {
    /// The outcome of a call that succeeded.
    pub(super) const OK: Self = Self {
        code: Code::Ok,
        reason: None,
        write: None,
    };

    /// The outcome that a status describes; without an `ErrorInfo` it has no reason.
    pub(super) fn of(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let (reason, write) = info.map_or((None, None), |mut info| {
            (Some(info.reason), info.metadata.remove("outcome"))
        });
        Self {
            code: status.code(),
            reason,
            write,
        }
    }
}

/// The log line of one call, written when it is dropped, and its part in the metrics. A line without an outcome is logged
/// as CANCELLED: the client has closed the stream before the call ended.
#[derive(Debug)]
pub(super) struct AccessLogLine {
    method: String,
    request_id: Arc<str>,
    peer: SocketAddr,
    /// Whom the client's certificate names.
    peer_identity: Option<Arc<str>>,
    caller: Option<Arc<Caller>>,
    principal: Option<Principal>,
    started: Instant,
    outcome: Option<CallOutcome>,
    writes: CallWrites,
    /// Whether the handler may have begun.
    is_handled: bool,
    route: Route,
    trace: CallTrace,
    durations: &'static MethodDurations,
}

impl AccessLogLine {
    /// Starts the clock of `duration_ms`.
    pub(super) fn new(
        path: &str,
        route: Route,
        request_id: Arc<str>,
        peer: &Peer,
        trace: CallTrace,
    ) -> Self {
        Self {
            method: path.chars().take(PATH_CHARS_MAX).collect(),
            request_id,
            peer: peer.address,
            peer_identity: peer.identity.clone(),
            caller: None,
            principal: None,
            started: Instant::now(),
            outcome: None,
            writes: CallWrites::default(),
            is_handled: false,
            route,
            trace,
            durations: call_metrics::durations(path, route),
        }
    }

    /// Sets the caller, once the token is verified.
    pub(super) fn set_caller(&mut self, caller: Arc<Caller>) {
        self.caller = Some(caller);
    }

    /// Sets in whose name the call is made; a later one replaces an earlier one.
    pub(super) fn set_principal(&mut self, principal: Principal) {
        self.principal = Some(principal);
    }

    /// Declares that the handler begins, so that what it writes may be applied whatever becomes of the call.
    pub(super) fn set_handled(&mut self) {
        self.is_handled = true;
    }

    /// Sets what the call has written.
    pub(super) fn set_writes(&mut self, writes: CallWrites) {
        self.writes = writes;
    }

    /// Sets the outcome; a later one replaces an earlier one.
    pub(super) fn set_outcome(&mut self, outcome: CallOutcome) {
        self.outcome = Some(outcome);
    }

    /// What became of a write; `None` for a read. A write that the client did not wait for, or whose deadline passed, may
    /// have been applied: this process does not wait for it either.
    fn write_outcome(&self) -> Option<&str> {
        if !self.route.rpc()?.write {
            return None;
        }
        if let Some(effect) = self.writes.effect() {
            return Some(effect.name());
        }
        Some(match &self.outcome {
            Some(outcome) => outcome.write.as_deref().unwrap_or("not_applied"),
            None if self.is_handled => "unknown",
            None => "not_applied",
        })
    }

    /// The kind of principal; `None` if it is no better known than by the peer, which the line has anyway.
    fn principal_kind(&self) -> Option<&'static str> {
        match self.principal? {
            Principal::Enterprise(_) => Some("enterprise"),
            Principal::Firm(_) => Some("firm"),
            Principal::Company(_) => Some("company"),
            Principal::Tenant(_) => Some("tenant"),
            Principal::Admin => Some("admin"),
            Principal::Peer(_) | Principal::Server => None,
        }
    }

    /// The id of the principal within its kind.
    fn principal_id(&self) -> Option<String> {
        match self.principal? {
            Principal::Enterprise(id) => Some(id.to_string()),
            Principal::Firm(_) => {
                let firm = self.caller.as_ref()?.require_firm().ok()?;
                Some(firm.0.clone())
            }
            Principal::Company(id) => Some(id.to_string()),
            Principal::Tenant(id) => Some(id.to_string()),
            Principal::Admin | Principal::Peer(_) | Principal::Server => None,
        }
    }

    /// Ends the call's span, if it is sampled.
    fn end_span(&self, code: Code, reason: Option<&str>) {
        let Some(span) = self.trace.span() else {
            return;
        };
        span.set("rpc.response.status_code", code_name(code));
        span.set("earmark.request_id", self.request_id.to_string());
        if let Some(reason) = reason {
            span.set("earmark.reason", reason.to_owned());
        }
        if let Some(outcome) = self.write_outcome() {
            span.set("earmark.outcome", outcome.to_owned());
        }
        if code_name::is_servers_fault(code) {
            span.fail(code_name(code));
        }
        span.end();
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
        self.end_span(code, reason);
        let duration = self.started.elapsed();
        self.durations.record(code.into(), duration);
        if let Some(reason) = reason {
            call_metrics::count_error(reason);
        }
        let duration_ms = duration.as_micros() as f64 / 1_000.0;
        // A macro, because tracing needs the level at compile time.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "earmark::access",
                    // The line has the fields of the call's span as its own. JSON shows the current span all the same.
                    parent: None,
                    method = self.method,
                    code = ?code,
                    reason,
                    outcome = self.write_outcome(),
                    principal_kind = self.principal_kind(),
                    principal = self.principal_id(),
                    subject = self.caller.as_ref().map(|caller| caller.subject.as_str()),
                    records = self.writes.ids(),
                    record_count = Some(self.writes.count()).filter(|count| *count > 0),
                    duration_ms,
                    request_id = &*self.request_id,
                    trace_id = self.trace.id().as_str(),
                    peer = %self.peer,
                    peer_identity = self.peer_identity.as_deref(),
                    "call"
                )
            };
        }
        let level = match code {
            Code::Internal | Code::Unknown | Code::DataLoss => Level::ERROR,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Level::WARN,
            // Probes call health every few seconds.
            _ if matches!(self.route, Route::Public(_)) => Level::DEBUG,
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
