//! From an error to what the caller sees: code, text and `google.rpc` details. The only such place.

use std::collections::HashMap;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::auth::scope::Rpc;
use crate::error::{Error, Outcome, Violation, Violations};
use crate::limits::{
    REQUEST_BYTES_MAX, RETRY_DELAY, STATUS_BYTES_MAX, VIOLATION_CHARS_MAX, VIOLATIONS_MAX,
};
use crate::proto::common::v1::{ErrorReason, ItemError};

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "earmark";
/// How the catalogue's source words a company that is invalid, or not there.
pub const INVALID_COMPANY: &str = "Invalid company id.";

/// Turns an error into a status. `rpc` tells whether it was a write, whose errors say whether it happened.
pub fn from_error(error: &Error, rpc: Option<&Rpc>, request_id: &str) -> Status {
    with_code(code(error), error, rpc, request_id)
}

/// The same under another code than the error's own, where gRPC itself demands that one.
pub fn with_code(code: Code, error: &Error, rpc: Option<&Rpc>, request_id: &str) -> Status {
    if let Error::Internal(what, _) = error {
        tracing::error!(request_id, what, "internal error");
    }
    let mut metadata = metadata(error, rpc);
    if rpc.is_some_and(|rpc| rpc.write) {
        let outcome = match error.outcome() {
            Outcome::NotApplied => "not_applied",
            Outcome::Unknown => "unknown",
        };
        metadata.insert("outcome".into(), outcome.into());
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason_name(error), DOMAIN, metadata);
    add_details(&mut details, error, request_id);
    bounded(code, text(error), details)
}

/// The same error where it is one item's rather than the call's.
pub fn item_error(error: &Error) -> ItemError {
    ItemError {
        code: code(error) as i32,
        reason: reason(error).into(),
        message: match error {
            Error::InvalidRequest(violations) => listed(violations),
            other => text(other),
        },
        metadata: metadata(error, None).into_iter().collect(),
    }
}

/// The name of an error's reason, as `ErrorInfo` has it.
pub fn reason_name(error: &Error) -> String {
    let name = reason(error).as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name).into()
}

/// The gRPC code of an error.
pub fn code(error: &Error) -> Code {
    match error {
        Error::TokenMissing | Error::TokenInvalid(_) | Error::TokenExpired | Error::NotAMember => {
            Code::Unauthenticated
        }
        Error::ScopeMissing(_)
        | Error::ClaimMissing(_)
        | Error::CompanyAccessDenied
        | Error::NoOesLicense
        | Error::PartnerAccessDenied => Code::PermissionDenied,
        Error::InvalidRequest(_) | Error::PageTokenInvalid | Error::MalformedMessage(_) => {
            Code::InvalidArgument
        }
        Error::EnterpriseNotFound(_)
        | Error::ClientNotFound(_)
        | Error::PartnerNotFound(_)
        | Error::ConnectionNotFound(_)
        | Error::AllocationNotFound(_)
        | Error::CasAllocationNotFound(_)
        | Error::CompanyNotFound(_)
        | Error::NoResults(_)
        | Error::BucketNotFound(_)
        | Error::ActionNotFound(_) => Code::NotFound,
        Error::IdempotencyKeyReused { .. }
        | Error::ClientExists
        | Error::ConnectionExists
        | Error::SourceIdTaken(_)
        | Error::BucketExists(_) => Code::AlreadyExists,
        Error::VersionMismatch { .. } | Error::Contention => Code::Aborted,
        Error::AlreadyTerminal { .. }
        | Error::ConnectionInactive { .. }
        | Error::BucketNotUsable { .. }
        | Error::PatchTestFailed { .. }
        | Error::LimitReached { .. }
        | Error::InsufficientBalance { .. }
        | Error::BalanceLimit { .. } => Code::FailedPrecondition,
        Error::Overloaded | Error::MessageTooLarge => Code::ResourceExhausted,
        Error::DatabaseUnavailable(_) | Error::ShuttingDown => Code::Unavailable,
        Error::Deadline(_) => Code::DeadlineExceeded,
        Error::MethodUnknown => Code::Unimplemented,
        Error::Internal(..) => Code::Internal,
    }
}

/// The reason of an error in the closed enum.
pub fn reason(error: &Error) -> ErrorReason {
    match error {
        Error::TokenMissing => ErrorReason::TokenMissing,
        Error::TokenInvalid(_) => ErrorReason::TokenInvalid,
        Error::TokenExpired => ErrorReason::TokenExpired,
        Error::ScopeMissing(_) => ErrorReason::ScopeMissing,
        Error::InvalidRequest(_) => ErrorReason::InvalidRequest,
        Error::PageTokenInvalid => ErrorReason::PageTokenInvalid,
        Error::MalformedMessage(_) => ErrorReason::MalformedMessage,
        Error::NotAMember => ErrorReason::NotAMember,
        Error::ClaimMissing(_) => ErrorReason::ClaimMissing,
        Error::CompanyAccessDenied => ErrorReason::CompanyAccessDenied,
        Error::EnterpriseNotFound(_) => ErrorReason::EnterpriseNotFound,
        Error::NoOesLicense => ErrorReason::NoOesLicense,
        Error::PartnerAccessDenied => ErrorReason::PartnerAccessDenied,
        Error::IdempotencyKeyReused { .. } => ErrorReason::IdempotencyKeyReused,
        Error::ClientNotFound(_) => ErrorReason::ClientNotFound,
        Error::PartnerNotFound(_) => ErrorReason::PartnerNotFound,
        Error::ConnectionNotFound(_) => ErrorReason::ConnectionNotFound,
        Error::AllocationNotFound(_) | Error::CasAllocationNotFound(_) => {
            ErrorReason::AllocationNotFound
        }
        Error::CompanyNotFound(_) => ErrorReason::CompanyNotFound,
        Error::NoResults(_) => ErrorReason::NoResults,
        Error::BucketNotFound(_) => ErrorReason::BucketNotFound,
        Error::ActionNotFound(_) => ErrorReason::ActionNotFound,
        Error::ClientExists => ErrorReason::ClientExists,
        Error::ConnectionExists => ErrorReason::ConnectionExists,
        Error::SourceIdTaken(_) => ErrorReason::SourceIdTaken,
        Error::BucketExists(_) => ErrorReason::BucketExists,
        Error::VersionMismatch { .. } => ErrorReason::VersionMismatch,
        Error::AlreadyTerminal { .. } => ErrorReason::AlreadyTerminal,
        Error::ConnectionInactive { .. } => ErrorReason::ConnectionInactive,
        Error::BucketNotUsable { .. } => ErrorReason::BucketNotUsable,
        Error::PatchTestFailed { .. } => ErrorReason::PatchTestFailed,
        Error::LimitReached { .. } => ErrorReason::LimitReached,
        Error::InsufficientBalance { .. } => ErrorReason::InsufficientBalance,
        Error::BalanceLimit { .. } => ErrorReason::BalanceLimit,
        Error::Contention => ErrorReason::Contention,
        Error::Overloaded => ErrorReason::Overloaded,
        Error::MessageTooLarge => ErrorReason::MessageTooLarge,
        Error::DatabaseUnavailable(_) => ErrorReason::DatabaseUnavailable,
        Error::ShuttingDown => ErrorReason::ShuttingDown,
        Error::Deadline(_) => ErrorReason::Deadline,
        Error::MethodUnknown => ErrorReason::MethodUnknown,
        Error::Internal(..) => ErrorReason::Internal,
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::TokenMissing => "No token: send metadata `authorization: Bearer <JWT>`.".into(),
        Error::TokenInvalid(why) => format!("Invalid token: {why}."),
        Error::TokenExpired => "The token has expired.".into(),
        Error::ScopeMissing(scope) => format!("The token lacks the scope `{scope}`."),
        Error::InvalidRequest(violations) => summary(violations),
        Error::PageTokenInvalid => {
            "`page_token` is not one that this call gave with the same filter and sort.".into()
        }
        Error::MalformedMessage(why) => cut(&format!(
            "The body is not a message of the request's type: {why}"
        )),
        Error::NotAMember => "Caller is not a member of the enterprise.".into(),
        Error::ClaimMissing(claim) => format!("The token lacks the claim `{claim}`."),
        Error::CompanyAccessDenied => {
            "Access denied: you don't have permissions to see allocations of this company.".into()
        }
        Error::EnterpriseNotFound(id) => format!("There is no enterprise {id}."),
        Error::NoOesLicense => "Enterprise does not have OES license.".into(),
        Error::PartnerAccessDenied => {
            "The call is the partner's, and the enterprise is not that partner.".into()
        }
        Error::IdempotencyKeyReused { field } => {
            format!("`{field}` was used before with other content.")
        }
        Error::ClientNotFound(Some(id)) => format!("There is no client {id}."),
        Error::ClientNotFound(None) => "The enterprise has no client.".into(),
        Error::PartnerNotFound(id) => format!("There is no partner {id}."),
        Error::ConnectionNotFound(id) => format!("There is no connection {id}."),
        Error::AllocationNotFound(id) => format!("There is no allocation {id}."),
        Error::CasAllocationNotFound(id) => cut(&format!("There is no allocation {id}.")),
        Error::CompanyNotFound(_) => INVALID_COMPANY.into(),
        Error::NoResults(_) => "No results found for specified criteria.".into(),
        Error::BucketNotFound(id) => cut(&format!("There is no bucket {id}.")),
        Error::ActionNotFound(id) => format!("There is no such balance action: {id}."),
        Error::ClientExists => "The enterprise has a client already.".into(),
        Error::ConnectionExists => {
            "The partner has a connection with this `partners_connection_id` already.".into()
        }
        Error::SourceIdTaken(id) => cut(&format!("Another allocation has the source id {id}.")),
        Error::BucketExists(id) => cut(&format!("There is another bucket {id} already.")),
        Error::VersionMismatch { expected, actual } => {
            format!("The record is at version {actual}, not {expected}.")
        }
        Error::AlreadyTerminal { status } => format!("The record is {status} already."),
        Error::ConnectionInactive { direction, reason } => {
            cut(&format!("The connection takes no {direction}s: {reason}"))
        }
        Error::BucketNotUsable { reason, .. } => {
            cut(&format!("The bucket does not allow it: {reason}."))
        }
        Error::PatchTestFailed { index } => {
            format!("The test `operations[{index}]` does not hold.")
        }
        Error::LimitReached { what, limit } => format!("There are {limit} {what} already."),
        Error::InsufficientBalance {
            available,
            requested,
            unit,
        } => {
            format!("{requested} {unit} requested, {available} available.")
        }
        Error::BalanceLimit { unit } => {
            format!("The balance of {unit} would pass 28 digits.")
        }
        Error::Contention => "Too many writes of the same records at once: try again.".into(),
        Error::Overloaded => "The server is at its limit: try again.".into(),
        Error::MessageTooLarge => format!("The request is larger than {REQUEST_BYTES_MAX} bytes."),
        Error::DatabaseUnavailable(_) => "The database does not answer: try again.".into(),
        Error::ShuttingDown => "The server is shutting down: try again.".into(),
        Error::Deadline(_) => "The deadline passed before the answer was there.".into(),
        Error::MethodUnknown => "There is no such method.".into(),
        Error::Internal(..) => "Internal error; `google.rpc.RequestInfo` names the request.".into(),
    }
}

/// Every violation, for where there is no `BadRequest` beside the text.
fn listed(violations: &Violations) -> String {
    let shown = violations.all().iter().take(VIOLATIONS_MAX);
    shown.map(violation_text).collect::<Vec<_>>().join("; ")
}

fn violation_text(violation: &Violation) -> String {
    cut(&format!("`{}`: {}", violation.field, violation.description))
}

fn summary(violations: &Violations) -> String {
    if let Some(sentence) = violations.sentence() {
        return sentence.into();
    }
    match violations.all() {
        [only] => violation_text(only),
        all => format!(
            "{} arguments are invalid, see `google.rpc.BadRequest`.",
            all.len()
        ),
    }
}

/// The numbers behind an error. A balance is of a currency, but of a bucket's units.
fn metadata(error: &Error, rpc: Option<&Rpc>) -> HashMap<String, String> {
    let is_of_a_bucket = rpc.is_some_and(|rpc| rpc.path.starts_with("/earmark.bucket."));
    let unit_key = if is_of_a_bucket { "units" } else { "currency" };
    let pairs: Vec<(&str, String)> = match error {
        Error::ScopeMissing(scope) => vec![("required_scope", (*scope).into())],
        Error::ClaimMissing(claim) => vec![("claim", (*claim).into())],
        Error::InvalidRequest(violations) => {
            let mut pairs = vec![("violations_total", violations.all().len().to_string())];
            if let Some(first) = violations.all().first() {
                pairs.push(("field", cut(&first.field)));
                pairs.extend(first.index.map(|index| ("index", index.to_string())));
            }
            pairs
        }
        Error::PageTokenInvalid => vec![("field", "page_token".into())],
        Error::IdempotencyKeyReused { field } => vec![("field", (*field).into())],
        Error::ConnectionExists => vec![("field", "partners_connection_id".into())],
        Error::SourceIdTaken(_) => vec![("field", "source_id".into())],
        Error::BucketExists(_) => vec![("field", "bucket.id".into())],
        Error::VersionMismatch { expected, actual } => vec![
            ("expected_version", expected.to_string()),
            ("actual_version", actual.to_string()),
        ],
        Error::AlreadyTerminal { status } => vec![("status", (*status).into())],
        Error::ConnectionInactive { direction, .. } => vec![("direction", (*direction).into())],
        Error::BucketNotUsable { status, .. } => vec![("status", (*status).into())],
        Error::PatchTestFailed { index } => vec![("index", index.to_string())],
        Error::LimitReached { limit, .. } => vec![("limit", limit.to_string())],
        Error::InsufficientBalance {
            available,
            requested,
            unit,
        } => vec![
            ("available", available.to_string()),
            ("requested", requested.to_string()),
            (unit_key, unit.to_string()),
        ],
        Error::BalanceLimit { unit } => {
            vec![("limit", "9".repeat(28)), (unit_key, unit.to_string())]
        }
        Error::MessageTooLarge => vec![("limit", REQUEST_BYTES_MAX.to_string())],
        Error::TokenMissing
        | Error::TokenInvalid(_)
        | Error::TokenExpired
        | Error::MalformedMessage(_)
        | Error::NotAMember
        | Error::CompanyAccessDenied
        | Error::EnterpriseNotFound(_)
        | Error::NoOesLicense
        | Error::PartnerAccessDenied
        | Error::ClientNotFound(_)
        | Error::PartnerNotFound(_)
        | Error::ConnectionNotFound(_)
        | Error::AllocationNotFound(_)
        | Error::CasAllocationNotFound(_)
        | Error::CompanyNotFound(_)
        | Error::NoResults(_)
        | Error::BucketNotFound(_)
        | Error::ActionNotFound(_)
        | Error::ClientExists
        | Error::Contention
        | Error::Overloaded
        | Error::DatabaseUnavailable(_)
        | Error::ShuttingDown
        | Error::Deadline(_)
        | Error::MethodUnknown
        | Error::Internal(..) => Vec::new(),
    };
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn add_details(details: &mut ErrorDetails, error: &Error, request_id: &str) {
    match error {
        Error::InvalidRequest(violations) => {
            for violation in violations.all().iter().take(VIOLATIONS_MAX) {
                details
                    .add_bad_request_violation(cut(&violation.field), cut(&violation.description));
            }
        }
        Error::PageTokenInvalid => {
            details.add_bad_request_violation("page_token", text(error));
        }
        Error::EnterpriseNotFound(id) => resource(details, "enterprise", id.to_string(), error),
        Error::ClientNotFound(id) => {
            let name = id.map(|id| id.to_string()).unwrap_or_default();
            resource(details, "client", name, error);
        }
        Error::PartnerNotFound(id) => resource(details, "partner", id.to_string(), error),
        Error::ConnectionNotFound(id) => resource(details, "connection", id.to_string(), error),
        Error::AllocationNotFound(id) => resource(details, "allocation", id.to_string(), error),
        Error::CasAllocationNotFound(id) => resource(details, "allocation", cut(id), error),
        Error::CompanyNotFound(id) => resource(details, "company", id.to_string(), error),
        Error::NoResults(id) => {
            let name = id.map(|id| id.to_string()).unwrap_or_default();
            resource(details, "allocation", name, error);
        }
        Error::BucketNotFound(id) => resource(details, "bucket", id.clone(), error),
        Error::ActionNotFound(id) => resource(details, "balance_action", id.to_string(), error),
        Error::AlreadyTerminal { status } | Error::BucketNotUsable { status, .. } => {
            details.add_precondition_failure_violation(reason_name(error), *status, text(error));
        }
        Error::PatchTestFailed { index } => {
            let operation = format!("operations[{index}]");
            details.add_precondition_failure_violation(reason_name(error), operation, text(error));
        }
        Error::ConnectionInactive { direction, .. } => {
            details.add_precondition_failure_violation(reason_name(error), *direction, text(error));
        }
        Error::LimitReached { what, .. } => {
            details.add_precondition_failure_violation(reason_name(error), *what, text(error));
        }
        Error::InsufficientBalance { unit, .. } | Error::BalanceLimit { unit } => {
            details.add_precondition_failure_violation(
                reason_name(error),
                unit.as_str(),
                text(error),
            );
        }
        Error::Contention
        | Error::Overloaded
        | Error::DatabaseUnavailable(_)
        | Error::ShuttingDown => {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        Error::Internal(..) => {
            details.set_request_info(request_id, "");
        }
        Error::TokenMissing
        | Error::TokenInvalid(_)
        | Error::TokenExpired
        | Error::ScopeMissing(_)
        | Error::MalformedMessage(_)
        | Error::NotAMember
        | Error::ClaimMissing(_)
        | Error::CompanyAccessDenied
        | Error::NoOesLicense
        | Error::PartnerAccessDenied
        | Error::IdempotencyKeyReused { .. }
        | Error::ClientExists
        | Error::ConnectionExists
        | Error::SourceIdTaken(_)
        | Error::BucketExists(_)
        | Error::VersionMismatch { .. }
        | Error::MessageTooLarge
        | Error::Deadline(_)
        | Error::MethodUnknown => {}
    }
}

fn resource(details: &mut ErrorDetails, kind: &str, name: String, error: &Error) {
    details.set_resource_info(kind, name, "", text(error));
}

/// Makes the status, with fewer violations if it would be larger than clients take.
fn bounded(code: Code, text: String, mut details: ErrorDetails) -> Status {
    loop {
        let status = Status::with_error_details(code, text.clone(), details.clone());
        // Base64 makes four bytes of three, and a text that is not ASCII is escaped threefold.
        let bytes = status.details().len().div_ceil(3) * 4 + status.message().len() * 3;
        if bytes <= STATUS_BYTES_MAX {
            return status;
        }
        let violations = details
            .bad_request()
            .map(|bad_request| bad_request.field_violations.clone())
            .unwrap_or_default();
        if violations.len() <= 1 {
            return status;
        }
        details.set_bad_request(violations[..violations.len() / 2].to_vec());
    }
}

/// Cuts a text to what one violation may have.
fn cut(text: &str) -> String {
    if text.chars().count() <= VIOLATION_CHARS_MAX {
        return text.into();
    }
    text.chars()
        .take(VIOLATION_CHARS_MAX - 1)
        .chain(['…'])
        .collect()
}

/// Whether a status is one of ours, rather than tonic's own.
pub fn is_ours(status: &Status) -> bool {
    prost_types_status(status).is_some()
}

fn prost_types_status(status: &Status) -> Option<tonic_types::pb::Status> {
    if status.details().is_empty() {
        return None;
    }
    tonic_types::pb::Status::decode(status.details()).ok()
}
