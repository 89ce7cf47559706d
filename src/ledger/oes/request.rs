//! What callers ask of allocations, and what they are answered.

use crate::audit::{CallWrites, Named, RecordId};
use crate::ledger::account::{AccountKey, Balance};
use crate::ledger::kind::{BalanceAt, Judgement, KindState, Origin};
use crate::ledger::oes::model::{Allocation, AllocationTerms, OesRecords, OesVersions};
use crate::types::content::ContentHash;
use crate::types::ids::{AccountId, AllocationId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;

/// Creates an allocation or deallocation: value is reserved, or in mode INSTANT moves at once.
#[derive(Clone, Debug)]
pub struct CreateAllocation {
    /// What the client fixes.
    pub terms: AllocationTerms,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
}

/// Creates many, in order. Each is judged by itself and sees those before it; one that is refused stops no other.
#[derive(Clone, Debug)]
pub struct SubmitAllocations(pub Vec<CreateAllocation>);

/// Makes a reservation final.
#[derive(Clone, Debug)]
pub struct CloseAllocation {
    /// The id of the reservation.
    pub allocation: AllocationId,
    /// What becomes of it, and who says so.
    pub verdict: Verdict,
}

/// What becomes of a reservation, and who says so.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The client takes its value back.
    Cancel {
        /// The reason that the client gave.
        reason: Option<String>,
    },
    /// The partner takes the value.
    Clear(PartnerSide),
    /// The partner gives the value back.
    Release {
        /// The partner that says so.
        partner: PartnerSide,
        /// The reason that the partner gave.
        reason: String,
    },
}

impl Verdict {
    /// The partner that gives it; none if the client does.
    pub fn partner(&self) -> Option<&PartnerSide> {
        match self {
            Self::Cancel { .. } => None,
            Self::Clear(partner) | Self::Release { partner, .. } => Some(partner),
        }
    }
}

/// What a partner says with its verdict.
#[derive(Clone, Debug)]
pub struct PartnerSide {
    /// The enterprise of the partner.
    pub enterprise: EnterpriseId,
    /// The connection that the partner names.
    pub connection: ConnectionId,
    /// The partner's own id for the allocation.
    pub external_id: Option<String>,
}

/// An allocation after a command, with the balances after its movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationReply {
    /// The allocation. One that was only validated and is new has the nil id, and times without meaning.
    pub allocation: Allocation,
    /// Custody after the movement; of a replay, as its first reply showed it.
    pub custody: Balance,
    /// The connection's account after the movement; of a replay, as its first reply showed it.
    pub connection: Balance,
    /// How the reply came about.
    pub origin: Origin,
}

impl AllocationReply {
    /// The reply that repeats an earlier one, still without its balances.
    pub(super) fn replayed(allocation: Allocation) -> Self {
        Self {
            allocation,
            custody: Balance::default(),
            connection: Balance::default(),
            origin: Origin::Replayed,
        }
    }

    /// The judgement that this reply repeats an earlier one, whose movement of this time left these versions.
    pub(super) fn replay(self, versions: OesVersions, time: Time) -> Judgement<Self> {
        let (owner, terms) = (self.allocation.owner, &self.allocation.record.terms);
        let at = |account, version| BalanceAt {
            owner,
            key: AccountKey::new(account, &terms.unit),
            version,
            time,
        };
        let balances = vec![
            at(AccountId::OWN, versions.custody),
            at(terms.connection.into(), versions.connection),
        ];
        Judgement::Replay(self, balances)
    }

    /// Adds the allocation to the writes of its call.
    pub(super) fn add_to(&self, writes: &mut CallWrites) {
        writes.add(self.origin.into(), &self.allocation);
    }

    /// Fills in the balances that [`Self::replay`] named.
    pub(super) fn fill(&mut self, balances: &[Balance]) {
        if let [custody, connection] = *balances {
            (self.custody, self.connection) = (custody, connection);
        }
    }

    /// Turns the reply into what would be done; `before` is as it was before the command.
    pub(super) fn mark_validated(&mut self, owner: OwnerId, before: &KindState<OesRecords>) {
        if self.origin == Origin::Done {
            self.origin = Origin::Validated;
        }
        let id = &mut self.allocation.record.id;
        let records = before.records.get(&owner);
        if records.is_none_or(|records| records.get(*id).is_none()) {
            *id = AllocationId::NIL;
        }
    }
}

impl Named for Allocation {
    const KIND: &'static str = "allocation";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Uuid(self.record.id.0))
    }
}
