//! Prepaid buckets and balance actions as they are stored.

use uuid::Uuid;

use crate::ledger::account::{Balance, Cause};
use crate::ledger::store_error::StoreError;
use crate::ledger::stored_enum::stored_enum;
use crate::ledger::stored_key::stored_key;
use crate::ledger::table::description::{Arrays, Row, SqlType, Stored, columns};
use crate::ledger::table::values::{JsonText, enum_column};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The kind of prepaid buckets. Each bucket is an owner of its own.
#[derive(Clone, Copy, Debug)]
pub struct Buckets;

impl Cause {
    /// A bucket was created with value in it.
    pub const OPENING: Self = Self::named("OPENING");
    /// A bucket was topped up.
    pub const TOPUP: Self = Self::named("TOPUP");
    /// A bucket's value was used.
    pub const DEDUCT: Self = Self::named("DEDUCT");
    /// What a bucket's reserve still held was given back.
    pub const UNRESERVE: Self = Self::named("UNRESERVE");
    /// Value went from one bucket to another.
    pub const TRANSFER: Self = Self::named("TRANSFER");
    /// A transfer was paid for.
    pub const COST: Self = Self::named("COST");
}

stored_enum! {
    /// Whether a bucket's value may be used.
    BucketStatus {
        /// It may, within its period of validity.
        Active = "ACTIVE",
        /// Its use is interrupted.
        Suspended = "SUSPENDED",
        /// Its period of validity is over. An ACTIVE bucket past its end is shown so too.
        Expired = "EXPIRED",
        /// It is not in use yet, or no longer.
        Inactive = "INACTIVE",
        /// Final: the bucket has no value.
        Closed = "CLOSED",
    }
}

impl BucketStatus {
    /// The status that is shown for a bucket that is stored with this one: an ACTIVE one is EXPIRED past its end.
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
    /// The use that a bucket's value is meant for.
    UsageType {
        /// Money of a currency.
        Monetary = "MONETARY",
        /// Minutes of voice calls.
        Voice = "VOICE",
        /// Volume of mobile data.
        Data = "DATA",
        /// Numbers of text messages.
        Sms = "SMS",
        /// A use that is none of these.
        Other = "OTHER",
    }
}

stored_enum! {
    /// The kind of a balance action.
    ActionKind {
        /// Value was added from outside.
        Topup = "TOPUP",
        /// The value was corrected, upwards or downwards.
        Adjust = "ADJUST",
        /// Value went to another bucket.
        Transfer = "TRANSFER",
        /// Value was held for a later deduction.
        Reserve = "RESERVE",
        /// The rest of a reserve was given back.
        Unreserve = "UNRESERVE",
        /// Value was used and left the bucket.
        Deduct = "DEDUCT",
        /// What remained left the bucket when it was closed. Callers see an adjustment.
        WriteOff = "WRITEOFF",
    }
}

impl ActionKind {
    /// The cause of the action's own movement.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Topup => Cause::TOPUP,
            Self::Adjust | Self::WriteOff => Cause::ADJUST,
            Self::Transfer => Cause::TRANSFER,
            Self::Reserve => Cause::RESERVE,
            Self::Unreserve => Cause::UNRESERVE,
            Self::Deduct => Cause::DEDUCT,
        }
    }

    /// The idempotency key as `bucket_action_key` has it: the beginning of a hash of the kind and the request id. The
    /// database has the same as a function.
    pub fn stored_key(self, request_id: &str) -> Uuid {
        stored_key(self.as_str(), request_id)
    }
}

stored_enum! {
    /// The state of a balance action.
    ActionStatus {
        /// A reserve that holds value.
        Created = "CREATED",
        /// Final: the action was carried out; of a reserve, at least a part was used.
        Completed = "COMPLETED",
        /// Final: a reserve that was given back or expired without use.
        Cancelled = "CANCELLED",
    }
}

stored_enum! {
    /// The side that pays for a transfer.
    CostOwner {
        /// The bucket that value leaves.
        Originator = "ORIGINATOR",
        /// The bucket that value arrives in.
        Receiver = "RECEIVER",
    }
}

stored_enum! {
    /// The call whose idempotency key is kept although it may have left no other record.
    KeyedCall {
        /// An update that changed nothing.
        Update = "UPDATE",
        /// A closing, whatever was written off.
        Close = "CLOSE",
    }
}

enum_column!(
    BucketStatus,
    UsageType,
    ActionKind,
    ActionStatus,
    CostOwner,
    KeyedCall
);

/// The period in which a bucket may be used; both ends are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// None: there is no first moment.
    pub from: Option<Time>,
    /// None: there is no last moment.
    pub to: Option<Time>,
}

/// A prepaid bucket: an owner of its own, whose own account has its value in its one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Derived from tenant and id.
    pub owner: OwnerId,
    /// The tenant that owns the bucket.
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub id: String,
    /// A name for display.
    pub name: Option<String>,
    /// A description for display.
    pub description: Option<String>,
    /// The stored status; `status_at` gives the one that is shown.
    pub status: BucketStatus,
    /// The use that its value is meant for.
    pub usage_type: Option<UsageType>,
    /// The id of the party account that uses it.
    pub party_account: Option<String>,
    /// The unit of all its amounts.
    pub unit: Unit,
    /// The period in which it may be used.
    pub validity: Validity,
    /// The fields that are only shown, as JSON.
    pub details: JsonText,
    /// The subject of the token that created it.
    pub initiated_by: String,
    /// What a repetition of its creation is compared by.
    pub content: ContentHash,
    /// The value that it was created with.
    pub opened_amount: Amount,
    /// The version of its account after the opening movement; 0 if it was created without value.
    pub opened_version: i64,
    /// The number of its updates and one more: 1 after its creation.
    pub version: i64,
    /// The opening movement's time.
    pub created_at: Time,
    /// The last update's time.
    pub updated_at: Time,
    /// The time from which on it has the stored status; none if a version of the server wrote it that did not say.
    pub status_since: Option<Time>,
}

columns!(Bucket {
    owner: ["owner_id"];
    tenant: ["tenant"];
    id: ["id"];
    name: ["name"];
    description: ["description"];
    status: ["status"];
    usage_type: ["usage_type"];
    party_account: ["party_account_id"];
    unit: ["unit"];
    validity: ["valid_from", "valid_to"];
    details: ["details"];
    initiated_by: ["initiated_by"];
    content: ["content_hash"];
    opened_amount: ["opened_amount"];
    opened_version: ["opened_version"];
    version: ["version"];
    created_at: ["created_at"];
    updated_at: ["updated_at"];
    status_since: ["status_since"];
});

impl Bucket {
    /// The status that is shown at this time: an ACTIVE one is EXPIRED past its end.
    pub fn status_at(&self, now: Time) -> BucketStatus {
        self.status.at(self.validity, now)
    }

    /// Since when it has the status that is shown at this time, if that is known.
    pub fn status_since_at(&self, now: Time) -> Option<Time> {
        if self.status == self.status_at(now) {
            self.status_since
        } else {
            self.validity.to
        }
    }

    /// The version that replies show: it grows with every update and every movement.
    pub fn version_with(&self, balance: &Balance) -> i64 {
        self.version + balance.version
    }
}

/// A stored bucket after a batch, and its version before it.
#[derive(Clone, Debug)]
pub struct BucketChange {
    /// The bucket's next version.
    pub bucket: Bucket,
    /// The version that was read: the row must still have it when it is written.
    pub stored_version: i64,
}

columns!(BucketChange {
    bucket: { nested };
    stored_version: ["stored_version"];
});

/// A product that a bucket serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketProduct {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The id of the product.
    pub product: String,
    /// The tenant that owns the bucket.
    pub tenant: TenantId,
    /// The bucket's id within its tenant.
    pub bucket: String,
    /// The time of the bucket's creation, by which lists of a product are sorted.
    pub created_at: Time,
}

columns!(BucketProduct {
    owner: ["owner_id"];
    product: ["product_id"];
    tenant: ["tenant"];
    bucket: ["bucket_id"];
    created_at: ["created_at"];
});

/// An update of a bucket that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUpdate {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The bucket's version after the update.
    pub version: i64,
    /// The idempotency key, if the caller gave one.
    pub request_id: Option<String>,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
    /// The version of the bucket's account at that moment.
    pub own_version: i64,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// The time of the update.
    pub created_at: Time,
}

columns!(BucketUpdate {
    owner: ["owner_id"];
    version: ["version"];
    request_id: ["request_id"];
    content: ["content_hash"];
    own_version: ["own_version"];
    initiated_by: ["initiated_by"];
    created_at: ["created_at"];
});

/// The idempotency key of a call that may have left no other record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCall {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The call; each has keys of its own.
    pub call: KeyedCall,
    /// The key as the caller gave it.
    pub request_id: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
    /// The version of the bucket's account after the call.
    pub own_version: i64,
    /// The time of the call.
    pub created_at: Time,
}

columns!(KeptCall {
    owner: ["owner_id"];
    call: ["rpc"];
    request_id: ["request_id"];
    content: ["content_hash"];
    own_version: ["own_version"];
    created_at: ["created_at"];
});

/// A balance action that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceAction {
    /// Ids of one owner sort by creation.
    pub id: ActionId,
    /// The owner id of the bucket.
    pub owner: OwnerId,
    /// The tenant that owns the bucket.
    pub tenant: TenantId,
    /// The bucket's id within its tenant.
    pub bucket: String,
    /// The bucket's party account at that moment.
    pub party_account: Option<String>,
    /// The state; CREATED is the only one that is not final.
    pub status: ActionStatus,
    /// The idempotency key, unique per owner and kind of action.
    pub request_id: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
    /// The unit, which is the bucket's.
    pub unit: Unit,
    /// The amount. Only that of an adjustment may be negative; of an unreserve it is what was given back.
    pub amount: Amount,
    /// The kind of action, with what only this kind has.
    pub effect: ActionEffect,
    /// The version of the bucket's account after the action.
    pub own_version: i64,
    /// The fields that are only shown, as JSON.
    pub details: JsonText,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// The time of its movement.
    pub created_at: Time,
    /// The time of the last movement that changed it; a reserve has several.
    pub updated_at: Time,
}

columns!(BalanceAction {
    owner: ["owner_id"];
    id: ["id"];
    tenant: ["tenant"];
    bucket: ["bucket_id"];
    party_account: ["party_account_id"];
    status: ["status"];
    request_id: ["request_id"];
    content: ["content_hash"];
    unit: ["unit"];
    amount: ["amount"];
    effect: [
        "type", "remaining_amount", "expire_time", "closed_cause", "closed_by", "reserve_id", "returned_amount",
        "receiver_owner_id", "receiver_bucket_id", "receiver_version", "cost_amount", "cost_owner"
    ];
    own_version: ["own_version"];
    details: ["details"];
    initiated_by: ["initiated_by"];
    created_at: ["created_at"];
    updated_at: ["updated_at"];
});

impl BalanceAction {
    /// The kind of the action.
    pub fn kind(&self) -> ActionKind {
        self.effect.kind()
    }

    /// The reserve, if the action is one.
    pub fn reserve(&self) -> Option<&Reserve> {
        match &self.effect {
            ActionEffect::Reserve(reserve) => Some(reserve),
            _ => None,
        }
    }

    /// Whether it is an open reserve whose `expire_time` has passed at `now`.
    pub fn is_due(&self, now: Time) -> bool {
        self.status == ActionStatus::Created
            && self
                .reserve()
                .and_then(|reserve| reserve.expire_time)
                .is_some_and(|time| time <= now)
    }
}

/// The kind of an action, with what only this kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionEffect {
    /// Value was added from outside.
    Topup,
    /// The value was corrected.
    Adjust,
    /// Value went to another bucket.
    Transfer(Transfer),
    /// Value is held, or was until the reserve became final.
    Reserve(Reserve),
    /// The rest of a reserve was given back.
    Unreserve {
        /// The id of the reserve.
        reserve: ActionId,
    },
    /// Value was used: what was available, or (`Some`) what a reserve held.
    Deduct(Option<ReserveUse>),
    /// All that remained was taken out of a bucket that was closed then.
    WriteOff,
}

/// The other side of a transfer, and its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The receiving bucket's owner id.
    pub receiver: OwnerId,
    /// The receiving bucket's id within the tenant.
    pub receiver_bucket: String,
    /// The version of the receiver's account after the action.
    pub receiver_version: i64,
    /// The price; none if the transfer was free.
    pub cost: Option<Cost>,
}

/// The price of a transfer, in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The amount; above zero.
    pub amount: Amount,
    /// The side that paid.
    pub owner: CostOwner,
}

/// The state of a reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The amount that it still holds; zero once it is final.
    pub remaining: Amount,
    /// The time at which what is left is released.
    pub expire_time: Option<Time>,
    /// The movement that made it final.
    pub closed: Option<ReserveClosing>,
    /// The amount that its expiry gave back; none unless it expired. No action of its own shows that.
    pub expired: Option<Amount>,
}

/// The one movement that made a reserve final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveClosing {
    /// UNRESERVE, DEDUCT or EXPIRE.
    pub cause: Cause,
    /// The action that made it; for an expiry the reserve itself.
    pub by: Uuid,
}

/// The part that a deduction took of a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveUse {
    /// The id of the reserve.
    pub reserve: ActionId,
    /// The amount that was given back of it.
    pub returned: Amount,
}

impl ActionEffect {
    /// The kind of action.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Topup => ActionKind::Topup,
            Self::Adjust => ActionKind::Adjust,
            Self::Transfer(_) => ActionKind::Transfer,
            Self::Reserve(_) => ActionKind::Reserve,
            Self::Unreserve { .. } => ActionKind::Unreserve,
            Self::Deduct(_) => ActionKind::Deduct,
            Self::WriteOff => ActionKind::WriteOff,
        }
    }

    /// The reserve that was used or given back, and what a deduction, or the reserve's own expiry, gave back of it.
    fn reserve_use(&self) -> (Option<ActionId>, Option<Amount>) {
        match self {
            Self::Reserve(reserve) => (None, reserve.expired),
            Self::Unreserve { reserve } => (Some(*reserve), None),
            Self::Deduct(Some(used)) => (Some(used.reserve), Some(used.returned)),
            _ => (None, None),
        }
    }
}

impl Stored for Validity {
    const TYPES: &'static [SqlType] = &[SqlType::Timestamptz, SqlType::Timestamptz];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.from.push(arrays);
        self.to.push(arrays);
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        Ok(Self {
            from: Stored::read(row, position)?,
            to: Stored::read(row, position)?,
        })
    }
}

impl Stored for ActionEffect {
    const TYPES: &'static [SqlType] = &[
        SqlType::Text,
        SqlType::Numeric,
        SqlType::Timestamptz,
        SqlType::Text,
        SqlType::Uuid,
        SqlType::Uuid,
        SqlType::Numeric,
        SqlType::Uuid,
        SqlType::Text,
        SqlType::BigInt,
        SqlType::Numeric,
        SqlType::Text,
    ];

    fn push<'a>(&'a self, arrays: &mut Arrays<'a>) {
        let reserve = match self {
            Self::Reserve(reserve) => Some(reserve),
            _ => None,
        };
        let transfer = match self {
            Self::Transfer(transfer) => Some(transfer),
            _ => None,
        };
        let closed = reserve.and_then(|reserve| reserve.closed.as_ref());
        let (used_reserve, returned) = self.reserve_use();
        let cost = transfer.and_then(|transfer| transfer.cost);
        arrays.text(Some(self.kind().as_str()));
        arrays.numeric(reserve.map(|reserve| reserve.remaining.to_decimal()));
        arrays.timestamptz(reserve.and_then(|reserve| reserve.expire_time.map(Time::to_chrono)));
        arrays.text(closed.map(|closed| closed.cause.as_str()));
        arrays.uuid(closed.map(|closed| closed.by));
        arrays.uuid(used_reserve.map(|id| id.0));
        arrays.numeric(returned.map(Amount::to_decimal));
        arrays.uuid(transfer.map(|transfer| transfer.receiver.0));
        arrays.text(transfer.map(|transfer| transfer.receiver_bucket.as_str()));
        arrays.big_int(transfer.map(|transfer| transfer.receiver_version));
        arrays.numeric(cost.map(|cost| cost.amount.to_decimal()));
        arrays.text(cost.map(|cost| cost.owner.as_str()));
    }

    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError> {
        let kind: ActionKind = Stored::read(row, position)?;
        let remaining: Option<Amount> = Stored::read(row, position)?;
        let expire_time: Option<Time> = Stored::read(row, position)?;
        let cause: Option<Cause> = Stored::read(row, position)?;
        let closed_by: Option<Uuid> = Stored::read(row, position)?;
        let reserve: Option<ActionId> = Stored::read(row, position)?;
        let returned: Option<Amount> = Stored::read(row, position)?;
        let receiver: Option<OwnerId> = Stored::read(row, position)?;
        let receiver_bucket: Option<String> = Stored::read(row, position)?;
        let receiver_version: Option<i64> = Stored::read(row, position)?;
        let cost_amount: Option<Amount> = Stored::read(row, position)?;
        let cost_owner: Option<CostOwner> = Stored::read(row, position)?;
        let cost = cost_amount.zip(cost_owner);
        let closed = cause.zip(closed_by);
        match kind {
            ActionKind::Topup => Some(Self::Topup),
            ActionKind::Adjust => Some(Self::Adjust),
            ActionKind::WriteOff => Some(Self::WriteOff),
            ActionKind::Transfer => receiver.zip(receiver_bucket).zip(receiver_version).map(
                |((receiver, receiver_bucket), receiver_version)| {
                    Self::Transfer(Transfer {
                        receiver,
                        receiver_bucket,
                        receiver_version,
                        cost: cost.map(|(amount, owner)| Cost { amount, owner }),
                    })
                },
            ),
            ActionKind::Reserve => remaining.map(|remaining| {
                Self::Reserve(Reserve {
                    remaining,
                    expire_time,
                    closed: closed.map(|(cause, by)| ReserveClosing { cause, by }),
                    expired: returned,
                })
            }),
            ActionKind::Unreserve => reserve.map(|reserve| Self::Unreserve { reserve }),
            ActionKind::Deduct => {
                let used = reserve.zip(returned);
                Some(Self::Deduct(
                    used.map(|(reserve, returned)| ReserveUse { reserve, returned }),
                ))
            }
        }
        .ok_or(StoreError::Corrupt(
            "a balance action lacks what its kind has",
        ))
    }
}
