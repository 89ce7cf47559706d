//! One line per call, however it ends: also for a caller that left, since the line comes from a drop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::auth::caller::Caller;
use crate::server::authorise::Route;

/// Characters of a path that leads nowhere: known ones are shorter.
const PATH_CHARS_MAX: usize = 200;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    code: Code,
    reason: Option<String>,
}

impl Verdict {
    /// All is well.
    pub const OK: Self = Self {
        code: Code::Ok,
        reason: None,
    };

    /// The code of a status, and its reason if it has one.
    pub fn of(status: &Status) -> Self {
        Self {
            code: status.code(),
            reason: status.get_details_error_info().map(|info| info.reason),
        }
    }
}

/// A call's line; written when it is dropped. Without a verdict the caller has left.
#[derive(Debug)]
pub struct Entry {
    method: String,
    request_id: Arc<str>,
    peer: SocketAddr,
    caller: Option<Arc<Caller>>,
    started: Instant,
    verdict: Option<Verdict>,
    /// Health and reflection: asked all the time, and by nobody in particular.
    quiet: bool,
}

impl Entry {
    /// Begins with the call.
    pub fn new(path: &str, route: Route, request_id: Arc<str>, peer: SocketAddr) -> Self {
        Self {
            method: path.chars().take(PATH_CHARS_MAX).collect(),
            request_id,
            peer,
            caller: None,
            started: Instant::now(),
            verdict: None,
            quiet: route == Route::Open,
        }
    }

    /// Notes who calls.
    pub fn set_caller(&mut self, caller: Arc<Caller>) {
        self.caller = Some(caller);
    }

    /// Notes how it ended.
    pub fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (code, reason) = match &self.verdict {
            Some(verdict) => (verdict.code, verdict.reason.as_deref()),
            None => (Code::Cancelled, None),
        };
        let duration_ms = self.started.elapsed().as_micros() as f64 / 1_000.0;
        // A macro, since the level must be known when it is compiled.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "earmark::access",
                    // In text, its span would only repeat what the line says.
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
            _ if self.quiet => line!(debug),
            _ => line!(info),
        }
    }
}
