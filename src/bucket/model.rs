//! What the service shows and lists. What a bucket's value does is the ledger's.

mod details;

use serde::{Deserialize, Serialize};

pub(super) use details::{ActionDetails, Class, Details, RecurringPeriod, Reference};

use crate::error::Error;
use crate::ledger::command::bucket::BucketReply;
use crate::ledger::model::Balance;
use crate::ledger::model::bucket::{
    ActionKind, ActionStatus, BalanceAction, BucketStatus, CostOwner, Performed, UsageType,
    Validity,
};
use crate::types::amount::Amount;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::page::Page;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A bucket as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Unique in the tenant.
    pub id: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// As it reads now: an active one past its end is EXPIRED.
    pub status: BucketStatus,
    /// What its value is used for.
    pub usage_type: Option<UsageType>,
    /// Of what.
    pub unit: Unit,
    /// What is left, and what is set aside.
    pub balance: Balance,
    /// When it may be used.
    pub validity: Validity,
    /// Higher after each update and each movement.
    pub version: i64,
    /// All that is only shown.
    pub details: Details,
    /// The opening movement's time.
    pub created_at: Time,
}

impl Record {
    /// Where a list goes on behind it.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            created_at: self.created_at,
            id: self.id.clone(),
        }
    }
}

/// A bucket as a command left it.
impl TryFrom<&BucketReply> for Record {
    type Error = Error;

    fn try_from(reply: &BucketReply) -> Result<Self, Error> {
        let bucket = &reply.bucket;
        Ok(Self {
            id: bucket.id.clone(),
            name: bucket.name.clone(),
            description: bucket.description.clone(),
            status: bucket.status_at(reply.now),
            usage_type: bucket.usage_type,
            unit: bucket.unit.clone(),
            balance: reply.balance,
            validity: bucket.validity,
            version: bucket.version_with(&reply.balance),
            details: Details::parse(&bucket.details)?,
            created_at: bucket.created_at,
        })
    }
}

/// A balance action as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// Orders by creation.
    pub id: ActionId,
    /// What was done.
    pub kind: ActionKind,
    /// Where it stands.
    pub status: ActionStatus,
    /// The bucket's id in the tenant.
    pub bucket: String,
    /// The key.
    pub request_id: String,
    /// Of what.
    pub unit: Unit,
    /// How much.
    pub amount: Amount,
    /// Of a reserve: what it still holds.
    pub remaining: Option<Amount>,
    /// Of a reserve: when it is released by itself.
    pub expire_time: Option<Time>,
    /// The reserve that it is about.
    pub reserve: Option<ActionId>,
    /// Of a transfer: the bucket that took, by its id in the tenant.
    pub receiver: Option<String>,
    /// Of a transfer: what was paid for it, and by whom.
    pub cost: Option<(Amount, CostOwner)>,
    /// The token's subject.
    pub initiated_by: String,
    /// All that is only shown.
    pub details: ActionDetails,
    /// The movement's time.
    pub created_at: Time,
    /// The time of the last movement that touched it.
    pub updated_at: Time,
}

impl Action {
    /// Where a list goes on behind it.
    pub(super) fn cursor(&self) -> ActionCursor {
        ActionCursor(self.id)
    }
}

/// An action as a command left it.
impl TryFrom<BalanceAction> for Action {
    type Error = Error;

    fn try_from(action: BalanceAction) -> Result<Self, Error> {
        let mut shown = Self {
            id: action.id,
            kind: action.kind(),
            status: action.status,
            bucket: action.bucket,
            request_id: action.request_id,
            unit: action.unit,
            amount: action.amount,
            remaining: None,
            expire_time: None,
            reserve: None,
            receiver: None,
            cost: None,
            initiated_by: action.initiated_by,
            details: ActionDetails::parse(&action.details)?,
            created_at: action.created_at,
            updated_at: action.updated_at,
        };
        match action.what {
            Performed::Topup | Performed::Adjust | Performed::Deduct(None) => {}
            Performed::Transfer(transfer) => {
                shown.receiver = Some(transfer.receiver_bucket);
                shown.cost = transfer.cost.map(|cost| (cost.amount, cost.owner));
            }
            Performed::Reserve(reserve) => {
                shown.remaining = Some(reserve.remaining);
                shown.expire_time = reserve.expire_time;
            }
            Performed::Unreserve { reserve } => shown.reserve = Some(reserve),
            Performed::Deduct(Some(drawn)) => shown.reserve = Some(drawn.reserve),
        }
        Ok(shown)
    }
}

/// Which buckets: AND between filters, `None` lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Only with this product.
    pub product: Option<String>,
    /// Only of this party account.
    pub party_account: Option<String>,
    /// Only those that read so.
    pub status: Option<BucketStatus>,
    /// Only of this usage type.
    pub usage_type: Option<UsageType>,
}

/// A list of buckets in the order of creation, then of ids by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// Which.
    pub filter: Filter,
    /// Which part of them.
    pub page: Page<Cursor>,
}

/// The last bucket of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// When it was created.
    pub created_at: Time,
    /// Its id.
    pub id: String,
}

/// A list of balance actions in the order of creation: AND between filters, OR between the values of one, an empty one
/// lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionList {
    /// Only of these kinds.
    pub kinds: Vec<ActionKind>,
    /// Only of these buckets, or transfers to them.
    pub buckets: Vec<String>,
    /// Only of these party accounts.
    pub party_accounts: Vec<String>,
    /// Only with these keys.
    pub request_ids: Vec<String>,
    /// Only then or later.
    pub from: Option<Time>,
    /// Only then or before.
    pub to: Option<Time>,
    /// Which part.
    pub page: Page<ActionCursor>,
}

/// The last action of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ActionCursor(pub ActionId);

/// Which party account's balances are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accumulate {
    /// Whose.
    pub party_account: String,
    /// Only of this.
    pub unit: Option<Unit>,
}

/// What buckets hold of one unit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accumulated {
    /// Of what.
    pub unit: Unit,
    /// Decimals that may have more digits than an amount.
    pub available: String,
    /// In the same form.
    pub held: String,
    /// How many buckets.
    pub buckets: i64,
}

/// What a read shows, unless something in it was due: then that is to be released, and the read repeated by its clock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen<T> {
    /// What is shown.
    pub shown: T,
    /// The database's clock when it was first read.
    pub clock: Option<Time>,
    /// Buckets of which a reserve was due then.
    pub due: Vec<OwnerId>,
}

/// Makes the id of a bucket for which the caller gave only a request id.
pub(super) fn made_id(tenant: TenantId, request_id: &str) -> String {
    uuid::Uuid::new_v5(&tenant.0, request_id.as_bytes()).to_string()
}
