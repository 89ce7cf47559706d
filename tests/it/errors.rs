//! Every error reason is provoked through a real channel and has the documented code, details and metadata.
//!
//! A reason without a case fails the test; a reason that `documented` does not list does not compile.

mod of_buckets;
mod of_calls;
mod of_cas;
mod of_catalogue;
mod of_the_server;

use std::collections::BTreeSet;

use earmark::auth::scope;
use earmark::limits::STATUS_BYTES_MAX;
use earmark::proto::DESCRIPTORS;
use earmark::proto::common::v1::ErrorReason;
use http::HeaderMap;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Which details an error has besides ErrorInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Details {
    /// No details but ErrorInfo.
    Nothing,
    /// BadRequest: field paths and descriptions.
    BadRequest,
    /// ResourceInfo: kind and id of the record.
    Resource(&'static str),
    /// RetryInfo: when to try again.
    Retry,
    /// RequestInfo: the request id, for support.
    Request,
    /// PreconditionFailure: the unmet condition.
    Precondition,
}

/// Code, details, and the keys of the metadata besides `outcome`.
#[expect(
    clippy::too_many_lines,
    reason = "one line for each reason, without a wildcard"
)]
fn documented(reason: ErrorReason) -> (Code, Details, &'static [&'static str]) {
    use Details::{BadRequest, Nothing, Precondition, Request, Resource, Retry};
    use ErrorReason as Reason;

    match reason {
        Reason::Unspecified => unreachable!("never sent"),
        Reason::TokenMissing | Reason::TokenInvalid | Reason::TokenExpired => {
            (Code::Unauthenticated, Nothing, &[])
        }
        Reason::NotAMember => (Code::Unauthenticated, Nothing, &["claim", "id"]),
        Reason::ScopeMissing => (Code::PermissionDenied, Nothing, &["required_scope"]),
        Reason::NoOesLicense | Reason::PartnerAccessDenied => {
            (Code::PermissionDenied, Nothing, &[])
        }
        Reason::CompanyAccessDenied => (Code::PermissionDenied, Nothing, &[]),
        Reason::ClaimMissing => (Code::PermissionDenied, Nothing, &["claim"]),
        Reason::InvalidRequest => (
            Code::InvalidArgument,
            BadRequest,
            &["field", "violations_total"],
        ),
        Reason::PageTokenInvalid => (Code::InvalidArgument, BadRequest, &["field"]),
        Reason::PageTooLarge => (Code::InvalidArgument, BadRequest, &["field", "fits"]),
        Reason::MalformedMessage => (Code::InvalidArgument, Nothing, &[]),
        Reason::EnterpriseNotFound => (Code::NotFound, Resource("enterprise"), &[]),
        Reason::ClientNotFound => (Code::NotFound, Resource("client"), &[]),
        Reason::PartnerNotFound => (Code::NotFound, Resource("partner"), &[]),
        Reason::ConnectionNotFound => (Code::NotFound, Resource("connection"), &[]),
        Reason::AllocationNotFound => (Code::NotFound, Resource("allocation"), &[]),
        Reason::CompanyNotFound => (Code::NotFound, Resource("company"), &[]),
        Reason::NoResults => (Code::NotFound, Resource("allocation"), &[]),
        Reason::BucketNotFound => (Code::NotFound, Resource("bucket"), &[]),
        Reason::ActionNotFound => (Code::NotFound, Resource("balance_action"), &[]),
        Reason::IdempotencyKeyReused => (Code::AlreadyExists, Nothing, &["field"]),
        Reason::ConnectionExists
        | Reason::PartnerExists
        | Reason::SourceIdTaken
        | Reason::BucketExists => (Code::AlreadyExists, Nothing, &["field", "id", "version"]),
        Reason::ClientExists => (Code::AlreadyExists, Nothing, &["id", "version"]),
        Reason::VersionMismatch => (
            Code::Aborted,
            Nothing,
            &["actual_version", "expected_version", "id"],
        ),
        Reason::Archived => (Code::FailedPrecondition, Precondition, &["id", "since"]),
        Reason::HistoryArchived => (Code::OutOfRange, Nothing, &["field", "since"]),
        Reason::Contention => (Code::Aborted, Retry, &[]),
        Reason::AlreadyTerminal => (Code::FailedPrecondition, Precondition, &["status"]),
        Reason::BucketNotUsable => (
            Code::FailedPrecondition,
            Precondition,
            &["bucket_id", "since", "status"],
        ),
        Reason::PatchTestFailed => (Code::FailedPrecondition, Precondition, &["index"]),
        Reason::PatchPathMissing => (Code::FailedPrecondition, Precondition, &["field", "index"]),
        Reason::PartnerNotLicensed => (Code::FailedPrecondition, Precondition, &["id"]),
        Reason::ConnectionInactive => {
            (Code::FailedPrecondition, Precondition, &["direction", "id"])
        }
        Reason::LimitReached => (Code::FailedPrecondition, Precondition, &["id", "limit"]),
        Reason::InsufficientBalance => (
            Code::FailedPrecondition,
            Precondition,
            &["available", "currency", "requested"],
        ),
        Reason::BalanceLimit => (
            Code::FailedPrecondition,
            Precondition,
            &["account", "currency", "limit"],
        ),
        Reason::Overloaded => (Code::ResourceExhausted, Retry, &[]),
        Reason::MessageTooLarge => (Code::ResourceExhausted, Nothing, &["limit"]),
        Reason::DatabaseUnavailable | Reason::ShuttingDown | Reason::KeysUnavailable => {
            (Code::Unavailable, Retry, &[])
        }
        Reason::SchemaOutdated => (Code::Unavailable, Retry, &["schema_found", "schema_needed"]),
        Reason::Deadline => (Code::DeadlineExceeded, Nothing, &[]),
        Reason::MethodUnknown => (Code::Unimplemented, Nothing, &[]),
        Reason::Internal => (Code::Internal, Request, &[]),
    }
}

/// Keys that only some errors of a reason have: those of the record that has the key, if the caller may see it by an id,
/// and those that errors of allocations have, and those of other records not.
fn optional(reason: ErrorReason) -> &'static [&'static str] {
    use ErrorReason as Reason;

    match reason {
        Reason::IdempotencyKeyReused => &["id", "version"],
        Reason::AlreadyTerminal => &["id", "since"],
        Reason::InsufficientBalance => &["account"],
        Reason::HistoryArchived => &["id"],
        _ => &[],
    }
}

/// An error that a call got.
#[derive(Debug)]
struct Case {
    reason: ErrorReason,
    /// Which method was called.
    path: &'static str,
    status: Status,
}

fn case(reason: ErrorReason, path: &'static str, status: Status) -> Case {
    Case {
        reason,
        path,
        status,
    }
}

impl Case {
    fn assert_as_documented(&self) {
        let (code, kind, keys) = documented(self.reason);
        let details = self.status.get_error_details();
        assert_eq!(self.status.code(), code, "{self:?}");
        assert!(!self.status.message().is_empty(), "{self:?}");

        let info = details.error_info().expect("ErrorInfo");
        let name = format!("ERROR_REASON_{}", info.reason);
        assert_eq!(name, self.reason.as_str_name(), "{self:?}");
        assert_eq!(info.domain, "earmark");
        let mut found: BTreeSet<&str> = info.metadata.keys().map(String::as_str).collect();
        let is_write = scope::rpc(self.path).is_some_and(|rpc| rpc.write);
        assert_eq!(found.remove("outcome"), is_write, "{self:?}");
        if is_write {
            let outcome = info.metadata["outcome"].as_str();
            assert!(["not_applied", "unknown"].contains(&outcome), "{self:?}");
        }
        for key in optional(self.reason) {
            found.remove(key);
        }
        assert_eq!(found, keys.iter().copied().collect(), "{self:?}");

        self.assert_details(&details, kind);
        let mut headers = HeaderMap::new();
        self.status.add_header(&mut headers).expect("headers");
        let bytes: usize = headers.values().map(|value| value.len()).sum();
        assert!(bytes <= STATUS_BYTES_MAX, "{bytes} bytes: {self:?}");
    }

    /// Exactly those of this kind are there.
    fn assert_details(&self, details: &ErrorDetails, kind: Details) {
        let bad_request = details.bad_request();
        assert_eq!(
            bad_request.is_some(),
            kind == Details::BadRequest,
            "{self:?}"
        );
        if let Some(bad_request) = bad_request {
            let violations = &bad_request.field_violations;
            assert!((1..=20).contains(&violations.len()), "{self:?}");
            for violation in violations {
                assert!(!violation.field.is_empty(), "{self:?}");
                let chars = violation.description.chars().count();
                assert!((1..=200).contains(&chars), "{self:?}");
            }
        }
        let resource = details.resource_info();
        let kind_of_resource = resource.map(|resource| resource.resource_type.as_str());
        let expected = match kind {
            Details::Resource(name) => Some(name),
            _ => None,
        };
        assert_eq!(kind_of_resource, expected, "{self:?}");
        let retry = details.retry_info();
        assert_eq!(retry.is_some(), kind == Details::Retry, "{self:?}");
        let delay = retry.and_then(|retry| retry.retry_delay);
        assert_eq!(delay.is_some(), kind == Details::Retry, "{self:?}");
        let request = details.request_info();
        assert_eq!(request.is_some(), kind == Details::Request, "{self:?}");
        assert!(request.is_none_or(|request| !request.request_id.is_empty()));
        let precondition = details.precondition_failure();
        let stands_in_the_way = kind == Details::Precondition;
        assert_eq!(precondition.is_some(), stands_in_the_way, "{self:?}");
        if let Some(precondition) = precondition {
            let violation = &precondition.violations[0];
            let name = format!("ERROR_REASON_{}", violation.r#type);
            assert_eq!(name, self.reason.as_str_name());
            assert!(!violation.subject.is_empty() && !violation.description.is_empty());
        }
    }
}

/// The whole enum, as the proto has it.
fn every_reason() -> BTreeSet<i32> {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let reasons = descriptors
        .file
        .iter()
        .flat_map(|file| &file.enum_type)
        .find(|known| known.name() == "ErrorReason")
        .expect("the enum");
    let numbers = reasons.value.iter().map(|value| value.number());
    numbers
        .filter(|number| *number != i32::from(ErrorReason::Unspecified))
        .collect()
}

/// The proto as it is published, with its comments.
const PROTO: &str = include_str!("../../proto/earmark/common/v1/error_reason.proto");

/// The names in backticks of some comment lines.
fn quoted(comment: &str) -> BTreeSet<&str> {
    comment.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_proto_lists_every_metadata_key_that_is_sent() {
    let begin = "metadata under these keys only: ";
    let (_, list) = PROTO.split_once(begin).expect("the list");
    let (list, _) = list.split_once(" (nothing has changed)").expect("its end");
    let mut listed = quoted(list);
    assert!(listed.remove("not_applied"), "{listed:?}");
    // Every key is a literal where an error is described, or one of those that depend on the call.
    let sources = [
        include_str!("../../src/rpc/describe.rs"),
        include_str!("../../src/rpc/status.rs"),
    ];
    let mut sent = BTreeSet::from(["bucket_id", "currency", "id", "outcome", "units"]);
    for source in sources {
        let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
        let literals = code.split(".with(\"").skip(1);
        sent.extend(literals.filter_map(|rest| rest.split('"').next()));
    }
    assert_eq!(listed, sent);
}

#[test]
fn the_comment_of_each_reason_names_its_metadata() {
    for number in every_reason() {
        let reason = ErrorReason::try_from(number).expect("a reason");
        let end = format!("  {} = {number};", reason.as_str_name());
        let (before, _) = PROTO.split_once(&end).expect("its line");
        let lines = before.lines().rev();
        let comment: Vec<_> = lines
            .take_while(|line| line.trim().starts_with("//"))
            .collect();
        let comment: Vec<_> = comment.into_iter().rev().collect();
        let comment = comment.join(" ");
        let named = quoted(&comment);
        for key in documented(reason).2.iter().chain(optional(reason)) {
            assert!(named.contains(key), "{}: `{key}`", reason.as_str_name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_provoked_and_carries_what_is_documented() {
    let (calls, buckets, cas, catalogue, server, stopped, outdated) = tokio::join!(
        of_calls::all(),
        of_buckets::all(),
        of_cas::all(),
        of_catalogue::all(),
        of_the_server::all(),
        of_the_server::without_database(),
        of_the_server::without_migrations()
    );
    let cases: Vec<Case> = [calls, buckets, cas, catalogue, server, stopped, outdated]
        .into_iter()
        .flatten()
        .collect();
    for case in &cases {
        case.assert_as_documented();
    }
    let covered: BTreeSet<i32> = cases.iter().map(|case| case.reason.into()).collect();
    let missing: Vec<_> = every_reason().difference(&covered).copied().collect();
    let name = |number: &i32| ErrorReason::try_from(*number).map(|reason| reason.as_str_name());
    let missing: Vec<_> = missing.iter().map(name).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
