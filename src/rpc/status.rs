//! Makes gRPC statuses, and errors of single items, from the descriptions of errors.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::auth::scope::Rpc;
use crate::error::{Error, Outcome};
use crate::limits::{RETRY_DELAY, STATUS_BYTES_MAX, VIOLATION_CHARS_MAX};
use crate::proto::common::v1::{ErrorReason, ItemError};
use crate::rpc::describe::{ErrorDescription, ErrorDetail, describe, violation_text};

/// The domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "earmark";

/// Makes the status of an error. `rpc` is the method that failed, if it is one of ours: the errors of a write say
/// whether it was applied.
pub(crate) fn from_error(error: &Error, rpc: Option<&Rpc>, request_id: &str) -> Status {
    status(describe(error), error, rpc, request_id)
}

/// Makes the status of an error under another code than the error's own, where gRPC itself prescribes that code.
pub(crate) fn with_code(code: Code, error: &Error, rpc: Option<&Rpc>, request_id: &str) -> Status {
    let description = ErrorDescription {
        code,
        ..describe(error)
    };
    status(description, error, rpc, request_id)
}

/// Makes the error of one item in an answer, whose call as a whole succeeded.
pub(crate) fn item_error(error: &Error) -> ItemError {
    let described = describe(error);
    let mut metadata: HashMap<String, String> = owned(described.metadata).collect();
    metadata.extend(
        described
            .unit
            .map(|unit| (CURRENCY.into(), unit.to_string())),
    );
    let message = match described.detail {
        // An item has no `BadRequest` beside it, so its message lists every violation.
        ErrorDetail::BadRequest(fields) => {
            let texts = fields
                .iter()
                .map(|(field, description)| violation_text(field, description));
            texts.collect::<Vec<_>>().join("; ")
        }
        _ => described.text,
    };
    ItemError {
        code: described.code as i32,
        reason: described.reason.into(),
        message,
        metadata: metadata.into_iter().collect(),
    }
}

/// Whether a status was made here, rather than by tonic itself.
pub(crate) fn is_ours(status: &Status) -> bool {
    let details = status.details();
    !details.is_empty() && tonic_types::pb::Status::decode(details).is_ok()
}

/// Every reason, as callers see it.
pub(crate) fn reasons() -> &'static [&'static str] {
    static REASONS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        // Numbers of withdrawn reasons are left out.
        let known = (1..1_000).filter_map(|number| ErrorReason::try_from(number).ok());
        known.map(name).collect()
    });
    &REASONS
}

fn name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The metadata key of the unit of amounts, for all services but the buckets'.
const CURRENCY: &str = "currency";

/// The trailer by which a server tells clients when to repeat a call, in milliseconds.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

fn unit_key(rpc: Option<&Rpc>) -> &'static str {
    match rpc {
        Some(rpc) if rpc.path.starts_with("/earmark.bucket.") => "units",
        _ => CURRENCY,
    }
}

fn status(
    described: ErrorDescription,
    error: &Error,
    rpc: Option<&Rpc>,
    request_id: &str,
) -> Status {
    if let Error::Internal(what, _) = error {
        tracing::error!(request_id, what, "internal error");
    }
    let mut metadata: HashMap<String, String> = owned(described.metadata).collect();
    metadata.extend(
        described
            .unit
            .map(|unit| (unit_key(rpc).into(), unit.to_string())),
    );
    if rpc.is_some_and(|rpc| rpc.write) {
        let outcome = match error.outcome() {
            Outcome::NotApplied => "not_applied",
            Outcome::Unknown => "unknown",
        };
        metadata.insert("outcome".into(), outcome.into());
    }
    let name = name(described.reason);
    let mut details = ErrorDetails::new();
    details.set_error_info(name, DOMAIN, metadata);
    match described.detail {
        ErrorDetail::Nothing => {}
        ErrorDetail::BadRequest(fields) => {
            for (field, description) in fields {
                details.add_bad_request_violation(field, description);
            }
        }
        ErrorDetail::Resource(kind, id) => {
            details.set_resource_info(kind, id, "", described.text.clone());
        }
        ErrorDetail::Precondition(subject) => {
            details.add_precondition_failure_violation(name, subject, described.text.clone());
        }
        ErrorDetail::Retry => {
            details.set_retry_info(Some(RETRY_DELAY));
            let mut status = bounded(described.code, described.text, details);
            // What the retries of gRPC's own client libraries obey.
            let delay = u32::try_from(RETRY_DELAY.as_millis()).unwrap_or(u32::MAX);
            status.metadata_mut().insert(RETRY_PUSHBACK, delay.into());
            return status;
        }
        ErrorDetail::RequestId => {
            details.set_request_info(request_id, "");
        }
    }
    bounded(described.code, described.text, details)
}

fn owned(pairs: Vec<(&'static str, String)>) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|(key, value)| (key.into(), value))
}

/// Makes the status; one that would be larger than [`STATUS_BYTES_MAX`] loses half of its violations until it fits, and
/// the last one its list of known names.
fn bounded(code: Code, text: String, mut details: ErrorDetails) -> Status {
    loop {
        let status = Status::with_error_details(code, text.clone(), details.clone());
        // Base64 makes four bytes of three, and each byte of a text that is not ASCII is escaped to three.
        let bytes = status.details().len().div_ceil(3) * 4 + status.message().len() * 3;
        if bytes <= STATUS_BYTES_MAX {
            return status;
        }
        let mut violations = details
            .bad_request()
            .map(|bad_request| bad_request.field_violations.clone())
            .unwrap_or_default();
        let count = violations.len();
        match violations.first_mut() {
            None => return status,
            Some(_) if count > 1 => violations.truncate(count / 2),
            Some(only) => {
                let rule: String = only.description.chars().take(VIOLATION_CHARS_MAX).collect();
                if rule == only.description {
                    return status;
                }
                only.description = rule;
            }
        }
        details.set_bad_request(violations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_would_be_too_large_loses_violations_and_then_the_list_of_names() {
        let bytes_of = |violations: usize, characters: usize| {
            let mut details = ErrorDetails::new();
            details.set_error_info("INVALID_REQUEST", DOMAIN, HashMap::new());
            for _ in 0..violations {
                details.add_bad_request_violation("field", "é".repeat(characters));
            }
            let status = bounded(Code::InvalidArgument, "é".repeat(200), details);
            let left = status.get_details_bad_request().expect("a BadRequest");
            let bytes = status.details().len().div_ceil(3) * 4 + status.message().len() * 3;
            assert!(bytes <= STATUS_BYTES_MAX, "{bytes}");
            (
                left.field_violations.len(),
                left.field_violations[0].description.chars().count(),
            )
        };
        assert_eq!(bytes_of(1, 1_000), (1, 1_000));
        assert_eq!(bytes_of(1, 4_000), (1, VIOLATION_CHARS_MAX));
        assert_eq!(bytes_of(20, 100), (10, 100));
        assert_eq!(bytes_of(20, 1_000), (1, 1_000));
    }
}
