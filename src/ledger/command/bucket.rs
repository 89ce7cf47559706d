//! What a prepaid bucket can be asked to do, and what it answers.

use crate::ledger::command::Origin;
use crate::ledger::model::Balance;
use crate::ledger::model::bucket::{
    ActionKind, BalanceAction, Bucket, BucketStatus, CostOwner, UsageType, Validity,
};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Something to be done with one bucket.
#[derive(Clone, Debug)]
pub struct BucketCommand {
    /// Whose bucket.
    pub tenant: TenantId,
    /// Its id in the tenant.
    pub bucket: String,
    /// What to do.
    pub request: BucketRequest,
}

impl BucketCommand {
    /// The bucket that takes what this one gives.
    pub fn receiver(&self) -> Option<OwnerId> {
        match &self.request {
            BucketRequest::Act(Act {
                deed: Deed::Transfer(transfer),
                ..
            }) => Some(transfer.receiver),
            _ => None,
        }
    }
}

/// What to do with it.
#[derive(Clone, Debug)]
pub enum BucketRequest {
    /// Make it.
    Create(CreateBucket),
    /// Change what is not value.
    Update(UpdateBucket),
    /// Move value.
    Act(Act),
}

/// A new bucket.
#[derive(Clone, Debug)]
pub struct CreateBucket {
    /// Whether the caller gave the id; else it was made from the request id, which then is the key.
    pub id_given: bool,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether it may be used; CLOSED only with nothing in it.
    pub status: BucketStatus,
    /// What its value is used for.
    pub usage_type: Option<UsageType>,
    /// The account of the party that uses it.
    pub party_account: Option<String>,
    /// What it begins with; not negative.
    pub value: Quantity,
    /// When it may be used.
    pub validity: Validity,
    /// The products that it serves, each once.
    pub products: Vec<String>,
    /// JSON of all that only answers need.
    pub details: String,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the id is compared by.
    pub content: ContentHash,
}

/// A change of a bucket; what is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateBucket {
    /// The key, if there is one.
    pub request_id: Option<String>,
    /// `Some(None)` takes it away.
    pub name: Option<Option<String>>,
    /// `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// CLOSED is final, and needs nothing in the bucket.
    pub status: Option<BucketStatus>,
    /// Both ends.
    pub validity: Option<Validity>,
    /// The version that answers show.
    pub expected_version: Option<i64>,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
}

/// A balance action.
#[derive(Clone, Debug)]
pub struct Act {
    /// The key, unique per bucket and kind of action.
    pub request_id: String,
    /// What to do.
    pub deed: Deed,
    /// JSON of all that only answers need.
    pub details: String,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
}

/// How much of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// How much.
    pub amount: Amount,
    /// Of what; must be the bucket's.
    pub unit: Unit,
}

/// What to do with a bucket's value. Amounts are above zero unless said otherwise.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Fill up.
    Topup(Quantity),
    /// Correct; negative takes out; not zero.
    Adjust(Quantity),
    /// Give to another bucket of the tenant.
    Transfer(GiveTo),
    /// Hold.
    Reserve {
        /// How much.
        quantity: Quantity,
        /// When it is released by itself.
        expire_time: Option<Time>,
    },
    /// Give back what a reserve still holds.
    Unreserve {
        /// Which.
        reserve: ActionId,
    },
    /// Use.
    Deduct {
        /// How much.
        quantity: Quantity,
        /// From a reserve; none: from what is available.
        from: Option<DrawFrom>,
    },
}

impl Deed {
    /// What it becomes a record of.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Topup(_) => ActionKind::Topup,
            Self::Adjust(_) => ActionKind::Adjust,
            Self::Transfer(_) => ActionKind::Transfer,
            Self::Reserve { .. } => ActionKind::Reserve,
            Self::Unreserve { .. } => ActionKind::Unreserve,
            Self::Deduct { .. } => ActionKind::Deduct,
        }
    }

    /// The reserve that it is about.
    pub fn reserve(&self) -> Option<ActionId> {
        match self {
            Self::Unreserve { reserve } => Some(*reserve),
            Self::Deduct { from, .. } => from.as_ref().map(|from| from.reserve),
            _ => None,
        }
    }
}

/// A gift to another bucket.
#[derive(Clone, Debug)]
pub struct GiveTo {
    /// How much.
    pub quantity: Quantity,
    /// Who takes: `OwnerId::of_bucket` of the same tenant and the id below.
    pub receiver: OwnerId,
    /// Its id in the tenant.
    pub receiver_bucket: String,
    /// What it costs, and who pays.
    pub cost: Option<(Quantity, CostOwner)>,
}

/// Which reserve to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawFrom {
    /// Which.
    pub reserve: ActionId,
    /// Whether the rest stays held; else it is given back.
    pub keep_rest: bool,
}

/// A bucket as it stands now, and what was done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketReply {
    /// The record.
    pub bucket: Bucket,
    /// What is in it after the command; of a replay, as its first answer showed it.
    pub balance: Balance,
    /// The action as it stands now; none where no value was to be moved. One that was only validated and is new has the
    /// nil id, and times that mean nothing.
    pub action: Option<BalanceAction>,
    /// When this was judged, by the database's clock.
    pub now: Time,
    /// How it came about.
    pub origin: Origin,
}
