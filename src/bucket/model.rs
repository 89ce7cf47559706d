//! Buckets and balance actions as the service shows and lists them. Their value is the ledger's.

mod details;

use serde::{Deserialize, Serialize};

pub(super) use details::{ActionDetails, BucketDetails, ObjectClass, RecurringPeriod, Reference};

use crate::error::Error;
use crate::ledger::account::Balance;
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, ActionStatus, BalanceAction, BucketStatus, CostOwner, UsageType,
    Validity,
};
use crate::ledger::bucket::request::BucketReply;
use crate::limits::ID_CHARS_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::page::{Page, PageCursor};
use crate::types::text;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A bucket as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BucketRecord {
    /// Unique in the tenant.
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// The status at the time of the read: an active bucket past its end is EXPIRED.
    pub status: BucketStatus,
    pub usage_type: Option<UsageType>,
    pub unit: Unit,
    /// What is left in the bucket, and what its open reserves hold.
    pub balance: Balance,
    /// The period in which the bucket may be used.
    pub validity: Validity,
    /// Grows with each update and each movement.
    pub version: i64,
    pub details: BucketDetails,
    /// The time of the movement that opened it.
    pub created_at: Time,
}

impl BucketRecord {
    /// The cursor of the page that follows it.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            created_at: self.created_at,
            id: self.id.clone(),
        }
    }
}

/// A bucket as a command left it.
impl TryFrom<&BucketReply> for BucketRecord {
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
            details: BucketDetails::parse(&bucket.details.0)?,
            created_at: bucket.created_at,
        })
    }
}

/// A balance action as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketActionRecord {
    /// Ids are in the order of creation.
    pub id: ActionId,
    pub kind: ActionKind,
    pub status: ActionStatus,
    /// The bucket's id in the tenant.
    pub bucket: String,
    /// The key, unique per bucket and kind of action.
    pub request_id: String,
    pub unit: Unit,
    pub amount: Amount,
    /// Of a reserve: what it still holds.
    pub remaining: Option<Amount>,
    /// Of a reserve: the time at which it is released unless it is closed before.
    pub expire_time: Option<Time>,
    /// The reserve that was released, or that was drawn from.
    pub reserve: Option<ActionId>,
    /// Of a transfer: the bucket that received the amount, by its id in the tenant.
    pub receiver: Option<String>,
    /// Of a transfer: what it cost, and which side paid.
    pub cost: Option<(Amount, CostOwner)>,
    /// The subject of the token that created it.
    pub initiated_by: String,
    pub details: ActionDetails,
    /// The time of its movement.
    pub created_at: Time,
    /// The time of the last movement that changed it.
    pub updated_at: Time,
}

impl BucketActionRecord {
    /// The cursor of the page that follows it.
    pub(super) fn cursor(&self) -> ActionCursor {
        ActionCursor(self.id)
    }
}

/// An action as a command left it.
impl TryFrom<BalanceAction> for BucketActionRecord {
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
            details: ActionDetails::parse(&action.details.0)?,
            created_at: action.created_at,
            updated_at: action.updated_at,
        };
        match action.effect {
            ActionEffect::Topup | ActionEffect::Adjust | ActionEffect::Deduct(None) => {}
            ActionEffect::Transfer(transfer) => {
                shown.receiver = Some(transfer.receiver_bucket);
                shown.cost = transfer.cost.map(|cost| (cost.amount, cost.owner));
            }
            ActionEffect::Reserve(reserve) => {
                shown.remaining = Some(reserve.remaining);
                shown.expire_time = reserve.expire_time;
            }
            ActionEffect::Unreserve { reserve } => shown.reserve = Some(reserve),
            ActionEffect::Deduct(Some(drawn)) => shown.reserve = Some(drawn.reserve),
        }
        Ok(shown)
    }
}

/// The filters of a list of buckets: AND between them, `None` lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BucketFilter {
    /// A product that the bucket serves.
    pub product: Option<String>,
    pub party_account: Option<String>,
    /// The status at the time of the read.
    pub status: Option<BucketStatus>,
    pub usage_type: Option<UsageType>,
}

/// A list of buckets in the order of creation, then of ids by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub filter: BucketFilter,
    pub page: Page<Cursor>,
}

/// The last bucket of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub created_at: Time,
    pub id: String,
}

impl PageCursor for Cursor {
    fn is_possible(&self) -> bool {
        self.created_at.is_storable() && text::check_required(&self.id, ID_CHARS_MAX).is_ok()
    }
}

/// A list of balance actions in the order of creation: AND between filters, OR between the values of one. An empty filter
/// lets every action pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionList {
    pub kinds: Vec<ActionKind>,
    /// Buckets by their ids in the tenant: their own actions, and transfers to them.
    pub buckets: Vec<String>,
    pub party_accounts: Vec<String>,
    pub request_ids: Vec<String>,
    /// The first time that is listed.
    pub from: Option<Time>,
    /// The last time that is listed.
    pub to: Option<Time>,
    pub page: Page<ActionCursor>,
}

/// The last action of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ActionCursor(pub ActionId);

impl PageCursor for ActionCursor {
    fn is_possible(&self) -> bool {
        true
    }
}

/// The party account whose balances are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accumulate {
    pub party_account: String,
    /// The only unit that is added up; `None` stands for each.
    pub unit: Option<Unit>,
    /// The page of the units, in the order of their bytes.
    pub page: Page<UnitCursor>,
}

/// The last unit of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnitCursor(pub String);

impl PageCursor for UnitCursor {
    fn is_possible(&self) -> bool {
        Unit::parse(&self.0).is_some()
    }
}

/// What the buckets of a party account hold of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accumulated {
    pub unit: Unit,
    /// A decimal that may have more digits than an amount.
    pub available: String,
    /// A decimal in the same form.
    pub held: String,
    /// The number of buckets.
    pub buckets: i64,
}

impl Accumulated {
    /// The cursor of the page that follows it.
    pub(super) fn cursor(&self) -> UnitCursor {
        UnitCursor(self.unit.to_string())
    }
}

/// What a read found. If something in it had expired, that is to be released, and the read repeated by its clock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BucketRead<T> {
    pub found: T,
    /// The database's clock when this was first read; `None` if that read found nothing.
    pub clock: Option<Time>,
    /// Buckets that had open reserves whose expire time was past then.
    pub expired: Vec<OwnerId>,
}

/// The id of a bucket for which the caller gave only a request id.
pub(super) fn made_id(tenant: TenantId, request_id: &str) -> String {
    uuid::Uuid::new_v5(&tenant.0, request_id.as_bytes()).to_string()
}
