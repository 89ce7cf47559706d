//! Adjustments as they are stored.

use crate::error::StoredValue;
use crate::ledger::account::Cause;
use crate::ledger::table::description::columns;
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{AdjustmentId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The kind of adjustments.
#[derive(Clone, Copy, Debug)]
pub struct Adjustments;

impl Cause {
    /// A deposit or withdrawal, or the correction of a bucket's value.
    pub const ADJUST: Self = Self::named("ADJUST");
}

/// A deposit or withdrawal of custody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
    /// Ids of one owner sort by creation.
    pub id: AdjustmentId,
    /// The idempotency key, unique per owner.
    pub external_id: String,
    /// The currency of the quantity.
    pub unit: Unit,
    /// The amount in base units; negative if it was withdrawn, never zero.
    pub quantity: Amount,
    /// The reason that the custodian gave.
    pub reason: String,
    /// The subject of the token that made it.
    pub initiated_by: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
    /// The version of the custody account after the movement.
    pub custody_version: i64,
    /// The time of its movement.
    pub created_at: Time,
}

impl Adjustment {
    /// What it has in the fields of which a request with the same key has another value.
    pub(in crate::ledger) fn differing_from(
        &self,
        unit: &Unit,
        quantity: Amount,
        reason: &str,
    ) -> Vec<StoredValue> {
        StoredValue::differing([
            (
                "currency",
                Some(self.unit.to_string()),
                Some(unit.to_string()),
            ),
            (
                "quantity",
                Some(self.quantity.to_string()),
                Some(quantity.to_string()),
            ),
            ("reason", Some(self.reason.clone()), Some(reason.into())),
        ])
    }
}

columns!(Adjustment {
    owner: ["owner_id"];
    id: ["id"];
    external_id: ["external_id"];
    unit: ["currency"];
    quantity: ["quantity"];
    reason: ["reason"];
    initiated_by: ["initiated_by"];
    content: ["content_hash"];
    custody_version: ["custody_version"];
    created_at: ["created_at"];
});
