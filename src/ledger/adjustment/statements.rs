//! The SQL of adjustments.

use std::collections::HashSet;

use tokio::try_join;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::adjustment::records::AdjustmentChanges;
use crate::ledger::books::Books;
use crate::ledger::kind::KindState;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::{columns, read_first};
use crate::ledger::table::statements::{Insert, Lookup};
use crate::limits::ENTERPRISE_CURRENCIES_MAX;
use crate::trace;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

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
    /// Currencies that value may come in, each with its owner.
    pub deposits: HashSet<(OwnerId, Unit)>,
}

/// What was found for [`AdjustmentReads`].
pub struct AdjustmentRows {
    adjustments: Vec<Row>,
    currencies: Vec<Row>,
}

/// How many currencies an owner has, if one that value may come in is new to it. Every deposit is taken from the owner's
/// world account of its currency, so these accounts are its currencies.
///
/// One row for each owner with a new currency; the count ends where the limit is reached. OFFSET and LIMIT hold the planner
/// to the primary key.
fn currencies_text() -> String {
    format!(
        "SELECT n.owner_id, (\
            SELECT count(*) FROM (\
                SELECT FROM account a WHERE a.owner_id = n.owner_id AND a.account_id = '{world}' \
                LIMIT {ENTERPRISE_CURRENCIES_MAX}\
            ) c\
        ) \
        FROM (\
            SELECT DISTINCT d.owner_id FROM unnest($1::uuid[], $2::text[]) d(owner_id, unit) \
            LEFT JOIN LATERAL (\
                SELECT true AS is_known FROM account a \
                WHERE a.owner_id = d.owner_id AND a.account_id = '{world}' AND a.unit = d.unit LIMIT 1\
            ) a ON true \
            WHERE a.is_known IS NULL OFFSET 0\
        ) n",
        world = AccountId::WORLD.0
    )
}

/// The prepared statements of the kind.
pub struct AdjustmentStatements {
    keys: Lookup<AdjustmentKey>,
    currencies: Statement,
    created: Insert<Adjustment>,
}

impl AdjustmentStatements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        Ok(Self {
            keys: Lookup::prepare::<Adjustment>(client, "adjustment").await?,
            currencies: client.prepare(&currencies_text()).await?,
            created: Insert::prepare(client, "adjustment").await?,
        })
    }

    pub(super) async fn read(
        &self,
        client: &Client,
        read_set: &AdjustmentReads,
    ) -> PgResult<AdjustmentRows> {
        // Each future sends its statement when it is first polled, and that is in this order.
        let (adjustments, currencies) = try_join!(
            biased;
            self.keys.query(client, &read_set.keys),
            self.count_currencies(client, &read_set.deposits),
        )?;
        Ok(AdjustmentRows {
            adjustments,
            currencies,
        })
    }

    async fn count_currencies(
        &self,
        client: &Client,
        deposits: &HashSet<(OwnerId, Unit)>,
    ) -> PgResult<Vec<Row>> {
        if deposits.is_empty() {
            return Ok(Vec::new());
        }
        let (owners, units): (Vec<Uuid>, Vec<&str>) = deposits
            .iter()
            .map(|(owner, unit)| (owner.0, unit.as_str()))
            .unzip();
        trace::statement(
            "SELECT",
            "account",
            client.query(&self.currencies, &[&owners, &units]),
        )
        .await
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
    rows: &AdjustmentRows,
    books: &Books,
    state: &mut KindState<Adjustments>,
) -> Result<(), StoreError> {
    for row in &rows.adjustments {
        let adjustment: Adjustment = read_first(row)?;
        if books.is_locked(adjustment.owner) {
            state.records_mut(adjustment.owner).load(adjustment);
        }
    }
    for row in &rows.currencies {
        let (owner, count): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
        let owner = OwnerId(owner);
        if books.is_locked(owner) {
            let count = usize::try_from(count).unwrap_or(0);
            state.records_mut(owner).load_currencies(count);
        }
    }
    Ok(())
}
