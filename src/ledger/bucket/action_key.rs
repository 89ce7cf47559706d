//! What balance actions are found by.

use crate::ledger::bucket::model::ActionKind;
use crate::ledger::table::description::columns;
use crate::types::ids::{ActionId, OwnerId};

/// Finds an action by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActionKey {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The kind of action; each has keys of its own.
    pub kind: ActionKind,
    /// The idempotency key to find.
    pub request_id: String,
}

/// Finds an action by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionIdKey {
    /// The bucket's owner id.
    pub owner: OwnerId,
    /// The id to find.
    pub id: ActionId,
}

columns!(ActionIdKey {
    owner: ["owner_id"];
    id: ["id"];
});
