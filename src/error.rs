//! The error of every call, as one closed enum.
//!
//! The variants are in order of precedence: where several apply to a call, the first one is answered. The last group is
//! about the server rather than the call; [`Error::ShuttingDown`] and [`Error::Overloaded`] come before everything else.

use std::time::Duration;

use crate::types::amount::Amount;
use crate::types::ids::{
    ActionId, AdjustmentId, AllocationId, ClientId, CompanyId, ConnectionId, EnterpriseId,
    PartnerId,
};
use crate::types::nearest::nearest_path;
use crate::types::read_class::ReadClass;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The result of everything that a call can ask for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. `rpc::describe` maps each variant to what the caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The call has no bearer token.
    TokenMissing,
    /// The token is malformed, wrongly signed or not meant for this service. The text gives the reason to the caller.
    TokenInvalid(String),
    /// A claim of the token breaks a rule. Claims that name the owner of records are judged where a call needs them, so
    /// that this error comes in the place of [`Error::ClaimMissing`].
    ClaimInvalid {
        /// The name of the claim.
        claim: String,
        /// The rule that it breaks, as a clause: ``its `aud` …``.
        why: String,
    },
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token lacks this scope, which the method requires.
    ScopeMissing(&'static str),

    /// Arguments break a rule: one that needs neither clock nor record, or one that is judged against the record.
    InvalidRequest(Violations),
    /// The page token was altered, or was returned by another call, filter or sort order.
    PageTokenInvalid,
    /// The body cannot be decoded as the request's message type. The text is the decoder's.
    MalformedMessage(String),

    /// The caller is not a member of the enterprise.
    NotAMember {
        /// The claim that lists the enterprises of the bearer.
        claim: String,
        /// The enterprise that the call names; `None` where the token has no such claim.
        enterprise: Option<EnterpriseId>,
    },
    /// The token lacks this claim, which names the owner of the records that the call is about.
    ClaimMissing(String),
    /// The company is not among the companies of the token.
    CompanyAccessDenied,
    /// There is no such enterprise.
    EnterpriseNotFound(EnterpriseId),
    /// The calling enterprise has no OES license.
    NoOesLicense,
    /// The call is reserved for the partner, and the calling enterprise is not that partner.
    PartnerAccessDenied,

    /// The idempotency key was used before with other content.
    IdempotencyKeyReused {
        /// The request field that holds the key.
        field: &'static str,
        /// The record that the key stands for, where the caller may see it by an id.
        holder: Option<KeyHolder>,
        /// What the first request had that is not as in this one, where the record still has it.
        stored: Vec<StoredValue>,
    },
    /// The `external_id` of an adjustment was used before with other content.
    AdjustmentKeyReused(Box<AdjustmentHolder>),
    /// The record that a write names, by its key or its id, is archived, or the first answer to it is.
    Archived {
        /// The record, if it is known.
        record: Option<RecordName>,
        /// What was final before this time is archived.
        since: Time,
    },
    /// A read asks for something from before the history that is on line.
    HistoryArchived {
        /// The field of the request that leads there.
        field: &'static str,
        /// The allocation that is asked for, if it is asked for by its id.
        id: Option<AllocationId>,
        /// The history on line begins at this time.
        since: Time,
    },
    /// There is no such client; `None`: the enterprise has no client.
    ClientNotFound(Option<ClientId>),
    /// There is no such partner, or the caller may not see it.
    PartnerNotFound(PartnerId),
    /// There is no such connection, or the caller has no side in it.
    ConnectionNotFound(ConnectionId),
    /// There is no such allocation, or the caller has no side in it.
    AllocationNotFound(AllocationId),
    /// The connection that a partner names, which is its own, has no such allocation.
    AllocationNotOnConnection {
        /// The allocation that the call names.
        allocation: AllocationId,
        /// The connection that the call names.
        connection: ConnectionId,
        /// The connection that has it, if that is the partner's too.
        found_on: Option<ConnectionId>,
    },
    /// The firm has no CAS allocation with this id or source id.
    CasAllocationNotFound(String),
    /// There is no such company.
    CompanyNotFound(CompanyId),
    /// The company's catalogue has no such allocation; `None`: it has no allocation at all.
    NoResults(Option<i64>),
    /// The tenant has no such bucket.
    BucketNotFound(String),
    /// There is no such balance action.
    ActionNotFound(ActionId),
    /// The bucket has no reserve with this id.
    ReserveNotFound {
        /// The id that the call names, maybe that of an action of another kind or bucket.
        id: ActionId,
        /// The id of the bucket in its tenant.
        bucket: String,
    },
    /// The enterprise has a client already, and can have only one.
    ClientExists {
        /// The enterprise that the call would give a second client.
        enterprise: EnterpriseId,
        /// The client that it has.
        client: ClientId,
        /// The version of that client's record.
        version: i64,
    },
    /// The enterprise has a partner with this `institution_identifier` already.
    PartnerExists(TakenId),
    /// The partner has a connection with this `partners_connection_id` already.
    ConnectionExists(TakenId),
    /// The firm has another CAS allocation with this source id already.
    SourceIdTaken {
        /// The request's field that has the source id; of a patch, its JSON pointer in the document.
        field: &'static str,
        /// The source id that the call would use a second time.
        source_id: String,
        /// The allocation that has it.
        holder: KeyHolder,
    },
    /// The tenant has a bucket with this id and other content already.
    BucketExists(KeyHolder),

    /// The record is not at the version that the caller expected.
    VersionMismatch {
        /// The record that the call is about.
        record: RecordName,
        /// The `expected_version` of the request.
        expected: i64,
        /// The record's version; 0 where there is no record.
        actual: i64,
    },
    /// The record has a final status, and another one than the call asks for.
    AlreadyTerminal {
        /// The final status that the record has.
        status: &'static str,
    },
    /// The reserve is final.
    ReserveClosed(Box<ClosedReserve>),
    /// The bucket is CLOSED, which is final.
    BucketClosed {
        /// The id of the bucket in its tenant.
        bucket: String,
        /// The time of the closing, if it is known.
        since: Option<Time>,
    },
    /// The allocation has a final status, and another one than the call asks for.
    AllocationFinal(FinalAllocation),
    /// The enterprise on the other side of the connection has no OES license: to create and to clear an allocation takes the
    /// licenses of both sides.
    PartnerNotLicensed {
        /// The connection between both.
        connection: ConnectionId,
        /// The side that has no license: `partner` or `client`.
        side: &'static str,
    },
    /// The direction of the connection is disabled.
    ConnectionInactive {
        /// The connection that the call names.
        connection: ConnectionId,
        /// The direction: `allocation` or `deallocation`.
        direction: &'static str,
        /// The `disabled_reason` of the update that disabled it.
        reason: String,
    },
    /// The bucket's state does not allow the call.
    BucketNotUsable(Box<UnusableBucket>),
    /// A `test` operation of a patch found another value.
    PatchTestFailed {
        /// Position of the operation in the request, from 0.
        index: usize,
        /// What was found instead, as a clause: `/companyId is 1`.
        found: String,
    },
    /// An operation of a patch needs something that the record does not have.
    PatchPathMissing {
        /// Position of the operation in the request, from 0.
        index: usize,
        /// The operation's member that names the location: `path` or `from`.
        member: &'static str,
        /// What is missing and what would work, as a sentence.
        reason: String,
    },
    /// The owner holds as many records of the kind as it may.
    LimitReached {
        /// The id of the owner.
        owner: String,
        /// The kind of record, in the plural.
        what: &'static str,
        /// How many of them an owner may hold.
        limit: usize,
    },
    /// An enterprise has as many currencies as it may, and this would be one more.
    CurrenciesLimit {
        /// The enterprise that has as many currencies as it may.
        enterprise: EnterpriseId,
        /// The currency that would be one more.
        unit: Unit,
    },
    /// The account has less available than the call would take from it.
    InsufficientBalance {
        /// The amount that is available.
        available: Amount,
        /// The amount that the call would take.
        requested: Amount,
        /// The currency or unit of both amounts.
        unit: Unit,
        /// The account as callers know it, `custody` or the id of a connection; `None` for a bucket.
        account: Option<String>,
        /// Whether the account has never had the currency.
        is_unused: bool,
    },
    /// A bucket, or a reserve of it, has less than the call would take.
    BucketShort(Box<BucketShortage>),
    /// A bucket would hold more than it can.
    BucketFull(Box<BucketOverflow>),
    /// A balance would have more than 28 digits.
    BalanceLimit {
        /// The currency or unit of the balance.
        unit: Unit,
        /// The account as callers know it, `custody` or the id of a connection; `None` where it is not named.
        account: Option<String>,
    },

    /// A page that was asked for by its number or offset does not fit into an answer.
    PageTooLarge {
        /// The field of the request to change.
        field: &'static str,
        /// How many records from the start of the page fit; with `currencies`, how many of these.
        fits: usize,
    },

    /// Conflicts with other transactions remained after the server's own retries.
    Contention,
    /// A queue or pool that the call needs is full.
    Overloaded,
    /// The answer is made, but does not fit into its principal's share of the bytes that wait to be sent.
    AnswerOverloaded(Outcome),
    /// The request is larger than `limits::REQUEST_BYTES_MAX`.
    MessageTooLarge,
    /// The request's body brought nothing for this long before it was complete.
    BodyStalled(Duration),
    /// The database did not answer in time, or refused the connection.
    DatabaseUnavailable(Outcome),
    /// The database answers, and has refused what the call needs. Nothing has changed.
    DatabaseRefuses(DatabaseRefusal),
    /// The database lacks migrations that this version of the server needs.
    SchemaOutdated(SchemaVersions),
    /// The keys of the tokens' issuer were never read, or so long ago that they are not used any more.
    KeysUnavailable,
    /// The server has begun to shut down and accepts no new calls.
    ShuttingDown,
    /// The call's deadline passed before its answer was ready.
    Deadline(Outcome),
    /// The read took longer than the server allows reads of its class, while the database answered.
    ReadTooLong {
        /// The class of the read.
        class: ReadClass,
        /// How long a read of the class may take.
        limit: Duration,
    },
    /// There is no such method.
    MethodUnknown,
    /// A bug or a broken invariant. The text goes to the log only, never to the caller.
    Internal(String, Outcome),
}

/// The adjustment that has an `external_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustmentHolder {
    /// The id under which it is stored.
    pub id: AdjustmentId,
    /// The quantity that was deposited, or if it is negative withdrawn.
    pub quantity: Amount,
    /// The currency of the quantity.
    pub unit: Unit,
    /// The time of its movement.
    pub created_at: Time,
    /// What the first request had that is not as in this one.
    pub stored: Vec<StoredValue>,
}

/// What a stored record has in a field of which a request has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// The path of the field in the request.
    pub field: &'static str,
    /// The value as a request would write it; `None` if it is unset.
    pub value: Option<String>,
}

impl StoredValue {
    /// Those of these fields of which a request has another value than the record: each with its path, the value of the
    /// record and that of the request.
    pub fn differing<const N: usize>(
        fields: [(&'static str, Option<String>, Option<String>); N],
    ) -> Vec<Self> {
        let differing = fields
            .into_iter()
            .filter(|(_, stored, asked)| stored != asked);
        differing
            .map(|(field, value, _)| Self { field, value })
            .collect()
    }
}

/// What a record is called by its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordName {
    /// A bucket, by its id in its tenant.
    Bucket(String),
    /// Any other record, by its id.
    Id(String),
}

/// The record that a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The record's id, by which the caller can read it.
    pub id: String,
    /// The record's version, if records of its kind have one.
    pub version: Option<i64>,
}

/// An id that is unique within a record, and that another record has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenId {
    /// The id of the enterprise or the partner within which it is unique.
    pub within: String,
    /// The id that the call would use a second time.
    pub value: String,
    /// The record that has it.
    pub holder: KeyHolder,
}

/// An allocation that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalAllocation {
    /// The allocation or deallocation.
    pub id: AllocationId,
    /// Which of both it is: `allocation` or `deallocation`.
    pub direction: &'static str,
    /// What made it final, as the end of a sentence: `expired`, `was cleared by the partner`.
    pub event: &'static str,
    /// The final status that it has.
    pub status: &'static str,
    /// The time of the movement that made it final.
    pub since: Time,
}

/// Why a database that answers does not do what a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseRefusal {
    /// It is a standby, or its administrator has made it read-only.
    ReadOnly,
    /// It has no disk, memory or other resource left.
    OutOfResources,
}

/// The migrations of a database and of this version of the server, by their versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaVersions {
    /// The database's last migration before the first one that it lacks; `None` if it has none.
    pub found: Option<String>,
    /// The last migration of this version.
    pub needed: String,
}

/// A reserve of a bucket that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedReserve {
    /// The id of the reserve.
    pub reserve: ActionId,
    /// The final status that it has.
    pub status: &'static str,
    /// How it became final, as a predicate: `expired`.
    pub ended: &'static str,
    /// The time at which it became final.
    pub since: Time,
}

/// A bucket whose state does not allow a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableBucket {
    /// The id of the bucket in its tenant.
    pub bucket: String,
    /// The bucket's status by the database's clock.
    pub status: &'static str,
    /// Since when it has the status, if that is known.
    pub since: Option<Time>,
    /// The rule that the state breaks and what can be done, as a predicate: `is valid from …`.
    pub reason: String,
    /// What is available and what is reserved, where that stands in the way.
    pub values: Option<(Amount, Amount, Unit)>,
}

/// A bucket, or a reserve of it, that has less than a call would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketShortage {
    /// The id of the bucket in its tenant.
    pub bucket: String,
    /// The reserve that was to be used; none: what is available.
    pub reserve: Option<ActionId>,
    /// The amount that is there.
    pub available: Amount,
    /// The amount that the call would take.
    pub requested: Amount,
    /// The unit of both amounts.
    pub unit: Unit,
}

/// A bucket that would hold more than it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOverflow {
    /// The id of the bucket in its tenant.
    pub bucket: String,
    /// The amount that the call would add.
    pub requested: Amount,
    /// The unit of the amount.
    pub unit: Unit,
    /// The rule that the amount breaks.
    pub rule: BucketLimit,
}

/// What limits the amounts of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketLimit {
    /// Remaining and reserved value together are less than [`Amount::DECIMAL_LIMIT`].
    Value {
        /// What they are now.
        total: Amount,
    },
    /// What has entered and left the bucket is counted in 28 digits.
    Turnover,
}

/// Whether a failed write may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call has changed nothing.
    NotApplied,
    /// The write may have been applied: repeating it with the same key gives the answer.
    Unknown,
}

impl Error {
    /// An internal error that left nothing changed.
    pub fn internal(what: impl ToString) -> Self {
        Self::Internal(what.to_string(), Outcome::NotApplied)
    }

    /// An invalid request with a single violation.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, description);
        Self::InvalidRequest(violations)
    }

    /// Names the account that has too little available, or would have too much, if that is the error.
    #[must_use]
    pub fn in_account(mut self, name: impl Into<String>) -> Self {
        if let Self::InsufficientBalance { account, .. } | Self::BalanceLimit { account, .. } =
            &mut self
        {
            *account = Some(name.into());
        }
        self
    }

    /// Whether the failed write may have been applied.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::DatabaseUnavailable(outcome)
            | Self::Deadline(outcome)
            | Self::AnswerOverloaded(outcome)
            | Self::Internal(_, outcome) => *outcome,
            _ => Outcome::NotApplied,
        }
    }
}

/// Every violation of a request's arguments; they are reported together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    all: Vec<Violation>,
    sentence: Option<&'static str>,
}

/// A rule that the value of one field breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field by its names in the proto: `amount.quantity`, `items[3].connection_id`.
    pub field: String,
    /// The rule in words, and where it helps the value received: `must be a UUID, got "x"`.
    pub description: String,
    /// The sentence that lists all names that are known, if one is not. Only `BadRequest` has it, behind the description
    /// and without being cut.
    pub known_names: Option<String>,
    /// Position, from 0, of the patch operation that the field belongs to, if it belongs to one.
    pub index: Option<usize>,
}

/// The rule that a value breaks, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViolatedRule {
    description: String,
    known_names: Option<String>,
}

impl ViolatedRule {
    /// The rule for a name that is not among those known where it stands: `kind` is what the names are of, in the
    /// singular. Paths have points between their names.
    pub fn unknown_name(kind: &str, asked: &str, known: &[&str]) -> Self {
        let shown: String = asked.chars().take(SHOWN_CHARS_MAX).collect();
        let ellipsis = if shown.len() < asked.len() { "…" } else { "" };
        let shown = shown.escape_debug();
        let advice = match nearest_path(asked, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`BadRequest` lists those that there are.".into(),
        };
        Self {
            description: format!("no {kind} `{shown}`{ellipsis}: {advice}"),
            known_names: None,
        }
        .listing(kind, known)
    }

    /// The rule together with all names that are known where it applies, which only `BadRequest` shows.
    #[must_use]
    pub fn listing(self, kind: &str, known: &[&str]) -> Self {
        let known_names = Some(format!("Every {kind}: {}.", known.join(", ")));
        Self {
            known_names,
            ..self
        }
    }
}

impl<T: Into<String>> From<T> for ViolatedRule {
    fn from(description: T) -> Self {
        Self {
            description: description.into(),
            known_names: None,
        }
    }
}

/// How many characters of a value or name of the caller an error shows.
const SHOWN_CHARS_MAX: usize = 100;

/// A rule together with the value that breaks it, of which at most 100 characters are shown.
pub fn rule_with_value(rule: &str, value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{rule}, got {value:?}"),
        Some((end, _)) => format!("{rule}, got {:?}…", &value[..end]),
    }
}

impl Violations {
    /// Adds a violation of the field with this path.
    pub fn add(&mut self, field: impl Into<String>, rule: impl Into<ViolatedRule>) {
        self.push(field.into(), rule.into(), None);
    }

    /// Adds a violation of a member of the patch operation at `index`, counted from 0.
    pub fn add_in_operation(&mut self, index: usize, member: &str, rule: impl Into<ViolatedRule>) {
        let field = format!("operations[{index}].{member}");
        self.push(field, rule.into(), Some(index));
    }

    fn push(&mut self, field: String, rule: ViolatedRule, index: Option<usize>) {
        self.all.push(Violation {
            field,
            description: rule.description,
            known_names: rule.known_names,
            index,
        });
    }

    /// Adds all violations of another collection behind those that are here.
    pub fn extend(&mut self, others: Self) {
        self.all.extend(others.all);
        self.sentence = self.sentence.or(others.sentence);
    }

    /// Adds a violation for which a source document prescribes the text of the whole error, to the letter.
    pub fn add_sentence(&mut self, field: impl Into<String>, sentence: &'static str) {
        self.add(field, sentence);
        self.sentence = Some(sentence);
    }

    /// The text that a source document prescribes for the whole error, if it does.
    pub fn sentence(&self) -> Option<&'static str> {
        self.sentence
    }

    /// All violations, in the order in which they were added: that of the request's fields.
    pub fn all(&self) -> &[Violation] {
        &self.all
    }

    /// Whether there is no violation.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns [`Error::InvalidRequest`] if there is any violation.
    pub fn finish(self) -> Result<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidRequest(self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_value_is_shown_escaped_and_cut_to_100_characters() {
        assert_eq!(
            rule_with_value("must be a UUID", "x\0"),
            r#"must be a UUID, got "x\0""#
        );
        let shown = rule_with_value("must be a UUID", &"é".repeat(101));
        assert_eq!(
            shown,
            format!("must be a UUID, got \"{}\"…", "é".repeat(100))
        );
        let whole = rule_with_value("must be a UUID", &"é".repeat(100));
        assert_eq!(
            whole,
            format!("must be a UUID, got \"{}\"", "é".repeat(100))
        );
    }
}
