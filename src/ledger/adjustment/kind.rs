//! Adjustments as a kind of the ledger's records.

use tokio_postgres::Client;

use crate::ledger::account::OwnerKind;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::adjustment::records::{AdjustmentChanges, AdjustmentRecords};
use crate::ledger::adjustment::statements::{
    AdjustmentReads, AdjustmentRows, AdjustmentStatements,
};
use crate::ledger::adjustment::{statements, verification};
use crate::ledger::books::Books;
use crate::ledger::kind::{Kind, KindState};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::verification::Verification;

impl Kind for Adjustments {
    const OWNER: OwnerKind = OwnerKind::Enterprise;
    const VERIFICATION: Verification = verification::VERIFICATION;

    type Statements = AdjustmentStatements;
    type ReadSet = AdjustmentReads;
    type Rows = AdjustmentRows;
    type Records = AdjustmentRecords;
    type Context = ();
    type Changes<'a> = AdjustmentChanges<'a>;

    async fn prepare(client: &Client) -> PgResult<Self::Statements> {
        AdjustmentStatements::prepare(client).await
    }

    async fn read(
        statements: &Self::Statements,
        client: &Client,
        read_set: &Self::ReadSet,
    ) -> PgResult<Self::Rows> {
        statements.read(client, read_set).await
    }

    fn load(
        rows: &Self::Rows,
        books: &mut Books,
        state: &mut KindState<Self>,
    ) -> Result<(), StoreError> {
        statements::load(rows, books, state)
    }

    fn changes(state: &KindState<Self>) -> Self::Changes<'_> {
        AdjustmentChanges::of(state)
    }

    async fn write(
        statements: &Self::Statements,
        client: &Client,
        changes: &Self::Changes<'_>,
    ) -> Result<(), StoreError> {
        statements.write(client, changes).await
    }
}
