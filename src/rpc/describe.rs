//! What callers see of each [`Error`]: code, reason, text, metadata and detail, in one place per variant.
//!
//! [`describe`] matches every variant without a wildcard, so a new one does not compile until it is described here.
//! [`status`](crate::rpc::status) turns a description into a gRPC status or into the error of one item.

use std::time::Duration;

use tonic::Code;

use crate::error::{
    BucketLimit, BucketOverflow, BucketShortage, ClosedReserve, Error, KeyHolder, Outcome,
    UnusableBucket, Violation, Violations,
};
use crate::limits::{REQUEST_BYTES_MAX, RETRY_DELAY, VIOLATION_CHARS_MAX, VIOLATIONS_MAX};
use crate::proto::common::v1::ErrorReason as Reason;
use crate::types::amount::Amount;
use crate::types::ids::{ClientId, EnterpriseId, PartnerId};
use crate::types::read_class::ReadClass;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The text for a company that is invalid or unknown, to the letter of the catalogue's source document.
pub(crate) const INVALID_COMPANY: &str = "Invalid company id.";

/// Everything that a caller sees of an error, except for what depends on the call: the request id and, for a write,
/// whether it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorDescription {
    pub(crate) code: Code,
    pub(crate) reason: Reason,
    /// The message of the status: what is wrong, where, and what to do about it.
    pub(crate) text: String,
    /// Entries of `ErrorInfo.metadata`, each key at most once. The keys are fixed: clients read them.
    pub(crate) metadata: Vec<(&'static str, String)>,
    /// The currency or unit of the amounts in `metadata`. Its key depends on the service, so it is not among them.
    pub(crate) unit: Option<Unit>,
    pub(crate) detail: ErrorDetail,
}

/// The detail message that stands beside `ErrorInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ErrorDetail {
    /// No further detail message is sent.
    Nothing,
    /// `BadRequest`: at most [`VIOLATIONS_MAX`] fields, each with the rule that its value breaks.
    BadRequest(Vec<(String, String)>),
    /// `ResourceInfo`: the type of the record that is missing, and its id, which may be empty.
    Resource(&'static str, String),
    /// `PreconditionFailure`: the subject whose state does not allow the call.
    Precondition(String),
    /// `RetryInfo`: the same call may succeed after [`RETRY_DELAY`].
    Retry,
    /// `RequestInfo`: the request id by which operators find the cause in the log.
    RequestId,
}

impl ErrorDescription {
    fn new(code: Code, reason: Reason, text: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            text: text.into(),
            metadata: Vec::new(),
            unit: None,
            detail: ErrorDetail::Nothing,
        }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    fn with_unit(mut self, unit: &Unit) -> Self {
        self.unit = Some(unit.clone());
        self
    }

    fn with_detail(mut self, detail: ErrorDetail) -> Self {
        self.detail = detail;
        self
    }
}

/// Describes an error; the only place that maps errors to what callers see.
pub(crate) fn describe(error: &Error) -> ErrorDescription {
    match error {
        Error::TokenMissing => token_missing(),
        Error::TokenInvalid(why) => token_invalid(why),
        Error::TokenExpired => token_expired(),
        Error::ScopeMissing(scope) => scope_missing(scope),
        Error::InvalidRequest(violations) => invalid_request(violations),
        Error::PageTokenInvalid => page_token_invalid(),
        Error::MalformedMessage(why) => malformed_message(why),
        Error::NotAMember => not_a_member(),
        Error::ClaimMissing(claim) => claim_missing(claim),
        Error::CompanyAccessDenied => company_access_denied(),
        Error::EnterpriseNotFound(id) => enterprise_not_found(id),
        Error::NoOesLicense => no_oes_license(),
        Error::PartnerAccessDenied => partner_access_denied(),
        Error::IdempotencyKeyReused { field } => idempotency_key_reused(field),
        Error::RecordKeyReused { field, holder } => record_key_reused(field, holder),
        Error::ClientNotFound(id) => client_not_found(id.as_ref()),
        Error::PartnerNotFound(id) => not_found(Reason::PartnerNotFound, "partner", id),
        Error::ConnectionNotFound(id) => not_found(Reason::ConnectionNotFound, "connection", id),
        Error::AllocationNotFound(id) => not_found(Reason::AllocationNotFound, "allocation", id),
        Error::CasAllocationNotFound(id) => not_found(Reason::AllocationNotFound, "allocation", id),
        Error::CompanyNotFound(id) => company_not_found(id),
        Error::NoResults(id) => no_results(*id),
        Error::BucketNotFound(id) => not_found(Reason::BucketNotFound, "bucket", id),
        Error::ActionNotFound(id) => action_not_found(id),
        Error::ClientExists { enterprise, client } => client_exists(*enterprise, *client),
        Error::ConnectionExists {
            partner,
            partners_connection_id,
        } => connection_exists(*partner, partners_connection_id),
        Error::SourceIdTaken(id) => source_id_taken(id),
        Error::BucketExists(holder) => bucket_exists(holder),
        Error::VersionMismatch { expected, actual } => version_mismatch(*expected, *actual),
        Error::AlreadyTerminal { status } => already_terminal(status),
        Error::ReserveClosed(reserve) => reserve_closed(reserve),
        Error::BucketClosed { bucket, since } => bucket_closed(bucket, *since),
        Error::ConnectionInactive { direction, reason } => connection_inactive(direction, reason),
        Error::BucketNotUsable(bucket) => bucket_not_usable(bucket),
        Error::PatchTestFailed { index } => patch_test_failed(*index),
        Error::LimitReached { what, limit } => limit_reached(what, *limit),
        Error::InsufficientBalance {
            available,
            requested,
            unit,
        } => insufficient_balance(*available, *requested, unit),
        Error::BucketShort(shortage) => bucket_short(shortage),
        Error::BucketFull(overflow) => bucket_full(overflow),
        Error::BalanceLimit { unit } => balance_limit(unit),
        Error::Contention => contention(),
        Error::Overloaded => overloaded(),
        Error::MessageTooLarge => message_too_large(),
        Error::BodyStalled(limit) => body_stalled(*limit),
        Error::DatabaseUnavailable(outcome) => database_unavailable(*outcome),
        Error::ShuttingDown => shutting_down(),
        Error::Deadline(outcome) => deadline(*outcome),
        Error::ReadTooLong { class, limit } => read_too_long(*class, *limit),
        Error::MethodUnknown => method_unknown(),
        Error::Internal(..) => internal(),
    }
}

// Token and scope.

fn token_missing() -> ErrorDescription {
    let text = "No token: send the metadata `authorization: Bearer <JWT>`.";
    ErrorDescription::new(Code::Unauthenticated, Reason::TokenMissing, text)
}

fn token_invalid(why: &str) -> ErrorDescription {
    let text = format!("Invalid token: {why}.");
    ErrorDescription::new(Code::Unauthenticated, Reason::TokenInvalid, text)
}

fn token_expired() -> ErrorDescription {
    let text = "The token has expired: get a new one from its issuer.";
    ErrorDescription::new(Code::Unauthenticated, Reason::TokenExpired, text)
}

fn scope_missing(scope: &str) -> ErrorDescription {
    let text = format!("The token lacks the scope `{scope}`, which this call needs.");
    ErrorDescription::new(Code::PermissionDenied, Reason::ScopeMissing, text)
        .with("required_scope", scope)
}

// Arguments.

fn invalid_request(violations: &Violations) -> ErrorDescription {
    let all = violations.all();
    let text = match (violations.sentence(), all) {
        (Some(sentence), _) => sentence.into(),
        (None, []) => "The request is invalid.".into(),
        (None, [only]) => violation_text(&only.field, &only.description),
        (None, [first, others @ ..]) => {
            let first = violation_text(&first.field, &first.description);
            format!("{first} (and {} more)", others.len())
        }
    };
    let shown = all.iter().take(VIOLATIONS_MAX);
    let fields = shown.map(
        |Violation {
             field, description, ..
         }| (cut(field), cut(description)),
    );
    let mut described = ErrorDescription::new(Code::InvalidArgument, Reason::InvalidRequest, text)
        .with("violations_total", all.len())
        .with_detail(ErrorDetail::BadRequest(fields.collect()));
    if let Some(first) = all.first() {
        described = described.with("field", cut(&first.field));
        if let Some(index) = first.index {
            described = described.with("index", index);
        }
    }
    described
}

/// A violation as one text, for a message that has no `BadRequest` beside it.
pub(crate) fn violation_text(field: &str, description: &str) -> String {
    cut(&format!("`{field}`: {description}"))
}

fn page_token_invalid() -> ErrorDescription {
    const FIELD: &str = "page_token";
    let text =
        "`page_token` must be one that this call returned for the same filter and sort order.";
    let fields = vec![(FIELD.into(), text.into())];
    ErrorDescription::new(Code::InvalidArgument, Reason::PageTokenInvalid, text)
        .with("field", FIELD)
        .with_detail(ErrorDetail::BadRequest(fields))
}

fn malformed_message(why: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The body is not a message of the request's type: {why}"
    ));
    ErrorDescription::new(Code::InvalidArgument, Reason::MalformedMessage, text)
}

// Membership, license and side.

fn not_a_member() -> ErrorDescription {
    let text = "Caller is not a member of the enterprise.";
    ErrorDescription::new(Code::Unauthenticated, Reason::NotAMember, text)
}

fn claim_missing(claim: &str) -> ErrorDescription {
    let text = format!("The token lacks the claim `{claim}`, which this call needs.");
    ErrorDescription::new(Code::PermissionDenied, Reason::ClaimMissing, text).with("claim", claim)
}

fn company_access_denied() -> ErrorDescription {
    let text = "Access denied: you don't have permissions to see allocations of this company.";
    ErrorDescription::new(Code::PermissionDenied, Reason::CompanyAccessDenied, text)
}

fn enterprise_not_found(id: &EnterpriseId) -> ErrorDescription {
    not_found(Reason::EnterpriseNotFound, "enterprise", id)
}

fn no_oes_license() -> ErrorDescription {
    let text = "Enterprise does not have OES license.";
    ErrorDescription::new(Code::PermissionDenied, Reason::NoOesLicense, text)
}

fn partner_access_denied() -> ErrorDescription {
    let text = "Only the partner's own enterprise can make this call, and the calling enterprise is another.";
    ErrorDescription::new(Code::PermissionDenied, Reason::PartnerAccessDenied, text)
}

// Records and keys.

fn not_found(reason: Reason, kind: &'static str, id: &impl ToString) -> ErrorDescription {
    let id = id.to_string();
    let text = cut(&format!("There is no {kind} {id}."));
    ErrorDescription::new(Code::NotFound, reason, text)
        .with_detail(ErrorDetail::Resource(kind, cut(&id)))
}

fn client_not_found(id: Option<&ClientId>) -> ErrorDescription {
    const KIND: &str = "client";
    match id {
        Some(id) => not_found(Reason::ClientNotFound, KIND, id),
        None => {
            let text = "The enterprise has no client.";
            ErrorDescription::new(Code::NotFound, Reason::ClientNotFound, text)
                .with_detail(ErrorDetail::Resource(KIND, String::new()))
        }
    }
}

fn company_not_found(id: &impl ToString) -> ErrorDescription {
    ErrorDescription::new(Code::NotFound, Reason::CompanyNotFound, INVALID_COMPANY)
        .with_detail(ErrorDetail::Resource("company", id.to_string()))
}

fn no_results(allocation: Option<i64>) -> ErrorDescription {
    let name = allocation.map(|id| id.to_string()).unwrap_or_default();
    let text = "No results found for specified criteria.";
    ErrorDescription::new(Code::NotFound, Reason::NoResults, text)
        .with_detail(ErrorDetail::Resource("allocation", name))
}

fn action_not_found(id: &impl ToString) -> ErrorDescription {
    let id = id.to_string();
    let text = format!("There is no balance action {id} that this call can refer to.");
    ErrorDescription::new(Code::NotFound, Reason::ActionNotFound, text)
        .with_detail(ErrorDetail::Resource("balance_action", id))
}

fn idempotency_key_reused(field: &str) -> ErrorDescription {
    let text = format!(
        "`{field}` was used before with other content: send a new value, or the first request unchanged."
    );
    ErrorDescription::new(Code::AlreadyExists, Reason::IdempotencyKeyReused, text)
        .with("field", field)
}

fn record_key_reused(field: &str, holder: &KeyHolder) -> ErrorDescription {
    let text = cut(&format!(
        "`{field}` was used before with other content, for {}: send a new value, or the first request unchanged.",
        holder_text(holder)
    ));
    let described = ErrorDescription::new(Code::AlreadyExists, Reason::IdempotencyKeyReused, text);
    with_holder(described.with("field", field), holder)
}

fn holder_text(KeyHolder { id, version }: &KeyHolder) -> String {
    match version {
        Some(version) => format!("the record {id} (version {version})"),
        None => format!("the record {id}"),
    }
}

fn with_holder(described: ErrorDescription, holder: &KeyHolder) -> ErrorDescription {
    let described = described.with("id", &holder.id);
    match holder.version {
        Some(version) => described.with("version", version),
        None => described,
    }
}

fn client_exists(enterprise: EnterpriseId, client: ClientId) -> ErrorDescription {
    let text = format!("The enterprise {enterprise} has a client already: {client}.");
    ErrorDescription::new(Code::AlreadyExists, Reason::ClientExists, text)
}

fn connection_exists(partner: PartnerId, partners_connection_id: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The partner {partner} has a connection with the `partners_connection_id` {partners_connection_id:?} already."
    ));
    ErrorDescription::new(Code::AlreadyExists, Reason::ConnectionExists, text)
        .with("field", "partners_connection_id")
}

fn source_id_taken(id: &str) -> ErrorDescription {
    let text = cut(&format!(
        "Another allocation has the source id {id:?} already."
    ));
    ErrorDescription::new(Code::AlreadyExists, Reason::SourceIdTaken, text)
        .with("field", "source_id")
}

fn bucket_exists(holder: &KeyHolder) -> ErrorDescription {
    let text = format!(
        "There is a bucket {} with other content already: send another id, or use UpdateBucket.",
        shown_id(&holder.id)
    );
    let described = ErrorDescription::new(Code::AlreadyExists, Reason::BucketExists, text);
    with_holder(described.with("field", "bucket.id"), holder)
}

// State and balance.

fn precondition(reason: Reason, subject: impl Into<String>, text: String) -> ErrorDescription {
    ErrorDescription::new(Code::FailedPrecondition, reason, text)
        .with_detail(ErrorDetail::Precondition(subject.into()))
}

fn version_mismatch(expected: i64, actual: i64) -> ErrorDescription {
    let text = format!(
        "The record is at version {actual}, not at the expected version {expected}: read it again before you change it."
    );
    ErrorDescription::new(Code::Aborted, Reason::VersionMismatch, text)
        .with("expected_version", expected)
        .with("actual_version", actual)
}

fn already_terminal(status: &str) -> ErrorDescription {
    let text = format!("The record is {status} already, and that status is final.");
    precondition(Reason::AlreadyTerminal, status, text).with("status", status)
}

fn reserve_closed(closed: &ClosedReserve) -> ErrorDescription {
    let ClosedReserve {
        reserve,
        status,
        ended,
        since,
    } = closed;
    let text =
        format!("The reserve {reserve} {ended} at {since}: it is {status}, and that is final.");
    precondition(Reason::AlreadyTerminal, reserve.to_string(), text)
        .with("status", status)
        .with("id", reserve)
        .with("since", since)
}

fn bucket_closed(bucket: &str, since: Option<Time>) -> ErrorDescription {
    let when = since.map_or(String::new(), |since| format!(" at {since}"));
    let text = format!(
        "The bucket {} was closed{when}: CLOSED is final.",
        shown_id(bucket)
    );
    let described = precondition(Reason::AlreadyTerminal, bucket, text)
        .with("status", "CLOSED")
        .with("bucket_id", bucket);
    with_since(described, since)
}

fn with_since(described: ErrorDescription, since: Option<Time>) -> ErrorDescription {
    match since {
        Some(since) => described.with("since", since),
        None => described,
    }
}

fn connection_inactive(direction: &str, why: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The connection does not accept {direction}s: {why}"
    ));
    precondition(Reason::ConnectionInactive, direction, text).with("direction", direction)
}

fn bucket_not_usable(unusable: &UnusableBucket) -> ErrorDescription {
    let UnusableBucket {
        bucket,
        status,
        since,
        reason,
        values,
    } = unusable;
    let text = format!("The bucket {} {reason}.", shown_id(bucket));
    let described = precondition(Reason::BucketNotUsable, bucket, text)
        .with("status", status)
        .with("bucket_id", bucket);
    let described = with_since(described, *since);
    match values {
        Some((available, reserved, unit)) => described
            .with("available", available)
            .with("reserved", reserved)
            .with_unit(unit),
        None => described,
    }
}

fn patch_test_failed(index: usize) -> ErrorDescription {
    let operation = format!("operations[{index}]");
    let text = format!("`{operation}`: the test failed, the value at `path` is not `value_json`.");
    precondition(Reason::PatchTestFailed, operation, text).with("index", index)
}

fn limit_reached(what: &str, limit: usize) -> ErrorDescription {
    let text =
        format!("The limit of {limit} {what} is reached: delete one before you add another.");
    precondition(Reason::LimitReached, what, text).with("limit", limit)
}

fn insufficient_balance(available: Amount, requested: Amount, unit: &Unit) -> ErrorDescription {
    let text = format!("{requested} {unit} requested, {available} available.");
    precondition(Reason::InsufficientBalance, unit.as_str(), text)
        .with("available", available)
        .with("requested", requested)
        .with_unit(unit)
}

fn bucket_short(shortage: &BucketShortage) -> ErrorDescription {
    let BucketShortage {
        bucket,
        reserve,
        available,
        requested,
        unit,
    } = shortage;
    let id = shown_id(bucket);
    let text = match reserve {
        None => format!("The bucket {id} has {available} {unit} remaining: {requested} requested."),
        Some(reserve) => format!(
            "The reserve {reserve} of the bucket {id} holds {available} {unit}: {requested} requested."
        ),
    };
    let described = precondition(Reason::InsufficientBalance, bucket, text)
        .with("available", available)
        .with("requested", requested)
        .with("bucket_id", bucket)
        .with_unit(unit);
    match reserve {
        Some(reserve) => described.with("id", reserve),
        None => described,
    }
}

fn bucket_full(overflow: &BucketOverflow) -> ErrorDescription {
    let BucketOverflow {
        bucket,
        requested,
        unit,
        rule,
    } = overflow;
    let id = shown_id(bucket);
    let (text, limit) = match rule {
        BucketLimit::Value { total } => (
            format!(
                "The bucket {id} has {total} {unit}, remaining and reserved together: with {requested} more it \
                 would not stay below {}.",
                Amount::DECIMAL_LIMIT
            ),
            BUCKET_VALUE_MAX.into(),
        ),
        BucketLimit::Turnover => (
            format!(
                "What has been moved into and out of the bucket {id} is counted in 28 digits, and {requested} {unit} \
                 would not fit: use fewer digits after the point, or another bucket."
            ),
            "9".repeat(28),
        ),
    };
    precondition(Reason::BalanceLimit, bucket, text)
        .with("limit", limit)
        .with("requested", requested)
        .with("bucket_id", bucket)
        .with_unit(unit)
}

/// The largest value of a bucket.
const BUCKET_VALUE_MAX: &str = "9999999999999999.999999999999";

fn balance_limit(unit: &Unit) -> ErrorDescription {
    let text = format!("The balance of {unit} would have more than 28 digits.");
    precondition(Reason::BalanceLimit, unit.as_str(), text)
        .with("limit", "9".repeat(28))
        .with_unit(unit)
}

// The server and its database.

/// An error that may not occur again when the call is repeated after [`RETRY_DELAY`].
fn transient(code: Code, reason: Reason, what: &str) -> ErrorDescription {
    let text = format!("{what}: try again in {} ms.", RETRY_DELAY.as_millis());
    ErrorDescription::new(code, reason, text).with_detail(ErrorDetail::Retry)
}

/// What a caller can do who does not know whether its write was applied.
const REPEAT_WITH_KEY: &str = "the write may have been applied: repeat it with the same key";

fn contention() -> ErrorDescription {
    let what = "Other writes changed the same records at the same time";
    transient(Code::Aborted, Reason::Contention, what)
}

fn overloaded() -> ErrorDescription {
    let what = "The server is at the limit of its capacity";
    transient(Code::ResourceExhausted, Reason::Overloaded, what)
}

fn message_too_large() -> ErrorDescription {
    let text = format!("The request is larger than {REQUEST_BYTES_MAX} bytes.");
    ErrorDescription::new(Code::ResourceExhausted, Reason::MessageTooLarge, text)
        .with("limit", REQUEST_BYTES_MAX)
}

fn body_stalled(limit: Duration) -> ErrorDescription {
    let limit = format!("{limit:?}");
    let text = format!(
        "The request was not complete, and nothing more of it came for {limit}: send it again."
    );
    ErrorDescription::new(Code::DeadlineExceeded, Reason::Deadline, text)
        .with("limit", limit)
        .with_detail(ErrorDetail::Retry)
}

fn database_unavailable(outcome: Outcome) -> ErrorDescription {
    let mut described = transient(
        Code::Unavailable,
        Reason::DatabaseUnavailable,
        "The database does not answer",
    );
    if outcome == Outcome::Unknown {
        described.text = format!("The database did not answer; {REPEAT_WITH_KEY}.");
    }
    described
}

fn shutting_down() -> ErrorDescription {
    let what = "The server is shutting down";
    transient(Code::Unavailable, Reason::ShuttingDown, what)
}

fn deadline(outcome: Outcome) -> ErrorDescription {
    let text = match outcome {
        Outcome::NotApplied => "The deadline passed before the answer was ready.".into(),
        Outcome::Unknown => {
            format!("The deadline passed before the answer was ready; {REPEAT_WITH_KEY}.")
        }
    };
    ErrorDescription::new(Code::DeadlineExceeded, Reason::Deadline, text)
}

fn read_too_long(class: ReadClass, limit: Duration) -> ErrorDescription {
    let limit = humantime::format_duration(limit);
    let what = |reads| format!("The read took longer than {limit}, the server's limit for {reads}");
    let described = |reads, advice| {
        let text = format!("{}: {advice}.", what(reads));
        ErrorDescription::new(Code::DeadlineExceeded, Reason::Deadline, text)
    };
    let described = match class {
        // A moment later the record may be read as fast as usual.
        ReadClass::ByKey => {
            let what = what("reads by key");
            transient(Code::DeadlineExceeded, Reason::Deadline, &what)
        }
        ReadClass::List => described("lists", "set more filters, or ask for a smaller page"),
        ReadClass::Search => {
            described("searches", "set narrower criteria, or sort by fewer fields")
        }
    };
    described.with("limit", limit)
}

fn method_unknown() -> ErrorDescription {
    let text = "There is no such method.";
    ErrorDescription::new(Code::Unimplemented, Reason::MethodUnknown, text)
}

fn internal() -> ErrorDescription {
    let text = "Internal error; `google.rpc.RequestInfo` has the id to report it by.";
    ErrorDescription::new(Code::Internal, Reason::Internal, text)
        .with_detail(ErrorDetail::RequestId)
}

/// An id that a caller chose, in quotes, of which at most 40 characters are shown: the metadata has it whole.
fn shown_id(id: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    match id.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{id:?}"),
        Some((end, _)) => format!("{:?}…", &id[..end]),
    }
}

/// Cuts a text to [`VIOLATION_CHARS_MAX`] characters, of which the last is then an ellipsis.
fn cut(text: &str) -> String {
    if text.chars().count() <= VIOLATION_CHARS_MAX {
        return text.into();
    }
    text.chars()
        .take(VIOLATION_CHARS_MAX - 1)
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(fields: &[&str]) -> String {
        let mut violations = Violations::default();
        for field in fields {
            violations.add(*field, "is required");
        }
        describe(&Error::InvalidRequest(violations)).text
    }

    #[test]
    fn the_text_names_the_first_violation_and_counts_the_others() {
        assert_eq!(text_of(&["name"]), "`name`: is required");
        assert_eq!(
            text_of(&["name", "client_id", "mode"]),
            "`name`: is required (and 2 more)"
        );
    }

    #[test]
    fn a_read_that_took_too_long_names_the_limit_and_what_to_do() {
        let limit = Duration::from_millis(1_500);
        for (class, advice, detail) in [
            (ReadClass::ByKey, "try again in", ErrorDetail::Retry),
            (ReadClass::List, "smaller page", ErrorDetail::Nothing),
            (ReadClass::Search, "narrower criteria", ErrorDetail::Nothing),
        ] {
            let described = describe(&Error::ReadTooLong { class, limit });
            assert_eq!(described.reason, Reason::Deadline);
            assert_eq!(described.metadata, [("limit", "1s 500ms".to_owned())]);
            assert_eq!(described.detail, detail);
            let text = described.text;
            assert!(text.contains("1s 500ms") && text.contains(advice), "{text}");
        }
    }

    #[test]
    fn a_sentence_of_a_source_document_is_the_whole_text() {
        let mut violations = Violations::default();
        violations.add("langcode", "must be a language tag");
        violations.add_sentence("company_id", INVALID_COMPANY);
        let described = describe(&Error::InvalidRequest(violations));
        assert_eq!(described.text, INVALID_COMPANY);
        assert_eq!(
            described.metadata,
            [
                ("violations_total", "2".to_owned()),
                ("field", "langcode".to_owned())
            ]
        );
    }

    #[test]
    fn a_long_text_is_cut_to_its_limit() {
        let described = describe(&Error::BucketNotFound("é".repeat(500)));
        assert_eq!(described.text.chars().count(), VIOLATION_CHARS_MAX);
        assert!(described.text.ends_with('…'), "{}", described.text);
    }

    #[test]
    fn only_an_unknown_outcome_asks_for_a_repeat_with_the_same_key() {
        for (outcome, is_asked) in [(Outcome::NotApplied, false), (Outcome::Unknown, true)] {
            for error in [
                Error::DatabaseUnavailable(outcome),
                Error::Deadline(outcome),
            ] {
                let text = describe(&error).text;
                assert_eq!(text.contains(REPEAT_WITH_KEY), is_asked, "{text}");
            }
        }
    }
}
