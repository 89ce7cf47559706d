//! What callers ask of prepaid buckets, and what they are answered.

use crate::audit::{CallWrites, Named, RecordId};
use crate::ledger::account::Balance;
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, BalanceAction, Bucket, BucketStatus, CostOwner, Transfer, UsageType,
    Validity,
};
use crate::ledger::kind::{Command, Origin};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// An operation on one bucket.
#[derive(Clone, Debug)]
pub struct BucketRequest {
    /// The tenant that owns the bucket.
    pub tenant: TenantId,
    /// The bucket's id within its tenant.
    pub bucket: String,
    /// The operation to carry out.
    pub operation: BucketOperation,
}

/// An operation on a bucket.
#[derive(Clone, Debug)]
pub enum BucketOperation {
    /// Creates the bucket with its opening value.
    Create(CreateBucket),
    /// Changes fields other than its value.
    Update(UpdateBucket),
    /// Moves value by a balance action.
    Act(PerformAction),
}

impl BucketRequest {
    /// The command that carries out an operation on this bucket.
    pub fn command(
        tenant: TenantId,
        bucket: String,
        validate_only: bool,
        operation: BucketOperation,
    ) -> Command<Self> {
        let owner = OwnerId::of_bucket(tenant, &bucket);
        let request = Self {
            tenant,
            bucket,
            operation,
        };
        Command::new(owner, validate_only, request)
    }
}

/// The fields of a new bucket.
#[derive(Clone, Debug)]
pub struct CreateBucket {
    /// Whether the caller gave the id; else it was made from the request id, which then is the idempotency key.
    pub id_given: bool,
    /// A name for display.
    pub name: Option<String>,
    /// A description for display.
    pub description: Option<String>,
    /// The stored status; CLOSED only without value.
    pub status: BucketStatus,
    /// The use that its value is meant for.
    pub usage_type: Option<UsageType>,
    /// The id of the party account that uses it.
    pub party_account: Option<String>,
    /// The opening value; not negative.
    pub value: Quantity,
    /// The period in which it may be used.
    pub validity: Validity,
    /// The ids of the products that it serves, each once.
    pub products: Vec<String>,
    /// The fields that are only shown, as JSON.
    pub details: String,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// What a repetition of the id is compared by.
    pub content: ContentHash,
}

/// A change of a bucket; a field that is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateBucket {
    /// The idempotency key, if the caller gave one.
    pub request_id: Option<String>,
    /// The new text; `Some(None)` removes it.
    pub name: Option<Option<String>>,
    /// The new text; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// CLOSED is final, and refused while the bucket has value.
    pub status: Option<BucketStatus>,
    /// Both ends of the period.
    pub validity: Option<Validity>,
    /// The version that the caller expects, as replies show it.
    pub expected_version: Option<i64>,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
}

/// A balance action to be carried out.
#[derive(Clone, Debug)]
pub struct PerformAction {
    /// The idempotency key, unique per bucket and kind of action.
    pub request_id: String,
    /// The action to carry out.
    pub action: ActionRequest,
    /// The fields that are only shown, as JSON.
    pub details: String,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
}

/// An amount and its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The amount in the unit.
    pub amount: Amount,
    /// The unit, which must be the bucket's.
    pub unit: Unit,
}

/// What is done with a bucket's value. Amounts are above zero unless stated otherwise.
#[derive(Clone, Debug)]
pub enum ActionRequest {
    /// Adds value from outside.
    Topup {
        /// The amount and its unit.
        quantity: Quantity,
        /// The end that the bucket's validity has at least from then on; an EXPIRED bucket becomes ACTIVE.
        valid_for_end: Option<Time>,
    },
    /// Corrects the value; a negative amount takes value out, zero is refused.
    Adjust(Quantity),
    /// Moves value to another bucket of the tenant.
    Transfer(TransferRequest),
    /// Holds value for a later deduction.
    Reserve {
        /// The amount and its unit.
        quantity: Quantity,
        /// The time at which what is left is released.
        expire_time: Option<Time>,
    },
    /// Gives back what a reserve still holds.
    Unreserve {
        /// The id of the reserve.
        reserve: ActionId,
    },
    /// Uses value, which leaves the bucket.
    Deduct {
        /// The amount and its unit.
        quantity: Quantity,
        /// The reserve that it is taken from; none: it is taken from what is available.
        from: Option<ReserveDraw>,
    },
    /// Closes the bucket, for good.
    Close {
        /// Whether what remains is given up; otherwise a bucket that has value is not closed.
        write_off: bool,
        /// The version that the caller expects, as replies show it.
        expected_version: Option<i64>,
    },
}

impl ActionRequest {
    /// The kind of the action's record.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Topup { .. } => ActionKind::Topup,
            Self::Adjust(_) => ActionKind::Adjust,
            Self::Transfer(_) => ActionKind::Transfer,
            Self::Reserve { .. } => ActionKind::Reserve,
            Self::Unreserve { .. } => ActionKind::Unreserve,
            Self::Deduct { .. } => ActionKind::Deduct,
            Self::Close { .. } => ActionKind::WriteOff,
        }
    }

    /// The reserve that it uses or gives back.
    pub fn reserve(&self) -> Option<ActionId> {
        match self {
            Self::Unreserve { reserve } => Some(*reserve),
            Self::Deduct { from, .. } => from.as_ref().map(|from| from.reserve),
            _ => None,
        }
    }
}

/// A transfer to another bucket.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// The amount and its unit.
    pub quantity: Quantity,
    /// The receiving bucket's owner id: `OwnerId::of_bucket` of the same tenant and the id below.
    pub receiver: OwnerId,
    /// The receiving bucket's id within the tenant.
    pub receiver_bucket: String,
    /// The price, and the side that pays it; none if the transfer is free.
    pub cost: Option<(Quantity, CostOwner)>,
}

/// The part that a deduction takes of a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveDraw {
    /// The id of the reserve.
    pub reserve: ActionId,
    /// Whether the rest stays held; otherwise it is given back.
    pub keep_rest: bool,
}

/// A bucket after a command, and the action that the command made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketReply {
    /// The bucket after the command.
    pub bucket: Bucket,
    /// The bucket's balance after the command; of a replay, as its first reply showed it.
    pub balance: Balance,
    /// The action as it stands now; none for a creation, an update, or a closing that wrote nothing off. One that was only validated and is new has the nil
    /// id, and times without meaning.
    pub action: Option<BalanceAction>,
    /// The time at which this was judged, by the database's clock.
    pub now: Time,
    /// How the reply came about.
    pub origin: Origin,
}

impl BucketReply {
    /// Adds the action and the buckets whose value it moved to the writes of its call.
    pub(super) fn add_to(&self, writes: &mut CallWrites) {
        let effect = self.origin.into();
        if let Some(action) = &self.action {
            writes.add(effect, action);
        }
        writes.add(effect, &self.bucket);
        let transfer = self.action.as_ref().map(|action| &action.effect);
        if let Some(ActionEffect::Transfer(transfer)) = transfer {
            writes.add(effect, transfer);
        }
    }
}

impl Named for BalanceAction {
    const KIND: &'static str = "action";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Uuid(self.id.0))
    }
}

impl Named for Bucket {
    const KIND: &'static str = "bucket";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Text(self.id.clone()))
    }
}

/// The bucket that receives the value, which a transfer writes as well.
impl Named for Transfer {
    const KIND: &'static str = Bucket::KIND;

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Text(self.receiver_bucket.clone()))
    }
}
