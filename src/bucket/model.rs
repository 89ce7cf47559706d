//! Buckets and balance actions as the service shows and lists them. Their value is the ledger's.

mod details;

use serde::{Deserialize, Serialize};

pub(super) use details::{ActionDetails, BucketDetails, ObjectClass, RecurringPeriod, Reference};

use crate::error::Error;
use crate::ledger::account::Balance;
use crate::ledger::bucket::delta::{ActionValues, ValueDelta};
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, ActionStatus, BalanceAction, BucketStatus, Cost, CostOwner,
    UsageType, Validity,
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

/// What a listed action did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListedKind {
    /// The bucket was created with a value. It is not stored as an action: the bucket has its amount and time.
    Opening,
    /// An action that is stored.
    Stored(ActionKind),
}

impl ListedKind {
    /// The name by which statements select it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Opening => OPENING,
            Self::Stored(kind) => kind.as_str(),
        }
    }

    /// The kind with the name that a statement selected.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            OPENING => Some(Self::Opening),
            stored => ActionKind::parse(stored).map(Self::Stored),
        }
    }
}

const OPENING: &str = "OPENING";

/// A balance action as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketActionRecord {
    /// Ids are in the order of creation.
    pub id: ActionId,
    pub kind: ListedKind,
    pub status: ActionStatus,
    /// The bucket's id in the tenant.
    pub bucket: String,
    /// The key, unique per bucket and kind of action.
    pub request_id: String,
    pub unit: Unit,
    pub amount: Amount,
    /// Of a reserve: what it still holds.
    pub remaining: Option<Amount>,
    /// What was given back of a reserve: by this deduction from it, or by its own expiry if it is the reserve.
    pub returned: Option<Amount>,
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
    /// What it has changed of each listed bucket so far: its own first.
    pub deltas: Vec<BucketDelta>,
}

/// The buckets of an action whose changes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListedEnds {
    /// The bucket that the action belongs to.
    pub own: bool,
    /// Of a transfer: the bucket that receives.
    pub receiver: bool,
}

impl ListedEnds {
    /// Both buckets, where no filter chooses one.
    pub(super) const ALL: Self = Self {
        own: true,
        receiver: true,
    };
}

/// What an action has changed of a bucket so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketDelta {
    /// The bucket's id in the tenant.
    pub bucket: String,
    pub delta: ValueDelta,
}

impl BucketActionRecord {
    /// The action with what it has changed of each listed bucket so far.
    ///
    /// # Errors
    /// A sum needs more than 28 digits, which the movement itself would have been refused for.
    pub(super) fn with_deltas(mut self, listed: ListedEnds) -> Result<Self, Error> {
        let too_long = || Error::internal("a change of a bucket has more than 28 digits");
        let opening = ValueDelta {
            remaining: self.amount,
            reserved: Amount::ZERO,
        };
        let values = self.values();
        if listed.own {
            let delta = match values {
                None => opening,
                Some(values) => values.own_delta().ok_or_else(too_long)?,
            };
            let bucket = self.bucket.clone();
            self.deltas.push(BucketDelta { bucket, delta });
        }
        let receiver = self.receiver.clone().filter(|_| listed.receiver);
        if let Some((values, bucket)) = values.zip(receiver) {
            let delta = values.receiver_delta().ok_or_else(too_long)?;
            self.deltas.push(BucketDelta { bucket, delta });
        }
        Ok(self)
    }

    /// What decides how values change; none for an opening.
    fn values(&self) -> Option<ActionValues> {
        let ListedKind::Stored(kind) = self.kind else {
            return None;
        };
        Some(ActionValues {
            kind,
            amount: self.amount,
            returned: self.returned,
            uses_reserve: kind == ActionKind::Deduct && self.reserve.is_some(),
            cost: self.cost.map(|(amount, owner)| Cost { amount, owner }),
        })
    }

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
            kind: ListedKind::Stored(action.kind()),
            status: action.status,
            bucket: action.bucket,
            request_id: action.request_id,
            unit: action.unit,
            amount: action.amount,
            remaining: None,
            returned: None,
            expire_time: None,
            reserve: None,
            receiver: None,
            cost: None,
            initiated_by: action.initiated_by,
            details: ActionDetails::parse(&action.details.0)?,
            created_at: action.created_at,
            updated_at: action.updated_at,
            deltas: Vec::new(),
        };
        match action.effect {
            ActionEffect::Topup
            | ActionEffect::Adjust
            | ActionEffect::WriteOff
            | ActionEffect::Deduct(None) => {}
            ActionEffect::Transfer(transfer) => {
                shown.receiver = Some(transfer.receiver_bucket);
                shown.cost = transfer.cost.map(|cost| (cost.amount, cost.owner));
            }
            ActionEffect::Reserve(reserve) => {
                shown.remaining = Some(reserve.remaining);
                shown.returned = reserve.expired;
                shown.expire_time = reserve.expire_time;
            }
            ActionEffect::Unreserve { reserve } => shown.reserve = Some(reserve),
            ActionEffect::Deduct(Some(drawn)) => {
                shown.reserve = Some(drawn.reserve);
                shown.returned = Some(drawn.returned);
            }
        }
        shown.with_deltas(ListedEnds::ALL)
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
    pub kinds: Vec<ListedKind>,
    /// Buckets by their ids in the tenant: their own actions, and transfers to them.
    pub buckets: Vec<String>,
    /// The same for all buckets that belong to these party accounts now.
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
    pub sums: BucketSums,
    /// The same for the buckets of each status, by the clock of the read.
    pub by_status: Vec<(BucketStatus, BucketSums)>,
}

/// What some buckets hold together: decimals that may have more digits than an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketSums {
    /// What is available in those that are ACTIVE and within their validity.
    pub usable: String,
    pub available: String,
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
