//! One closed error enum, in order of precedence: where several would fit, the earlier answers.

use crate::types::amount::Amount;
use crate::types::ids::{
    ActionId, AllocationId, ClientId, CompanyId, ConnectionId, EnterpriseId, PartnerId,
};
use crate::types::unit::Unit;

/// The result of anything that a caller can ask for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. `rpc::status` turns it into what the caller sees, in the only such place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No bearer token.
    TokenMissing,
    /// The token is malformed, wrongly signed or not meant for this service: why, for the caller.
    TokenInvalid(String),
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token lacks this scope.
    ScopeMissing(&'static str),

    /// Arguments that need neither clock nor record to be judged, or those judged against the record.
    InvalidRequest(Violations),
    /// An altered or foreign page token.
    PageTokenInvalid,
    /// The body is not a message of the request's type.
    MalformedMessage(String),

    /// The caller is no member of the enterprise.
    NotAMember,
    /// The token lacks this claim, which says whose records the call is about.
    ClaimMissing(&'static str),
    /// The company is none of the caller's.
    CompanyAccessDenied,
    /// There is no such enterprise.
    EnterpriseNotFound(EnterpriseId),
    /// The calling enterprise has no OES license.
    NoOesLicense,
    /// The call is the partner's, and the calling enterprise is not that partner.
    PartnerAccessDenied,

    /// The key stands for other content.
    IdempotencyKeyReused {
        /// The request's field that holds the key.
        field: &'static str,
    },
    /// The client is unknown, or (`None`) the enterprise has none.
    ClientNotFound(Option<ClientId>),
    /// The partner is unknown, or not to be seen by the caller.
    PartnerNotFound(PartnerId),
    /// The connection is unknown, or not the caller's.
    ConnectionNotFound(ConnectionId),
    /// The allocation is unknown, or not the caller's.
    AllocationNotFound(AllocationId),
    /// The CAS allocation with this id or source id is unknown, or not the firm's.
    CasAllocationNotFound(String),
    /// There is no such company.
    CompanyNotFound(CompanyId),
    /// The company's catalogue has no such allocation, or (`None`) none at all.
    NoResults(Option<i64>),
    /// The bucket is unknown, or not the tenant's.
    BucketNotFound(String),
    /// The balance action is unknown, or not of that bucket and kind.
    ActionNotFound(ActionId),
    /// The enterprise has a client already.
    ClientExists,
    /// The partner has a connection with this `partners_connection_id` already.
    ConnectionExists,
    /// The firm has another CAS allocation with this source id already.
    SourceIdTaken(String),
    /// The tenant has another bucket with this id already.
    BucketExists(String),

    /// The record is at another version.
    VersionMismatch {
        /// What the caller expected.
        expected: i64,
        /// What it is.
        actual: i64,
    },
    /// The record is final, and not in the way that was asked for.
    AlreadyTerminal {
        /// How it stands.
        status: &'static str,
    },
    /// This direction of the connection is disabled.
    ConnectionInactive {
        /// `allocation` or `deallocation`.
        direction: &'static str,
        /// Why it was disabled.
        reason: String,
    },
    /// The bucket's state does not allow what was asked for.
    BucketNotUsable {
        /// How it stands, by the database's clock.
        status: &'static str,
        /// What stands in the way, as a clause: `it is valid from …`.
        reason: String,
    },
    /// A `test` of a patch does not hold.
    PatchTestFailed {
        /// Which operation, from 0.
        index: usize,
    },
    /// There is no room for one more.
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Too little is available.
    InsufficientBalance {
        /// What is available.
        available: Amount,
        /// What was asked for.
        requested: Amount,
        /// Of which currency or unit.
        unit: Unit,
    },
    /// A balance would pass its greatest value.
    BalanceLimit {
        /// Of which currency or unit.
        unit: Unit,
    },

    /// A conflict with other writes was left after our own retries.
    Contention,
    /// More work than the server takes on.
    Overloaded,
    /// The request is too large.
    MessageTooLarge,
    /// The database did not answer.
    DatabaseUnavailable(Outcome),
    /// The server is going away.
    ShuttingDown,
    /// The call's deadline passed first.
    Deadline(Outcome),
    /// There is no such method.
    MethodUnknown,
    /// A fault of ours: what happened, for the log alone.
    Internal(String, Outcome),
}

/// Whether a failed write may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has changed.
    NotApplied,
    /// It may have happened: asking again with the same key tells.
    Unknown,
}

impl Error {
    /// A fault of ours that left nothing changed.
    pub fn internal(what: impl ToString) -> Self {
        Self::Internal(what.to_string(), Outcome::NotApplied)
    }

    /// One violation.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, description);
        Self::InvalidRequest(violations)
    }

    /// Whether the write may have happened.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::DatabaseUnavailable(outcome)
            | Self::Deadline(outcome)
            | Self::Internal(_, outcome) => *outcome,
            _ => Outcome::NotApplied,
        }
    }
}

/// What is wrong with a request's arguments; all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    all: Vec<Violation>,
    sentence: Option<&'static str>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, as the proto names it: `amount.quantity`, `items[3].connection_id`.
    pub field: String,
    /// What is allowed.
    pub description: String,
    /// Which of the request's operations, from 0, if the field is one's.
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
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.all.push(Violation {
            field: field.into(),
            description: description.into(),
            index: None,
        });
    }

    /// Adds one in a member of the operation at `index`.
    pub fn add_in_operation(&mut self, index: usize, member: &str, description: impl Into<String>) {
        self.all.push(Violation {
            field: format!("operations[{index}].{member}"),
            description: description.into(),
            index: Some(index),
        });
    }

    /// Adds those of another.
    pub fn extend(&mut self, others: Self) {
        self.all.extend(others.all);
        self.sentence = self.sentence.or(others.sentence);
    }

    /// Adds one whose error must read as this sentence, to the letter.
    pub fn add_sentence(&mut self, field: impl Into<String>, sentence: &'static str) {
        self.add(field, sentence);
        self.sentence = Some(sentence);
    }

    /// What the error must read as, if it is not for us to word.
    pub fn sentence(&self) -> Option<&'static str> {
        self.sentence
    }

    /// All of them, in the order of the request's fields.
    pub fn all(&self) -> &[Violation] {
        &self.all
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// An error unless nothing is wrong.
    pub fn finish(self) -> Result<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidRequest(self))
        }
    }
}
