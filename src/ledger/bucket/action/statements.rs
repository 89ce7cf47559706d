//! The SQL of balance actions. What is open is in a table of its own, as is the key of each action.

use std::collections::HashSet;

use tokio::try_join;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::ledger::bucket::action_key::{ActionIdKey, ActionKey};
use crate::ledger::bucket::model::{ActionStatus, BalanceAction};
use crate::ledger::bucket::records::BucketChanges;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::columns;
use crate::ledger::table::statements::{Insert, Lookup, Move, MoveShape, Update, UpdateShape};
use crate::types::ids::{ActionId, OwnerId};

/// Finds a row of `bucket_action_key`.
struct KeyOfAction {
    owner: OwnerId,
    key: Uuid,
}

columns!(KeyOfAction {
    owner: ["owner_id"];
    key: ["key"];
});

impl KeyOfAction {
    fn of(key: &ActionKey) -> Self {
        Self {
            owner: key.owner,
            key: key.kind.stored_key(&key.request_id),
        }
    }
}

/// A row of `bucket_action_key`.
struct StoredActionKey {
    key: KeyOfAction,
    id: ActionId,
}

columns!(StoredActionKey {
    key: { nested };
    id: ["id"];
});

impl StoredActionKey {
    fn of(action: &BalanceAction) -> Self {
        Self {
            key: KeyOfAction {
                owner: action.owner,
                key: action.kind().stored_key(&action.request_id),
            },
            id: action.id,
        }
    }
}

/// The prepared statements of balance actions.
pub(in crate::ledger::bucket) struct ActionStatements {
    keys: Lookup<KeyOfAction>,
    open: Lookup<ActionIdKey>,
    all: Lookup<ActionIdKey>,
    insert_keys: Insert<StoredActionKey>,
    insert_open: Insert<BalanceAction>,
    insert_closed: Insert<BalanceAction>,
    update_open: Update<BalanceAction>,
    close: Move<BalanceAction>,
}

/// A part of an open reserve was used. No index has what is set.
const UPDATED: UpdateShape = UpdateShape {
    table: "open_bucket_action",
    keys: &["owner_id", "id"],
    set: &["remaining_amount", "updated_at"],
    compared: &[],
    condition: "t.status = 'CREATED'",
    has_other_indexes: true,
};

/// Only an open reserve can be closed.
const CLOSED: MoveShape = MoveShape {
    from: "open_bucket_action",
    to: "closed_bucket_action",
    keys: &["owner_id", "id"],
    set: &[
        "status",
        "remaining_amount",
        "returned_amount",
        "closed_cause",
        "closed_by",
        "updated_at",
    ],
};

impl ActionStatements {
    pub(in crate::ledger::bucket) async fn prepare(client: &Client) -> PgResult<Self> {
        Ok(Self {
            keys: Lookup::prepare::<StoredActionKey>(client, "bucket_action_key").await?,
            open: Lookup::prepare::<BalanceAction>(client, "open_bucket_action").await?,
            all: Lookup::prepare::<BalanceAction>(client, "bucket_action").await?,
            insert_keys: Insert::prepare(client, "bucket_action_key").await?,
            insert_open: Insert::prepare(client, "open_bucket_action").await?,
            insert_closed: Insert::prepare(client, "closed_bucket_action").await?,
            update_open: Update::prepare(client, UPDATED).await?,
            close: Move::prepare(client, CLOSED).await?,
        })
    }

    /// The actions that commands name. Most name a key that nobody has used, or a reserve that is open. Only for others
    /// all actions are searched.
    pub(in crate::ledger::bucket) async fn read(
        &self,
        client: &Client,
        keys: &HashSet<ActionKey>,
        reserves: &HashSet<ActionIdKey>,
    ) -> PgResult<Vec<Row>> {
        let keys: Vec<KeyOfAction> = keys.iter().map(KeyOfAction::of).collect();
        let (keys, mut found) = try_join!(
            biased;
            self.keys.query(client, &keys),
            self.open.query(client, reserves),
        )?;
        // Both begin with the owner; the id is the last column of a key, and the second one of an action.
        let action = |row: &Row, id: usize| {
            Ok::<_, tokio_postgres::Error>(ActionIdKey {
                owner: OwnerId(row.try_get(0)?),
                id: ActionId(row.try_get(id)?),
            })
        };
        let mut open = HashSet::with_capacity(found.len());
        for row in &found {
            open.insert(action(row, 1)?);
        }
        let mut others: HashSet<ActionIdKey> = reserves.difference(&open).copied().collect();
        for row in &keys {
            others.insert(action(row, 2)?);
        }
        found.extend(self.all.query(client, &others).await?);
        Ok(found)
    }

    pub(in crate::ledger::bucket) async fn write(
        &self,
        client: &Client,
        changes: &BucketChanges<'_>,
    ) -> Result<(), StoreError> {
        let new = &changes.new_actions;
        let keys: Vec<StoredActionKey> = new.iter().copied().map(StoredActionKey::of).collect();
        let keys: Vec<&StoredActionKey> = keys.iter().collect();
        let is_open = |action: &&BalanceAction| action.status == ActionStatus::Created;
        let (new_open, new_closed): (Vec<&BalanceAction>, Vec<_>) =
            new.iter().copied().partition(is_open);
        let (used, closed): (Vec<&BalanceAction>, Vec<_>) =
            changes.changed_reserves.iter().copied().partition(is_open);
        try_join!(
            biased;
            self.insert_keys.execute(client, &keys),
            self.insert_open.execute(client, &new_open),
            self.insert_closed.execute(client, &new_closed),
            self.update_open.execute(client, &used),
            self.close.execute(client, &closed),
        )?;
        Ok(())
    }
}
