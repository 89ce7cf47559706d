//! A failed call, read from its gRPC status and the `google.rpc` details in it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::proto::common::v1::ErrorReason;

/// The domain of the `google.rpc.ErrorInfo` that the server sends; one of another domain is a proxy's.
const DOMAIN: &str = "earmark";

/// A call that has failed, with what the server says about it.
///
/// Errors that do not come from the server (no connection, a proxy's answer) have a code and a message, but no
/// [`reason`](Self::reason), [`metadata`](Self::metadata) or [`outcome`](Self::outcome).
#[derive(Clone)]
pub struct CallError(Box<CallErrorParts>);

#[derive(Clone)]
struct CallErrorParts {
    status: Status,
    reason_name: Option<String>,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    retry_delay: Option<Duration>,
    request_id: Option<String>,
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// The path of the field in the request, for example `amount.quantity` or `items[3].connection_id`.
    pub field: String,
    /// What is wrong with its value, in English.
    pub description: String,
}

/// Whether a write that failed has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Nothing has changed: the request may be sent again.
    NotApplied,
    /// The server could not learn in time whether it took effect. Repeating it with the same idempotency key tells.
    Unknown,
}

impl CallError {
    /// The gRPC code of the status.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.status.code()
    }

    /// The text of the status, in English; programs should branch on [`reason`](Self::reason) instead.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.status.message()
    }

    /// Why the call failed. `None` if the server did not say, or gave a reason that this version of the client lacks:
    /// [`reason_name`](Self::reason_name) has it then.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.reason_name()?))
    }

    /// The name of the reason as it was sent, for example `INSUFFICIENT_BALANCE`.
    #[must_use]
    pub fn reason_name(&self) -> Option<&str> {
        self.0.reason_name.as_deref()
    }

    /// A value behind the error. `ErrorReason` in the protos lists the keys: `available`, `limit`, `field` and others.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// Whether the write has changed anything; `None` for errors of reads, and for errors that are not the server's.
    #[must_use]
    pub fn outcome(&self) -> Option<WriteOutcome> {
        match self.metadata("outcome")? {
            "not_applied" => Some(WriteOutcome::NotApplied),
            _ => Some(WriteOutcome::Unknown),
        }
    }

    /// The invalid fields of the request: at most those that fit into a status. `violations_total` in the
    /// [`metadata`](Self::metadata) counts them all.
    #[must_use]
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// How long to wait before trying again. The server sends it with errors that pass by themselves, and only with those.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// The request's id in the server's log; sent with INTERNAL errors.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The status that this error was read from.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.0.status
    }
}

impl From<Status> for CallError {
    /// Details that cannot be decoded count as absent.
    fn from(status: Status) -> Self {
        let details = status
            .check_error_details()
            .unwrap_or_else(|_| ErrorDetails::new());
        let info = details
            .error_info()
            .filter(|info| info.domain == DOMAIN)
            .cloned();
        let (reason_name, metadata) =
            info.map_or_else(Default::default, |info| (Some(info.reason), info.metadata));
        let violations = details.bad_request().map(|bad_request| {
            let violation = |violation: &tonic_types::FieldViolation| FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
            };
            bad_request.field_violations.iter().map(violation).collect()
        });
        Self(Box::new(CallErrorParts {
            reason_name,
            metadata,
            violations: violations.unwrap_or_default(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            request_id: details.request_info().map(|info| info.request_id.clone()),
            status,
        }))
    }
}

impl fmt::Display for CallError {
    /// The reason, or else the code, and the message.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason_name() {
            Some(reason) => write!(formatter, "{reason}: {}", self.message()),
            None => write!(formatter, "{:?}: {}", self.code(), self.message()),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CallError")
            .field("code", &self.code())
            .field("reason", &self.0.reason_name)
            .field("message", &self.message())
            .field("metadata", &self.0.metadata)
            .field("field_violations", &self.0.violations)
            .field("retry_delay", &self.0.retry_delay)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for CallError {
    /// What the transport failed for, where it did.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.status.source()
    }
}
