//! What callers see of each [`Error`]: code, reason, text, metadata and detail, in one place per variant.
//!
//! [`describe`] matches every variant without a wildcard, so a new one does not compile until it is described here.
//! [`status`](crate::rpc::status) turns a description into a gRPC status or into the error of one item.

use std::collections::BTreeSet;
use std::time::Duration;

use tonic::Code;

use crate::error::{
    AdjustmentHolder, BucketLimit, BucketOverflow, BucketShortage, ClosedReserve, DatabaseRefusal,
    Error, FinalAllocation, KeyHolder, Outcome, RecordName, SchemaVersions, StoredValue, TakenId,
    UnusableBucket, Violations,
};
use crate::limits::{
    ENTERPRISE_CURRENCIES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, RETRY_DELAY,
    VIOLATION_CHARS_MAX, VIOLATIONS_MAX,
};
use crate::proto::common::v1::ErrorReason as Reason;
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId};
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
#[expect(
    clippy::too_many_lines,
    reason = "a line or two for each variant, without a wildcard"
)]
pub(crate) fn describe(error: &Error) -> ErrorDescription {
    match error {
        Error::TokenMissing => token_missing(),
        Error::TokenInvalid(why) => token_invalid(why),
        Error::ClaimInvalid { claim, why } => token_invalid(why).with("claim", cut(claim)),
        Error::TokenExpired => token_expired(),
        Error::ScopeMissing(scope) => scope_missing(scope),
        Error::InvalidRequest(violations) => invalid_request(violations),
        Error::PageTokenInvalid => page_token_invalid(),
        Error::MalformedMessage(why) => malformed_message(why),
        Error::NotAMember { claim, enterprise } => not_a_member(claim, *enterprise),
        Error::ClaimMissing(claim) => claim_missing(claim),
        Error::CompanyAccessDenied => company_access_denied(),
        Error::EnterpriseNotFound(id) => enterprise_not_found(id),
        Error::NoOesLicense => no_oes_license(),
        Error::PartnerAccessDenied => partner_access_denied(),
        Error::IdempotencyKeyReused {
            field,
            holder,
            stored,
        } => idempotency_key_reused(field, holder.as_ref(), stored),
        Error::AdjustmentKeyReused(holder) => adjustment_key_reused(holder),
        Error::Archived { record, since } => archived(record.as_ref(), *since),
        Error::HistoryArchived { field, id, since } => history_archived(field, *id, *since),
        Error::ClientNotFound(id) => client_not_found(id.as_ref()),
        Error::PartnerNotFound(id) => not_found(Reason::PartnerNotFound, "partner", id),
        Error::ConnectionNotFound(id) => not_found(Reason::ConnectionNotFound, "connection", id),
        Error::AllocationNotFound(id) => not_found(Reason::AllocationNotFound, "allocation", id),
        Error::AllocationNotOnConnection {
            allocation,
            connection,
            found_on,
        } => allocation_not_on_connection(*allocation, *connection, *found_on),
        Error::CasAllocationNotFound(id) => not_found(Reason::AllocationNotFound, "allocation", id),
        Error::CompanyNotFound(id) => company_not_found(id),
        Error::NoResults(id) => no_results(*id),
        Error::BucketNotFound(id) => not_found(Reason::BucketNotFound, "bucket", id),
        Error::ActionNotFound(id) => action_not_found(id),
        Error::ReserveNotFound { id, bucket } => reserve_not_found(id, bucket),
        Error::ClientExists {
            enterprise,
            client,
            version,
        } => client_exists(*enterprise, *client, *version),
        Error::PartnerExists(taken) => partner_exists(taken),
        Error::ConnectionExists(taken) => connection_exists(taken),
        Error::SourceIdTaken {
            field,
            source_id,
            holder,
        } => source_id_taken(field, source_id, holder),
        Error::BucketExists(holder) => bucket_exists(holder),
        Error::VersionMismatch {
            record,
            expected,
            actual,
        } => version_mismatch(record, *expected, *actual),
        Error::AlreadyTerminal { status } => already_terminal(status),
        Error::ReserveClosed(reserve) => reserve_closed(reserve),
        Error::BucketClosed { bucket, since } => bucket_closed(bucket, *since),
        Error::AllocationFinal(of) => allocation_final(of),
        Error::PartnerNotLicensed { connection, side } => partner_not_licensed(*connection, side),
        Error::ConnectionInactive {
            connection,
            direction,
            reason,
        } => connection_inactive(*connection, direction, reason),
        Error::BucketNotUsable(bucket) => bucket_not_usable(bucket),
        Error::PatchTestFailed { index, found } => patch_test_failed(*index, found),
        Error::PatchPathMissing {
            index,
            member,
            reason,
        } => patch_path_missing(*index, member, reason),
        Error::LimitReached { owner, what, limit } => limit_reached(owner, what, *limit),
        Error::CurrenciesLimit { enterprise, unit } => currencies_limit(*enterprise, unit),
        Error::InsufficientBalance {
            available,
            requested,
            unit,
            account,
            is_unused,
        } => {
            let account = account.as_deref();
            insufficient_balance(*available, *requested, unit, account, *is_unused)
        }
        Error::BucketShort(shortage) => bucket_short(shortage),
        Error::BucketFull(overflow) => bucket_full(overflow),
        Error::BalanceLimit { unit, account } => balance_limit(unit, account.as_deref()),
        Error::PageTooLarge { field, fits } => page_too_large(field, *fits),
        Error::Contention => contention(),
        Error::Overloaded | Error::AnswerOverloaded(_) => overloaded(),
        Error::MessageTooLarge => message_too_large(),
        Error::BodyStalled(limit) => body_stalled(*limit),
        Error::DatabaseUnavailable(outcome) => database_unavailable(*outcome),
        Error::DatabaseRefuses(refusal) => database_refuses(*refusal),
        Error::SchemaOutdated(versions) => schema_outdated(versions),
        Error::KeysUnavailable => keys_unavailable(),
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
    let text = cut(&format!("Invalid token: {why}."));
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
    // Where several names are not known, one list of those that are is enough.
    let mut listed = BTreeSet::new();
    let shown = all.iter().take(VIOLATIONS_MAX);
    let fields = shown.map(|violation| {
        let mut description = cut(&violation.description);
        if let Some(known) = &violation.known_names
            && listed.insert(known)
        {
            description += &format!(" {known}");
        }
        (cut(&violation.field), description)
    });
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

fn page_too_large(field: &str, fits: usize) -> ErrorDescription {
    let rule =
        format!("must be at most {fits}, else an answer would pass {RESPONSE_BYTES_MAX} bytes");
    let advice = match field {
        "currencies" => format!("name at most {fits} in `{field}`"),
        // Which records an offset stands for does not depend on the size of pages.
        "limit" => format!(
            "ask for {fits} by `{field}`, go on behind them by `offset`, or follow `next_page_token` instead of offsets"
        ),
        _ => format!(
            "ask for {fits} by `{field}` and begin again with the first page, or follow `next_page_token` instead of numbers"
        ),
    };
    let text = format!("The page does not fit into an answer: {advice}.");
    ErrorDescription::new(Code::InvalidArgument, Reason::PageTooLarge, text)
        .with("field", field)
        .with("fits", fits)
        .with_detail(ErrorDetail::BadRequest(vec![(field.into(), rule)]))
}

fn malformed_message(why: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The body is not a message of the request's type: {why}"
    ));
    ErrorDescription::new(Code::InvalidArgument, Reason::MalformedMessage, text)
}

// Membership, license and side.

/// The first sentence is that of the source document.
fn not_a_member(claim: &str, enterprise: Option<EnterpriseId>) -> ErrorDescription {
    let why = match enterprise {
        Some(id) => format!("The token's claim `{claim}` does not list {id}."),
        None => format!("The token has no claim `{claim}`, which lists the bearer's enterprises."),
    };
    let text = cut(&format!("Caller is not a member of the enterprise. {why}"));
    let described = ErrorDescription::new(Code::Unauthenticated, Reason::NotAMember, text)
        .with("claim", cut(claim));
    match enterprise {
        Some(id) => described.with("id", id),
        None => described,
    }
}

fn claim_missing(claim: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The token lacks the claim `{claim}`, which this call needs."
    ));
    ErrorDescription::new(Code::PermissionDenied, Reason::ClaimMissing, text)
        .with("claim", cut(claim))
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
    let text = "Only the partner's own enterprise can make this call, and the calling enterprise is another. \
                Calls of a client's side: CancelAllocation, ListClientAllocations, ListClientBalances.";
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
            let text = "The enterprise has no client, which an administrator creates by CreateClient. Calls of a \
                        partner's side: ReleaseAllocation, ListPartnerAllocations, ListPartnerBalances.";
            ErrorDescription::new(Code::NotFound, Reason::ClientNotFound, text)
                .with_detail(ErrorDetail::Resource(KIND, String::new()))
        }
    }
}

fn allocation_not_on_connection(
    allocation: AllocationId,
    connection: ConnectionId,
    found_on: Option<ConnectionId>,
) -> ErrorDescription {
    let text = match found_on {
        None => format!("There is no allocation {allocation} on the connection {connection}."),
        Some(other) => format!(
            "The allocation {allocation} is not on the connection {connection} but on {other}: name that one."
        ),
    };
    let id = allocation.to_string();
    ErrorDescription::new(Code::NotFound, Reason::AllocationNotFound, text)
        .with_detail(ErrorDetail::Resource("allocation", id))
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
    let text = format!("There is no balance action {id}.");
    ErrorDescription::new(Code::NotFound, Reason::ActionNotFound, text)
        .with_detail(ErrorDetail::Resource("balance_action", id))
}

fn reserve_not_found(id: &impl ToString, bucket: &str) -> ErrorDescription {
    let id = id.to_string();
    let text = format!(
        "The bucket {} has no reserve {id}: `reserve_id` must be the `id` of one of its actions of type RESERVE.",
        shown_id(bucket)
    );
    ErrorDescription::new(Code::NotFound, Reason::ActionNotFound, text)
        .with_detail(ErrorDetail::Resource("balance_action", id))
}

/// A key that another record has already.
fn key_taken(reason: Reason, text: String, holder: Option<&KeyHolder>) -> ErrorDescription {
    let mut described = ErrorDescription::new(Code::AlreadyExists, reason, text);
    if let Some(holder) = holder {
        described = described.with("id", &holder.id);
        if let Some(version) = holder.version {
            described = described.with("version", version);
        }
    }
    described
}

fn idempotency_key_reused(
    field: &str,
    holder: Option<&KeyHolder>,
    stored: &[StoredValue],
) -> ErrorDescription {
    let of = holder.map(|holder| format!(", for {}", holder_text(holder)));
    let text = format!(
        "`{field}` was used before with other content{}: send a new value, or the first request unchanged.{}",
        of.unwrap_or_default(),
        stored_text(stored)
    );
    key_taken(Reason::IdempotencyKeyReused, text, holder).with("field", field)
}

/// What the first request had in the first of the fields that differ.
fn stored_text(stored: &[StoredValue]) -> String {
    let Some(first) = stored.first() else {
        return String::new();
    };
    let had = match &first.value {
        Some(value) => format!("had `{}` {}", first.field, shown_id(value)),
        None => format!("had no `{}`", first.field),
    };
    let others: Vec<_> = stored[1..]
        .iter()
        .map(|other| format!("`{}`", other.field))
        .collect();
    match others.is_empty() {
        true => format!(" That one {had}."),
        false => format!(" That one {had}, and differs in {} too.", others.join(", ")),
    }
}

fn holder_text(KeyHolder { id, version }: &KeyHolder) -> String {
    match version {
        Some(version) => format!("the record {id} (version {version})"),
        None => format!("the record {id}"),
    }
}

fn adjustment_key_reused(holder: &AdjustmentHolder) -> ErrorDescription {
    let AdjustmentHolder {
        id,
        quantity,
        unit,
        created_at,
        stored,
    } = holder;
    let text = format!(
        "`external_id` was used before with other content, at {created_at} to adjust custody by {quantity} {unit}: \
         send a new value, or the first request unchanged.{}",
        stored_text(stored)
    );
    ErrorDescription::new(Code::AlreadyExists, Reason::IdempotencyKeyReused, text)
        .with("field", "external_id")
        .with("id", id)
}

fn archived(record: Option<&RecordName>, since: Time) -> ErrorDescription {
    let (key, id) = match record {
        Some(RecordName::Bucket(id)) => ("bucket_id", Some(id)),
        Some(RecordName::Id(id)) => ("id", Some(id)),
        None => ("id", None),
    };
    let what = id.map_or_else(
        || "What the call repeats".into(),
        |id| format!("The record {}", shown_id(id)),
    );
    let text = format!(
        "{what} is archived, or its first answer is, with all that was final before {since}: nothing has changed, and its \
         key is not free. The operator has it in files."
    );
    let subject = id.map_or("archive", String::as_str);
    let described = precondition(Reason::Archived, subject, text).with("since", since);
    match id {
        Some(id) => described.with(key, id),
        None => described,
    }
}

fn history_archived(field: &str, id: Option<AllocationId>, since: Time) -> ErrorDescription {
    let text = match (id, field) {
        (Some(id), _) => format!(
            "`{field}`: {id} is of a time before {since}, and what was final then is archived: the operator has it in files."
        ),
        (None, "page_token") => format!(
            "`{field}`: what was before {since} has been archived since the first page: begin again without a token."
        ),
        (None, _) => format!(
            "`{field}`: what was before {since} is archived: ask for that time or a later one. The operator has the rest \
             in files."
        ),
    };
    let described = ErrorDescription::new(Code::OutOfRange, Reason::HistoryArchived, text)
        .with("field", field)
        .with("since", since);
    match id {
        Some(id) => described.with("id", id),
        None => described,
    }
}

fn client_exists(enterprise: EnterpriseId, client: ClientId, version: i64) -> ErrorDescription {
    let text = format!("The enterprise {enterprise} has a client already: {client}.");
    let holder = KeyHolder {
        id: client.to_string(),
        version: Some(version),
    };
    key_taken(Reason::ClientExists, text, Some(&holder))
}

fn partner_exists(taken: &TakenId) -> ErrorDescription {
    let text = cut(&format!(
        "Partner {} of enterprise {} has this `institution_identifier` already: {:?}.",
        taken.holder.id, taken.within, taken.value
    ));
    key_taken(Reason::PartnerExists, text, Some(&taken.holder))
        .with("field", "institution_identifier")
}

fn connection_exists(taken: &TakenId) -> ErrorDescription {
    let text = cut(&format!(
        "Connection {} of partner {} has this `partners_connection_id` already: {:?}.",
        taken.holder.id, taken.within, taken.value
    ));
    key_taken(Reason::ConnectionExists, text, Some(&taken.holder))
        .with("field", "partners_connection_id")
}

fn source_id_taken(field: &str, source_id: &str, holder: &KeyHolder) -> ErrorDescription {
    let holds = holder_text(holder);
    // The source id comes last: it may be long, and is what the caller knows.
    let text = cut(&format!(
        "Another allocation, {holds}, has this source id already: {source_id:?}."
    ));
    key_taken(Reason::SourceIdTaken, text, Some(holder)).with("field", field)
}

fn bucket_exists(holder: &KeyHolder) -> ErrorDescription {
    let text = format!(
        "There is a bucket {} with other content already: send another id, or change it, by TopupBalance or AdjustBalance \
         what it has and by UpdateBucket the rest.",
        shown_id(&holder.id)
    );
    key_taken(Reason::BucketExists, text, Some(holder)).with("field", "bucket.id")
}

// State and balance.

fn precondition(reason: Reason, subject: impl Into<String>, text: String) -> ErrorDescription {
    ErrorDescription::new(Code::FailedPrecondition, reason, text)
        .with_detail(ErrorDetail::Precondition(subject.into()))
}

fn version_mismatch(record: &RecordName, expected: i64, actual: i64) -> ErrorDescription {
    let (name, key, id) = match record {
        RecordName::Bucket(id) => ("bucket", "bucket_id", id),
        RecordName::Id(id) => ("record", "id", id),
    };
    let shown = shown_id(id);
    let text = match (expected, actual) {
        (_, 0) => format!(
            "There is no {name} {shown}, so that it cannot be at the expected version {expected}: expect 0 to create it."
        ),
        (0, _) => format!(
            "There is a {name} {shown} already, at version {actual}, where none was expected: read it before you change it."
        ),
        _ => format!(
            "The {name} {shown} is at version {actual}, not at the expected version {expected}: read it again before you \
             change it."
        ),
    };
    ErrorDescription::new(Code::Aborted, Reason::VersionMismatch, text)
        .with(key, id)
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

fn allocation_final(of: &FinalAllocation) -> ErrorDescription {
    let FinalAllocation {
        id,
        direction,
        event,
        status,
        since,
    } = of;
    let text = format!("The {direction} {id} {event} at {since}: its status, {status}, is final.");
    precondition(Reason::AlreadyTerminal, *status, text)
        .with("status", status)
        .with("id", id)
        .with("since", since)
}

fn partner_not_licensed(connection: ConnectionId, side: &str) -> ErrorDescription {
    let text = format!(
        "The {side} of connection {connection} has no OES license: allocations are neither created nor cleared. \
         Deallocations, cancellations and releases are possible."
    );
    precondition(Reason::PartnerNotLicensed, side, text).with("id", connection)
}

fn connection_inactive(connection: ConnectionId, direction: &str, why: &str) -> ErrorDescription {
    let text = cut(&format!(
        "The connection {connection} does not accept {direction}s: {why}"
    ));
    precondition(Reason::ConnectionInactive, direction, text)
        .with("direction", direction)
        .with("id", connection)
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

fn patch_test_failed(index: usize, found: &str) -> ErrorDescription {
    let operation = format!("operations[{index}]");
    let text = cut(&format!("`{operation}`: the test failed: {found}"));
    precondition(Reason::PatchTestFailed, operation, text).with("index", index)
}

fn patch_path_missing(index: usize, member: &str, why: &str) -> ErrorDescription {
    let field = format!("operations[{index}].{member}");
    let text = violation_text(&field, why);
    precondition(Reason::PatchPathMissing, &field, text)
        .with("index", index)
        .with("field", field)
}

fn limit_reached(owner: &str, what: &str, limit: usize) -> ErrorDescription {
    let text =
        format!("The limit of {limit} {what} is reached: delete one before you add another.");
    precondition(Reason::LimitReached, what, text)
        .with("id", owner)
        .with("limit", limit)
}

fn currencies_limit(enterprise: EnterpriseId, unit: &Unit) -> ErrorDescription {
    let text = format!(
        "{unit} would be one more than the {ENTERPRISE_CURRENCIES_MAX} currencies that an enterprise may have: use one that \
         it has had."
    );
    precondition(Reason::LimitReached, "currencies", text)
        .with("id", enterprise)
        .with("limit", ENTERPRISE_CURRENCIES_MAX)
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

fn insufficient_balance(
    available: Amount,
    requested: Amount,
    unit: &Unit,
    account: Option<&str>,
    is_unused: bool,
) -> ErrorDescription {
    let place = match account {
        None => String::new(),
        Some("custody") => " in custody".into(),
        Some(connection) => format!(" on the connection {connection}"),
    };
    let unused = match is_unused {
        true => {
            format!(", which never had any {unit}: currencies are told apart by their case too")
        }
        false => String::new(),
    };
    let text = format!("{requested} {unit} requested, {available} available{place}{unused}.");
    let mut described = precondition(Reason::InsufficientBalance, unit.as_str(), text)
        .with("available", available)
        .with("requested", requested)
        .with_unit(unit);
    if let Some(account) = account {
        described = described.with("account", account);
    }
    described
}

fn balance_limit(unit: &Unit, account: Option<&str>) -> ErrorDescription {
    let text = match account {
        None => format!("The balance of {unit} would have more than 28 digits."),
        Some("custody") => format!(
            "What the client has of {unit}, in custody and on its connections, would have more than 28 digits."
        ),
        Some(connection) => format!(
            "The balance of {unit} on the connection {connection} would have more than 28 digits."
        ),
    };
    let mut described = precondition(Reason::BalanceLimit, unit.as_str(), text)
        .with("limit", "9".repeat(28))
        .with_unit(unit);
    if let Some(account) = account {
        described = described.with("account", account);
    }
    described
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

fn keys_unavailable() -> ErrorDescription {
    let what = "The server has no current keys of the tokens' issuer, and cannot verify any token";
    transient(Code::Unavailable, Reason::KeysUnavailable, what)
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

fn database_refuses(refusal: DatabaseRefusal) -> ErrorDescription {
    let what = match refusal {
        DatabaseRefusal::ReadOnly => {
            "The database takes no writes: it is a standby, or its administrator has made it read-only"
        }
        DatabaseRefusal::OutOfResources => {
            "The database has no disk, memory or connections left for this"
        }
    };
    transient(Code::Unavailable, Reason::DatabaseUnavailable, what)
}

fn schema_outdated(versions: &SchemaVersions) -> ErrorDescription {
    let SchemaVersions { found, needed } = versions;
    let found = found.as_deref().unwrap_or("none");
    let text = format!(
        "The schema of the database is outdated: found {found}, needed {needed}. Its operator has to run `earmark migrate`."
    );
    ErrorDescription::new(Code::Unavailable, Reason::SchemaOutdated, text)
        .with("schema_found", found)
        .with("schema_needed", needed)
        .with_detail(ErrorDetail::Retry)
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
    use crate::error::ViolatedRule;

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
    fn the_known_names_are_listed_once_and_uncut() {
        let names: Vec<String> = (0..100).map(|number| format!("member{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut violations = Violations::default();
        for asked in ["member_7", "nothing"] {
            violations.add(
                "projection",
                ViolatedRule::unknown_name("field", asked, &names),
            );
        }
        let described = describe(&Error::InvalidRequest(violations));
        assert_eq!(
            described.text,
            "`projection`: no field `member_7`: did you mean `member7`? (and 1 more)"
        );
        let ErrorDetail::BadRequest(fields) = described.detail else {
            panic!("{:?}", described.detail)
        };
        let [(_, first), (_, second)] = fields.as_slice() else {
            panic!("{fields:?}")
        };
        assert!(first.ends_with(" member98, member99."), "{first}");
        assert_eq!(
            second,
            "no field `nothing`: `BadRequest` lists those that there are."
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
