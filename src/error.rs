//! The error of every call, as one closed enum.
//!
//! The variants are in order of precedence: where several apply to a call, the first one is answered. The last group is
//! about the server rather than the call; [`Error::ShuttingDown`] and [`Error::Overloaded`] come before everything else.

use std::time::Duration;

use crate::types::amount::Amount;
use crate::types::ids::{
    ActionId, AllocationId, ClientId, CompanyId, ConnectionId, EnterpriseId, PartnerId,
};
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
    NotAMember,
    /// The token lacks this claim, which names the owner of the records that the call is about.
    ClaimMissing(&'static str),
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
    },
    /// The idempotency key was used before with other content, and belongs to a record of the caller's.
    RecordKeyReused {
        /// The request field that holds the key.
        field: &'static str,
        /// The record that the key was used for.
        holder: KeyHolder,
    },
    /// There is no such client; `None`: the enterprise has no client.
    ClientNotFound(Option<ClientId>),
    /// There is no such partner, or the caller may not see it.
    PartnerNotFound(PartnerId),
    /// There is no such connection, or the caller has no side in it.
    ConnectionNotFound(ConnectionId),
    /// There is no such allocation, or the caller has no side in it.
    AllocationNotFound(AllocationId),
    /// The firm has no CAS allocation with this id or source id.
    CasAllocationNotFound(String),
    /// There is no such company.
    CompanyNotFound(CompanyId),
    /// The company's catalogue has no such allocation; `None`: it has no allocation at all.
    NoResults(Option<i64>),
    /// The tenant has no such bucket.
    BucketNotFound(String),
    /// There is no such balance action of the bucket and kind that the call is about.
    ActionNotFound(ActionId),
    /// The enterprise has a client already, and can have only one.
    ClientExists {
        /// The enterprise that the call would give a second client.
        enterprise: EnterpriseId,
        /// The client that it has.
        client: ClientId,
    },
    /// The partner has a connection with this `partners_connection_id` already.
    ConnectionExists {
        /// The partner within which the id is unique.
        partner: PartnerId,
        /// The id that the call would use a second time.
        partners_connection_id: String,
    },
    /// The firm has another CAS allocation with this source id already.
    SourceIdTaken(String),
    /// The tenant has a bucket with this id and other content already.
    BucketExists(KeyHolder),

    /// The record is not at the version that the caller expected.
    VersionMismatch {
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
    /// The direction of the connection is disabled.
    ConnectionInactive {
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
    },
    /// The owner holds as many records of the kind as it may.
    LimitReached {
        /// The kind of record, in the plural.
        what: &'static str,
        /// How many of them an owner may hold.
        limit: usize,
    },
    /// The account has less available than the call would take from it.
    InsufficientBalance {
        /// The amount that is available.
        available: Amount,
        /// The amount that the call would take.
        requested: Amount,
        /// The currency or unit of both amounts.
        unit: Unit,
    },
    /// A bucket, or a reserve of it, has less than the call would take.
    BucketShort(Box<BucketShortage>),
    /// A bucket would hold more than it can.
    BucketFull(Box<BucketOverflow>),
    /// A balance would have more than 28 digits.
    BalanceLimit {
        /// The currency or unit of the balance.
        unit: Unit,
    },

    /// Conflicts with other transactions remained after the server's own retries.
    Contention,
    /// A queue or pool that the call needs is full.
    Overloaded,
    /// The request is larger than `limits::REQUEST_BYTES_MAX`.
    MessageTooLarge,
    /// The request's body brought nothing for this long before it was complete.
    BodyStalled(Duration),
    /// The database did not answer in time, or refused the connection.
    DatabaseUnavailable(Outcome),
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

/// The record that a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The id of the record, as calls take it.
    pub id: String,
    /// The record's version; `None` if it was deleted, or if its kind has no version.
    pub version: Option<i64>,
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

    /// Whether the failed write may have been applied.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::DatabaseUnavailable(outcome)
            | Self::Deadline(outcome)
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
    /// Position, from 0, of the patch operation that the field belongs to, if it belongs to one.
    pub index: Option<usize>,
}

/// A rule together with the value that breaks it, of which at most 100 characters are shown.
pub fn rule_with_value(rule: &str, value: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{rule}, got {value:?}"),
        Some((end, _)) => format!("{rule}, got {:?}…", &value[..end]),
    }
}

impl Violations {
    /// Adds a violation of the field with this path.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.all.push(Violation {
            field: field.into(),
            description: description.into(),
            index: None,
        });
    }

    /// Adds a violation of a member of the patch operation at `index`, counted from 0.
    pub fn add_in_operation(&mut self, index: usize, member: &str, description: impl Into<String>) {
        self.all.push(Violation {
            field: format!("operations[{index}].{member}"),
            description: description.into(),
            index: Some(index),
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
