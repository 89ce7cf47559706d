//! The ledger's nouns: accounts, entries, and the records that explain them.

use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, AdjustmentId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// As it is stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// From how it is stored.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub mod bucket;

stored_enum! {
    /// Which way an allocation moves value.
    Direction {
        /// From custody to a connection.
        Allocation = "ALLOCATION",
        /// From a connection to custody.
        Deallocation = "DEALLOCATION",
    }
}

impl Direction {
    /// As errors name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allocation",
            Self::Deallocation => "deallocation",
        }
    }
}

stored_enum! {
    /// Where an allocation stands.
    Status {
        /// Temporary: value is held.
        Reserved = "RESERVED",
        /// Final: value has moved.
        Cleared = "CLEARED",
        /// Final: value has gone back.
        Released = "RELEASED",
    }
}

stored_enum! {
    /// Whether a partner confirms what a client allocates.
    Mode {
        /// Value moves at once.
        Instant = "INSTANT",
        /// Value is held until the partner acts.
        Confirmed = "CONFIRMED",
    }
}

stored_enum! {
    /// What made a movement.
    Cause {
        /// A deposit or withdrawal.
        Adjust = "ADJUST",
        /// Value was held.
        Reserve = "RESERVE",
        /// The partner took it.
        Clear = "CLEAR",
        /// The partner gave it back.
        Release = "RELEASE",
        /// The client gave it up.
        Cancel = "CANCEL",
        /// Its time had passed.
        Expire = "EXPIRE",
        /// It moved at once.
        Instant = "INSTANT",
        /// A bucket was made with something in it.
        Opening = "OPENING",
        /// A bucket was filled up.
        Topup = "TOPUP",
        /// A bucket's value was used.
        Deduct = "DEDUCT",
        /// What a bucket's reserve still held was given back.
        Unreserve = "UNRESERVE",
        /// Value went from one bucket to another.
        Transfer = "TRANSFER",
        /// A transfer was paid for.
        Cost = "COST",
    }
}

/// What an account holds of one unit after one of its versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Free to be set aside.
    pub available: Amount,
    /// Set aside by open reservations.
    pub held: Amount,
    /// Counts the account's entries; 0 before the first.
    pub version: i64,
}

/// An account of an owner in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// Which account.
    pub account: AccountId,
    /// Of what.
    pub unit: Unit,
}

/// An account as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub owner: OwnerId,
    /// Which.
    pub key: AccountKey,
    /// What it holds.
    pub balance: Balance,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose account.
    pub owner: OwnerId,
    /// Which account.
    pub key: AccountKey,
    /// What was added to `available`.
    pub available_delta: Amount,
    /// What was added to `held`.
    pub held_delta: Amount,
    /// The account after it.
    pub after: Balance,
    /// What made the movement.
    pub cause: Cause,
    /// The record behind it: the id of an allocation, an adjustment or a balance action; of an opening the bucket's owner.
    pub cause_id: uuid::Uuid,
    /// One time for all entries of a movement.
    pub time: Time,
}

/// The versions of custody and connection after a movement: they lead to the balances that its replay answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of the custody account.
    pub custody: i64,
    /// Of the connection's account.
    pub connection: i64,
}

/// The one movement that made a record final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// What made it.
    pub cause: Cause,
    /// What it left.
    pub versions: Versions,
}

/// An allocation or deallocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Orders by creation within its owner.
    pub id: AllocationId,
    /// The client's enterprise.
    pub owner: OwnerId,
    /// Which way value moves.
    pub direction: Direction,
    /// Where it stands.
    pub status: Status,
    /// Of what.
    pub unit: Unit,
    /// How much.
    pub quantity: Amount,
    /// Between client and partner.
    pub connection: ConnectionId,
    /// Whose custody.
    pub client: ClientId,
    /// Set aside for whom.
    pub partner: PartnerId,
    /// The key, unique per client and direction.
    pub client_external_id: String,
    /// Given with the partner's verdict.
    pub partner_external_id: Option<String>,
    /// The token's subject.
    pub initiated_by: String,
    /// The client's notes.
    pub notes: Option<String>,
    /// Why it was released.
    pub reason: Option<String>,
    /// When it is released by itself.
    pub expire_time: Option<Time>,
    /// The opening movement's time.
    pub created_at: Time,
    /// The last movement's time.
    pub updated_at: Time,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
    /// What the opening movement left.
    pub opened: Versions,
    /// The movement that made it final; none while it is RESERVED.
    pub closed: Option<Closing>,
}

impl Allocation {
    /// The account that value leaves, or is held in.
    pub fn source(&self) -> AccountId {
        source(self.direction, self.connection)
    }

    /// The account that value comes to.
    pub fn target(&self) -> AccountId {
        target(self.direction, self.connection)
    }

    /// Whether it is released by itself at `now`.
    pub fn is_due(&self, now: Time) -> bool {
        self.status == Status::Reserved && self.expire_time.is_some_and(|time| time <= now)
    }
}

/// The account that a movement in this direction takes from.
pub fn source(direction: Direction, connection: ConnectionId) -> AccountId {
    match direction {
        Direction::Allocation => AccountId::OWN,
        Direction::Deallocation => connection.into(),
    }
}

/// The account that a movement in this direction brings to.
pub fn target(direction: Direction, connection: ConnectionId) -> AccountId {
    match direction {
        Direction::Allocation => connection.into(),
        Direction::Deallocation => AccountId::OWN,
    }
}

/// A deposit or withdrawal of custody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Orders by creation within its owner.
    pub id: AdjustmentId,
    /// The client's enterprise.
    pub owner: OwnerId,
    /// The key, unique per owner.
    pub external_id: String,
    /// Of what.
    pub unit: Unit,
    /// How much; negative withdraws.
    pub quantity: Amount,
    /// Why.
    pub reason: String,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
    /// What the movement left of custody.
    pub custody_version: i64,
    /// The movement's time.
    pub created_at: Time,
}

/// What the ledger needs to know of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client.
    pub client: ClientId,
    /// The partner.
    pub partner: PartnerId,
    /// The partner's enterprise.
    pub partner_enterprise: EnterpriseId,
    /// Whether the partner confirms.
    pub mode: Mode,
    /// Why allocations are disabled, if they are.
    pub allocations_disabled: Option<String>,
    /// Why deallocations are disabled, if they are.
    pub deallocations_disabled: Option<String>,
}

impl Connection {
    /// Why this direction is disabled, if it is.
    pub fn disabled(&self, direction: Direction) -> Option<&str> {
        match direction {
            Direction::Allocation => self.allocations_disabled.as_deref(),
            Direction::Deallocation => self.deallocations_disabled.as_deref(),
        }
    }
}
