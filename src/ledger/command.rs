//! What the ledger can be asked to do, and what it answers.

pub mod bucket;

use std::iter;

use crate::error::Result;
use crate::ledger::command::bucket::{BucketCommand, BucketReply, BucketRequest};
use crate::ledger::model::{Adjustment, Allocation, Balance, Direction};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{AllocationId, ConnectionId, EnterpriseId, Entropy, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Something to be done with one owner's value.
#[derive(Clone, Debug)]
pub struct Command {
    /// Whose accounts.
    pub owner: OwnerId,
    /// Judge only: answer what the real command would, change nothing.
    pub validate_only: bool,
    /// Random bits for the id of a new record.
    pub entropy: Entropy,
    /// What to do.
    pub action: Action,
}

impl Command {
    /// A command on this owner's value.
    pub fn new(owner: impl Into<OwnerId>, validate_only: bool, action: Action) -> Self {
        let random = uuid::Uuid::new_v4().into_bytes();
        let mut entropy = Entropy::default();
        // The last eight bytes hold no version bits.
        entropy.copy_from_slice(&random[8..]);
        Self {
            owner: owner.into(),
            validate_only,
            entropy,
            action,
        }
    }

    /// A command on this bucket.
    pub fn on_bucket(
        tenant: TenantId,
        bucket: String,
        validate_only: bool,
        request: BucketRequest,
    ) -> Self {
        let owner = OwnerId::of_bucket(tenant, &bucket);
        let command = BucketCommand {
            tenant,
            bucket,
            request,
        };
        Self::new(owner, validate_only, Action::Bucket(Box::new(command)))
    }

    /// What kind of owner it is for.
    pub fn kind(&self) -> OwnerKind {
        match &self.action {
            Action::Create(_) | Action::Submit(_) | Action::Close(_) | Action::Adjust(_) => {
                OwnerKind::Enterprise
            }
            Action::Bucket(_) => OwnerKind::Bucket,
            Action::Expire(kind) => *kind,
        }
    }

    /// All owners whose value it may move: its own, and that of a transfer's receiver.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let receiver = match &self.action {
            Action::Bucket(command) => command.receiver(),
            _ => None,
        };
        iter::once(self.owner).chain(receiver)
    }

    /// The smallest of its owners: which queue it waits in, and in which line.
    pub fn home(&self) -> OwnerId {
        self.owners().min().unwrap_or(self.owner)
    }

    /// How much of a batch it takes.
    pub fn weight(&self) -> usize {
        match &self.action {
            Action::Submit(creates) => creates.len().max(1),
            Action::Create(_)
            | Action::Close(_)
            | Action::Adjust(_)
            | Action::Bucket(_)
            | Action::Expire(_) => 1,
        }
    }
}

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKind {
    /// An enterprise, with its client's custody and connections.
    Enterprise,
    /// A prepaid bucket.
    Bucket,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Reserve, or move at once.
    Create(Create),
    /// Many of these, in order, each judged by itself and seeing those before it.
    Submit(Vec<Create>),
    /// Make a reservation final.
    Close(Close),
    /// Deposit or withdraw custody.
    Adjust(Adjust),
    /// Anything with a prepaid bucket.
    Bucket(Box<BucketCommand>),
    /// Release what is due; asked by the sweep and by reads. The owner's due reservations are released before any
    /// command of his, so there is nothing else to do.
    Expire(OwnerKind),
}

/// A new allocation or deallocation.
#[derive(Clone, Debug)]
pub struct Create {
    /// Which way.
    pub direction: Direction,
    /// Between whom.
    pub connection: ConnectionId,
    /// Of what.
    pub unit: Unit,
    /// How much; above zero.
    pub quantity: Amount,
    /// The key.
    pub client_external_id: String,
    /// The client's notes.
    pub notes: Option<String>,
    /// When it is released by itself.
    pub expire_time: Option<Time>,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
}

/// A verdict on a reservation.
#[derive(Clone, Debug)]
pub struct Close {
    /// Which.
    pub allocation: AllocationId,
    /// Whose verdict.
    pub verdict: Verdict,
}

/// Who makes a reservation final, and how.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The client gives it up.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// The partner takes it.
    Clear(Partner),
    /// The partner gives it back.
    Release {
        /// Whose verdict.
        partner: Partner,
        /// Why.
        reason: String,
    },
}

/// The partner's side of a verdict.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The partner's enterprise.
    pub enterprise: EnterpriseId,
    /// The connection that the partner names.
    pub connection: ConnectionId,
    /// The partner's own id of the record.
    pub external_id: Option<String>,
}

/// A deposit or withdrawal of custody.
#[derive(Clone, Debug)]
pub struct Adjust {
    /// Of what.
    pub unit: Unit,
    /// How much; negative withdraws; not zero.
    pub quantity: Amount,
    /// The key.
    pub external_id: String,
    /// Why.
    pub reason: String,
    /// The token's subject.
    pub initiated_by: String,
    /// What a repeat of the key is compared by.
    pub content: ContentHash,
}

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An allocation as it stands now, with the balances after its movement.
    Allocation(Box<AllocationReply>),
    /// What became of each of many creates, in their order; without balances.
    Submitted(Vec<Result<AllocationReply>>),
    /// A deposit or withdrawal.
    Adjustment(Box<AdjustmentReply>),
    /// A prepaid bucket.
    Bucket(Box<BucketReply>),
    /// Nothing is due any more.
    Expired,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was done now.
    Done,
    /// It was done before, under the same key.
    Replayed,
    /// It would be done.
    Validated,
}

/// An allocation as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationReply {
    /// The record. One that was only validated and is new has the nil id, and times that mean nothing.
    pub allocation: Allocation,
    /// Custody after the movement; of a replay, as its first answer showed it.
    pub custody: Balance,
    /// The connection after the movement; of a replay, as its first answer showed it.
    pub connection: Balance,
    /// How it came about.
    pub origin: Origin,
}

/// A deposit or withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustmentReply {
    /// The record.
    pub adjustment: Adjustment,
    /// Custody after it; of a replay, as its first answer showed it.
    pub custody: Balance,
    /// How it came about.
    pub origin: Origin,
}
