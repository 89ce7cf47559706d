//! The model's own types for calls, answers and times, independent of the protos and the server's code.

use std::collections::BTreeMap;

use tonic::Code;
use uuid::Uuid;

/// A currency of the model.
pub(super) type Unit = &'static str;
/// Microseconds since the Unix epoch.
pub(super) type Micros = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Direction {
    Allocation,
    Deallocation,
}

/// An account of an owner: custody, or one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Account {
    Custody,
    Connection(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) available: i128,
    pub(super) held: i128,
    pub(super) version: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Reserved,
    Cleared,
    Released,
}

/// An allocation or deallocation as answers show it. One that was only validated has neither id nor times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: Uuid,
    pub(super) direction: Direction,
    pub(super) status: Status,
    pub(super) unit: Unit,
    pub(super) quantity: i128,
    pub(super) connection: usize,
    pub(super) client: String,
    pub(super) partner: String,
    pub(super) key: String,
    pub(super) partner_key: Option<String>,
    pub(super) initiated_by: String,
    pub(super) notes: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) expire_time: Option<Micros>,
    pub(super) created_at: Micros,
    pub(super) updated_at: Micros,
}

/// Equal ones under one key are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Create {
    pub(super) direction: Direction,
    pub(super) connection: usize,
    pub(super) unit: Unit,
    pub(super) quantity: i128,
    pub(super) key: String,
    pub(super) notes: Option<String>,
    pub(super) expire_time: Option<Micros>,
}

/// The caller, who may lack the permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The owner's own enterprise.
    Client,
    /// The partner with this number.
    Partner(usize),
    /// The client of another owner.
    Stranger,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clear {
        partner_key: Option<String>,
    },
    Release {
        partner_key: Option<String>,
        reason: String,
    },
    Cancel {
        reason: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) id: Uuid,
    pub(super) by: By,
    /// The connection that is named; a cancellation names none.
    pub(super) connection: usize,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adjust {
    pub(super) unit: Unit,
    pub(super) quantity: i128,
    pub(super) key: String,
    pub(super) reason: String,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Create(Create),
    Submit(Vec<Create>),
    Close(Close),
    Adjust(Adjust),
    Get { id: Uuid, by: By },
    GetBalance { account: Account, unit: Unit },
    ListBalances,
}

impl Command {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Create(create) if create.direction == Direction::Allocation => "allocate",
            Self::Create(_) => "deallocate",
            Self::Submit(_) => "submit",
            Self::Close(close) => match close.verdict {
                Verdict::Clear { .. } => "clear",
                Verdict::Release { .. } => "release",
                Verdict::Cancel { .. } => "cancel",
            },
            Self::Adjust(_) => "adjust",
            Self::Get { .. } => "get allocation",
            Self::GetBalance { .. } => "get balance",
            Self::ListBalances => "list balances",
        }
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. } | Self::GetBalance { .. } | Self::ListBalances
        )
    }

    /// How many commands it counts for.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Submit(items) => items.len(),
            _ => 1,
        }
    }
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) facts: BTreeMap<String, String>,
}

/// What became of an item of many.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most are records")]
pub(super) enum Item {
    Record { record: Record, replayed: bool },
    Refused(Refusal),
}

/// An open reservation beside a balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) id: Uuid,
    pub(super) quantity: i128,
    pub(super) created_at: Micros,
    pub(super) expire_time: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Record {
        record: Record,
        /// Not shown to a partner.
        custody: Option<Balance>,
        connection: Balance,
        replayed: bool,
    },
    Items(Vec<Item>),
    Adjusted {
        custody: Balance,
        replayed: bool,
    },
    Shown(Record),
    Account {
        balance: Balance,
        reservations: Vec<Reservation>,
        count: i64,
        total: i128,
        as_of: Micros,
    },
    Accounts(BTreeMap<(Account, Unit), Balance>),
    Refused(Refusal),
    /// It was not even tried, and says so.
    Busy(String),
    /// The caller has left before the answer came.
    Left,
    /// The connection broke, or the server says that it does not know.
    Lost(String),
}

impl Answer {
    /// In one word, for counting.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Record { replayed: true, .. } | Self::Adjusted { replayed: true, .. } => {
                "replayed"
            }
            Self::Record { .. } | Self::Adjusted { .. } => "done",
            Self::Items(_) => "items",
            Self::Shown(_) | Self::Account { .. } | Self::Accounts(_) => "shown",
            Self::Refused(refusal) => &refusal.reason,
            Self::Busy(reason) => reason,
            Self::Left => "left",
            Self::Lost(_) => "lost",
        }
    }

    /// Whether it may have happened, and whether it will be only later than the call.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Left | Self::Lost(_))
    }
}

impl Item {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Record { replayed: true, .. } => "replayed",
            Self::Record { .. } => "done",
            Self::Refused(refusal) => &refusal.reason,
        }
    }
}

/// When something was, on the clients' side: in an order that is theirs alone, and by the machine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) order: u64,
    pub(super) clock: Micros,
}

/// One call as the caller saw it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) owner: usize,
    /// The index of the server process that was called.
    pub(super) server: usize,
    pub(super) validate_only: bool,
    pub(super) command: Command,
    pub(super) answer: Answer,
    pub(super) asked: Moment,
    pub(super) answered: Moment,
}

impl Call {
    /// The point in the clients' order from which its effect, if any, is visible to everybody. The effect of an
    /// unanswered call may become visible at any later point.
    pub(super) fn known_at(&self) -> u64 {
        if self.answer.is_unknown() {
            u64::MAX
        } else {
            self.answered.order
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Adjust,
    Reserve,
    Clear,
    Release,
    Cancel,
    Expire,
    Instant,
}

/// One account's part of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) available_delta: i128,
    pub(super) held_delta: i128,
    pub(super) after: Balance,
}

/// What a movement is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Record(Uuid),
    /// An adjustment, by its key.
    Adjustment(String),
}

/// One movement of the journal: what bears one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Movement {
    pub(super) time: Micros,
    pub(super) cause: Cause,
    pub(super) subject: Subject,
    pub(super) legs: BTreeMap<(Account, Unit), Leg>,
}

impl Movement {
    /// The record that it is about, if it is about one.
    pub(super) fn record(&self) -> Option<Uuid> {
        match self.subject {
            Subject::Record(id) => Some(id),
            Subject::Adjustment(_) => None,
        }
    }
}

/// What never changes of an owner, as it was set up.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) enterprise: String,
    pub(super) client: String,
    pub(super) connections: Vec<Connection>,
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The number of its partner.
    pub(super) partner: usize,
    pub(super) partner_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Confirmed,
    Instant,
    /// Confirmed; allocations are disabled.
    Disabled,
    /// Confirmed; the partner's enterprise has no licence.
    Lapsed,
    /// A connection of another owner.
    Foreign,
}
