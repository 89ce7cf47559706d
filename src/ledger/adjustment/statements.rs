//! The SQL of adjustments.

use std::collections::HashSet;

use tokio_postgres::{Client, Row};

use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::adjustment::records::AdjustmentChanges;
use crate::ledger::books::Books;
use crate::ledger::kind::KindState;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::{columns, read_first};
use crate::ledger::table::statements::{Insert, Lookup};
use crate::types::ids::OwnerId;

/// Finds an adjustment by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdjustmentKey {
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
    /// The idempotency key to find.
    pub external_id: String,
}

columns!(AdjustmentKey {
    owner: ["owner_id"];
    external_id: ["external_id"];
});

/// What commands on adjustments name.
#[derive(Debug, Default)]
pub struct AdjustmentReads {
    /// Adjustments by idempotency key.
    pub keys: HashSet<AdjustmentKey>,
}

/// The prepared statements of the kind.
pub struct AdjustmentStatements {
    keys: Lookup<AdjustmentKey>,
    created: Insert<Adjustment>,
}

impl AdjustmentStatements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        Ok(Self {
            keys: Lookup::prepare::<Adjustment>(client, "adjustment").await?,
            created: Insert::prepare(client, "adjustment").await?,
        })
    }

    pub(super) async fn read(
        &self,
        client: &Client,
        read_set: &AdjustmentReads,
    ) -> PgResult<Vec<Row>> {
        self.keys.query(client, &read_set.keys).await
    }

    pub(super) async fn write(
        &self,
        client: &Client,
        changes: &AdjustmentChanges<'_>,
    ) -> Result<(), StoreError> {
        self.created.execute(client, &changes.created).await
    }
}

pub(super) fn load(
    rows: &[Row],
    books: &Books,
    state: &mut KindState<Adjustments>,
) -> Result<(), StoreError> {
    for row in rows {
        let adjustment: Adjustment = read_first(row)?;
        if books.is_locked(adjustment.owner) {
            state.records_mut(adjustment.owner).load(adjustment);
        }
    }
    Ok(())
}
