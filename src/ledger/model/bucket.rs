//! The nouns of prepaid buckets.

use uuid::Uuid;

use crate::ledger::model::{Balance, Cause};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

stored_enum! {
    /// Whether a bucket may be used.
    BucketStatus {
        /// It may, within its validity.
        Active = "ACTIVE",
        /// Not for now.
        Suspended = "SUSPENDED",
        /// Its time is over. An active bucket past its end reads so too.
        Expired = "EXPIRED",
        /// Not yet, or not any more.
        Inactive = "INACTIVE",
        /// Final: nothing is in it.
        Closed = "CLOSED",
    }
}

impl BucketStatus {
    /// How a bucket that is stored with this status reads: an active one is EXPIRED past its end.
    pub fn at(self, validity: Validity, now: Time) -> Self {
        let is_over = validity.to.is_some_and(|end| end < now);
        if self == Self::Active && is_over {
            Self::Expired
        } else {
            self
        }
    }
}

stored_enum! {
    /// What a bucket's value is used for.
    UsageType {
        /// Money.
        Monetary = "MONETARY",
        /// Calls.
        Voice = "VOICE",
        /// Data.
        Data = "DATA",
        /// Messages.
        Sms = "SMS",
        /// Anything else.
        Other = "OTHER",
    }
}

stored_enum! {
    /// What was done with a bucket's value.
    ActionKind {
        /// Filled up.
        Topup = "TOPUP",
        /// Corrected, up or down.
        Adjust = "ADJUST",
        /// Given to another bucket.
        Transfer = "TRANSFER",
        /// Held.
        Reserve = "RESERVE",
        /// A reserve was given back.
        Unreserve = "UNRESERVE",
        /// Used.
        Deduct = "DEDUCT",
    }
}

impl ActionKind {
    /// What made its movement.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Topup => Cause::Topup,
            Self::Adjust => Cause::Adjust,
            Self::Transfer => Cause::Transfer,
            Self::Reserve => Cause::Reserve,
            Self::Unreserve => Cause::Unreserve,
            Self::Deduct => Cause::Deduct,
        }
    }
}

stored_enum! {
    /// Where a balance action stands.
    ActionStatus {
        /// A reserve that holds value.
        Created = "CREATED",
        /// Final: done; of a reserve, used at least in part.
        Completed = "COMPLETED",
        /// Final: a reserve that was given back, or expired, untouched.
        Cancelled = "CANCELLED",
    }
}

stored_enum! {
    /// Who pays for a transfer.
    CostOwner {
        /// The bucket that gives.
        Originator = "ORIGINATOR",
        /// The bucket that takes.
        Receiver = "RECEIVER",
    }
}

/// From when to when a bucket may be used, both inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// None: since ever.
    pub from: Option<Time>,
    /// None: for ever.
    pub to: Option<Time>,
}

/// A prepaid bucket: an owner of its own, whose account OWN has its value in its one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Made of tenant and id.
    pub owner: OwnerId,
    /// Whose bucket it is.
    pub tenant: TenantId,
    /// Unique in the tenant.
    pub id: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// As it is stored; `status_at` says how it reads.
    pub status: BucketStatus,
    /// What its value is used for.
    pub usage_type: Option<UsageType>,
    /// The account of the party that uses it.
    pub party_account: Option<String>,
    /// Of what.
    pub unit: Unit,
    /// When it may be used.
    pub validity: Validity,
    /// JSON of all that only answers need.
    pub details: String,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of its creation is compared by.
    pub content: ContentHash,
    /// What it began with.
    pub opened_amount: Amount,
    /// The version of its account after the opening movement; 0 if it began empty.
    pub opened_version: i64,
    /// Counts its updates; 1 at first.
    pub version: i64,
    /// The opening movement's time.
    pub created_at: Time,
    /// The last update's time.
    pub updated_at: Time,
}

impl Bucket {
    /// How it reads at this time: an active one is EXPIRED past its end.
    pub fn status_at(&self, now: Time) -> BucketStatus {
        self.status.at(self.validity, now)
    }

    /// The version that answers show: it changes with every update and every movement.
    pub fn version_with(&self, balance: &Balance) -> i64 {
        self.version + balance.version
    }
}

/// A change of a bucket that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUpdate {
    /// Whose.
    pub owner: OwnerId,
    /// What the bucket's version became.
    pub version: i64,
    /// The key, if it had one.
    pub request_id: Option<String>,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
    /// The version of the bucket's account then.
    pub own_version: i64,
    /// The token's subject.
    pub initiated_by: String,
    /// When.
    pub created_at: Time,
}

/// Something that was done with a bucket's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceAction {
    /// Orders by creation within its owner.
    pub id: ActionId,
    /// Whose value.
    pub owner: OwnerId,
    /// Whose bucket it is.
    pub tenant: TenantId,
    /// The bucket's id in the tenant.
    pub bucket: String,
    /// The bucket's.
    pub party_account: Option<String>,
    /// Where it stands.
    pub status: ActionStatus,
    /// The key, unique per owner and kind.
    pub request_id: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
    /// Of what.
    pub unit: Unit,
    /// How much; only that of an adjust may be negative. Of an unreserve what was given back.
    pub amount: Amount,
    /// What was done.
    pub what: Performed,
    /// What the action left of the bucket's account.
    pub own_version: i64,
    /// JSON of all that only answers need.
    pub details: String,
    /// The token's subject.
    pub initiated_by: String,
    /// The movement's time.
    pub created_at: Time,
    /// The time of the last movement that touched it; a reserve has several.
    pub updated_at: Time,
}

impl BalanceAction {
    /// What was done, without the rest.
    pub fn kind(&self) -> ActionKind {
        match self.what {
            Performed::Topup => ActionKind::Topup,
            Performed::Adjust => ActionKind::Adjust,
            Performed::Transfer(_) => ActionKind::Transfer,
            Performed::Reserve(_) => ActionKind::Reserve,
            Performed::Unreserve { .. } => ActionKind::Unreserve,
            Performed::Deduct(_) => ActionKind::Deduct,
        }
    }

    /// The reserve, if it is one.
    pub fn reserve(&self) -> Option<&Reserve> {
        match &self.what {
            Performed::Reserve(reserve) => Some(reserve),
            _ => None,
        }
    }

    /// Whether it is a reserve that is released by itself at `now`.
    pub fn is_due(&self, now: Time) -> bool {
        self.status == ActionStatus::Created
            && self
                .reserve()
                .and_then(|reserve| reserve.expire_time)
                .is_some_and(|time| time <= now)
    }
}

/// What an action did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// Value came in.
    Topup,
    /// Value came in or went out.
    Adjust,
    /// Value went to another bucket.
    Transfer(Transfer),
    /// Value is held, or was.
    Reserve(Reserve),
    /// The rest of a reserve was given back.
    Unreserve {
        /// Which.
        reserve: ActionId,
    },
    /// Value was used: what was available, or (`Some`) what a reserve held.
    Deduct(Option<Drawn>),
}

/// The other side of a transfer, and its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who takes.
    pub receiver: OwnerId,
    /// The receiver's id in the tenant.
    pub receiver_bucket: String,
    /// What the action left of the receiver's account.
    pub receiver_version: i64,
    /// What was paid for it, and by whom.
    pub cost: Option<Cost>,
}

/// The price of a transfer, in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How much; above zero.
    pub amount: Amount,
    /// Who pays.
    pub owner: CostOwner,
}

/// What a reserve holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// What it still holds; zero once it is final.
    pub remaining: Amount,
    /// When it is released by itself.
    pub expire_time: Option<Time>,
    /// The movement that made it final.
    pub closed: Option<ReserveClosing>,
}

/// The one movement that made a reserve final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveClosing {
    /// UNRESERVE, DEDUCT or EXPIRE.
    pub cause: Cause,
    /// The action that made it; of an expiry the reserve itself.
    pub by: Uuid,
}

/// What was taken from a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Which.
    pub reserve: ActionId,
    /// What was given back of it.
    pub returned: Amount,
}
